"""Columns of a model: what kind of values they hold and which part of an event they come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.verdict import Lane


class Kind(StrEnum):
    """What the values of a column are."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    VECTOR = "vector"


class Source(StrEnum):
    """Which part of an event a column comes from."""

    FEATURE = "feature"
    PREDICTION = "prediction"
    SCORE = "score"
    LATENCY = "latency"
    ERROR = "error"
    PERFORMANCE = "performance"  # derived of prediction and label
    DERIVED = "derived"  # of several features together, or of a vector

    @property
    def lane(self) -> Lane:
        """Lane of the alarm budget that findings on such a column belong to."""
        return _LANES[self]


_LANES = {
    Source.FEATURE: Lane.FEATURES,
    Source.PREDICTION: Lane.PREDICTIONS,
    Source.SCORE: Lane.PREDICTIONS,
    Source.LATENCY: Lane.QUALITY,
    Source.ERROR: Lane.QUALITY,
    Source.PERFORMANCE: Lane.PERFORMANCE,
    Source.DERIVED: Lane.MULTIVARIATE,
}

# Names of the columns that are not features. A feature of the same name is shown as "feature.<name>".
PREDICTION, SCORE, LATENCY, ERROR = "prediction", "score", "latency_ms", "error"
RESERVED = frozenset({PREDICTION, SCORE, LATENCY, ERROR})
# How wrong a prediction was, once its label is known.
PERFORMANCE_ERROR, PERFORMANCE_LOSS = "performance.error", "performance.loss"
# Whether scores are worth what they were.
PERFORMANCE_CALIBRATION = "performance.calibration"
# What labels say, how long they take, and for how many predictions there is one.
LABEL, LABEL_DELAY, LABEL_COVERAGE = "label", "label.delay", "label.coverage"
# How differently groups are treated: "fairness.<segment column>.<measure>".
FAIRNESS_PREFIX = "fairness."
# How far a row lies from the cloud of the reference's rows, and from the space of its leading axes.
MULTIVARIATE_PREFIX = "multivariate."
DISTANCE, RECONSTRUCTION_ERROR, CORRELATION = (
    f"{MULTIVARIATE_PREFIX}{name}" for name in ("distance", "reconstruction_error", "correlation")
)

NOT_INPUTS = RESERVED | {LABEL}
NOT_INPUT_PREFIXES = (MULTIVARIATE_PREFIX, FAIRNESS_PREFIX, "performance.", "label.", "score.")


@dataclass(frozen=True)
class ColumnSpec:
    """One column of a model version.

    Parameters
    ----------
    name : str
        Unique within the model version; nested features are dotted.
    kind : Kind
        Fixed when the column is first seen, or by the configuration. Values of another type count as invalid.
    source : Source
        Which part of the event it comes from.
    path : tuple of str
        Keys that lead to a feature inside ``features``; empty for other sources.
    """

    name: str
    kind: Kind
    source: Source = Source.FEATURE
    path: tuple[str, ...] = ()


def fairness_column(segment: str, measure: str) -> str:
    """Name of the column of a measure of fairness over the values of a segment column.

    Examples
    --------
    >>> fairness_column("gender", "equal_opportunity")
    'fairness.gender.equal_opportunity'
    """
    return f"{FAIRNESS_PREFIX}{segment}.{measure}"


def feature_name(path: tuple[str, ...]) -> str:
    """Name of the column of a feature.

    Examples
    --------
    >>> feature_name(("user", "age")), feature_name(("score",))
    ('user.age', 'feature.score')
    """
    name = ".".join(path)
    return f"feature.{name}" if name in RESERVED or name.startswith(("score.", MULTIVARIATE_PREFIX)) else name


def is_input(column: str) -> bool:
    """Say whether a column is what a model is fed with, rather than what it says or what became of it.

    Examples
    --------
    >>> is_input("age"), is_input("score"), is_input("performance.error"), is_input("")
    (True, False, False, False)
    """
    return bool(column) and column not in NOT_INPUTS and not column.startswith(NOT_INPUT_PREFIXES)
