"""Layouts for tests."""

import numpy as np

from detectors.tensor import TensorLayout
from schemas.verdict import Lane


def numeric_layout(bins: int, columns: int = 1, unordered: int = 0) -> TensorLayout:
    """Columns of bins of width 1 at 0, 1, 2, …, the last `unordered` of which are not on the axis."""
    shape = (columns, bins)
    ordered = np.broadcast_to(np.arange(bins) < bins - unordered, shape)
    return TensorLayout(
        columns=tuple(f"x{column}" for column in range(columns)),
        lanes=(Lane.FEATURES,) * columns,
        labels=(tuple(f"bin {place}" for place in range(bins)),) * columns,
        valid=np.ones(shape, dtype=bool),
        ordered=ordered,
        positions=np.where(ordered, np.arange(bins, dtype=float), np.nan),
        widths=np.where(ordered, 1.0, np.nan),
    )


def nominal_layout(bins: int, columns: int = 1) -> TensorLayout:
    """Columns of categories."""
    return numeric_layout(bins, columns, unordered=bins)


def ragged_layout() -> TensorLayout:
    """A numeric column of 4 bins and ``missing``, a nominal one of 2 and one of a single bin, padded to 5."""
    lanes = (Lane.FEATURES, Lane.PREDICTIONS, Lane.QUALITY)
    valid = np.arange(5) < np.array([[5], [2], [1]])
    ordered = np.arange(5) < np.array([[4], [0], [0]])
    return TensorLayout(
        columns=("temp", "carrier", "constant"),
        lanes=lanes,
        labels=(("< 0", "[0, 1)", "[1, 4)", ">= 4", "missing"), ("UA", "DL"), ("only",)),
        valid=valid,
        ordered=ordered,
        positions=np.where(ordered, [-1.0, 0.5, 2.5, 5.0, np.nan], np.nan),
        widths=np.where(ordered, [0.0, 1.0, 3.0, 0.0, np.nan], np.nan),
    )
