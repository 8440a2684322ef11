"""Performance before labels come: estimated once a window is complete, reconciled when they have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import Connection, Engine, and_, delete, insert, select, update

from detectors.calibrator import Calibrator
from detectors.conformal import Bands, Estimate, Judge, held_out, least_off
from detectors.estimation import estimate, judge_classes, realised
from detectors.expected_loss import ExpectedLoss, estimate_loss, judge_numbers, realised_loss
from detectors.outcome_reference import OutcomeReference, up_to_age
from detectors.outcomes import EVERYTHING, Family, Records
from detectors.reconcile import Change, split_change, split_loss_change
from detectors.tensor import FloatArray
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.judging.judgements import Due
from monitor.performance.references import in_force
from monitor.profiling import Key
from monitor.store.engine import immediate, reading
from monitor.store.queries.outcomes import window_outcomes
from monitor.store.sql import upsert
from monitor.store.tables import estimate_state, outcome_window, performance_value
from schemas.window import WindowSpec

MOST_WINDOWS = 500  # estimated in one sweep
FEWEST_WINDOWS = 10  # of a reference that can tell whether segment columns help
MOST_REFERENCES = 64  # of which what scores were worth is kept in memory
Values = dict[str, Estimate]


class Worth:
    """What predictions were worth in a reference: estimates, and how far off they were window by window.

    Parameters
    ----------
    reference : OutcomeReference

    Notes
    -----
    Estimates of all rows also look at the mix of the segment columns, if the reference's own windows are
    estimated better with them than by the score or the predicted number alone.
    """

    def __init__(self, reference: OutcomeReference) -> None:
        self.reference = reference

    @property
    def is_known(self) -> bool:
        """Whether anything can be estimated: classes need scores."""
        return self.reference.is_number or self.reference.calibrator is not None

    @cached_property
    def columns(self) -> tuple[tuple[int, ...], ...]:
        """Segments by column, of the columns that help; empty if none do."""
        by_name: dict[str, list[int]] = {}
        for hash_, name in self.reference.segments.items():
            by_name.setdefault(name.partition("=")[0], []).append(hash_ % 2**64)
        columns = tuple(tuple(hashes) for hashes in by_name.values() if len(hashes) > 1)
        if not columns or len(self.reference.windows) < FEWEST_WINDOWS:
            return ()
        helps = least_off(self.reference.windows, [self._judge(()), self._judge(columns)])
        return columns if helps else ()

    @cached_property
    def losses(self) -> ExpectedLoss:
        """Losses of predicted numbers."""
        return ExpectedLoss.fit(self.reference.records, self.columns)

    @cached_property
    def calibrator(self) -> Calibrator:
        """What scores were worth."""
        return Calibrator.fit(self.reference.records, self.reference.positive, self.columns)

    def guess(self, records: Records, segment: int, *, labelled: bool = False) -> Values:
        """Estimate the metrics of a window, or of those predictions of it that have labels."""
        with_columns = bool(self.columns) and segment == EVERYTHING
        if self.reference.is_number:
            family = Family.RESIDUAL if labelled else Family.ESTIMATED
            found = estimate_loss(
                self.losses, records, segment=segment, family=family, with_columns=with_columns
            )
        elif self.is_known:
            family = Family.LABELLED if labelled else Family.PREDICTED
            found = estimate(
                self.calibrator, records, segment=segment, family=family, with_columns=with_columns
            )
        else:
            found = {}
        return {name: one for name, one in found.items() if one is not None}

    def truth(self, records: Records) -> dict[str, float | None]:
        """Compute the same metrics from labels."""
        if self.reference.is_number:
            return realised_loss(records)
        return realised(records, self.reference.positive)

    @cached_property
    def scores(self) -> dict[str, FloatArray]:
        """How far off estimates of the reference's own windows were, in standard errors."""
        windows = self.reference.windows
        if not self.columns:
            windows = tuple(records[records["segment"] == EVERYTHING] for records in windows)
        return held_out(windows, self._judge(self.columns))

    def _judge(self, columns: Sequence[Sequence[int]]) -> Judge:
        if self.reference.is_number:
            return judge_numbers(columns)
        return judge_classes(self.reference.positive, columns)

    def split(self, records: Records, metric: str) -> Change | None:
        """Take the change of a metric since the reference apart."""
        then, by = self.reference.records, bool(self.columns)
        if self.reference.is_number:
            return split_loss_change(self.losses, then, records, metric, with_columns=by)
        if not self.is_known:
            return None
        return split_change(self.calibrator, then, records, metric, with_columns=by)


class Estimates:
    """Estimates windows, and learns from how far off it was.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._worth: dict[str, Worth] = {}

    def sweep(self, marks: Mapping[str, int], references: Mapping[Key, Sequence[OutcomeReference]]) -> int:
        """Estimate complete windows that have changed; returns how many.

        Parameters
        ----------
        marks : mapping of str to int
            Event time up to which the predictions of each model have come.
        references : mapping
            References of outcomes of each model version, the newest first.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        with reading(self._engine) as connection:
            due = self._due(connection, marks, references)
        for row in due:
            reference = in_force(references[row.model, row.version], row.start_ms)
            if reference is not None:
                self._estimate(row, reference)
        return len(due)

    def _due(
        self,
        connection: Connection,
        marks: Mapping[str, int],
        references: Mapping[Key, Sequence[OutcomeReference]],
    ) -> list[Any]:
        w = outcome_window.c
        query = (
            select(outcome_window)
            .where(w.touched != w.estimated, w.revision == 0, w.end_ms <= max(marks.values(), default=0))
            .order_by(w.end_ms)
        )
        found: list[Any] = []
        for row in connection.execute(query):
            known = in_force(references.get((row.model, row.version), ()), row.start_ms)
            if known is not None and row.end_ms <= marks.get(row.model, 0):
                found.append(row)
            if len(found) >= MOST_WINDOWS:
                break
        return found

    def _estimate(self, row: Any, reference: OutcomeReference) -> None:
        key, spec = (row.model, row.version), WindowSpec.parse(row.window)
        due = Due(key, spec, row.start_ms, row.touched, row.judged, row.revision)
        worth = self.worth_of(reference)
        with reading(self._engine) as connection:
            records = window_outcomes(connection, key, due.start_ms, due.end_ms)
            bands = self._bands(connection, key, worth) if worth.is_known else {}
        rows: list[dict[str, Any]] = []
        for segment, name in ((EVERYTHING, ""), *reference.segments.items()):
            values = worth.guess(records, segment & (2**64 - 1))
            if not name:
                values = {m: bands[m].band(one) if m in bands else one for m, one in values.items()}
            rows += self._rows(due, name, "estimated", values)
        with immediate(self._engine) as connection:
            w = outcome_window.c
            mine = and_(w.model == key[0], w.version == key[1], w.window == row.window)
            done = connection.execute(
                update(outcome_window)
                .where(mine, w.start_ms == row.start_ms, w.touched == row.touched)
                .values(estimated=row.touched)
            )
            if done.rowcount == 1:
                replace_values(connection, due, "estimated", rows)

    def reconcile(
        self, connection: Connection, due: Due, reference: OutcomeReference, records: Records
    ) -> Reconciled | None:
        """Say what the labels of a window change: bands, and what part of a change is concept.

        Parameters
        ----------
        connection : Connection
            For reading; to be stored once for each window, with its first judgement, see `store`.
        due : Due
        reference : OutcomeReference
        records : records
            Outcomes of the window.

        Returns
        -------
        Reconciled or None
            None where nothing can be estimated.
        """
        worth = self.worth_of(reference)
        if not worth.is_known:
            return None
        known = up_to_age(records, reference.age)
        guesses, truths = worth.guess(known, EVERYTHING, labelled=True), worth.truth(known)
        bands = self._bands(connection, due.key, worth)
        for metric, guess in guesses.items():
            truth = truths.get(metric)
            if truth is not None and metric in bands:
                bands[metric] = bands[metric].updated(guess, truth)
        state = {
            "model": due.key[0], "version": due.key[1], "reference_hash": reference.hash,
            "start_ms": due.start_ms, "state": _packed(bands),
        }  # fmt: skip
        split = {m: worth.split(known, m) for m in guesses if m in self._taken_apart(due.key[0])}
        changes = {metric: change for metric, change in split.items() if change is not None}
        rows = {}
        for kind in ("covariate", "concept"):
            values = {}
            for metric, change in changes.items():
                part = getattr(change, kind)
                values[metric] = Estimate(part.value, 0.0, part.low, part.high, guesses[metric].n)
            rows[kind] = self._rows(due, "", kind, values)
        return Reconciled(state, rows)

    def _taken_apart(self, model: str) -> set[str]:
        """Metrics of which changes are taken apart."""
        options = self._configuration.for_model(model).performance
        return {"accuracy", "mae"} | (set() if options is None else {options.metric})

    def worth_of(self, reference: OutcomeReference) -> Worth:
        """What predictions were worth in a reference; fitted once."""
        if reference.hash not in self._worth:
            while len(self._worth) >= MOST_REFERENCES:
                self._worth.pop(next(iter(self._worth)))
            self._worth[reference.hash] = Worth(reference)
        return self._worth[reference.hash]

    def _bands(self, connection: Connection, key: Key, worth: Worth) -> dict[str, Bands]:
        e = estimate_state.c
        query = select(e.state).where(
            e.model == key[0], e.version == key[1], e.reference_hash == worth.reference.hash
        )
        state = connection.execute(query).scalar()
        if state is not None:
            return _unpacked(bytes(state))
        return {
            metric: Bands.start(np.asarray(scores)) for metric, scores in worth.scores.items() if len(scores)
        }

    def _rows(self, due: Due, segment: str, kind: str, values: Values) -> list[dict[str, Any]]:
        return [
            {
                "model": due.key[0], "version": due.key[1], "window": str(due.spec),
                "start_ms": due.start_ms, "segment": segment, "kind": kind, "metric": metric,
                "value": one.value, "low": _finite(one.low), "high": _finite(one.high), "n": one.n,
                "coverage": None, "computed_at_ms": self._clock.now_ms(),
            }
            for metric, one in values.items()
        ]  # fmt: skip


class Reconciled(NamedTuple):
    """State of the bands after a window, and parts of changes by kind; rows of tables."""

    state: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]]

    def store(self, connection: Connection, due: Due) -> None:
        """Write both."""
        upsert(connection, estimate_state, [self.state])
        for kind, rows in self.rows.items():
            replace_values(connection, due, kind, rows)


def replace_values(connection: Connection, due: Due, kind: str, rows: list[dict[str, Any]]) -> None:
    """Put values of a window in the place of those that there were."""
    p = performance_value.c
    mine = and_(
        p.model == due.key[0], p.version == due.key[1], p.window == str(due.spec),
        p.start_ms == due.start_ms, p.kind == kind,
    )  # fmt: skip
    connection.execute(delete(performance_value).where(mine))
    if rows:
        connection.execute(insert(performance_value), rows)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _packed(bands: Mapping[str, Bands]) -> bytes:
    return msgspec.msgpack.encode({metric: one.to_bytes() for metric, one in bands.items()})


def _unpacked(data: bytes) -> dict[str, Bands]:
    stored = msgspec.msgpack.decode(data, type=dict[str, bytes])
    return {metric: Bands.from_bytes(one) for metric, one in stored.items()}
