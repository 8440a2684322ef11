"""Windows from before the first reference: only the hard rules of the contract can judge them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Engine, insert, select

from detectors.ruled import RuleCounts
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.judging.contracts import judge_contract, observation_of
from monitor.judging.judgements import (
    MOST_WINDOWS,
    Due,
    Judged,
    Overtaken,
    insert_judgement,
    observe,
    read_slices,
    result_rows,
)
from monitor.judging.merging import Merged, merge_slices
from monitor.judging.window_rows import take
from monitor.profiling import Key
from monitor.references.lifecycle import first_boundary
from monitor.store.engine import immediate, reading
from monitor.store.tables import result, window_state
from monitor.telemetry import AlertChanged, Telemetry, WindowJudged
from schemas.column import ColumnSpec
from schemas.contract import Contract
from schemas.verdict import Decision, Verdict
from schemas.window import WindowSpec


class Ruled(NamedTuple):
    """A window, and what the contract says of it."""

    merged: Merged
    verdicts: list[Verdict]


class UnreferencedWindows:
    """Judges the windows of model versions that have no reference yet, by their contracts.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    telemetry : Telemetry

    Notes
    -----
    They are judged before a reference is learned, which settles them for good: a window that the reference is
    to judge is never judged here, or it could raise no alarm any more.
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

    def judge(
        self, key: Key, contract: Contract, watermark_ms: int, specs: Mapping[str, ColumnSpec]
    ) -> list[Judged]:
        """Judge the complete windows of a model version that has no reference.

        Parameters
        ----------
        key : tuple of str
        contract : Contract
            Without any agreement on columns nothing is judged.
        watermark_ms : int
            Of the model.
        specs : mapping of str to ColumnSpec
            Known columns.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        settings = self._configuration.for_model(key[0])
        if not contract.is_agreed or settings.reference.file is not None:
            return []
        with reading(self._engine) as connection:
            until_ms = first_boundary(connection, key, settings, watermark_ms)
            due = _due(connection, key, watermark_ms, until_ms)
        found = (self._judge(one, contract, specs) for one in due)
        return [judged for judged in found if judged is not None]

    def recompute(self, due: Due, contract: Contract, specs: Mapping[str, ColumnSpec]) -> Ruled:
        """Judge a window once more, from the stored slices; writes nothing."""
        with reading(self._engine) as connection:
            merged = merge_slices(read_slices(connection, due), specs, None)
        return Ruled(merged, judge_contract(contract, RuleCounts.of(merged.profile)))

    def _judge(self, due: Due, contract: Contract, specs: Mapping[str, ColumnSpec]) -> Judged | None:
        merged, ruled = self.recompute(due, contract, specs)
        try:
            changes = self._write(due, merged, ruled, contract)
        except Overtaken:
            return None
        self._telemetry.emit(WindowJudged(due.key[0], None))
        for change in changes:
            self._telemetry.emit(change)
        broken = tuple(verdict for verdict in ruled if verdict.decision is Decision.DRIFT)
        return Judged(due, due.revision + 1, broken, tuple(change.change for change in changes))

    def _write(
        self, due: Due, merged: Merged, ruled: list[Verdict], contract: Contract
    ) -> tuple[AlertChanged, ...]:
        now_ms = self._clock.now_ms()
        with immediate(self._engine) as connection:
            if not take(connection, window_state, due):
                raise Overtaken
            id_ = insert_judgement(
                connection,
                due,
                rows=merged.profile.rows,
                excluded_rows=merged.excluded_rows,
                reference_hash=None,
                configuration_hash=self._configuration.hash_for(due.key[0]),
                sources=json.dumps(merged.sources, separators=(",", ":")),
                now_ms=now_ms,
            )
            if rows := result_rows(id_, due, ruled):
                connection.execute(insert(result), rows)
            if due.spec != self._configuration.for_model(due.key[0]).windows[0]:
                return ()
            observation = observation_of(due, ruled, contract, "")
            return observe(connection, self._configuration, observation, now_ms)


def _due(connection: Connection, key: Key, watermark_ms: int, until_ms: int | None) -> list[Due]:
    """Complete windows that begin before the reference will be in force, oldest first."""
    w = window_state.c
    query = select(window_state).where(
        w.model == key[0], w.version == key[1], w.touched != w.judged, w.end_ms <= watermark_ms
    )
    if until_ms is not None:
        query = query.where(w.start_ms < until_ms)
    rows = connection.execute(query.order_by(w.end_ms, w.start_ms.desc()).limit(MOST_WINDOWS))
    return [Due(key, WindowSpec.parse(r.window), r.start_ms, r.touched, r.judged, r.revision) for r in rows]
