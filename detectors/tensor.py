"""The count tensor: segments × columns × bins, and what its bins mean.

A reference fixes the layout once; every later window is an ``int64 [S, C, K]`` array on it, so that windows
are compared, added and taken apart by plain array arithmetic. Columns with fewer than K bins are padded on
the right; padding is marked in `TensorLayout.valid` and always holds zero counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from schemas.errors import UsageError
from schemas.verdict import Lane

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
HashArray: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TensorLayout:
    """Names and bins of the columns of a count tensor.

    Parameters
    ----------
    columns : tuple of str
        Names of the C columns.
    lanes : tuple of Lane
        What kind of thing each column is: features, predictions, or quality (latency, error).
    labels : tuple of tuple of str
        Labels of each column's own bins, in bin order, for example ``"[39.0, 57.0)"``, ``"UA"`` or
        ``"missing"``.
    valid : BoolArray
        ``[C, K]``: the bin exists. A column's bins come first, its padding after them.
    ordered : BoolArray
        ``[C, K]``: the bin lies on the column's numeric axis; ``missing``, ``invalid`` and categories do not.
    positions : FloatArray
        ``[C, K]``: a value that stands for an ordered bin, in the column's unit, non-decreasing along K; nan
        elsewhere.
    widths : FloatArray
        ``[C, K]``: width of an ordered bin in the column's unit, 0 for a single value; nan elsewhere.

    Raises
    ------
    UsageError
        If shapes or lengths disagree, labels do not match the valid bins, a column has none, or positions
        decrease.

    Examples
    --------
    >>> layout = TensorLayout(
    ...     columns=("carrier",), lanes=(Lane.FEATURES,), labels=(("UA", "missing"),),
    ...     valid=np.array([[True, True, False]]), ordered=np.zeros((1, 3), dtype=bool),
    ...     positions=np.full((1, 3), np.nan), widths=np.full((1, 3), np.nan))
    >>> layout.shape
    (1, 3)
    """

    columns: tuple[str, ...]
    lanes: tuple[Lane, ...]
    labels: tuple[tuple[str, ...], ...]
    valid: BoolArray
    ordered: BoolArray
    positions: FloatArray
    widths: FloatArray

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_bins()

    @property
    def shape(self) -> tuple[int, int]:
        """Number of columns C and of bins K, padding included."""
        return self.valid.shape[0], self.valid.shape[1]

    def _check_shapes(self) -> None:
        if self.valid.ndim != 2:
            msg = f"layout: valid has {self.valid.ndim} dimensions (2 are allowed: column and bin)"
            raise UsageError(msg)
        for name in ("ordered", "positions", "widths"):
            shape = getattr(self, name).shape
            if shape != self.valid.shape:
                msg = f"layout: {name} has shape {shape}, valid has {self.valid.shape} (they must agree)"
                raise UsageError(msg)
        for name in ("columns", "lanes", "labels"):
            length = len(getattr(self, name))
            if length != len(self.valid):
                msg = f"layout: {length} {name} for {len(self.valid)} rows of bins (they must agree)"
                raise UsageError(msg)

    def _check_bins(self) -> None:
        bins = self.valid.sum(axis=1)
        if not np.array_equal(self.valid, np.arange(self.shape[1]) < bins[:, None]):
            msg = "layout: a padding bin lies before a valid one (padding comes last)"
            raise UsageError(msg)
        if np.any(bins == 0):
            msg = "layout: a column has no bins (at least one is needed)"
            raise UsageError(msg)
        if [len(labels) for labels in self.labels] != bins.tolist():
            msg = "layout: labels do not match the valid bins (one label for each valid bin)"
            raise UsageError(msg)
        if np.any(self.ordered & ~(self.valid & np.isfinite(self.positions) & np.isfinite(self.widths))):
            msg = "layout: an ordered bin must be valid and have a finite position and width"
            raise UsageError(msg)
        for row, ordered in zip(self.positions, self.ordered, strict=True):
            if np.any(np.diff(row[ordered]) < 0):
                msg = "layout: positions decrease along the bins of a column (they must not)"
                raise UsageError(msg)


@dataclass(frozen=True)
class ReferenceCounts:
    """Counts of a reference on its own layout.

    Parameters
    ----------
    layout : TensorLayout
        Columns and bins.
    segments : tuple of str
        Names of the S segments; ``""`` (all rows) first, then for example ``"origin=EWR"``.
    counts : IntArray
        ``[S, C, K]``: rows of the reference in each bin.
    windows : IntArray
        ``[W, S, C, K]``: the same for each of the reference's own windows; W may be 0.
    sd : FloatArray
        ``[C]``: standard deviation of numeric columns in the column's unit, nan elsewhere.
    starts_ms : IntArray
        ``[W]``: first instant of each of those windows, epoch milliseconds, ascending.
    window_ms : int
        Their length; 0 where there are none.

    Raises
    ------
    UsageError
        If shapes disagree with the layout or the first segment is not ``""``.
    """

    layout: TensorLayout
    segments: tuple[str, ...]
    counts: IntArray
    windows: IntArray
    sd: FloatArray
    starts_ms: IntArray
    window_ms: int

    def __post_init__(self) -> None:
        if not self.segments or self.segments[0] != "":
            msg = f"reference: segments begin with {self.segments[:1]} (the first is '', all rows)"
            raise UsageError(msg)
        expected = (len(self.segments), *self.layout.shape)
        if self.counts.shape != expected:
            msg = f"reference: counts have shape {self.counts.shape} ({expected} is expected)"
            raise UsageError(msg)
        if self.windows.ndim != 4 or self.windows.shape[1:] != expected:
            msg = f"reference: windows have shape {self.windows.shape} (W × {expected} is expected)"
            raise UsageError(msg)
        if self.starts_ms.shape != self.windows.shape[:1]:
            msg = f"reference: {self.starts_ms.shape} starts for {len(self.windows)} windows (one for each)"
            raise UsageError(msg)
        if self.sd.shape != self.layout.shape[:1]:
            msg = f"reference: sd has shape {self.sd.shape} ({self.layout.shape[:1]} is expected)"
            raise UsageError(msg)

    def check_window(self, window: IntArray) -> None:
        """Refuse a window that does not lie on this reference's layout.

        Raises
        ------
        UsageError
            If the shape is not ``[S, C, K]`` or the counts are not whole numbers.
        """
        if window.shape != self.counts.shape:
            msg = f"window: shape {window.shape} ({self.counts.shape} is expected)"
            raise UsageError(msg)
        if window.dtype.kind not in "iu":
            msg = f"window: counts of type {window.dtype} (whole numbers are allowed)"
            raise UsageError(msg)
