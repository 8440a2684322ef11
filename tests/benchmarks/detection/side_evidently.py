"""Measured side: Evidently's data drift, accuracy test and missing-value test.

``python -m tests.benchmarks.detection.side_evidently WORK PART PARTS``, in Evidently's environment. The
method of each column is the one that Evidently chooses; its default decisions are those of
``DataDriftPreset``, and of ``Accuracy`` and ``MissingValueCount`` with ``include_tests``: within 20 % of
the reference's accuracy, and within 10 % of its share of missing values. A report takes 0.01 to 0.4 s, so
the numbers are computed without one, and compared with a report on one window of every world.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import distance

from tests.benchmarks.detection.results import Results
from tests.benchmarks.detection.sorted_sample import SortedSample
from tests.benchmarks.detection.streams import HORIZON, SHAPES, SIZES, Planted, Streams, read

os.environ["DO_NOT_TRACK"] = "1"

DISTANCE, ACCURACY, MISSING = 0.1, 0.2, 0.1
FAMILIES = {
    "mean": "numeric",
    "scale": "numeric",
    "tail": "numeric",
    "category": "categorical",
    "nulls": "nulls",
    "label flip": "error",
}
_LEAST_SD = 0.001
_SAME = 1e-9
_SURE = 1e9  # a value is missing where the reference never misses one


class Numbers:
    """Wasserstein distance in standard deviations of the reference."""

    def __init__(self, values: Any) -> None:
        known = values[~np.isnan(values)]
        self._sample = SortedSample(known)
        self._norm = max(float(np.std(known)), _LEAST_SD)

    def __call__(self, window: Any) -> float:
        x = window[~np.isnan(window)]
        return self._sample.wasserstein(x) / self._norm if len(x) else 0.0


class Categories:
    """Jensen-Shannon distance of the shares."""

    def __init__(self, codes: Any, values: int) -> None:
        self._values = values
        self._shares = np.bincount(codes, minlength=values) / len(codes)

    def __call__(self, window: Any) -> float:
        return float(
            distance.jensenshannon(self._shares, np.bincount(window, minlength=self._values) / len(window))
        )


class Share:
    """Relative difference of a share from the reference's: of right predictions, or of missing values."""

    def __init__(self, is_one: Any) -> None:
        self._share = float(np.mean(is_one))

    def __call__(self, window: Any) -> float:
        off = abs(float(np.mean(window)) - self._share)
        return off / self._share if self._share else _SURE * (off > 0)


def of_planted(found: Planted, change: str, streams: Streams) -> Any:
    """Values that the check of a change looks at: ``[windows, rows]``."""
    if change == "category":
        return found.codes[:, :, streams.world.categorical]
    if change == "label flip":
        return found.error == 0
    column = found.numeric[:, :, streams.world.numeric]
    return np.isnan(column) if change == "nulls" else column


def reported(streams: Streams, rows: Any) -> list[float]:
    """Ask Evidently itself: the drift of all columns, then accuracy, then shares of missing values."""
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.metrics import Accuracy, MissingValueCount
    from evidently.presets import DataDriftPreset

    base = streams.base

    def frame(at: Any) -> pd.DataFrame:
        columns = {f"n{i}": base.numeric[at, i] for i in range(3)}
        for i, values in enumerate(base.categories):
            columns[f"c{i}"] = np.array(values)[base.codes[at, i]]
        return pd.DataFrame(columns)

    def outcomes(at: Any) -> Dataset:
        table = pd.DataFrame({"label": base.label[at], "prediction": base.prediction[at]})
        kind = BinaryClassification(target="label", prediction_labels="prediction")
        return Dataset.from_pandas(table, data_definition=DataDefinition(classification=[kind]))

    known, now = streams.reference.ravel(), rows
    drift = Report([DataDriftPreset()]).run(frame(now), frame(known)).dict()["metrics"]
    by_column = {
        metric["config"]["column"]: float(metric["value"]) for metric in drift if "column" in metric["config"]
    }
    right = Report([Accuracy()]).run(outcomes(now), outcomes(known)).dict()["metrics"][0]["value"]
    missing = (
        Report([MissingValueCount(column=f"n{i}") for i in range(3)]).run(frame(now), frame(known)).dict()
    )
    shares = [float(metric["value"]["share"]) for metric in missing["metrics"]]
    return [*(by_column[name] for name in ("n0", "n1", "n2", "c0", "c1")), float(right), *shares]


def judge(streams: Streams, results: Results) -> None:
    """Judge one world."""
    base, world = streams.base, streams.world
    known = base.numeric[streams.reference].reshape(-1, 3).T
    numbers = [Numbers(values) for values in known]
    missing = [Share(np.isnan(values)) for values in known]
    categories = [
        Categories(codes, len(values))
        for codes, values in zip(base.codes[streams.reference].reshape(-1, 2).T, base.categories, strict=True)
    ]
    right = Share(base.error[streams.reference] == 0)
    values = np.moveaxis(base.numeric[streams.calm], 2, 0)
    calm: dict[str, tuple[list[Any], Any, float]] = {
        "numeric": (numbers, values, DISTANCE),
        "categorical": (categories, np.moveaxis(base.codes[streams.calm], 2, 0), DISTANCE),
        "nulls": (missing, np.isnan(values), MISSING),
        "error": ([right], (base.error[streams.calm] == 0)[None], ACCURACY),
    }
    for family, (checks, columns, level) in calm.items():
        scores = np.array([[check(x) for x in column] for check, column in zip(checks, columns, strict=True)])
        results.calm[family, world.key] = scores
        # A distance that reaches its threshold is drift; a share may be as far off as it is allowed to.
        results.default[family, world.key] = (
            scores >= level if level == DISTANCE and family != "nulls" else scores > level
        )
    own = reported(streams, streams.calm[0])
    first = [results.calm[family, world.key][:, 0].tolist() for family in ("numeric", "categorical")]
    mine = [
        *first[0],
        *first[1],
        float((base.error[streams.calm[0]] == 0).mean()),
        *np.isnan(values[:, 0]).mean(axis=1),
    ]
    off = float(np.abs(np.array(mine) - own).max())
    results.notes["largest difference from own report"] = max(
        results.notes.get("largest difference from own report", 0.0), off
    )
    for change in FAMILIES:
        check: Any = {
            "category": categories[world.categorical],
            "nulls": missing[world.numeric],
            "label flip": right,
        }.get(change, numbers[world.numeric])
        scores = np.zeros((len(SHAPES), len(SIZES[change]), HORIZON))
        for i, shape in enumerate(SHAPES):
            for j, size in enumerate(SIZES[change]):
                windows = of_planted(streams.planted(change, shape, size), change, streams)
                scores[i, j] = [check(x) for x in windows]
        results.planted[change, world.key] = scores


def main() -> None:
    """Judge the worlds of one part of a work folder."""
    warnings.filterwarnings("ignore")
    work, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    results = Results("Evidently", version("evidently"), FAMILIES)
    for streams in read(work, part, parts):
        judge(streams, results)
    if results.notes["largest difference from own report"] > _SAME:
        msg = f"evidently: numbers differ from its own reports by {results.notes}"
        raise RuntimeError(msg)
    results.save(work, part)


if __name__ == "__main__":
    main()
