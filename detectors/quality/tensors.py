"""Counts of a reference that belong to none of its columns, in the form that detectors take them."""

from __future__ import annotations

import numpy as np

from detectors.reference import Reference
from detectors.tensor import FloatArray, IntArray, ReferenceCounts, TensorLayout
from schemas.verdict import Lane


def counts_of(
    reference: Reference,
    columns: tuple[str, ...],
    labels: tuple[str, ...],
    counts: IntArray,
    windows: IntArray,
    *,
    positions: FloatArray | None = None,
) -> ReferenceCounts:
    """Put counts of a reference and of its windows together.

    Parameters
    ----------
    reference : Reference
    columns : tuple of str
        Names of the C columns; all have the same K bins.
    labels : tuple of str
        Names of the bins.
    counts : IntArray
        ``[S, C, K]``.
    windows : IntArray
        ``[W, S, C, K]``, of the windows of the reference in their order; W may be 0.
    positions : FloatArray, optional
        ``[K]``: where bins lie on a numeric axis; default: they lie on none.
    """
    shape = (len(columns), len(labels))
    axis = np.full(len(labels), np.nan) if positions is None else positions
    starts_ms = reference.window_starts[: len(windows)]
    return ReferenceCounts(
        layout=TensorLayout(
            columns=columns,
            lanes=(Lane.QUALITY,) * len(columns),
            labels=(labels,) * len(columns),
            valid=np.ones(shape, bool),
            ordered=np.full(shape, positions is not None),
            positions=np.broadcast_to(axis, shape).copy(),
            widths=np.full(shape, np.nan if positions is None else 0.0),
        ),
        segments=reference.binning.groups[: len(counts)],
        counts=counts,
        windows=windows,
        sd=np.full(len(columns), np.nan),
        starts_ms=starts_ms,
        window_ms=reference.window_ms,
    )
