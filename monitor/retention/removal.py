"""Removes what is older than it is to be kept, some thousand rows a transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, delete, exists, func, not_, or_, select

from alerting.alert import OPEN_STATES
from monitor.profiling import Key
from monitor.retention.ages import alerted_ranges
from monitor.store.engine import immediate, reading
from monitor.store.outbox import WAITING
from monitor.store.tables import (
    alert,
    alert_event,
    dead_letter,
    incident,
    incident_alert,
    incident_column,
    incident_event,
    judgement,
    ledger,
    outbox,
    outcome_commit,
    outcome_ledger,
    outcome_slice,
    outcome_window,
    performance_value,
    receiver_state,
    result,
    retraining_run,
    silence,
    slice_profile,
    weekly_evidence,
    window_state,
)

AT_ONCE = 5_000  # rows in one transaction
INCIDENTS_AT_ONCE = 100
Where = Sequence[ColumnElement[bool]]


class Removal:
    """Removes rows of a database.

    Parameters
    ----------
    engine : Engine
    stop : threading.Event
        No further transaction is begun once it is set.

    Notes
    -----
    Every method returns how many rows went, may be repeated, and raises `Unavailable` if the database is
    away: what was removed until then stays removed.
    """

    def __init__(self, engine: Engine, stop: threading.Event) -> None:
        self._engine, self._stop = engine, stop

    def counts(self, key: Key, before_ms: int) -> int:
        """Remove counts and outcomes that end before an instant; those that an alert rests on stay."""
        with reading(self._engine) as connection:
            staying = alerted_ranges(connection, key)
        number = 0
        for table in (slice_profile, outcome_slice):
            c = table.c
            old = (c.slice_ms < before_ms, c.slice_ms + c.span_ms < before_ms)
            number += self._by_id(table, (*_of(table, key), *old, *_outside(c.slice_ms, staying)))
        return number

    def orphaned_commits(self) -> int:
        """Remove commits that no outcomes name any more."""
        named = exists().where(outcome_slice.c.commit_id == outcome_commit.c.id)
        return self._by_id(outcome_commit, (~named,))

    def results(self, key: Key, before_ms: int) -> int:
        """Remove verdicts and measures of windows that begin before an instant.

        Those that an alert rests on stay, and the state of the detector before them.
        """
        with reading(self._engine) as connection:
            staying = alerted_ranges(connection, key)
        number = 0
        for table in (result, judgement):
            number += self._by_id(table, _windows(table, key, before_ms, staying))
        with immediate(self._engine) as connection:
            for table in (window_state, outcome_window, performance_value):
                number += _delete(connection, table, _windows(table, key, before_ms, staying))
            for table in (ledger, outcome_ledger):
                number += _delete(connection, table, _ledger(connection, table, key, before_ms, staying))
            w = weekly_evidence.c
            old = (*_of(weekly_evidence, key), w.week_ms < before_ms)
            number += _delete(connection, weekly_evidence, old)
        return number

    def incidents(self, before_ms: int) -> int:
        """Remove incidents that ended before an instant (wall clock), with all that belongs to them."""
        i, a = incident.c, alert.c
        over = (i.state.not_in(OPEN_STATES), i.updated_at_ms < before_ms)
        query = select(i.id).where(*over).order_by(i.updated_at_ms).limit(INCIDENTS_AT_ONCE)
        number = self._repeat(lambda c: _remove_incidents(c, list(c.execute(query).scalars())))
        # An alert without an incident: its incident could not be written, or was removed meanwhile.
        alone = select(a.id).where(
            a.state.not_in(OPEN_STATES),
            a.updated_at_ms < before_ms,
            ~exists().where(incident_alert.c.alert_id == a.id),
        )
        number += self._repeat(
            lambda c: _remove_alerts(c, list(c.execute(alone.limit(INCIDENTS_AT_ONCE)).scalars()))
        )
        with immediate(self._engine) as connection:
            number += _delete(connection, silence, (silence.c.until_ms < before_ms,))
        return number

    def deliveries(self, before_ms: int) -> int:
        """Remove messages that were done with before an instant (wall clock); of open incidents none."""
        o = outbox.c
        is_open = or_(
            exists().where(incident.c.id == o.alert_id, incident.c.state.in_(OPEN_STATES)),
            exists().where(alert.c.id == o.alert_id, alert.c.state.in_(OPEN_STATES)),
        )
        old = (o.state != WAITING, o.created_at_ms < before_ms, o.finished_at_ms < before_ms, ~is_open)
        return self._by_id(outbox, old)

    def dead_letters(self, before_ms: int, *, are_relayed: bool) -> int:
        """Remove dead letters that were stored before an instant (wall clock) and wait for nothing."""
        d = dead_letter.c
        old = [d.stored_at_ms < before_ms, d.status != "marked"]
        if are_relayed:
            old.append(d.relayed_at_ms.is_not(None))
        return self._by_id(dead_letter, old)

    def _by_id(self, table: Table, where: Where) -> int:
        some = select(table.c.id).where(*where).limit(AT_ONCE).scalar_subquery()
        return self._repeat(lambda connection: _delete(connection, table, (table.c.id.in_(some),)))

    def _repeat(self, remove: Callable[[Connection], int]) -> int:
        """Remove in one transaction after the other, until there is nothing left."""
        number = 0
        while not self._stop.is_set():
            with immediate(self._engine) as connection:
                gone = remove(connection)
            number += gone
            if not gone:
                break
        return number


def _of(table: Table, key: Key) -> Where:
    return (table.c.model == key[0], table.c.version == key[1])


def _outside(start_ms: ColumnElement[int], ranges: Sequence[tuple[int, int]]) -> Where:
    return [not_(and_(start_ms >= first, start_ms < last)) for first, last in ranges]


def _windows(table: Table, key: Key, before_ms: int, staying: Sequence[tuple[int, int]]) -> Where:
    c = table.c
    return [*_of(table, key), c.start_ms < before_ms, *_outside(c.start_ms, staying)]


def _ledger(
    connection: Connection, table: Table, key: Key, before_ms: int, staying: Sequence[tuple[int, int]]
) -> Where:
    """Entries to remove: neither the newest, nor those that a verdict which stays was reached from."""
    c = table.c
    mine = _of(table, key)
    newest = connection.execute(select(func.max(c.start_ms)).where(*mine)).scalar()
    needed = {newest}
    for first, _ in staying:
        if first < before_ms:
            before = select(func.max(c.start_ms)).where(*mine, c.start_ms < first)
            needed.add(connection.execute(before).scalar())
    return [
        *_windows(table, key, before_ms, staying),
        c.start_ms.not_in([start_ms for start_ms in needed if start_ms is not None]),
    ]


def _delete(connection: Connection, table: Table, where: Where) -> int:
    return connection.execute(delete(table).where(*where)).rowcount


def _remove_incidents(connection: Connection, ids: Sequence[str]) -> int:
    alerts = select(incident_alert.c.alert_id).where(incident_alert.c.incident_id.in_(ids))
    number = _remove_alerts(connection, list(connection.execute(alerts).scalars()))
    for table in (incident_alert, incident_column, incident_event, retraining_run):
        number += _delete(connection, table, (table.c.incident_id.in_(ids),))
    for table in (outbox, receiver_state):
        number += _delete(connection, table, (table.c.alert_id.in_(ids),))
    return number + _delete(connection, incident, (incident.c.id.in_(ids),))


def _remove_alerts(connection: Connection, ids: Sequence[str]) -> int:
    number = 0
    for table in (alert_event, incident_alert, outbox, receiver_state):
        number += _delete(connection, table, (table.c.alert_id.in_(ids),))
    return number + _delete(connection, alert, (alert.c.id.in_(ids),))
