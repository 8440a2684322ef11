"""Goes through all data now and then: adds up what is old, removes what is older still."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields

from sqlalchemy import Engine

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.profiling import Key
from monitor.retention.ages import Aged, aged_versions, alerted_ranges
from monitor.retention.removal import Removal
from monitor.retention.rollup import RollUp
from monitor.store.engine import reading
from monitor.store.months import NOBODY, drop_months, make_months
from monitor.telemetry import Removed, Telemetry
from schemas.errors import ProfileError, StoreError, Unavailable

logger = logging.getLogger(__name__)

FIRST_S = 60.0
EVERY_S = 3_600.0
ANEW_EVERY = 24  # sweeps, until everything is looked at again


@dataclass
class Swept:
    """Rows that went."""

    added_up: int = 0
    """Of counts that hours and days have taken the place of."""
    counts: int = 0
    results: int = 0
    incidents: int = 0
    deliveries: int = 0
    dead_letters: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))


class Retention:
    """Keeps the database to what the configuration says under ``keep``.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    telemetry : Telemetry
    stop : threading.Event, optional
        A sweep ends between two transactions once it is set.

    Guarantees
    ----------
    Several processes may sweep at the same time; each row goes once.
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        clock: Clock,
        telemetry: Telemetry,
        stop: threading.Event | None = None,
    ) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._telemetry, self._stop = telemetry, stop or threading.Event()
        self._rollup = RollUp(configuration, engine, self._stop)
        self._removal = Removal(engine, self._stop)

    def run(self, stop: threading.Event) -> None:
        """Sweep every hour until told to stop."""
        waited_s, sweeps = FIRST_S, 0
        while not stop.wait(waited_s):
            waited_s = EVERY_S
            sweeps += 1
            if sweeps % ANEW_EVERY == 0:
                self._rollup.forget()
            try:
                self.sweep()
            except Unavailable as error:
                waited_s = FIRST_S
                logger.warning("old data is removed later: %s", error)

    def sweep(self, models: Collection[str] | None = None) -> Swept:
        """Add up and remove everything that is old enough, of some models or of all.

        Raises
        ------
        Unavailable
            If the database is away; what was done until then stays done.
        """
        swept, kept = Swept(), self._configuration.kept
        now_ms = self._clock.now_ms()
        with reading(self._engine) as connection:
            versions = aged_versions(connection, now_ms, models)
        make_months(self._engine, now_ms)
        if models is None:
            swept.counts += self._dropped({aged.key: aged.mark_ms for aged in versions}, now_ms)
        for aged in versions:
            if self._stop.is_set():
                break
            swept.results += self._removal.results(aged.key, aged.mark_ms - kept.results_ms)
            swept.counts += self._removal.counts(aged.key, aged.mark_ms - kept.days_ms)
            swept.added_up += self._added_up(aged)
        if models is None:
            swept.added_up += self._removal.orphaned_commits()
            swept.incidents += self._removal.incidents(now_ms - kept.incidents_ms)
            swept.deliveries += self._removal.deliveries(now_ms - kept.deliveries_ms)
            are_relayed = self._configuration.dead_letters is not None
            swept.dead_letters += self._removal.dead_letters(
                now_ms - kept.dead_letters_ms, are_relayed=are_relayed
            )
        self._tell(swept)
        return swept

    def _dropped(self, marks: Mapping[Key, int], now_ms: int) -> int:
        """Drop whole months, where the database keeps the tables by months."""
        kept = self._configuration.kept
        ages = {"slice_profile": kept.days_ms, "outcome_slice": kept.days_ms}

        def cut_of(table: str, key: Key) -> int | None:
            mark_ms = marks.get(key, now_ms if key == NOBODY else None)
            return None if mark_ms is None else mark_ms - ages.get(table, kept.results_ms)

        def staying(key: Key) -> list[tuple[int, int]]:
            with reading(self._engine) as connection:
                return alerted_ranges(connection, key)

        return drop_months(self._engine, cut_of, staying)

    def _added_up(self, aged: Aged) -> int:
        """Roll up one version; damaged or newer bytes of one do not keep the others from it."""
        try:
            return self._rollup.roll_up(aged)
        except Unavailable:
            raise
        except (ProfileError, StoreError):
            model, version = aged.key
            logger.exception("slices cannot be added up", extra={"model": model, "version": version})
            return 0

    def _tell(self, swept: Swept) -> None:
        for what, rows in asdict(swept).items():
            self._telemetry.emit(Removed(what, rows))
        if swept.total:
            gone = {what: number for what, number in asdict(swept).items() if number}
            words = ", ".join(f"{what} {number}" for what, number in gone.items())
            logger.info("old data: %s", words, extra={"rows": swept.total})
