"""What time alone brings to incidents: silences that end, reminders, escalations."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine

from alerting.telling import tell_due
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.incidents.costs import impact_of
from monitor.incidents.recording import write
from monitor.incidents.surroundings import surroundings
from monitor.store import incidents
from monitor.store.engine import immediate, reading
from schemas.errors import Unavailable

logger = logging.getLogger("driftline.incidents")

PORTION = 100
PERIOD_S = 5.0
PUT_OFF_MS = 300_000  # an incident that cannot be looked at


class Reminders:
    """Looks at incidents when their time has come; any number of processes may.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
        Wall clock.
    on_told : callable
        Called after there was something to deliver.

    Guarantees
    ----------
    An incident that cannot be looked at is put off for five minutes and keeps no other one waiting.
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        clock: Clock,
        on_told: Callable[[], None] = lambda: None,
    ) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._on_told = on_told

    def run(self, stop: threading.Event) -> None:
        """Look every few seconds until told to stop."""
        while not stop.is_set():
            try:
                told = self.sweep()
            except Unavailable as error:
                logger.warning("reminders wait: %s", error)
                told = 0
            if told:
                self._on_told()
            stop.wait(PERIOD_S)

    def sweep(self) -> int:
        """Tell of everything that is due now.

        Returns
        -------
        int
            Number of incidents that were told of.

        Raises
        ------
        Unavailable
            If the database is away; nothing is lost by calling again.
        """
        now_ms, told = self._clock.now_ms(), 0
        while True:
            with reading(self._engine) as connection:
                due = incidents.due(connection, now_ms, PORTION)
            told += sum(self._look_or_put_off(id_, now_ms) for id_ in due)
            if len(due) < PORTION:
                return told

    def _look_or_put_off(self, incident_id: str, now_ms: int) -> bool:
        try:
            return self._look(incident_id, now_ms)
        except Unavailable:
            raise
        except Exception:  # one incident must not keep the others waiting
            logger.exception("incident %s cannot be looked at, and is put off", incident_id)
        with immediate(self._engine) as connection:
            incidents.put_off_look(connection, incident_id, now_ms + PUT_OFF_MS)
        return False

    def _look(self, incident_id: str, now_ms: int) -> bool:
        with immediate(self._engine) as connection:
            incidents.lock(connection)
            if not incidents.is_due(connection, incident_id, now_ms):
                return False  # somebody else was quicker
            known = incidents.load(connection, incident_id)
            if known is None:
                return False
            around = surroundings(connection, self._configuration, known.alerts, now_ms)
            impact = impact_of(connection, self._configuration, known.alerts)
            look = tell_due(known.record, known.alerts, around, impact)
            if look.passage is not None:
                write(connection, self._configuration, look.passage, around, None, now_ms)
                return True
            again_ms = None if look.again_at_ms is None else max(look.again_at_ms, now_ms + 1)
            incidents.save_look(connection, look.record, again_ms)
            return False
