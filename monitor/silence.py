"""Notices what does not arrive: models that have gone silent, and partitions that cannot be read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from alerting.alert import OPEN_STATES, resolve
from alerting.finding import Finding, Kind, WindowObservation, instant
from detectors.quality.gaps import too_long
from detectors.reference import Reference
from monitor.clock import Clock
from monitor.config import Configuration, ModelSettings
from monitor.config.per_model import PerModel
from monitor.incidents.recording import record
from monitor.judging.budget import event_budget
from monitor.judging.judgements import observe
from monitor.profiling import Key
from monitor.references.lifecycle import ReferenceCache
from monitor.store import alerts, ledgers
from monitor.store.engine import immediate, reading
from monitor.store.queries.times import newest_events, watermarks
from monitor.store.tables import alert, partition_state, reference_pointer, window_state
from monitor.telemetry import AlertChanged, Telemetry
from schemas.duration import format_duration
from schemas.verdict import Lane

LONGER_THAN_USUAL = 3  # times the longest gap of the reference, at most
DETECTOR = "silence"
BY_CONTRACT = "longer than the contract allows"


@dataclass(frozen=True)
class Silence:
    """A model whose newest event lies further back than usual; `usual` says what is."""

    key: Key
    since_ms: int
    until_ms: int
    is_silent: bool
    usual: str


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
        self._detector = PerModel(configuration, ModelSettings.build_detector)
        self._has_labels = any(stream.kind == "labels" for stream in configuration.streams)

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
                select(a.model).where(a.kind == Kind.NO_DATA.value, a.state.in_(OPEN_STATES))
            ).scalars()
        )
        found = []
        for model, last_ms in newest.items():
            if model not in marks:
                continue
            settings = self._configuration.for_model(model)
            if marks[model] < last_ms + settings.slice_ms and model not in told:
                continue
            key = (model, self._latest_version(connection, model))
            if settings.freshness_ms is not None:
                until_ms = int(last_ms) + settings.freshness_ms
                found.append(Silence(key, int(last_ms), until_ms, marks[model] >= until_ms, BY_CONTRACT))
                continue
            reference = self._reference(connection, key)
            if reference is not None:
                wait_ms, usual = self._patience(connection, key, reference, int(last_ms))
                until_ms = int(last_ms) + wait_ms
                found.append(Silence(key, int(last_ms), until_ms, marks[model] >= until_ms, usual))
        return found

    def _patience(
        self, connection: Connection, key: Key, reference: Reference, last_ms: int
    ) -> tuple[int, str]:
        """How long after its last event a model may be silent, and why."""
        settings = self._configuration.for_model(key[0])
        window_ms = settings.windows[0].length_ms
        at_most_ms = max(window_ms, LONGER_THAN_USUAL * reference.longest_gap_ms)
        budget = event_budget(
            self._configuration.alerts,
            window_ms,
            ledgers.model_versions(connection),
            self._detector(key[0]),
            reference,
            of_outcomes=False if self._has_labels else None,
        ).quality
        gap = too_long(reference, last_ms // settings.slice_ms * settings.slice_ms, window_ms, budget)
        # So long it is waited for late events anyway.
        least_ms = settings.lateness_ms + settings.slice_ms
        if gap is None or max(gap.length_ms, least_ms) >= at_most_ms:
            return at_most_ms, "longer than the reference ever was without"
        usual = (
            f"the longest of {gap.known:,} gaps of the reference about that time was "
            f"{format_duration(gap.longest_ms)}, one of {format_duration(gap.length_ms)} is beyond the budget"
        )
        return max(gap.length_ms, least_ms), usual

    def _latest_version(self, connection: Connection, model: str) -> str:
        """Version that delivered last: an older one that fell silent was replaced."""
        w = window_state.c
        query = select(w.version).where(w.model == model).order_by(w.end_ms.desc()).limit(1)
        return connection.execute(query).scalar() or ""

    def _reference(self, connection: Connection, key: Key) -> Reference | None:
        p = reference_pointer.c
        hash_ = connection.execute(
            select(p.hash).where(p.model == key[0], p.version == key[1]).order_by(p.revision.desc()).limit(1)
        ).scalar()
        return None if hash_ is None else self._references.get(connection, hash_)

    def _tell_silence(self, silence: Silence, now_ms: int) -> list[AlertChanged]:
        with reading(self._engine) as connection:
            open_ = alerts.load_open(connection, *silence.key, Kind.NO_DATA)
        if silence.is_silent == (open_ is not None):
            return []
        if open_ is not None:
            return self._close(silence.key, Kind.NO_DATA, "events arrive again", now_ms)
        waited = format_duration(silence.until_ms - silence.since_ms)
        text = f"no events for {waited} of event time, {silence.usual}"
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
            alerts.lock_version(connection, *key)
            open_ = alerts.load_open(connection, *key, kind)
            if open_ is None:
                return []
            closed, changes = resolve(open_, "driftline", instant(now_ms), cause)
            record(connection, self._configuration, closed, changes, now_ms)
        return [
            AlertChanged(closed.model, str(closed.lane), str(closed.severity), str(c.kind)) for c in changes
        ]
