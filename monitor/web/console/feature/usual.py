"""The PSI that chance and the usual change from window to window give: what windows are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.calibration import Calibration, calibrated, overall_dispersion
from detectors.reference import Reference
from detectors.tensor import FloatArray, IntArray

EDETECTOR = "edetector"


def usual_psi(
    reference: Reference, detector: str, column: str, segment: str, starts: Sequence[int], n: Sequence[int]
) -> FloatArray:
    """Work out the PSI that windows have on average when nothing is wrong, ``[windows]``.

    Parameters
    ----------
    reference : Reference
        That the windows were compared with.
    detector : str
        That compared them; only the usual one knows how much windows vary.
    column, segment : str
    starts : sequence of int
        Of the windows; the reference may have other shares for each hour or weekday.
    n : sequence of int
        Rows of the windows.

    Returns
    -------
    FloatArray
        nan where the reference has no such column or segment, or one of the two has no rows.

    Notes
    -----
    (K − 1)·D·(1/n + 1/m) of K bins, D the dispersion of `detectors.calibration`: what `detectors.stability`
    takes off the index. With the index at twice that, as much again is real.
    """
    tensor, rows = reference.tensor, np.asarray(n, np.float64)
    found = np.full(len(rows), np.nan)
    if column not in tensor.layout.columns or segment not in tensor.segments:
        return found
    at = tensor.layout.columns.index(column)
    stream = tensor.segments.index(segment) * len(tensor.layout.columns) + at
    degrees = int(tensor.layout.valid[at].sum()) - 1
    if detector == EDETECTOR:
        calibration = calibrated(tensor)
        shares, counts = _expected(calibration, tensor.segments.index(segment), at, starts)
        theirs = counts.sum(axis=1)
        bins = calibration.variation.at(slice(stream, stream + 1)).dispersion(rows)
        dispersion = overall_dispersion(shares, bins)
    else:
        theirs = np.full(len(rows), tensor.counts[tensor.segments.index(segment), at].sum())
        dispersion = np.ones(len(rows))
    known = (rows > 0) & (theirs > 0)
    found[known] = degrees * dispersion[known] * (1 / rows[known] + 1 / theirs[known])
    return found


def _expected(
    calibration: Calibration, segment: int, column: int, starts: Sequence[int]
) -> tuple[FloatArray, IntArray]:
    """Shares and counts ``[windows, K]`` that windows of one stream are compared with."""
    columns, season = next(one for one in calibration.seasons if column in one[0])
    place = int(np.flatnonzero(columns == column)[0])
    slots = season.slotting.of(np.asarray(starts, np.int64))
    return season.shares[slots, segment, place], season.counts[slots, segment, place]
