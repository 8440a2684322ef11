"""A small delay model: logistic regression on schedule and weather, trained on January and February."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.demo.flights import UNKNOWN, WEATHER, Flights
from schemas.errors import UsageError

NAME = "flight-delay"
VERSION = "1"
NUMERIC = ("distance", "hour", *WEATHER)
NAMED = ("carrier", "origin", "dest")
THRESHOLD = 0.35
LAST_TRAINING_MONTH = 2
DESTINATIONS = 30

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DelayModel:
    """A trained model.

    Parameters
    ----------
    centre, scale : float64 array [numeric features]
        Median and standard deviation in training; the median stands in for what is missing.
    slopes : float64 array [numeric features]
        Of the standardised features.
    effects : dict of str to float64 array
        What each name adds; the last entry, 0, is for missing names.
    intercept : float
    """

    centre: Floats
    scale: Floats
    slopes: Floats
    effects: dict[str, Floats]
    intercept: float

    def score(self, flights: Flights) -> Floats:
        """Probability that each flight arrives more than 15 minutes late."""
        logit = _standardised(flights, self.centre, self.scale) @ self.slopes + self.intercept
        for name, effects in self.effects.items():
            logit += effects[flights.named[name].codes]
        return np.asarray(1 / (1 + np.exp(-logit)))


def is_for_training(flights: Flights) -> NDArray[np.bool_]:
    """Flights of the training months that arrived."""
    return np.asarray((flights.month <= LAST_TRAINING_MONTH) & (flights.label != UNKNOWN))


def train(flights: Flights) -> DelayModel:
    """Train on the flights of January and February.

    Raises
    ------
    UsageError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression  # slow to load, and only the demo has it
    except ModuleNotFoundError as error:
        msg = f"the demo trains its model with scikit-learn: {error} (pip install driftline[demo])"
        raise UsageError(msg) from error
    sample = flights.taken(is_for_training(flights))
    numbers = np.column_stack([sample.numeric[name] for name in NUMERIC])
    centre, scale = np.nanmedian(numbers, axis=0), np.nanstd(numbers, axis=0)
    known = {name: _common(sample, name) for name in NAMED}
    design = [_standardised(sample, centre, scale)]
    design += [
        (sample.named[name].codes[:, None] == codes).astype(np.float64) for name, codes in known.items()
    ]
    # Newton's method needs a handful of steps where the default solver needs fifty.
    fitted: Any = LogisticRegression(solver="newton-cholesky").fit(np.hstack(design), sample.label)
    weights: Floats = fitted.coef_[0]
    effects: dict[str, Floats] = {}
    at = len(NUMERIC)
    for name, codes in known.items():
        effects[name] = np.zeros(len(flights.named[name].names) + 1)
        effects[name][codes] = weights[at : at + len(codes)]
        at += len(codes)
    return DelayModel(centre, scale, weights[: len(NUMERIC)], effects, float(fitted.intercept_[0]))


def _common(sample: Flights, name: str) -> NDArray[np.int64]:
    """Codes that the model tells apart: all carriers and origins, and the most frequent destinations."""
    codes, times = np.unique(sample.named[name].codes, return_counts=True)
    most = DESTINATIONS if name == "dest" else len(codes)
    return np.asarray(np.sort(codes[np.argsort(-times, kind="stable")[:most]]))


def _standardised(flights: Flights, centre: Floats, scale: Floats) -> Floats:
    numbers = np.column_stack([flights.numeric[name] for name in NUMERIC])
    return np.asarray((np.where(np.isnan(numbers), centre, numbers) - centre) / scale)
