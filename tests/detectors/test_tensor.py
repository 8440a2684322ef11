"""Layouts and references that contradict themselves are refused."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.tensor import ReferenceCounts
from schemas.errors import UsageError
from tests.detectors.layouts import nominal_layout, numeric_layout, ragged_layout

LAYOUT = numeric_layout(3, unordered=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valid": np.ones(3, dtype=bool)}, "1 dimensions"),
        ({"widths": np.ones((1, 2))}, "widths has shape"),
        ({"columns": ("x", "y")}, "2 columns for 1 rows"),
        ({"labels": (("a", "b"),)}, "labels do not match"),
        ({"valid": np.array([[True, False, True]]), "labels": (("a", "b"),)}, "padding"),
        ({"valid": np.zeros((1, 3), dtype=bool), "labels": ((),)}, "has no bins"),
        ({"ordered": np.ones((1, 3), dtype=bool)}, "finite position"),
        ({"positions": np.array([[2.0, 1.0, np.nan]])}, "positions decrease"),
    ],
)
def test_layouts_that_contradict_themselves(change, message):
    with pytest.raises(UsageError, match=message):
        replace(LAYOUT, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": ("origin=EWR",)}, "segments begin with"),
        ({"segments": ()}, "segments begin with"),
        ({"segments": ("", "origin=EWR")}, "counts have shape"),
        ({"windows": np.zeros((2, 3), dtype=np.int64)}, "windows have shape"),
        ({"sd": np.ones(2)}, "sd has shape"),
        ({"starts_ms": np.zeros(2, np.int64)}, "starts for 1 windows"),
    ],
)
def test_references_that_contradict_themselves(change, message):
    counts = np.zeros((1, 1, 3), dtype=np.int64)
    with pytest.raises(UsageError, match=message):
        replace(
            ReferenceCounts(LAYOUT, ("",), counts, counts[None], np.ones(1), np.zeros(1, np.int64), 60_000),
            **change,
        )


def test_windows_of_another_shape_or_type():
    counts = np.zeros((1, 1, 3), dtype=np.int64)
    reference = ReferenceCounts(
        LAYOUT, ("",), counts, counts[None], np.ones(1), np.zeros(1, np.int64), 60_000
    )
    reference.check_window(counts)
    with pytest.raises(UsageError, match="shape"):
        reference.check_window(counts[:, :, :2])
    with pytest.raises(UsageError, match="float64"):
        reference.check_window(counts.astype(float))


def test_shapes():
    assert ragged_layout().shape == (3, 5)
    assert nominal_layout(4, columns=2).shape == (2, 4)
