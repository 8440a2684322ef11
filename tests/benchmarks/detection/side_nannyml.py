"""Measured side: NannyML's univariate drift, data reconstruction, missing values and realised accuracy.

``python -m tests.benchmarks.detection.side_nannyml WORK PART PARTS``, in NannyML's environment. All
methods and thresholds are its defaults: Jensen-Shannon distance for every column, chunks of a window's
rows, and alerts three standard deviations of the reference's chunks from their mean. Scores are these
standard deviations, upwards (downwards for accuracy): the number that the multiplier of
``StandardDeviationThreshold`` is compared with.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.detection.results import Results
from tests.benchmarks.detection.streams import HORIZON, SHAPES, SIZES, Planted, Streams, read

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

FAMILIES = {
    "mean": "numeric",
    "scale": "numeric",
    "tail": "numeric",
    "category": "categorical",
    "nulls": "nulls",
    "correlation": "joint",
    "label flip": "error",
}
ALL = ["n0", "n1", "n2", "c0", "c1", "label", "prediction", "score"]
_LEAST_SD = 1e-9
_SURE = 1e9


class Check:
    """One of NannyML's calculators, fitted on the reference.

    Parameters
    ----------
    calculator : calculator of NannyML
    reference : pandas.DataFrame
    rows : int
        Rows of a chunk.
    names : tuple of str
        Where its results are: the first levels of the columns of its table.
    side : int
        1 if a large value is suspicious, −1 if a small one is.
    """

    def __init__(self, calculator: Any, reference: Any, names: tuple[str, ...], side: int = 1) -> None:
        self._calculator = calculator.fit(reference)
        self._names, self._side = names, side

    def __call__(self, frame: Any) -> tuple[Any, Any]:
        """Scores and default alerts of the chunks of a table."""
        table = self._calculator.calculate(frame).to_df()
        period = table[("chunk", "period") if table.columns.nlevels == 2 else ("chunk", "chunk", "period")]
        known, now = table[(period == "reference").to_numpy()], table[(period == "analysis").to_numpy()]
        of_reference = known[(*self._names, "value")].to_numpy(float)
        sd, value = of_reference.std(), now[(*self._names, "value")].to_numpy(float)
        off = self._side * (value - of_reference.mean())
        # A reference that does not vary at all allows nothing.
        score = off / sd if sd > _LEAST_SD else np.where(off > _LEAST_SD, _SURE, 0.0)
        return score, now[(*self._names, "alert")].to_numpy(bool)


def checks(streams: Streams) -> dict[tuple[str, int], Check]:
    """All calculators of a world, fitted: by family and column."""
    import nannyml

    rows = streams.world.rows
    known = table(streams, unchanged(streams, streams.reference), ALL)
    found = {}
    for family, count, letter in (("numeric", 3, "n"), ("categorical", 2, "c")):
        for i in range(count):
            calculator = nannyml.UnivariateDriftCalculator(column_names=[f"{letter}{i}"], chunk_size=rows)
            found[family, i] = Check(calculator, known[[f"{letter}{i}"]], (f"{letter}{i}", "jensen_shannon"))
    for i in range(3):
        missing = nannyml.MissingValuesCalculator(column_names=[f"n{i}"], chunk_size=rows)
        found["nulls", i] = Check(missing, known[[f"n{i}"]], (f"n{i}",))
    features = ["n0", "n1", "n2", "c0", "c1"]
    joint = nannyml.DataReconstructionDriftCalculator(column_names=features, chunk_size=rows)
    found["joint", 0] = Check(joint, known[features], ("reconstruction_error",))
    accuracy = nannyml.PerformanceCalculator(
        y_true="label",
        y_pred="prediction",
        y_pred_proba="score",  # it asks for one, and does not use it for accuracy
        problem_type="classification_binary",
        metrics=["accuracy"],
        chunk_size=rows,
    )
    found["error", 0] = Check(accuracy, known[["label", "prediction", "score"]], ("accuracy",), side=-1)
    return found


def table(streams: Streams, part: Planted, names: list[str]) -> pd.DataFrame:
    """Columns of rows: ``n0`` to ``n2``, ``c0``, ``c1``, ``label``, ``prediction``, ``score``."""
    columns: dict[str, Any] = {}
    for name in names:
        if name[0] == "n":
            columns[name] = part.numeric[..., int(name[1])].ravel()
        elif name[0] == "c":
            i = int(name[1])
            values = pd.Index(list(streams.base.categories[i]))
            columns[name] = pd.Categorical.from_codes(part.codes[..., i].ravel(), values)
        else:
            columns[name] = (part.label if name == "label" else part.prediction).ravel()
    if "score" in columns:
        columns["score"] = columns["score"] * 1.0
    return pd.DataFrame(columns)


NEEDS = {
    "numeric": lambda i: [f"n{i}"],
    "categorical": lambda i: [f"c{i}"],
    "nulls": lambda i: [f"n{i}"],
    "joint": lambda _: ["n0", "n1", "n2", "c0", "c1"],
    "error": lambda _: ["label", "prediction", "score"],
}


def judge(streams: Streams, results: Results) -> None:
    """Judge one world."""
    world = streams.world
    fitted = checks(streams)
    calm = table(streams, unchanged(streams, streams.calm), ALL)
    found = {key: check(calm[NEEDS[key[0]](key[1])]) for key, check in fitted.items()}
    for family in NEEDS:
        mine = [both for key, both in found.items() if key[0] == family]
        results.calm[family, world.key] = np.stack([score for score, _ in mine])
        results.default[family, world.key] = np.stack([alert for _, alert in mine])
    for change, family in FAMILIES.items():
        column = {"numeric": world.numeric, "nulls": world.numeric, "categorical": world.categorical}.get(
            family, 0
        )
        parts = [table(streams, part, NEEDS[family](column)) for part in variants(streams, change)]
        scores, _ = fitted[family, column](pd.concat(parts, ignore_index=True))
        results.planted[change, world.key] = scores.reshape(len(SHAPES), len(SIZES[change]), HORIZON)


def variants(streams: Streams, change: str) -> Iterator[Planted]:
    """All shapes and sizes of a change, in order."""
    return (streams.planted(change, shape, size) for shape in SHAPES for size in SIZES[change])


def unchanged(streams: Streams, rows: Any) -> Planted:
    """Windows of rows as they are in the base table."""
    base = streams.base
    return Planted(base.numeric[rows], base.codes[rows], base.label[rows], base.prediction[rows])


def main() -> None:
    """Judge the worlds of one part of a work folder."""
    warnings.filterwarnings("ignore")
    work, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    results = Results("NannyML", version("nannyml"), FAMILIES)
    for streams in read(work, part, parts):
        judge(streams, results)
    results.save(work, part)


if __name__ == "__main__":
    main()
