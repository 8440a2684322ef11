"""Which bins are chosen, by example."""

import numpy as np
import pyarrow as pa
import pytest

from detectors.binning import (
    Binning,
    CategoricalBins,
    HashBins,
    NumericBins,
    PresenceBins,
    SegmentValues,
    categorical_bins,
    numeric_bins,
)
from detectors.cells import Cells, float_keys
from detectors.hashing import hash_strings
from schemas.column import ColumnSpec, Kind


def cells_of(values: np.ndarray) -> Cells:
    """Count numbers."""
    return Cells.count_keys(float_keys(values.astype(float)), np.zeros(len(values), np.uint8), (), 1)


def test_bins_hold_tenths_in_the_middle_and_less_in_the_tails() -> None:
    values = np.random.default_rng(3).normal(size=100_000)
    bins = numeric_bins(cells_of(values), float(values.min()), float(values.max()))
    shares = np.bincount(bins.codes(values), minlength=bins.size)[1:-3] / len(values)
    wanted = [0.002, 0.008, 0.04, 0.05, *[0.1] * 8, 0.05, 0.04, 0.008, 0.002]
    assert shares == pytest.approx(wanted, abs=0.004)
    outside = np.array([values.min() - 10, values.max() + 10])
    assert bins.codes(outside).tolist() == [0, len(bins.edges)]


def test_a_value_that_many_rows_have_gets_a_bin_of_its_own() -> None:
    values = np.concatenate([np.zeros(600), np.random.default_rng(1).uniform(1, 2, 400)])
    bins = numeric_bins(cells_of(values), 0.0, 2.0)
    assert "= 0" in bins.labels()
    at = bins.labels().index("= 0")
    assert bins.codes(np.array([0.0, -0.0, 5e-324, -5e-324])).tolist() == [at, at, at + 1, at - 1]


def test_one_value_is_enough_for_bins() -> None:
    bins = numeric_bins(cells_of(np.full(5, 7.0)), 7.0, 7.0)
    assert bins.labels() == ("< 7", "= 7", ">= 7", "missing", "invalid")
    assert bins.codes(np.array([6.0, 7.0, 8.0])).tolist() == [0, 1, 2]


def test_the_largest_numbers_have_bins() -> None:
    largest = np.finfo(float).max
    values = np.array([-largest, 0.0, largest])
    bins = numeric_bins(cells_of(values), -largest, largest)
    assert np.isfinite(bins.edges).all()
    assert len(set(bins.codes(values).tolist())) == 3


def test_many_and_few_values_are_sorted_in_alike() -> None:
    bins = NumericBins(tuple(np.linspace(-1, 1, 17).tolist()), -1.0, 1.0)
    values = np.random.default_rng(2).uniform(-2, 2, 3_000)
    values[:17] = bins.edges
    few = np.concatenate([bins.codes(part) for part in np.split(values, 30)])
    assert np.array_equal(bins.codes(values), few)


def hashes(*names: str) -> np.ndarray:
    """Hash names."""
    return hash_strings(pa.array(names, pa.string()))


def test_frequent_values_have_bins_and_the_others_share_one() -> None:
    names = [f"v{i}" for i in range(40)]
    rows = np.repeat(hashes(*names), np.arange(40, 0, -1))
    cells = Cells.count_keys(rows.view(np.int64), np.zeros(len(rows), np.uint8), (), 1)
    bins = categorical_bins(cells, dict(zip(hashes(*names).tolist(), names, strict=True)))
    assert isinstance(bins, CategoricalBins)
    assert bins.top == tuple(names[:30])
    assert bins.labels()[30:] == ("(other)", "(unseen)", "missing", "invalid")
    assert bins.codes(hashes("v0", "v29", "v30", "v39", "new")).tolist() == [0, 29, 30, 30, 31]


def test_too_many_values_are_counted_by_hash() -> None:
    rows = np.random.default_rng(1).integers(0, 2**64, 5_000, np.uint64)
    cells = Cells.count_keys(rows.view(np.int64), np.zeros(5_000, np.uint8), (), 1)
    bins = categorical_bins(cells, {})
    assert isinstance(bins, HashBins)
    assert (bins.size, bins.labels()[0], bins.labels()[-1]) == (66, "hash 00", "invalid")
    assert bins.codes(np.array([0, 2**64 - 1], np.uint64)).tolist() == [0, 63]


def test_a_column_that_never_had_a_value_has_bins_too() -> None:
    assert categorical_bins(Cells.empty(), {}).labels() == ("(other)", "(unseen)", "missing", "invalid")


def test_groups_and_offsets_of_all_columns() -> None:
    binning = Binning(
        (ColumnSpec("x", Kind.NUMERIC), ColumnSpec("v", Kind.VECTOR)),
        (NumericBins((0.0, 1.0), 0.0, 1.0), PresenceBins()),
        (SegmentValues("origin", ("EWR",), tuple(hashes("EWR").tolist())),),
    )
    assert binning.groups == ("", "origin=EWR", "origin=(other)", "origin=(missing)")
    assert binning.offsets.tolist() == [0, 5, 8]
    assert binning.index == {"x": 0, "v": 1}
