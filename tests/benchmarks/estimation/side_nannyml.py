"""NannyML's side: estimates by CBPE (classes) and DLE (numbers), and what it says was realised.

``python -m tests.benchmarks.estimation.side_nannyml WORK``, in NannyML's environment. Settings are those of
its documentation: defaults, and the chunks that `datasets` names. For each data set writes ``<name>.npz``
with the rows themselves, which the product's side estimates from, and NannyML's numbers for each chunk after
the reference.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.estimation.datasets import DATA_SETS, DataSet

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

NO_FEATURES = {"id", "timestamp", "period", "year"}
BANDS, MOST_VALUES = 8, 25


def tables(data: DataSet) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the reference, and of what follows with its labels."""
    import nannyml

    reference, analysis, labels = getattr(nannyml.datasets, data.loader)()
    key = labels.columns.difference([data.label])[0]
    return reference, analysis.merge(labels, on=key, validate="one_to_one")


def scores_of(data: DataSet, table: pd.DataFrame) -> dict[str, str]:
    """Columns of the scores by class."""
    return {name.removeprefix(data.score): name for name in table.columns if str(name).startswith(data.score)}


def estimator(data: DataSet, table: pd.DataFrame) -> Any:
    """NannyML's estimator of a data set."""
    import nannyml

    common: dict[str, Any] = {"y_true": data.label, "y_pred": data.predicted, "metrics": list(data.metrics)}
    if data.rows:
        common["chunk_size"] = data.rows
    else:
        common |= {"chunk_period": "M", "timestamp_column_name": "timestamp"}
    if data.task == "regression":
        return nannyml.DLE(feature_column_names=list(data.features), tune_hyperparameters=False, **common)
    scores: Any = scores_of(data, table) if data.task == "multiclass" else data.score
    return nannyml.CBPE(y_pred_proba=scores, problem_type=f"classification_{data.task}", **common)


def chunk_starts(found: pd.DataFrame) -> np.ndarray[Any, Any]:
    """First row of each chunk."""
    return found[("chunk", "start_index")].to_numpy(np.int64)


def estimates(data: DataSet, reference: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    """NannyML's numbers for the chunks of the rows, and where chunks begin, of the reference as well."""
    table = estimator(data, reference).fit(reference).estimate(rows).to_df()
    is_reference = (table[("chunk", "period")] == "reference").to_numpy()
    found: dict[str, Any] = {
        "reference_starts": chunk_starts(table[is_reference]),
        "starts": chunk_starts(table[~is_reference]),
    }
    now = table[~is_reference]
    for metric in data.metrics:
        for what in ("value", "sampling_error", "lower_confidence_boundary", "upper_confidence_boundary"):
            found[f"{metric}/{what}"] = now[(metric, what)].to_numpy(np.float64)
    return found


def columns(data: DataSet, table: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """Predictions, scores and labels of rows; classes as their place among `classes`."""
    if data.task == "multiclass":
        names = scores_of(data, table)
        place = {name: i for i, name in enumerate(classes)}
        return {
            "predicted": table[data.predicted].map(place).to_numpy(np.int64),
            "label": table[data.label].map(place).to_numpy(np.int64),
            "score": table[[names[name] for name in classes]].to_numpy(np.float64),
        }
    found = {
        "predicted": table[data.predicted].to_numpy(np.float64),
        "label": table[data.label].to_numpy(np.float64),
    }
    return found | ({"score": table[data.score].to_numpy(np.float64)} if data.score else {})


def bands(reference: pd.DataFrame, rows: pd.DataFrame, left_out: set[str]) -> tuple[Any, Any]:
    """Values of the features of each row, as numbers that differ between features; in 8 bands if many."""
    names = [
        name for name in reference.columns if name not in left_out and not str(name).startswith("y_pred")
    ]
    found = []
    for i, name in enumerate(names):
        of_reference = reference[name]
        if of_reference.nunique() > MOST_VALUES and pd.api.types.is_numeric_dtype(of_reference):
            edges = np.unique(np.nanquantile(of_reference, np.arange(1, BANDS) / BANDS))
            codes = [np.searchsorted(edges, table[name]) for table in (reference, rows)]
        else:
            values = pd.Index(of_reference.unique())
            codes = [values.get_indexer(table[name]) for table in (reference, rows)]
        found.append([1_000 * (i + 1) + code for code in codes])
    known, now = (np.stack(columns, axis=1).astype(np.uint64) for columns in zip(*found, strict=True))
    return known, now


def main() -> None:
    """Estimate all data sets."""
    warnings.filterwarnings("ignore")
    work = Path(sys.argv[1])
    for data in DATA_SETS:
        reference, rows = tables(data)
        classes = sorted(scores_of(data, reference)) if data.task == "multiclass" else []
        found = estimates(data, reference, rows)
        left_out = NO_FEATURES | {data.label, data.predicted, data.score}
        found["reference/segments"], found["after/segments"] = bands(reference, rows, left_out)
        for period, table in (("reference", reference), ("after", rows)):
            found |= {f"{period}/{name}": x for name, x in columns(data, table, classes).items()}
        np.savez_compressed(work / f"{data.name}.npz", **found)
        sys.stderr.write(f"{data.name}: {len(rows)} rows\n")


if __name__ == "__main__":
    main()
