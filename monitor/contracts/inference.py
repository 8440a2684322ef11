"""From a sample of events to a draft of a contract: features, task, columns worth being segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitor.contracts.contract import CATEGORICAL, NUMERIC
from monitor.contracts.survey import Seen, named, survey
from monitor.frames.names import IDENTITY, SCORE_PREFIX, TAG_PREFIX
from monitor.frames.table import Table
from schemas.column import RESERVED

LABELS = ("label", "target", "y", "y_true", "actual", "outcome", "ground_truth")
PREDICTIONS = ("prediction", "y_pred", "pred", "predicted")
SCORES = ("score", "proba", "probability", "y_score", "prediction_score")
MOST_SEGMENTS = 3
_MOST_CLASSES = 20
_SEGMENT_VALUES = range(2, 21)


@dataclass(frozen=True)
class Inferred:
    """What a sample tells.

    Parameters
    ----------
    rows : int
    features : dict of str to Seen
        By the name that the column has in events.
    label, prediction, score : str or None
        Columns that are no features, as they are called in the sample.
    task : str or None
    positive_label : object
        Label of the positive class, where it is not the usual one.
    segments : tuple of str
        Columns that the model could be watched by.
    """

    rows: int
    features: dict[str, Seen]
    label: str | None
    prediction: str | None
    score: str | None
    task: str | None
    positive_label: Any
    segments: tuple[str, ...]


def infer(table: Table, label: str | None = None) -> Inferred:
    """Look at a sample, one row an event.

    Parameters
    ----------
    table : Table
    label : str, optional
        Column with the label; recognised by its name if left out.

    Raises
    ------
    UsageError
        If the sample is empty, cannot be read, or has no such column.
    """
    if label is not None and label not in table.schema.names:
        msg = f"--label: {label!r} is no column (there are: {', '.join(table.schema.names[:20])})"
        raise table.wrong(msg)
    seen = survey(table)
    label = label or named(seen, LABELS)
    prediction, score = named(seen, PREDICTIONS), named(seen, SCORES)
    parts = {name for name in (label, prediction, score) if name is not None}
    features = {name: one for name, one in seen.items() if name not in parts and not _is_part(name)}
    answer = seen[label] if label is not None else seen[prediction] if prediction is not None else None
    task = None if answer is None else _task(answer)
    return Inferred(
        max(one.rows for one in seen.values()),
        features,
        label,
        prediction,
        score,
        task,
        _positive(answer) if answer is not None and task == "binary_classification" else None,
        _segments(features),
    )


def _is_part(name: str) -> bool:
    """Whether a column is a part of the event; see `monitor.frames.names`."""
    return name in IDENTITY | RESERVED or name.startswith((SCORE_PREFIX, TAG_PREFIX))


def _task(answer: Seen) -> str | None:
    if answer.kind == NUMERIC and (
        len(answer.values) > _MOST_CLASSES or any(not float(value).is_integer() for value in answer.values)
    ):
        return "regression"
    if answer.kind is None or len(answer.values) < 2:
        return None
    return "binary_classification" if len(answer.values) == 2 else "multiclass_classification"


def _positive(answer: Seen) -> Any:
    """Label of the positive class that names suggest; 1 and true need no word."""
    texts = {str(value).lower(): value for value in answer.values}
    if {"1", "1.0", "true"} & texts.keys():
        return None
    usual = next((texts[word] for word in ("yes", "y", "positive", "pos", "t") if word in texts), None)
    return usual if usual is not None else sorted(answer.values, key=str)[-1]


def _segments(features: dict[str, Seen]) -> tuple[str, ...]:
    fit = [
        name
        for name, one in features.items()
        if one.kind == CATEGORICAL and len(one.values) in _SEGMENT_VALUES and 2 * len(one.values) <= one.rows
    ]
    return tuple(fit[:MOST_SEGMENTS])
