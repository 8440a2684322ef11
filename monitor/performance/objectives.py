"""Service-level objectives of performance: an alert when a metric is worse than agreed, for long and still.

One window alone says little, and a long range goes on for long after all is well again. So an objective is
missed when the metric is worse over the long range, with its whole interval, and also over the last windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from alerting.finding import Finding, Kind, WindowObservation, instant
from detectors.intervals import Measure
from detectors.outcomes import Records
from monitor.config import Configuration
from monitor.config.settings import LOWER_IS_BETTER, ModelSettings, PerformanceOptions
from monitor.judging.judgements import Due, observe
from monitor.performance.outcomes import measure_records
from monitor.profiling import Key
from monitor.store.queries.outcomes import class_hashes, texts_of, window_outcomes
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
    if settings.performance is None:
        return None
    long, short = (
        window_outcomes(connection, due.key, due.end_ms - length_ms, due.end_ms)
        for length_ms in ranges_of(settings.performance, due.spec.length_ms)
    )
    names = texts_of(connection, class_hashes([long, short]))
    return objective_of(settings, long, short, names)


def ranges_of(options: PerformanceOptions, window_ms: int) -> tuple[int, int]:
    """Lengths of the long and the short range in ms: at least one window."""
    return max(options.long_ms, window_ms), max(options.short_ms, window_ms)


def objective_of(
    settings: ModelSettings, long: Records, short: Records, names: Mapping[int, str]
) -> Objective | None:
    """Measure the metric of a model over both ranges.

    Parameters
    ----------
    settings : ModelSettings
    long, short : records
        Outcomes of the two ranges, added up.
    names : mapping of int to str
        Names of classes by hash as int64.

    Returns
    -------
    Objective or None
        None where there is no objective, or the metric is not defined.
    """
    options = settings.performance
    if options is None:
        return None
    of_long, of_short = (
        measure_records(
            settings, records, names, with_scores=options.metric in _OF_SCORES
        ).realised.measures.get(options.metric)
        for records in (long, short)
    )
    return None if of_long is None or of_short is None else Objective(options, of_long, of_short)


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
    observation = observation_of(objective, due.key, due.start_ms, due.end_ms, due.revision + 1)
    return observe(connection, configuration, observation, now_ms)


def observation_of(
    objective: Objective, key: Key, start_ms: int, end_ms: int, revision: int = 1
) -> WindowObservation:
    """Say what a window says to the incident of the objective."""
    return WindowObservation(
        *key,
        start_ms,
        end_ms,
        revision=revision,
        findings=(_finding(objective, start_ms, end_ms),) if objective.is_missed else (),
        kind=Kind.SLO,
    )


def _finding(objective: Objective, start_ms: int, end_ms: int) -> Finding:
    return Finding(
        objective.options.metric,
        "",
        Lane.PERFORMANCE,
        DETECTOR,
        instant(start_ms),
        instant(end_ms),
        statistic=objective.long.value,
        threshold=float(objective.options.slo),
        explanation=objective.words(),
    )
