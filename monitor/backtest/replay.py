"""Goes through event time once more: the service's judges on a copy of what is stored, and a manual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from alerting.record import from_bytes
from alerting.retraining.guards import Standing
from monitor.backtest.looks import later_look_ms
from monitor.backtest.stored_content import StoredContent, StoredVersion
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.incidents.reminders import Reminders
from monitor.judging.judge import Judge
from monitor.judging.judgements import Judged
from monitor.judging.unreferenced import UnreferencedWindows
from monitor.performance.judge import OutcomeJudge
from monitor.registry import read_columns
from monitor.store import retraining
from monitor.store.engine import immediate, reading
from monitor.store.sql import upsert
from monitor.store.tables import (
    incident,
    model_version,
    partition_model,
    partition_state,
    reference_pointer,
    retraining_run,
    window_state,
)
from monitor.telemetry import Telemetry


class Replay:
    """Lets event time pass on a scratch database, from the end of one window to that of the next.

    Parameters
    ----------
    configuration : Configuration
        Its receivers are named, not built.
    scratch : Engine
        Filled by `monitor.backtest.scratch.copy_content`.
    content : StoredContent
    progress : callable
        Called with the number of windows judged and that of all windows.

    Notes
    -----
    The wall clock says event time. All topics are one partition of each kind, whose newest event is always as
    late as it has to be for the watermark of every model to be where the replay is.
    """

    def __init__(
        self,
        configuration: Configuration,
        scratch: Engine,
        content: StoredContent,
        progress: Callable[[int, int], None],
    ) -> None:
        self._configuration, self._engine, self._content = configuration, scratch, content
        self._progress, self._done = progress, 0
        self._total = sum(len(one.starts) for one in content.versions)
        self._steps = sorted({at_ms for one in content.versions for at_ms in one.moments()})
        self._clock = ManualClock(self._steps[0])
        parts = (configuration, scratch, self._clock)
        telemetry = Telemetry()
        self._judge, self._outcomes = Judge(*parts, telemetry), OutcomeJudge(*parts, telemetry)
        self._unreferenced = UnreferencedWindows(*parts, telemetry)
        self._reminders = Reminders(*parts)
        self._unseen = sorted(content.versions, key=lambda one: one.known_from_ms)
        self._promotions = sorted(
            (*content.others, *(row for one in content.versions for row in one.pointers)),
            key=lambda row: (row["from_ms"], row["revision"]),
        )

    def run(self) -> None:
        """Judge everything, and do what time brings in between."""
        self._progress(0, self._total)
        self._lay_partitions()
        for now_ms in self._steps:
            self._pass_time(now_ms)
            self._clock.set_wall(now_ms)
            self._come_to(now_ms)
            self._judge_without_reference(now_ms)
            self._make_known(now_ms)
            self._sweep()
            self._end_runs(now_ms)

    # --- event time -----------------------------------------------------------------------------------------

    def _lay_partitions(self) -> None:
        zeros = (
            "epoch",
            "next_offset",
            "fetched",
            "counted",
            "late",
            "future",
            "dead_lettered",
            "duplicates",
        )
        same: dict[str, Any] = {
            **dict.fromkeys(zeros, 0), "partition": 0, "topic_id": "", "owner_token": "",
            "reached_end": False, "seen_at_ms": 0,
        }  # fmt: skip
        with immediate(self._engine) as connection:
            rows = [{**same, "topic": topic, "kind": kind} for kind, topic in self._topics().items()]
            connection.execute(insert(partition_state), rows)

    def _come_to(self, now_ms: int) -> None:
        """Let the watermarks of all models be an instant of event time."""
        rows = [row for model in self._content.models for row in self._newest(model, now_ms)]
        with immediate(self._engine) as connection:
            upsert(connection, partition_model, rows)

    def _newest(self, model: str, now_ms: int) -> Iterator[dict[str, Any]]:
        newest_ms = now_ms + self._configuration.for_model(model).lateness_ms
        same = {"partition": 0, "model": model, "max_event_ms": newest_ms, "arrived_at_ms": now_ms}
        for kind, topic in self._topics().items():
            if kind == "predictions" or model in self._content.labelled:
                yield {**same, "topic": topic}

    def _topics(self) -> dict[str, str]:
        """One topic of each kind."""
        return {stream.kind: stream.topic for stream in reversed(self._configuration.streams)}

    def _pass_time(self, now_ms: int) -> None:
        """Do what time alone brings until an instant: reminders, escalations, ends of planned work."""
        while (look_ms := self._next_look_ms()) is not None and look_ms <= now_ms:
            self._clock.set_wall(max(look_ms, self._clock.now_ms()))
            self._reminders.sweep()
            self._put_off_looks(now_ms)
            self._end_runs(self._clock.now_ms())

    def _next_look_ms(self) -> int | None:
        with reading(self._engine) as connection:
            found: int | None = connection.execute(select(func.min(incident.c.look_at_ms))).scalar()
        return found

    def _put_off_looks(self, next_ms: int) -> None:
        c, now_ms = incident.c, self._clock.now_ms()
        query = select(c.id, c.look_at_ms, c.record_bytes).where(
            c.look_at_ms > now_ms, c.look_at_ms < next_ms
        )
        with immediate(self._engine) as connection:
            for row in connection.execute(query).all():
                look_ms = later_look_ms(from_bytes(bytes(row.record_bytes)), row.look_at_ms, next_ms)
                connection.execute(update(incident).where(c.id == row.id).values(look_at_ms=look_ms))

    # --- what becomes known ---------------------------------------------------------------------------------

    def _judge_without_reference(self, now_ms: int) -> None:
        """Judge what comes before the first stored reference by the contract alone, as the service has."""
        for one in self._unseen:
            if one.pointers and len(one.starts) and one.starts[0] < min(now_ms, one.known_from_ms):
                contract = one.settings.build_contract()
                until_ms = min(now_ms, one.known_from_ms)
                judged = self._unreferenced.judge(one.key, contract, until_ms, self._columns(one))
                self._note(judged)

    def _columns(self, one: StoredVersion) -> Any:
        with reading(self._engine) as connection:
            return read_columns(connection, [one.key[0]]).get(one.key, {})

    def _make_known(self, now_ms: int) -> None:
        """Let model versions and their references be known from when they were."""
        with immediate(self._engine) as connection:
            while self._unseen and self._unseen[0].known_from_ms <= now_ms:
                connection.execute(insert(model_version), self._unseen.pop(0).row)
            while self._promotions and self._promotions[0]["from_ms"] <= now_ms:
                self._promote(connection, self._promotions.pop(0))

    def _promote(self, connection: Connection, row: dict[str, Any]) -> None:
        connection.execute(insert(reference_pointer), row)
        w = window_state.c
        earlier = update(window_state).where(
            w.model == row["model"], w.version == row["version"], w.start_ms < row["from_ms"]
        )
        if row["revision"] == 1:  # windows that begin before the first reference cannot be judged
            connection.execute(earlier.values(judged=w.touched))

    # --- judging --------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        while judged := self._judge.sweep():
            self._note(judged)
        while self._outcomes.sweep():
            pass

    def _note(self, judged: list[Judged]) -> None:
        self._done += len(judged)
        self._progress(self._done, self._total)

    def _end_runs(self, now_ms: int) -> None:
        """Let every run that would have been started be over at once."""
        r = retraining_run.c
        with immediate(self._engine) as connection:
            due = connection.execute(select(r.id).where(r.state == Standing.DUE.value)).scalars().all()
            for id_ in due:
                values = {"state": Standing.SUCCEEDED.value, "attempts": 1, "started_at_ms": now_ms}
                retraining.change(connection, id_, [Standing.DUE], now_ms, **values)
