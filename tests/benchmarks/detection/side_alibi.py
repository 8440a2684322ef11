"""Measured side: alibi-detect's K-S, chi-squared and Fisher's exact drift detectors.

``python -m tests.benchmarks.detection.side_alibi WORK PART PARTS``, in alibi-detect's environment. Each
column is judged as `TabularDrift` judges it: K-S for numbers, chi-squared for categories, p < 0.05
divided by the number of columns. The wrong predictions have `FETDrift` for themselves, at p < 0.05, as in
its documentation. Detectors for several columns at once need PyTorch, TensorFlow or a classifier of the
user's, and are left out.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tests.benchmarks.detection.results import Results
from tests.benchmarks.detection.sorted_sample import SortedSample
from tests.benchmarks.detection.streams import HORIZON, SHAPES, SIZES, Planted, Streams, read

P_VALUE = 0.05
FAMILIES = {
    "mean": "numeric",
    "scale": "numeric",
    "tail": "numeric",
    "category": "categorical",
    "label flip": "error",
}
_LEAST_P = 1e-290
_SAME = 1e-6


def suspicion(p: Any, distance: Any) -> Any:
    """Order p-values, and those too small for a float by their statistic."""
    return np.where(p > _LEAST_P, -np.log10(np.maximum(p, _LEAST_P)), 290.0 + distance)


class Numbers:
    """K-S test of one numeric column."""

    def __init__(self, values: Any) -> None:
        from alibi_detect.cd import KSDrift

        known = values[~np.isnan(values)]
        self._sample = SortedSample(known)
        self._own = KSDrift(known.reshape(-1, 1), p_val=P_VALUE)

    def __call__(self, window: Any) -> float:
        x = window[~np.isnan(window)]
        if not len(x):
            return 0.0
        distance = self._sample.kolmogorov(x)
        m, n = len(self._sample.values), len(x)
        p = stats.kstwo.sf(distance, np.round(m * n / (m + n)))
        return float(suspicion(p, distance))

    def own(self, window: Any) -> float:
        """Ask alibi-detect itself."""
        x = window[~np.isnan(window)].reshape(-1, 1)
        data = self._own.predict(x, return_p_val=True, return_distance=True)["data"]
        return float(suspicion(data["p_val"][0], data["distance"][0]))


class Categories:
    """Chi-squared test of one categorical column."""

    def __init__(self, codes: Any, values: int) -> None:
        from alibi_detect.cd import ChiSquareDrift

        self._values = values
        self._known = np.bincount(codes, minlength=values)
        self._own = ChiSquareDrift(codes.reshape(-1, 1), p_val=P_VALUE)

    def __call__(self, window: Any) -> float:
        table = np.stack([self._known, np.bincount(window, minlength=self._values)])
        # Values that the reference does not have are left out, as by ChiSquareDrift.
        statistic, p, _, _ = stats.chi2_contingency(table[:, self._known > 0])
        return float(suspicion(p, statistic))

    def own(self, window: Any) -> float:
        """Ask alibi-detect itself."""
        data = self._own.predict(window.reshape(-1, 1), return_p_val=True)["data"]
        return float(-np.log10(np.maximum(data["p_val"][0], _LEAST_P)))


class Errors:
    """Fisher's exact test of wrong predictions."""

    def __init__(self, wrong: Any) -> None:
        from alibi_detect.cd import FETDrift

        self._known = np.bincount(wrong, minlength=2)
        self._own = FETDrift(wrong, p_val=P_VALUE)

    def __call__(self, window: Any) -> float:
        right, wrong = np.bincount(window, minlength=2).tolist()
        table = np.array([[wrong, self._known[1]], [right, self._known[0]]])
        odds, p = stats.fisher_exact(table, alternative="greater")
        return float(suspicion(p, odds))

    def own(self, window: Any) -> float:
        """Ask alibi-detect itself."""
        data = self._own.predict(window, return_p_val=True, return_distance=True)["data"]
        return float(suspicion(data["p_val"][0], data["distance"][0]))


def of_planted(found: Planted, change: str, streams: Streams) -> Any:
    """Values of the column that a change was planted in: ``[windows, rows]``."""
    if change == "category":
        return found.codes[:, :, streams.world.categorical]
    return found.error if change == "label flip" else found.numeric[:, :, streams.world.numeric]


def checked(test: Any, window: Any) -> float:
    """Largest difference from what the tool itself says, relative where the number is large."""
    mine, own = test(window), test.own(window)
    return (
        abs(mine - own) / max(abs(own), 1.0) if own < -np.log10(_LEAST_P) / 8 else 0.0
    )  # p-values are float32


def judge(streams: Streams, results: Results) -> None:
    """Judge one world."""
    base, world = streams.base, streams.world
    numbers = [Numbers(values) for values in base.numeric[streams.reference].reshape(-1, 3).T]
    categories = [
        Categories(codes, len(values))
        for codes, values in zip(base.codes[streams.reference].reshape(-1, 2).T, base.categories, strict=True)
    ]
    errors = Errors(base.error[streams.reference].ravel())
    calm: dict[str, tuple[list[Callable[[Any], float]], Any, float]] = {
        "numeric": (list(numbers), np.moveaxis(base.numeric[streams.calm], 2, 0), P_VALUE / 5),
        "categorical": (list(categories), np.moveaxis(base.codes[streams.calm], 2, 0), P_VALUE / 5),
        "error": ([errors], base.error[streams.calm][None], P_VALUE),
    }
    for family, (tests, values, level) in calm.items():
        scores = np.array([[test(x) for x in column] for test, column in zip(tests, values, strict=True)])
        results.calm[family, world.key] = scores
        results.default[family, world.key] = scores > -np.log10(level)
        for column_test, column in zip(tests, values, strict=True):
            off = max(checked(column_test, x) for x in column[:2])
            results.notes["largest difference from own call"] = max(
                results.notes.get("largest difference from own call", 0.0), off
            )
    for change in FAMILIES:
        test: Callable[[Any], float] = numbers[world.numeric]
        if change in ("category", "label flip"):
            test = categories[world.categorical] if change == "category" else errors
        scores = np.zeros((len(SHAPES), len(SIZES[change]), HORIZON))
        for i, shape in enumerate(SHAPES):
            for j, size in enumerate(SIZES[change]):
                windows = of_planted(streams.planted(change, shape, size), change, streams)
                scores[i, j] = [test(x) for x in windows]
        results.planted[change, world.key] = scores


def main() -> None:
    """Judge the worlds of one part of a work folder."""
    warnings.filterwarnings("ignore")
    work, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    results = Results("alibi-detect", version("alibi-detect"), FAMILIES)
    for streams in read(work, part, parts):
        judge(streams, results)
    if results.notes["largest difference from own call"] > _SAME:
        msg = f"alibi-detect: scores differ from its own by {results.notes}"
        raise RuntimeError(msg)
    results.save(work, part)


if __name__ == "__main__":
    main()
