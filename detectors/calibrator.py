"""What scores were worth in the reference: a curve for everything, and one a segment, drawn towards it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from detectors.expected_metrics import BINARY, MULTICLASS, MetricFunction
from detectors.outcomes import EVERYTHING, LEAST_PROBABILITY, UNIT, Family, Records
from detectors.score_curve import PLACES, Curve, middles, pseudo_rows
from detectors.tensor import BoolArray, FloatArray, IntArray

SCORED = 0
"""Group of predictions whose score alone says what they are worth; other groups are predicted classes."""


@dataclass(frozen=True)
class Calibrator:
    """What scores were worth in the reference, for everything and for segments.

    Parameters
    ----------
    positive : tuple of int
        Hashes of the positive class as int64; empty where success is a right prediction.
    curves : mapping of (int, int) to Curve
        By segment and group: `SCORED`, or a predicted class.
    losses : FloatArray
        ``[2, 2, PLACES]``: mean squared error and log loss of failures and of successes.
    columns : tuple of tuple of int
        Segments by column, where they were given.

    Notes
    -----
    With a positive class, a score is P(positive) whatever was predicted. Otherwise it is the score of the
    predicted class, and each class has a curve of its own, drawn towards that of all classes. Curves of
    segments are drawn towards those of everything. Without a score the rate of the predicted class is used.

    Examples
    --------
    >>> from detectors.outcomes import RECORD
    >>> reference = np.zeros(4, RECORD)
    >>> reference["family"] = Family.LABELLED
    >>> reference["a"], reference["b"] = [7, 7, 8, 8], [7, 8, 7, 8]
    >>> reference["cell"], reference["n"] = [300, 300, 50, 50], [900, 100, 200, 800]
    >>> curve = Calibrator.fit(reference, positive=(7,)).curve(EVERYTHING, SCORED)
    >>> curve.p[[51, 301]].round(6).tolist()
    [0.2, 0.9]
    """

    positive: tuple[int, ...]
    curves: Mapping[tuple[int, int], Curve]
    losses: FloatArray
    columns: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def fit(
        cls, records: Records, positive: Sequence[int] = (), columns: Sequence[Sequence[int]] = ()
    ) -> Calibrator:
        """Fit to records of labelled predictions, of everything and of segments.

        Parameters
        ----------
        records : records
            Of the reference, any families; `Family.LABELLED` is used.
        positive : sequence of int
            Hashes under which the positive class may be known, as uint64 or as int64 with the same bits.
        columns : sequence of sequences of int
            Hashes of segments by column: all values of one column together. Segments of one column are drawn
            towards everything as far as they are alike; those of no column count as one column.
        """
        hashes = signed(positive)
        known = records[records["family"] == Family.LABELLED]
        parts = _parts(known, hashes)
        curves = _wholes(parts, is_binary=bool(hashes))
        kept = tuple(tuple(int(x) for x in column) for column in columns)
        curves |= _segments(parts, curves, kept)
        return cls(hashes, curves, _losses(known[known["segment"] == EVERYTHING], hashes), kept)

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        """Metrics that can be estimated, by name."""
        return BINARY if self.positive else MULTICLASS

    def curve(self, segment: int, group: int) -> Curve:
        """Curve of a segment and group; of all rows where the reference has no such segment or group."""
        for key in ((segment, group), (EVERYTHING, group), (EVERYTHING, SCORED)):
            if key in self.curves:
                return self.curves[key]
        return _UNKNOWN

    @cached_property
    def usual(self) -> dict[int, FloatArray]:
        """What columns say in place of the common curve in the reference's own mix, by group, ``[PLACES]``.

        Notes
        -----
        Σ_v portion_v·(P_v − P) over the segments v of all columns: about 0, but for what curves were drawn
        towards the common one and put in order again.
        """
        found: dict[int, FloatArray] = {}
        for (segment, group), curve in self.curves.items():
            common = self.curves.get((EVERYTHING, group))
            if segment not in self._told_apart or common is None or curve is common:
                continue
            said = curve.portion[curve.block] * (curve.p - common.p)
            found[group] = found.get(group, np.zeros(PLACES)) + said
        return found

    @cached_property
    def _told_apart(self) -> frozenset[int]:
        return frozenset(x for column in self.columns for x in column)

    @cached_property
    def blocks(self) -> tuple[dict[int, int], Curve]:
        """Where the blocks of each curve begin, by its id, and all curves put together."""
        distinct = {id(curve): curve for curve in (*self.curves.values(), _UNKNOWN)}
        sizes = [len(curve.variance) for curve in distinct.values()]
        first = np.cumsum([0, *sizes[:-1]]).tolist()
        parts = (np.concatenate([getattr(curve, name) for curve in distinct.values()]) for name in _FIELDS)
        return dict(zip(distinct, first, strict=True)), Curve(*parts)

    def look_up(
        self, segment: IntArray, group: IntArray, place: IntArray
    ) -> tuple[FloatArray, IntArray, IntArray]:
        """P at each (segment, group, place), which of all curves' blocks it is from, and of their groups."""
        keys, of = np.unique(np.stack((segment, group)), axis=1, return_inverse=True)
        if not keys.shape[1]:
            return np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
        pairs = zip(keys[0].view(np.uint64).tolist(), keys[1].tolist(), strict=True)
        curves = [self.curve(*pair) for pair in pairs]
        which, first = of.ravel(), self.blocks[0]
        p = np.stack([curve.p for curve in curves])[which, place]
        # A curve has no more groups than blocks, so that groups can be numbered like them.
        block, groups = (
            np.stack([getattr(curve, name) + first[id(curve)] for curve in curves])[which, place]
            for name in ("block", "group")
        )
        return p, block, groups


_FIELDS = tuple(Curve.__dataclass_fields__)
_UNKNOWN = Curve.fit(np.zeros(PLACES), np.zeros(PLACES))


def signed(hashes: Sequence[int]) -> tuple[int, ...]:
    """Hashes as int64 with the same bits.

    Examples
    --------
    >>> signed([2**64 - 1, -2, 3])
    (-1, -2, 3)
    """
    return tuple(np.array([int(x) % 2**64 for x in hashes], np.uint64).view(np.int64).tolist())


def successes(records: Records, positive: tuple[int, ...]) -> BoolArray:
    """Tell which labelled records count successes."""
    return np.isin(records["b"], positive) if positive else np.asarray(records["a"] == records["b"])


def groups(records: Records, positive: tuple[int, ...]) -> IntArray:
    """Group of each record: `SCORED` if its score is of the positive class, otherwise the predicted class."""
    if not positive:
        return np.asarray(records["a"], np.int64)
    return np.where(records["cell"] >= 0, np.int64(SCORED), records["a"]).astype(np.int64)


class _Parts(NamedTuple):
    """Labelled predictions: (segment, group) of each part, and ``[parts, PLACES]`` of rows and successes."""

    keys: list[tuple[int, int]]
    n: FloatArray
    successes: FloatArray


def _parts(known: Records, positive: tuple[int, ...]) -> _Parts:
    pairs = np.stack((known["segment"].view(np.int64), groups(known, positive)))
    keys, of = np.unique(pairs, axis=1, return_inverse=True)
    place = of.ravel() * PLACES + known["cell"] + 1
    shape = (keys.shape[1], PLACES)
    n, good = (
        np.asarray(np.bincount(place, weight, shape[0] * PLACES), np.float64).reshape(shape)
        for weight in (known["n"], known["n"] * successes(known, positive))
    )
    return _Parts(list(zip(keys[0].view(np.uint64).tolist(), keys[1].tolist(), strict=True)), n, good)


def _wholes(parts: _Parts, *, is_binary: bool) -> dict[tuple[int, int], Curve]:
    """Curves of everything: with a positive class of each group, otherwise of all classes and of each."""
    at = [i for i, (segment, _) in enumerate(parts.keys) if segment == EVERYTHING]
    if is_binary:
        return {parts.keys[i]: Curve.fit(parts.n[i], parts.successes[i]) for i in at}
    rows = parts.n[at].sum(axis=0)
    pooled = Curve.fit(rows, parts.successes[at].sum(axis=0))
    return {(EVERYTHING, SCORED): pooled} | _drawn(pooled, rows, parts, at)


def _segments(
    parts: _Parts, wholes: Mapping[tuple[int, int], Curve], columns: tuple[tuple[int, ...], ...]
) -> dict[tuple[int, int], Curve]:
    column_of = {segment: i for i, column in enumerate(columns) for segment in column}
    alike: dict[tuple[int, int], list[int]] = {}
    for i, (segment, group) in enumerate(parts.keys):
        if segment != EVERYTHING and (EVERYTHING, group) in wholes:
            alike.setdefault((group, column_of.get(segment, -1)), []).append(i)
    found: dict[tuple[int, int], Curve] = {}
    for (group, _), at in alike.items():
        rows = parts.n[parts.keys.index((EVERYTHING, group))]
        found |= _drawn(wholes[EVERYTHING, group], rows, parts, at)
    return found


def _drawn(
    whole: Curve, whole_rows: FloatArray, parts: _Parts, at: list[int]
) -> dict[tuple[int, int], Curve]:
    """Curves of parts, drawn towards that of the whole as far as the parts are alike."""
    n, good = parts.n[at], parts.successes[at]
    rows = np.array([whole.by_group(x) for x in n])
    mean = np.array([whole.by_group(x * whole.p) for x in n]) / np.maximum(rows, 1e-300)
    total = np.array([whole.by_group(x) for x in good])
    kappa = pseudo_rows(rows, total, mean, mean * (1 - mean)) if at else np.inf
    return {parts.keys[i]: whole.drawn_to(parts.n[i], parts.successes[i], kappa, whole_rows) for i in at}


def _losses(known: Records, positive: tuple[int, ...]) -> FloatArray:
    """Mean losses by success and place; the loss at the middle of the cell counts as one row more."""
    outcome = successes(known, positive).astype(np.int64)
    place = outcome * PLACES + known["cell"] + 1
    n, squared, log = (
        np.bincount(place, known[name] / unit, 2 * PLACES).reshape(2, PLACES)
        for name, unit in (("n", 1.0), ("s1", UNIT), ("s2", UNIT))
    )
    score = np.concatenate(([0.5], middles()))
    chance = np.maximum(np.stack((1 - score, score)), LEAST_PROBABILITY)
    return np.stack(((squared + (1 - chance) ** 2) / (n + 1), (log - np.log(chance)) / (n + 1)))
