"""Realised performance of model versions over any range of event time, from stored outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, select

from alerting.finding import Kind
from detectors.base import Detector
from detectors.outcome_reference import OutcomeReference
from detectors.outcome_windows import outcome_lanes
from detectors.outcomes import AGE_LIMITS_MS, EVERYTHING, NO_SCORE, Family, Records, ages, joined
from detectors.performance import Realised, Task, realised
from detectors.tensor import FloatArray
from monitor.config.alerts import Alerts
from monitor.config.settings import ModelSettings
from monitor.judging.budget import window_budget
from monitor.labels.pending import hashes_of, positive_hash
from monitor.store.queries.outcomes import OutcomeSpan, class_hashes, outcomes, texts_of
from monitor.store.tables import model_version
from schemas.column import FAIRNESS_PREFIX, LABEL_DELAY
from schemas.verdict import Verdict

ZERO_OR_ONE = {int(x) for x in hashes_of(["0", "1"]).view(np.int64)}


@dataclass(frozen=True)
class Measured:
    """Performance of some model versions, together.

    Parameters
    ----------
    task : str
    realised : Realised
    records : records
        That it is computed from.
    names : dict of int to str
        Names of classes and segments by hash.
    """

    task: Task
    realised: Realised
    records: Records
    names: dict[int, str]

    @property
    def segments(self) -> list[str]:
        """Segments that have outcomes."""
        hashes = np.unique(self.records["segment"]).view(np.int64).tolist()
        return sorted(self.names.get(h, f"{h & (2**64 - 1):016x}") for h in hashes if h != EVERYTHING)


def segment_hash(segment: str) -> int:
    """Hash of a segment, ``name=value``; empty for all rows."""
    return int(hashes_of([segment])[0]) if segment else EVERYTHING


def task_of(settings: ModelSettings, records: Records) -> Task:
    """Task of a model: as configured, or as its outcomes look."""
    if settings.task is not None:
        return settings.task
    families = set(np.unique(records["family"]).tolist())
    if families & {Family.ESTIMATED, Family.RESIDUAL}:
        return "regression"
    if Family.ONE_AGAINST_REST in families:
        return "multiclass_classification"
    of_classes = records[records["family"] <= Family.LABELLED]
    classes = set(of_classes["a"].tolist()) | set(of_classes["b"][of_classes["family"] == 1].tolist())
    has_score = bool((of_classes["cell"] != NO_SCORE).any())
    is_binary = classes <= ZERO_OR_ONE or has_score or settings.positive_label is not None
    return "binary_classification" if is_binary else "multiclass_classification"


def positive_of(settings: ModelSettings, records: Records) -> tuple[int, ...]:
    """Hash of the positive class of a binary classifier, as int64; empty for other models."""
    if task_of(settings, records) != "binary_classification":
        return ()
    return (int(np.array([positive_hash(settings)], np.uint64).view(np.int64)[0]),)


def age_of(settings: ModelSettings) -> int:
    """Index of the oldest age at which labels are evidence."""
    waited_ms = min(settings.labels.wait_ms, settings.labels.horizon_ms)
    return int(ages(np.array([waited_ms]))[0])


def wait_ms(settings: ModelSettings) -> int:
    """How long labels are waited for: the limit of that age."""
    return AGE_LIMITS_MS[min(age_of(settings), len(AGE_LIMITS_MS) - 1)]


def outcome_budget(
    alerts: Alerts,
    settings: ModelSettings,
    detector: Detector,
    reference: OutcomeReference,
    window_ms: int,
    models: int,
) -> FloatArray:
    """Share the budget of one window out over the streams of its outcomes.

    Parameters
    ----------
    alerts : Alerts
    settings : ModelSettings
    detector : Detector
    reference : OutcomeReference
        That the window is compared with.
    window_ms : int
        Length of the window.
    models : int
        Model versions that share the budget; 0: nothing may be spent.

    Returns
    -------
    FloatArray
        ``[S, C]``, see `monitor.judging.budget.window_budget`.
    """
    columns, segments = reference.tensor.layout.columns, len(reference.tensor.segments)
    lanes = outcome_lanes(detector, reference, settings.fairness_rules())
    if not models:
        return np.zeros((segments, len(lanes)))
    alone = len(lanes) - len(columns)
    budget = window_budget(alerts, window_ms, models, lanes, segments, of_outcomes=True, alone=alone)
    # How long labels take is watched of all rows only: in a part of them a day's delays say little.
    budget[1:, [at for at, name in enumerate(columns) if name == LABEL_DELAY]] = 0.0
    return budget


def by_kind(verdicts: Iterable[Verdict]) -> dict[Kind, list[Verdict]]:
    """Verdicts on outcomes by the kind of the incident that they speak to."""
    found: dict[Kind, list[Verdict]] = {Kind.PERFORMANCE: []}
    for verdict in verdicts:
        kind = Kind.FAIRNESS if verdict.column.startswith(FAIRNESS_PREFIX) else Kind.PERFORMANCE
        found.setdefault(kind, []).append(verdict)
    return found


def measure_together(
    connection: Connection,
    settings: ModelSettings,
    parts: Iterable[Records],
    *,
    segment: str = "",
    until_age: int | None = None,
    with_scores: bool = True,
) -> Measured:
    """Measure the performance of outcomes taken together.

    Parameters
    ----------
    connection : Connection
        For the names of classes.
    settings : ModelSettings
    parts : iterable of records
    segment : str
        ``name=value``; empty for all rows.
    until_age : int, optional
        Only labels of at most this age, see `detectors.outcomes.AGE_LIMITS_MS`.
    with_scores : bool
        Also what needs scores; takes most of the time.
    """
    records = joined([part.tobytes() for part in parts])
    names = texts_of(connection, class_hashes([records]))
    return measure_records(
        settings, records, names, segment=segment, until_age=until_age, with_scores=with_scores
    )


def measure_records(
    settings: ModelSettings,
    records: Records,
    names: Mapping[int, str],
    *,
    segment: str = "",
    until_age: int | None = None,
    with_scores: bool = True,
) -> Measured:
    """Measure the performance of outcomes; see `measure_together`.

    Parameters
    ----------
    records : records
        Added up, as from `detectors.outcomes.joined`.
    names : mapping of int to str
        Names of classes and segments by hash as int64.
    """
    task = task_of(settings, records)
    found = realised(
        records,
        task,
        positive=np.array([positive_hash(settings)], np.uint64),
        names={hash_ & (2**64 - 1): name for hash_, name in names.items()},  # stored with a sign
        costs=None if settings.performance is None else settings.performance.cost_matrix(),
        segment=segment_hash(segment),
        until_age=until_age,
        with_scores=with_scores,
    )
    return Measured(task, found, records, dict(names))


def versions_of(connection: Connection, model: str) -> dict[str, str]:
    """Versions of a model and their roles, by their first slice."""
    c = model_version.c
    query = select(c.version, c.role).where(c.model == model).order_by(c.first_slice_ms, c.version)
    return {row.version: row.role for row in connection.execute(query)}


def read_outcomes(
    connection: Connection, model: str, versions: Iterable[str], from_ms: int, to_ms: int
) -> dict[str, Records]:
    """Outcomes of versions over a range; see `OutcomeSpan`."""
    return outcomes(connection, OutcomeSpan(model, tuple(versions), from_ms, to_ms))
