"""An invented reference of right and wrong predictions, and windows of it, for detectors' examples."""

from __future__ import annotations

import numpy as np

from detectors.readings import RIGHT, WRONG
from detectors.tensor import IntArray, ReferenceCounts, TensorLayout
from schemas.verdict import Lane

_SEGMENTS = ("", "origin=EWR", "origin=JFK")
_SEGMENT_SHARES = (0.6, 0.4)
_REFERENCE_WINDOWS = 40
_WINDOW_MS = 3_600_000
_WRONG_SHARE = 0.1


def planted_outcome_reference(seed: int, rows: int = 1_000) -> ReferenceCounts:
    """Draw a reference of 40 windows in which a tenth of the predictions are wrong.

    Parameters
    ----------
    seed : int
        Seed of the random numbers; the same seed gives the same reference.
    rows : int
        Rows of each window.

    Returns
    -------
    ReferenceCounts
        Column ``outcome`` of the performance lane, with bins ``right`` and ``wrong``; segments ``""``,
        ``"origin=EWR"`` and ``"origin=JFK"``.

    Examples
    --------
    >>> planted_outcome_reference(seed=1).counts[0].tolist()
    [[35996, 4004]]
    """
    windows = planted_outcomes(seed, _REFERENCE_WINDOWS, rows=rows)
    none = np.zeros((1, 2), dtype=bool)
    unknown = np.full((1, 2), np.nan)
    layout = TensorLayout(
        columns=("outcome",),
        lanes=(Lane.PERFORMANCE,),
        labels=((RIGHT, WRONG),),
        valid=~none,
        ordered=none,
        positions=unknown,
        widths=unknown,
    )
    return ReferenceCounts(
        layout=layout,
        segments=_SEGMENTS,
        counts=windows.sum(axis=0),
        windows=windows,
        sd=np.array([np.nan]),
        starts_ms=np.arange(_REFERENCE_WINDOWS) * _WINDOW_MS,
        window_ms=_WINDOW_MS,
    )


def planted_outcomes(
    seed: int, windows: int, wrong_share: float = _WRONG_SHARE, rows: int = 1_000
) -> IntArray:
    """Draw windows on the layout of `planted_outcome_reference`.

    Parameters
    ----------
    seed : int
        Seed of the random numbers.
    windows : int
        Number T of windows.
    wrong_share : float
        Share of wrong predictions.
    rows : int
        Rows of each window.

    Returns
    -------
    IntArray
        ``[T, S, 1, 2]``.

    Examples
    --------
    >>> planted_outcomes(seed=2, windows=3).shape
    (3, 3, 1, 2)
    """
    generator = np.random.default_rng(seed)
    counts = np.zeros((windows, len(_SEGMENTS), 1, 2), dtype=np.int64)
    segment_rows = generator.multinomial(rows, _SEGMENT_SHARES, windows)
    counts[:, 1:, 0, 1] = generator.binomial(segment_rows, wrong_share)
    counts[:, 1:, 0, 0] = segment_rows - counts[:, 1:, 0, 1]
    counts[:, 0] = counts[:, 1:].sum(axis=1)
    return counts
