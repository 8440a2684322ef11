"""What is stored of a judged window beside the verdicts: measures, the objective, news of the estimates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection

from detectors.fairness import measure_fairness
from detectors.outcome_reference import OutcomeReference
from detectors.outcomes import EVERYTHING, Records
from detectors.performance import Realised
from monitor.config import Configuration
from monitor.config.settings import ModelSettings
from monitor.judging.judgements import Due
from monitor.judging.merging import joined_sources
from monitor.performance.estimates import Estimates, Reconciled
from monitor.performance.objectives import Objective, measure_objective
from monitor.performance.outcomes import measure_together
from monitor.store.queries.outcomes import sources_between
from schemas.column import fairness_column


class Figures(NamedTuple):
    """Everything that is stored of a window beside the verdicts.

    Parameters
    ----------
    predictions : int
        Number of predictions that wait, or waited, for a label.
    realised : list of dict
        Rows of ``performance_value``.
    reconciled : Reconciled or None
        What the labels say of the estimates; of a first judgement only.
    objective : Objective or None
        How the model does by its objective.
    sources : str
        Stretches of Kafka that the outcomes are made of.
    """

    predictions: int
    realised: list[dict[str, Any]]
    reconciled: Reconciled | None
    objective: Objective | None
    sources: str


def figures_of(
    connection: Connection,
    configuration: Configuration,
    estimates: Estimates,
    due: Due,
    reference: OutcomeReference,
    records: Records,
    *,
    is_news: bool,
    now_ms: int,
) -> Figures:
    """Work out everything that is stored beside the verdicts, before anything is locked.

    Parameters
    ----------
    connection : Connection
    configuration : Configuration
    estimates : Estimates
    due : Due
    reference : OutcomeReference
    records : records
        Outcomes of the window.
    is_news : bool
        Something that counts as evidence has changed; otherwise only the measures are renewed.
    now_ms : int
        Wall clock.
    """
    settings, rows = configuration.for_model(due.key[0]), []
    for segment in reference.tensor.segments:
        found = measure_together(
            connection, settings, [records], segment=segment, with_scores=not segment
        ).realised
        rows += _value_rows(due, segment, found, now_ms)
    rows += _fairness_rows(due, settings, reference, records, now_ms)
    is_first = due.revision == 0
    return Figures(
        _predictions(records),
        rows,
        estimates.reconcile(connection, due, reference, records) if is_first else None,
        measure_objective(connection, configuration, due) if is_news else None,
        joined_sources(sources_between(connection, due.key, due.start_ms, due.end_ms)) if is_news else "",
    )


def _predictions(records: Records) -> int:
    made = (records["age"] == -1) & (records["segment"] == EVERYTHING)
    return int(records["n"][made].sum())


def _value_rows(due: Due, segment: str, found: Realised, now_ms: int) -> list[dict[str, Any]]:
    return [
        {
            "model": due.key[0], "version": due.key[1], "window": str(due.spec), "start_ms": due.start_ms,
            "segment": segment, "kind": "realised", "metric": name[:128], "value": one.value, "low": one.low,
            "high": one.high, "n": one.n, "coverage": found.coverage, "computed_at_ms": now_ms,
        }
        for name, one in found.measures.items()
    ]  # fmt: skip


def _fairness_rows(
    due: Due, settings: ModelSettings, reference: OutcomeReference, records: Records, now_ms: int
) -> Iterator[dict[str, Any]]:
    """Disparities between the values of segment columns, as measures of the window."""
    for rule in settings.fairness_rules() if reference.positive else ():
        start = f"{rule.segment}="
        groups = {name: hash_ % 2**64 for hash_, name in reference.segments.items() if name.startswith(start)}
        found = measure_fairness(records, groups, reference.positive, least_rows=rule.least_rows)
        for measure in rule.limits:
            gap = found.disparities[measure]
            if gap is not None:
                yield {
                    "model": due.key[0], "version": due.key[1], "window": str(due.spec),
                    "start_ms": due.start_ms, "segment": "", "kind": "realised",
                    "metric": fairness_column(rule.segment, measure)[:128], "value": gap.value,
                    "low": gap.low, "high": gap.high, "n": sum(g.positive.n for g in found.groups),
                    "coverage": None, "computed_at_ms": now_ms,
                }  # fmt: skip
