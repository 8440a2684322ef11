"""What a reference knows of how its events arrived, and of its rows one by one; part of its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrivals import LAG_BINS, Arrivals
from detectors.binning import Binning
from detectors.quality.rows import DECIMALS, features_always_there, lacking, numeric_columns, roundings
from detectors.sample import Sample
from detectors.tensor import IntArray
from schemas.decoding import msgpack_decoder
from schemas.errors import UnusableReference

HOUR_MS, HOURS_OF_WEEK = 3_600_000, 168
MOST_NUMBERS = 2_000_000
"""Beyond that many, sampled rows of single windows are not kept apart, by segment or at all."""


class _State(msgspec.Struct, array_like=True):
    slice_ms: int
    windows: int
    arrivals: bytes
    lags: bytes
    complete: bytes
    groups: int
    decimals: bytes
    gaps: bytes


@dataclass(frozen=True)
class LearnedQuality:
    """What the watches of data quality compare windows with, besides counts on bins.

    Parameters
    ----------
    slice_ms : int
        Length of a slice; 0 where events have no times.
    arrivals : IntArray
        ``[W, 3]``: rows of each window of which it is known how they came, repeated events, and rows that
        came behind newer ones; see `detectors.arrivals.Arrivals`.
    lags : IntArray
        ``[W, LAG_BINS]``.
    complete : IntArray
        ``[W, groups, 2]``: sampled rows that lack a value which the reference always had, and the others.
        Only all rows where groups would be too many.
    decimals : IntArray
        ``[W, numeric columns, 6]``: sampled numbers by how they are rounded.
    gaps : IntArray
        ``[N, 3]``: hour of the week (of `HOURS_OF_WEEK`, from Thursday) in which a slice with rows began,
        slices until the next one with rows, and how often that was so.
    """

    slice_ms: int
    arrivals: IntArray
    lags: IntArray
    complete: IntArray
    decimals: IntArray
    gaps: IntArray

    @property
    def knows_arrivals(self) -> bool:
        """Whether it is known of any row how it came."""
        return bool(self.arrivals[:, 0].any())

    @classmethod
    def learn(
        cls,
        binning: Binning,
        counts: IntArray,
        samples: Mapping[int, Sample],
        arrivals: Mapping[int, Arrivals],
        *,
        slices: IntArray,
        slice_ms: int,
    ) -> LearnedQuality | None:
        """Learn from the windows of a reference.

        Parameters
        ----------
        binning : Binning
        counts : IntArray
            ``[bins]``: all rows of the reference.
        samples, arrivals : mapping
            Of each window, by its start, in the order of time; no arrivals where they are not known.
        slices : IntArray
            Starts of the slices with rows, ascending.
        slice_ms : int

        Returns
        -------
        LearnedQuality or None
            None where no row was sampled, and of none it is known how it came.
        """
        known = [arrivals.get(start, Arrivals()) for start in samples]
        if not any(each.told for each in known) and not any(sample.rows for sample in samples.values()):
            return None
        columns = features_always_there(binning, counts)
        groups = len(binning.groups) if 2 * len(samples) * len(binning.groups) <= MOST_NUMBERS else 1
        complete = [lacking(binning, columns, sample)[0][:groups] for sample in samples.values()]
        return cls(
            slice_ms,
            np.array([[each.told, each.repeated, each.behind] for each in known], np.int64),
            np.stack([each.lags for each in known]),
            np.stack(complete),
            _few(np.stack([roundings(binning, sample) for sample in samples.values()])),
            gaps_between(slices, slice_ms),
        )

    def to_bytes(self) -> bytes:
        """Serialise; part of the bytes of a reference, which name the version."""
        state = _State(
            self.slice_ms,
            len(self.arrivals),
            _pack(self.arrivals),
            _pack(self.lags),
            _pack(self.complete),
            self.complete.shape[1],
            _pack(self.decimals),
            _pack(self.gaps),
        )
        return msgspec.msgpack.encode(state, order="deterministic")

    @classmethod
    def from_bytes(cls, data: bytes, binning: Binning) -> LearnedQuality:
        """Read what `to_bytes` wrote.

        Raises
        ------
        UnusableReference
            If the bytes are damaged or do not belong to the bins.
        """
        numeric = len(numeric_columns(binning))
        try:
            state = msgpack_decoder(_State).decode(data)
            decimals, groups = _unpack(state.decimals), len(binning.groups)
            windows = -1 if decimals.size else state.windows
            return cls(
                state.slice_ms,
                _unpack(state.arrivals).reshape(state.windows, 3),
                _unpack(state.lags).reshape(state.windows, LAG_BINS),
                _unpack(state.complete).reshape(-1, 1 if state.groups == 1 else groups, 2),
                decimals.reshape(windows, numeric, len(DECIMALS)),
                _unpack(state.gaps).reshape(-1, 3),
            )
        except (msgspec.MsgspecError, ValueError) as problem:
            msg = f"damaged reference: what it knows of quality: {problem}"
            raise UnusableReference(msg) from problem


def gaps_between(slices: IntArray, slice_ms: int) -> IntArray:
    """Count the gaps between slices with rows, see `LearnedQuality.gaps`.

    Examples
    --------
    >>> gaps_between(np.array([0, 60_000, 180_000, 240_000]), 60_000).tolist()
    [[0, 1, 2], [0, 2, 1]]
    """
    if len(slices) < 2 or slice_ms <= 0:
        return np.zeros((0, 3), np.int64)
    hour = slices[:-1] // HOUR_MS % HOURS_OF_WEEK
    each = np.stack([hour, np.diff(slices) // slice_ms], axis=1)
    kinds, times = np.unique(each, axis=0, return_counts=True)
    return np.concatenate([kinds, times[:, None]], axis=1)


def _few(windows: IntArray) -> IntArray:
    return windows if windows.size <= MOST_NUMBERS else windows.sum(axis=0, keepdims=True)


def _pack(values: NDArray[Any]) -> bytes:
    return values.astype("<i8").tobytes()


def _unpack(data: bytes) -> IntArray:
    return np.frombuffer(data, "<i8").astype(np.int64)
