"""Service-level objectives of performance: an alert when a metric is worse than agreed, for long and still.

One window alone says little, and a long range goes on for long after all is well again. So an objective is
missed when the metric is worse over the long range, with its whole interval, and also over the last windows.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from alerting.finding import Finding, Kind, WindowObservation, instant
from detectors.intervals import Measure
from monitor.config import Configuration
from monitor.config.settings import LOWER_IS_BETTER, PerformanceOptions
from monitor.judging.judgements import Due, observe
from monitor.performance.outcomes import measure_together
from monitor.store.queries.outcomes import window_outcomes
from monitor.telemetry import AlertChanged
from schemas.duration import format_duration
from schemas.verdict import Lane

DETECTOR = "objective"
_OF_SCORES = ("roc_auc", "log_loss", "brier")
_RATIOS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc")


@dataclass(frozen=True)
class Objective:
    """How a metric stands to its objective over two ranges."""

    options: PerformanceOptions
    long: Measure
    short: Measure

    @property
    def is_missed(self) -> bool:
        """Whether it is worse over the long range, surely, and over the short one too."""
        slo = self.options.slo
        if self.options.metric in LOWER_IS_BETTER:
            return self.long.low is not None and self.long.low > slo and self.short.value > slo
        return self.long.high is not None and self.long.high < slo and self.short.value < slo

    @property
    def burn_rate(self) -> float | None:
        """How many times as fast as agreed failures come; of shares of right predictions."""
        allowed = 1 - self.options.slo
        if self.options.metric not in _RATIOS or allowed <= 0:
            return None
        return (1 - self.long.value) / allowed

    def words(self) -> str:
        """Say how the metric stands."""
        options, long, short = self.options, self.long, self.short
        limits = "" if long.low is None or long.high is None else f" ({long.low:.3g}–{long.high:.3g})"
        text = (
            f"{options.metric} {long.value:.3g}{limits} over {format_duration(options.long_ms)} and "
            f"{short.value:.3g} in the last {format_duration(options.short_ms)}; "
            f"the objective is {options.slo:g}"
        )
        burn = self.burn_rate
        return text if burn is None else f"{text}: failures come {burn:.1f} times as often as agreed"


def measure_objective(connection: Connection, configuration: Configuration, due: Due) -> Objective | None:
    """Measure the metric of a model version over both ranges, up to the end of a window.

    Returns
    -------
    Objective or None
        None where there is no objective, or the metric is not defined.
    """
    settings = configuration.for_model(due.key[0])
    options = settings.performance
    if options is None:
        return None
    found = []
    for length_ms in (options.long_ms, options.short_ms):
        from_ms = due.end_ms - max(length_ms, due.spec.length_ms)
        records = window_outcomes(connection, due.key, from_ms, due.end_ms)
        needs_scores = options.metric in _OF_SCORES
        found_all = measure_together(connection, settings, [records], with_scores=needs_scores)
        measures = found_all.realised.measures
        found.append(measures.get(options.metric))
    long, short = found
    return None if long is None or short is None else Objective(options, long, short)


def tell_objective(
    connection: Connection, configuration: Configuration, due: Due, objective: Objective | None, now_ms: int
) -> tuple[AlertChanged, ...]:
    """Raise or settle the alert of an objective.

    Parameters
    ----------
    connection : Connection
        Inside the transaction in which the outcomes of the window were judged.
    configuration : Configuration
    due : Due
        The window.
    objective : Objective or None
        From `measure_objective`.
    now_ms : int
        Wall clock.
    """
    if objective is None:
        return ()
    observation = WindowObservation(
        *due.key,
        due.start_ms,
        due.end_ms,
        revision=due.revision + 1,
        findings=(_finding(objective, due),) if objective.is_missed else (),
        kind=Kind.SLO,
    )
    return observe(connection, configuration, observation, now_ms)


def _finding(objective: Objective, due: Due) -> Finding:
    return Finding(
        objective.options.metric,
        "",
        Lane.PERFORMANCE,
        DETECTOR,
        instant(due.start_ms),
        instant(due.end_ms),
        statistic=objective.long.value,
        threshold=float(objective.options.slo),
        explanation=objective.words(),
    )
