"""References: what a model version is compared with. Immutable, and named by the SHA-256 of their bytes.

A reference is made from profiles on cells: a stretch of the stream, or a table. It fixes the bins, and keeps
the counts of all its rows and of each of its windows. Its bytes depend on the rows alone, not on how they
were batched, so the same rows give the same hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.binning import Binning
from detectors.profile import Profile, choose_binning, moments
from detectors.quality.learned import LearnedQuality
from detectors.relations import MOST_LEARNED, Relations
from detectors.sample import Sample, union
from detectors.sealed import seal_raw, unseal, unseal_raw
from detectors.tensor import IntArray, ReferenceCounts
from schemas.errors import UnusableReference

_MAGIC = b"DLR2"
MOST_WINDOW_COUNTS = 4_000_000


class _State(msgspec.Struct, array_like=True):
    binning: Binning
    from_ms: int
    to_ms: int
    longest_gap_ms: int
    counts: bytes
    group_rows: bytes
    window_starts: bytes
    windows: bytes
    window_ms: int
    means: list[float]
    deviations: list[float]
    relations: bytes = b""  # older references have none
    quality: bytes = b""  # nor this


@dataclass(frozen=True)
class Reference:
    """What a model version is compared with.

    Parameters
    ----------
    binning : Binning
    from_ms, to_ms : int
        Span of event time of its rows; `to_ms` is not included.
    longest_gap_ms : int
        Longest time between two slices with rows.
    counts : int64 array [groups, bins]
        All rows.
    group_rows : int64 array [groups]
    window_starts : int64 array [windows]
    windows : int64 array [windows, groups, bins]
        Rows of each of its own windows; they show how much windows differ when nothing is wrong. Only all
        rows (``[windows, 1, bins]``) where that would be more than `MOST_WINDOW_COUNTS` numbers.
    window_ms : int
        Length of those windows.
    means, deviations : float64 array [columns]
        Mean and standard deviation of numeric columns (from cells; about 1 % of the spread), nan for the
        others.
    relations : Relations or None
        What a sample of its rows says of rows as wholes; None without one.
    quality : LearnedQuality or None
        How its events arrived, and which of its sampled rows were whole; None where neither is known.
    """

    binning: Binning
    from_ms: int
    to_ms: int
    longest_gap_ms: int
    counts: NDArray[np.int64]
    group_rows: NDArray[np.int64]
    window_starts: NDArray[np.int64]
    windows: NDArray[np.int64]
    window_ms: int
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    relations: Relations | None = field(default=None, repr=False, compare=False)
    quality: LearnedQuality | None = field(default=None, repr=False, compare=False)
    _kept: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.group_rows[0])

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the bytes before they are compressed, in hexadecimal; no library version changes it."""
        return hashlib.sha256(_MAGIC + _opened(self.to_bytes())).hexdigest()

    @cached_property
    def judged(self) -> Binning:
        """Bins of all columns that are judged: its own, then the derived ones."""
        derived = None if self.relations is None else self.relations.derived
        if derived is None or not derived.columns:
            return self.binning
        return Binning(
            self.binning.columns + derived.columns, self.binning.bins + derived.bins, self.binning.segments
        )

    @cached_property
    def tensor(self) -> ReferenceCounts:
        """The counts as the detectors take them."""
        counts, windows, sd = self.counts, self.group_windows, self.deviations
        if self.judged is not self.binning and self.relations is not None:
            counts = np.concatenate([counts, self.relations.counts], axis=1)
            windows = np.concatenate([windows, self._of_all_groups(self.relations.windows)], axis=2)
            sd = np.concatenate([sd, self.relations.deviations])
        return ReferenceCounts(
            layout=self.judged.layout,
            segments=self.binning.groups,
            counts=self.judged.tensor(counts),
            windows=self.judged.tensor(windows),
            sd=sd,
            starts_ms=self.window_starts,
            window_ms=self.window_ms,
        )

    @property
    def group_windows(self) -> IntArray:
        """Counts of its windows, ``[windows, groups, bins]``; zeros for groups without any."""
        return self._of_all_groups(self.windows)

    def window(self, counts: NDArray[np.int64], derived: NDArray[np.int64] | None = None) -> IntArray:
        """Counts of a window as the detectors take them.

        Parameters
        ----------
        counts : int64 array [..., groups, bins]
            On the bins of the reference.
        derived : int64 array [..., groups, bins], optional
            On those of the derived columns; none where they are not known.
        """
        if self.judged is self.binning:
            return self.binning.tensor(counts)
        if derived is None:
            bins = int(self.judged.offsets[-1] - self.binning.offsets[-1])
            derived = np.zeros((*counts.shape[:-1], bins), np.int64)
        return self.judged.tensor(np.concatenate([counts, derived], axis=-1))

    def _of_all_groups(self, windows: IntArray) -> IntArray:
        """Counts of windows, with zeros for groups that have none of their own."""
        missing = len(self.binning.groups) - windows.shape[1]
        return np.pad(windows, ((0, 0), (0, missing), (0, 0))) if missing else windows

    def to_bytes(self) -> bytes:
        """Serialise; versioned."""
        if "bytes" not in self._kept:
            state = _State(
                self.binning,
                self.from_ms,
                self.to_ms,
                self.longest_gap_ms,
                _pack(self.counts),
                _pack(self.group_rows),
                _pack(self.window_starts),
                _pack(self.windows),
                self.window_ms,
                self.means.tolist(),
                self.deviations.tolist(),
                b"" if self.relations is None else self.relations.to_bytes(),
                b"" if self.quality is None else self.quality.to_bytes(),
            )
            fields = msgspec.structs.astuple(state)
            while fields[-1] == b"":
                fields = fields[:-1]  # as before there were any
            self._kept["bytes"] = seal_raw(_MAGIC, msgspec.msgpack.encode(fields, order="deterministic"))
        return self._kept["bytes"]

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """Read a reference.

        Raises
        ------
        UnusableReference
            If the bytes are not a reference of a known version.
        """
        state = unseal(_MAGIC, data, _State, "reference", UnusableReference)
        bins = int(state.binning.offsets[-1])
        arrays = [np.frombuffer(x, "<i8").astype(np.int64) for x in (state.counts, state.windows)]
        rows, starts = (
            np.frombuffer(x, "<i8").astype(np.int64) for x in (state.group_rows, state.window_starts)
        )
        return cls(
            state.binning,
            state.from_ms,
            state.to_ms,
            state.longest_gap_ms,
            arrays[0].reshape(-1, bins),
            rows,
            starts,
            arrays[1].reshape(len(starts), -1, bins) if len(starts) else np.zeros((0, 1, bins), np.int64),
            state.window_ms,
            np.array(state.means, np.float64),
            np.array(state.deviations, np.float64),
            Relations.from_bytes(state.relations, state.binning) if state.relations else None,
            LearnedQuality.from_bytes(state.quality, state.binning) if state.quality else None,
            {"bytes": bytes(data)},
        )


def _opened(data: bytes) -> bytes:
    return unseal_raw(_MAGIC, data, "reference", UnusableReference)


def build(
    slices: dict[int, Profile],
    *,
    slice_ms: int,
    window_ms: int,
    segments: tuple[str, ...] = (),
    max_segment_values: int = 50,
    span_ms: tuple[int, int] | None = None,
    positive: str | None = None,
) -> Reference:
    """Make a reference from profiles on cells.

    Parameters
    ----------
    slices : dict of int to Profile
        Profiles without bins, by start of their slice; not changed.
    slice_ms, window_ms : int
        Length of a slice, and of the windows that will be judged.
    segments : tuple of str
        Columns to break down by.
    max_segment_values : int
        Most frequent values of each that are counted apart; the others are counted together.
    span_ms : tuple of int, optional
        Start and end; default: of the slices.
    positive : str, optional
        The class that matters, for a model without scores.

    Raises
    ------
    UnusableReference
        If there is not a single row.
    """
    starts = sorted(start for start, profile in slices.items() if profile.rows)
    if not starts:
        msg = "no rows to make a reference of"
        raise UnusableReference(msg)
    by_window: dict[int, list[Profile]] = {}
    for start in starts:
        by_window.setdefault(start - start % window_ms, []).append(slices[start])
    in_windows = {start: _sum(profiles) for start, profiles in by_window.items()}
    pooled = _sum(list(in_windows.values()))
    binning = choose_binning(pooled, segments, max_segment_values)
    whole, _ = pooled.rebinned(binning, "")
    kept = kept_groups(len(in_windows), binning)
    windows = [profile.rebinned(binning, "")[0].counts[:kept] for profile in in_windows.values()]
    means, deviations = moments(pooled, binning)
    gaps = np.diff(starts, append=starts[-1] + slice_ms)
    samples = {start: union(profile.sample for profile in profiles) for start, profiles in by_window.items()}
    relations = relate(binning, whole.counts[0], samples, kept, positive)
    quality = LearnedQuality.learn(
        binning,
        whole.counts[0],
        samples,
        {start: profile.arrivals for start, profile in in_windows.items()},
        slices=np.array(starts, np.int64),
        slice_ms=slice_ms,
    )
    return Reference(
        binning,
        *(span_ms or (starts[0], starts[-1] + slice_ms)),
        int(gaps.max()),
        whole.counts,
        whole.group_rows,
        np.array(list(in_windows), np.int64),
        np.stack(windows),
        window_ms,
        means,
        deviations,
        relations,
        quality,
    )


def relate(
    binning: Binning,
    counts: IntArray,
    windows: dict[int, Sample],
    kept: int,
    positive: str | None = None,
) -> Relations | None:
    """Learn what the sampled rows of a reference's windows say, by start; see `Relations.learn`."""
    whole = union(windows.values(), MOST_LEARNED)
    return Relations.learn(binning, counts, whole, windows, kept_groups=kept, positive=positive)


def kept_groups(windows: int, binning: Binning) -> int:
    """Return how many groups a reference keeps the counts of its windows for: all, or all rows only."""
    groups = len(binning.groups)
    return groups if windows * groups * int(binning.offsets[-1]) <= MOST_WINDOW_COUNTS else 1


def _pack(values: NDArray[np.int64]) -> bytes:
    return values.astype("<i8").tobytes()


def _sum(profiles: list[Profile]) -> Profile:
    total = Profile()
    total.merge(*profiles)
    return total
