"""Notices what does not arrive: models that have gone silent, and partitions that cannot be read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from alerting.alert import resolve
from alerting.finding import Finding, Kind, WindowObservation, instant
from alerting.pipeline import outbox_rows
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.judging.judgements import observe
from monitor.profiling import Key
from monitor.references.lifecycle import ReferenceCache
from monitor.store import alerts
from monitor.store.engine import immediate, reading
from monitor.store.queries.times import newest_events, watermarks
from monitor.store.tables import alert, partition_state, reference_pointer, window_state
from monitor.telemetry import AlertChanged, Telemetry
from schemas.duration import format_duration
from schemas.verdict import Lane

LONGER_THAN_USUAL = 3  # times the longest gap of the reference
DETECTOR = "silence"


@dataclass(frozen=True)
class Silence:
    """A model whose newest window lies further back than usual."""

    key: Key
    since_ms: int
    until_ms: int
    is_silent: bool


class Silences:
    """Opens and closes ``no_data`` and ``partition_stopped`` incidents.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    telemetry : Telemetry
    """

    def __init__(
        self, configuration: Configuration, engine: Engine, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._configuration, self._engine, self._clock, self._telemetry = (
            configuration,
            engine,
            clock,
            telemetry,
        )
        self._references = ReferenceCache()

    def sweep(self, models: Collection[str] | None = None) -> list[AlertChanged]:
        """Look at all models, or some, and at all partitions.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        now_ms = self._clock.now_ms()
        with reading(self._engine) as connection:
            silences = self._silences(connection, models, now_ms)
            stopped = {
                (row.topic, str(row.partition)): row.stopped_reason
                for row in connection.execute(select(partition_state))
            }
        changes: list[AlertChanged] = []
        for silence in silences:
            changes += self._tell_silence(silence, now_ms)
        for key, reason in stopped.items():
            changes += self._tell_stopped(key, reason, now_ms)
        for change in changes:
            self._telemetry.emit(change)
        return changes

    def _silences(self, connection: Connection, models: Collection[str] | None, now_ms: int) -> list[Silence]:
        marks = watermarks(connection, self._configuration, now_ms, models)
        newest = newest_events(connection, models)
        a = alert.c
        told = set(
            connection.execute(
                select(a.model).where(a.kind == Kind.NO_DATA.value, a.state.in_(alerts.OPEN_STATES))
            ).scalars()
        )
        found = []
        for model, last_ms in newest.items():
            if model not in marks:
                continue
            window_ms = self._configuration.for_model(model).windows[0].length_ms
            if marks[model] < last_ms + window_ms and model not in told:
                continue
            key = (model, self._latest_version(connection, model))
            gap_ms = self._usual_gap(connection, key)
            if gap_ms is not None:
                until_ms = int(last_ms) + max(window_ms, LONGER_THAN_USUAL * gap_ms)
                found.append(Silence(key, int(last_ms), until_ms, marks[model] >= until_ms))
        return found

    def _latest_version(self, connection: Connection, model: str) -> str:
        """Version that delivered last: an older one that fell silent was replaced."""
        w = window_state.c
        query = select(w.version).where(w.model == model).order_by(w.end_ms.desc()).limit(1)
        return connection.execute(query).scalar() or ""

    def _usual_gap(self, connection: Connection, key: Key) -> int | None:
        p = reference_pointer.c
        hash_ = connection.execute(
            select(p.hash).where(p.model == key[0], p.version == key[1]).order_by(p.revision.desc()).limit(1)
        ).scalar()
        return None if hash_ is None else self._references.get(connection, hash_).longest_gap_ms

    def _tell_silence(self, silence: Silence, now_ms: int) -> list[AlertChanged]:
        with reading(self._engine) as connection:
            open_ = alerts.load_open(connection, *silence.key, Kind.NO_DATA)
        if silence.is_silent == (open_ is not None):
            return []
        if open_ is not None:
            return self._close(silence.key, Kind.NO_DATA, "events arrive again", now_ms)
        waited = format_duration(silence.until_ms - silence.since_ms)
        text = f"no events for {waited} of event time, longer than the reference ever was without"
        return self._open(silence.key, Kind.NO_DATA, text, silence.since_ms, silence.until_ms, now_ms)

    def _tell_stopped(self, key: Key, reason: str | None, now_ms: int) -> list[AlertChanged]:
        with reading(self._engine) as connection:
            open_ = alerts.load_open(connection, *key, Kind.PARTITION_STOPPED)
        if (reason is not None) == (open_ is not None):
            return []
        if reason is None:
            return self._close(key, Kind.PARTITION_STOPPED, "reading goes on", now_ms)
        return self._open(key, Kind.PARTITION_STOPPED, reason, now_ms, now_ms, now_ms)

    def _open(
        self, key: Key, kind: Kind, text: str, start_ms: int, end_ms: int, now_ms: int
    ) -> list[AlertChanged]:
        column = f"{key[0]}/{key[1]}" if kind is Kind.PARTITION_STOPPED else ""
        finding = Finding(
            column, "", Lane.QUALITY, DETECTOR, instant(start_ms), instant(end_ms), explanation=text
        )
        observation = WindowObservation(*key, start_ms, end_ms, findings=(finding,), kind=kind)
        with immediate(self._engine) as connection:
            return list(observe(connection, self._configuration, observation, now_ms))

    def _close(self, key: Key, kind: Kind, cause: str, now_ms: int) -> list[AlertChanged]:
        with immediate(self._engine) as connection:
            alerts.lock_incident(connection, *key, kind)
            open_ = alerts.load_open(connection, *key, kind)
            if open_ is None:
                return []
            closed, changes = resolve(open_, "driftline", instant(now_ms), cause)
            rows = outbox_rows(closed, changes, self._configuration.alerts.routes)
            alerts.save(connection, closed, changes, rows, now_ms)
        return [
            AlertChanged(closed.model, str(closed.lane), str(closed.severity), str(c.kind)) for c in changes
        ]
