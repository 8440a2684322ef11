"""What the outputs of a model mean: numbers and lists as they come, to prediction and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monitor.decode.message import Event
from monitor.decode.reading import Reading
from schemas.errors import EventError

_PREDICTION = (
    "prediction",
    "predictions",
    "predict",
    "predicted",
    "predicted_label",
    "label",
    "class",
    "target",
)
_SCORE = ("score", "probability", "predict_proba", "probabilities", "proba", "scores", "confidence")
_NEARLY = 1e-3  # how far from 1 rounded probabilities may add up


def outputs_of(named: Mapping[str, Any], reading: Reading) -> Event:
    """Tell prediction and scores from the outputs of one row.

    Parameters
    ----------
    named : mapping of str to object
        Outputs by name: scalars, or lists with a number for each class.
    reading : Reading
        Its `fields` name the outputs that are ``prediction``, ``score`` and ``scores``; without it, usual
        names are looked for, and an only output is the prediction, or the scores if it is a list.

    Returns
    -------
    dict
        With ``prediction``, and ``score`` or ``scores``.

    Raises
    ------
    EventError
        If it cannot be told which output is the prediction.

    Notes
    -----
    A list of two probabilities is that of class 0 and of class 1; of more, of classes 0, 1, 2, …. Without a
    prediction of its own the most likely class is predicted, of two classes by `Reading.threshold`.

    Examples
    --------
    >>> outputs_of({"predict": 3.5}, Reading())
    {'prediction': 3.5}
    >>> outputs_of({"probabilities": [0.2, 0.8]}, Reading())
    {'prediction': 1, 'score': 0.8}
    >>> outputs_of({"y": "b", "p": {"a": 0.3, "b": 0.7}}, Reading(fields={"prediction": "y", "scores": "p"}))
    {'prediction': 'b', 'scores': {'a': 0.3, 'b': 0.7}}
    """
    prediction = _chosen(named, reading, ("prediction",), _PREDICTION)
    scores = _chosen(named, reading, ("score", "scores"), _SCORE)
    if prediction is None and scores is None and len(named) == 1:
        (only,) = named.values()
        prediction, scores = (None, only) if isinstance(only, list | dict) and len(only) > 1 else (only, None)
    found: Event = {}
    if scores is not None:
        found |= _scores(scores, reading)
    predicted = _scalar(prediction)
    if predicted is not None:
        found["prediction"] = predicted
    elif "scores" in found:
        found["prediction"] = max(found["scores"], key=lambda name: found["scores"][name])
    elif "score" in found:
        found["prediction"] = int(found["score"] >= reading.threshold)
    if "prediction" not in found:
        listed = ", ".join(map(repr, sorted(named))) or "none"
        msg = f"outputs: which is the prediction? (there are {listed}; name it under fields.prediction)"
        raise EventError(msg)
    return {"prediction": found.pop("prediction"), **found}


def _chosen(
    named: Mapping[str, Any], reading: Reading, roles: Sequence[str], usual: Sequence[str]
) -> Any | None:
    for role in roles:
        if role in reading.fields:
            return named.get(reading.fields[role])
    by_name = {name.lower(): value for name, value in named.items()}
    return next((by_name[name] for name in usual if by_name.get(name) is not None), None)


def _scores(scores: Any, reading: Reading) -> Event:
    if isinstance(scores, dict):
        values = {str(name): _probability(value) for name, value in scores.items()}
        return {"scores": values}
    values_ = scores if isinstance(scores, list) else [scores]
    while len(values_) == 1 and isinstance(values_[0], list):
        values_ = values_[0]
    numbers = [_probability(value) for value in values_]
    if len(numbers) == 1:
        return {"score": numbers[0]}
    if len(numbers) == 2 and abs(math.fsum(numbers) - 1) <= _NEARLY:
        return {"score": numbers[1]}
    return {"scores": {str(at): value for at, value in enumerate(numbers)}}


def _probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"outputs: score {value!r:.60} is no number"
        raise EventError(msg)
    return float(value)


def _scalar(value: Any) -> Any | None:
    """The value of a scalar, or of a list with one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list | dict):
        msg = f"outputs: the prediction is a {type(value).__name__} of {len(value)} (a scalar is allowed)"
        raise EventError(msg)
    return value
