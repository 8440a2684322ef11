"""The data sets of the comparison, as NannyML's package brings them, and the chunks of its documentation.

Needs the standard library alone, so that both sides can read it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """One data set with predictions and labels.

    Parameters
    ----------
    name : str
        In the tables.
    loader : str
        Function of `nannyml.datasets`.
    task : str
        ``binary``, ``multiclass`` or ``regression``.
    label, predicted : str
        Columns.
    score : str
        Column of P(1), or what the columns of the classes' scores begin with; empty for regression.
    features : tuple of str
        What NannyML's loss estimator learns from; it does without for classes.
    rows : int
        Of a chunk; 0 for chunks of a calendar month.
    """

    name: str
    loader: str
    task: str
    label: str
    predicted: str = "y_pred"
    score: str = "y_pred_proba"
    features: tuple[str, ...] = ()
    rows: int = 0

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is estimated."""
        return {"binary": BINARY, "multiclass": ("accuracy",), "regression": ("mae", "rmse")}[self.task]


BINARY = ("accuracy", "precision", "recall", "f1", "roc_auc")

_CAR = ("car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission")

DATA_SETS = (
    DataSet("car loan", "load_synthetic_car_loan_dataset", "binary", "repaid", rows=5_000),
    DataSet(
        "work from home",
        "load_synthetic_binary_classification_dataset",
        "binary",
        "work_home_actual",
        rows=5_000,
    ),
    DataSet("california housing", "load_modified_california_housing_dataset", "binary", "clf_target"),
    DataSet(
        "employment MA",
        "load_us_census_ma_employment_data",
        "binary",
        "employed",
        predicted="prediction",
        score="predicted_probability",
        rows=5_000,
    ),
    DataSet(
        "credit card (3 classes)",
        "load_synthetic_multiclass_classification_dataset",
        "multiclass",
        "y_true",
        score="y_pred_proba_",
        rows=6_000,
    ),
    DataSet(
        "car price",
        "load_synthetic_car_price_dataset",
        "regression",
        "y_true",
        score="",
        features=_CAR,
        rows=6_000,
    ),
)
"""All that the package has predictions and labels for. The Titanic has no predictions; the car loans with
missing values have the predictions of those without. Car loan and work from home have the same scores under
other names, and are no independent witnesses."""
