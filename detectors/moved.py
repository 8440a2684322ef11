"""Which bins of a column moved most, as data and in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.effects import EffectArrays
from detectors.tensor import FloatArray, IntArray, TensorLayout
from schemas.verdict import MovedBin

_MOST_BINS = 5
_VERBS = {"[": "in ", "<": "", "=": "", ">": "", "≥": ""}


def moved_bins(effects: EffectArrays, layout: TensorLayout) -> list[tuple[MovedBin, ...]]:
    """Take the bins that add most to the PSI of each stream.

    Parameters
    ----------
    effects : EffectArrays
        Streams of shape ``[..., C]``.
    layout : TensorLayout
        Names of the bins.

    Returns
    -------
    list of tuple of MovedBin
        For each stream in row-major order, up to 5 bins, the largest part of the PSI first.
    """
    places = np.argsort(-effects.psi_terms, axis=-1, kind="stable")[..., :_MOST_BINS]
    parts = (effects.reference_share, effects.share, effects.psi_terms)
    rows = [_rows(places), *(_rows(np.take_along_axis(part, places, axis=-1)) for part in parts)]
    labels = layout.labels * (len(rows[0]) // len(layout.labels))
    return [
        tuple(
            MovedBin(names[place], *values)
            for place, *values in zip(*stream, strict=True)
            if place < len(names)  # padding comes after the labelled bins
        )
        for names, *stream in zip(labels, *rows, strict=True)
    ]


def median_moves(effects: EffectArrays, layout: TensorLayout) -> IntArray:
    """Direction in which the median moved along the numeric axis.

    Returns
    -------
    IntArray
        ``[..., C]``: 1 where the median lies in a higher bin than in the reference, -1 in a lower one, else
        0.
    """
    window, reference = effects.share * layout.ordered, effects.reference_share * layout.ordered
    on_axis = (window.sum(axis=-1) > 0) & (reference.sum(axis=-1) > 0)
    return np.asarray(np.sign(_median_places(window) - _median_places(reference)) * on_axis)


def explain(column: str, segment: str, moved: tuple[MovedBin, ...], median: int) -> str:
    """Say in one sentence what moved.

    Parameters
    ----------
    column, segment : str
        The stream; ``""`` for all rows.
    moved : tuple of MovedBin
        Its bins, the most important first; the first two are told.
    median : int
        1, 0 or -1, from `median_moves`.

    Examples
    --------
    >>> warm, unknown = MovedBin("[57.0, 72.0)", 0.04, 0.38, 0.77), MovedBin("missing", 0.2, 0.0, 0.1)
    >>> explain("temp", "", (warm, unknown), 1)
    'temp: 38 % of rows in [57.0, 72.0), reference 4.0 %; 0 % are missing, reference 20 %; median moved up'
    """
    words = [
        f"{_percent(bin.share)} {subject}{bin.label}, reference {_percent(bin.reference_share)}"
        for bin, subject in zip(moved, _subjects(moved), strict=False)
    ]
    if median:
        words.append(f"median moved {'up' if median > 0 else 'down'}")
    return f"{column}{f' where {segment}' if segment else ''}: {'; '.join(words)}"


def _subjects(moved: tuple[MovedBin, ...]) -> tuple[str, ...]:
    """What joins the shares of the first two bins with labels like "[57.0, 72.0)", "< 12.0" or "UA"."""
    verbs = [_VERBS.get(bin.label[:1], "are ") for bin in moved[:2]]
    return tuple(f"{of_rows}{verb}" for of_rows, verb in zip(("of rows ", ""), verbs, strict=False))


def _rows(array: FloatArray | IntArray) -> list[list[Any]]:
    return [*array.reshape(-1, array.shape[-1]).tolist()]


def _median_places(shares: FloatArray) -> IntArray:
    """Index of the first bin at which half of the rows on the axis are reached."""
    reached = np.cumsum(shares, axis=-1)
    return np.asarray(np.argmax(reached >= reached[..., -1:] / 2, axis=-1))


def _percent(share: float) -> str:
    if share == 0:
        return "0 %"
    if share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"
