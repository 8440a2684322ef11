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


def medians(shares: FloatArray, layout: TensorLayout) -> FloatArray:
    """Median of the rows on the numeric axis, as if they lay evenly in their bins.

    Parameters
    ----------
    shares : FloatArray
        ``[..., C, K]`` shares or counts.
    layout : TensorLayout
        Where the bins lie.

    Returns
    -------
    FloatArray
        ``[..., C]`` in the column's unit; nan where nothing is on the axis.
    """
    on_axis = shares * layout.ordered
    total = on_axis.sum(axis=-1, keepdims=True)
    reached = np.cumsum(on_axis, axis=-1)
    place = np.argmax(reached >= total / 2, axis=-1)[..., None]
    inside = np.take_along_axis(on_axis, place, axis=-1)
    before = np.take_along_axis(reached, place, axis=-1) - inside
    part = (total / 2 - before) / np.where(inside > 0, inside, 1)
    position = np.take_along_axis(np.broadcast_to(layout.positions, shares.shape), place, axis=-1)
    width = np.take_along_axis(np.broadcast_to(layout.widths, shares.shape), place, axis=-1)
    found = position + (part - 0.5) * width
    return np.asarray(np.where(total > 0, found, np.nan)[..., 0])


def explain(
    column: str, segment: str, moved: tuple[MovedBin, ...], before: float | None, after: float | None
) -> str:
    """Say in one sentence what moved.

    Parameters
    ----------
    column, segment : str
        The stream; ``""`` for all rows.
    moved : tuple of MovedBin
        Its bins, the most important first; the first two are told.
    before, after : float or None
        Median of the reference and of the window; None where there is none.

    Examples
    --------
    >>> warm, unknown = MovedBin("[57.0, 72.0)", 0.04, 0.38, 0.77), MovedBin("missing", 0.2, 0.0, 0.1)
    >>> explain("temp", "", (warm, unknown), 39.0, 57.2)
    'temp: 38 % of rows in [57.0, 72.0), reference 4.0 %; 0 % are missing, reference 20 %; median 39 → 57.2'
    """
    words = [
        f"{percent(bin.share)} {subject}{bin.label}, reference {percent(bin.reference_share)}"
        for bin, subject in zip(moved, _subjects(moved), strict=False)
    ]
    if before is not None and after is not None and _short(before) != _short(after):
        words.append(f"median {_short(before)} → {_short(after)}")
    return f"{column}{f' where {segment}' if segment else ''}: {'; '.join(words)}"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _subjects(moved: tuple[MovedBin, ...]) -> tuple[str, ...]:
    """What joins the shares of the first two bins with labels like "[57.0, 72.0)", "< 12.0" or "UA"."""
    verbs = [_VERBS.get(bin.label[:1], "are ") for bin in moved[:2]]
    return tuple(f"{of_rows}{verb}" for of_rows, verb in zip(("of rows ", ""), verbs, strict=False))


def _rows(array: FloatArray | IntArray) -> list[list[Any]]:
    return [*array.reshape(-1, array.shape[-1]).tolist()]


def percent(share: float) -> str:
    """Write a share in a few characters.

    Examples
    --------
    >>> percent(0.384), percent(0.042), percent(0.0004), percent(0)
    ('38 %', '4.2 %', 'under 0.1 %', '0 %')
    """
    if share == 0:
        return "0 %"
    if share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"
