"""Adds stored slices up to one profile: of a window for the evaluator, of any range for the API.

A stored slice is counted on cells (before the first reference) or on the bins of one reference. With a
reference in force, slices on cells are moved onto its bins; slices on the bins of another reference cannot be
moved and are only counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from detectors.cells import LIMIT
from detectors.profile import Profile
from detectors.sample import Sample, union
from detectors.summary import FREQUENT, Summary
from monitor.profiling import Pointer
from schemas.column import ColumnSpec

TOGETHER = 256  # profiles merged in one call: few enough to bound memory, enough for speed

Ranges = dict[str, dict[str, list[list[int]]]]


class StoredSlice(Protocol):
    """What is read of a row of ``slice_profile``."""

    @property
    def id(self) -> int: ...  # noqa: D102 - columns of the table
    @property
    def slice_ms(self) -> int: ...  # noqa: D102
    @property
    def reference_hash(self) -> str | None: ...  # noqa: D102
    @property
    def span_ms(self) -> int: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def sources(self) -> str: ...  # noqa: D102
    @property
    def bytes(self) -> bytes: ...  # noqa: D102


@dataclass(frozen=True)
class Merged:
    """Slices added up.

    Parameters
    ----------
    profile : Profile
        All rows that could be merged: on the bins of the reference, or on cells when there is none.
    sources : dict
        Offsets that the slices were made of, ``{topic: {partition: [[from, to), …]}}``, sorted and joined.
    excluded_rows : int
        Rows counted on the bins of another reference; not in `profile`.
    straddling : int
        Values in cells that an edge of the reference cut; normally 0.
    slice_ids : list of int
        Rows of the table that were read, in order.
    rows : int
        All rows, excluded ones too.
    samples : dict of int to Sample
        Of the rows of each slice, by its start; empty where they were not asked for. That of a single slice
        is in its profile too.
    is_of_sums : bool
        Some of them were added up to hours or days, without the samples of their rows.
    """

    profile: Profile
    sources: Ranges
    excluded_rows: int
    straddling: int
    slice_ids: list[int]
    rows: int
    samples: dict[int, Sample] = field(default_factory=dict)
    is_of_sums: bool = False

    @property
    def sample(self) -> Sample:
        """A uniform sample of all rows."""
        return union(self.samples.values())


class Merging:
    """Adds slices one by one, in bounded memory.

    Parameters
    ----------
    specs : mapping of str to ColumnSpec
        Registered columns of the model version; their kinds win over those that a slice saw first.
    pointer : Pointer or None
        Reference whose bins the result is on; None for cells.
    samples : bool
        Take in the samples of whole rows too.

    Guarantees
    ----------
    Counts do not depend on the order of slices. Sums do, in their last digits: add slices by ascending id for
    the same ones every time. Quantiles are approximate and differ a little from one time to the next.
    """

    def __init__(
        self, specs: Mapping[str, ColumnSpec], pointer: Pointer | None, *, samples: bool = True
    ) -> None:
        self._pointer, self._with_samples = pointer, samples
        self._samples: dict[int, Sample] = {}
        self._unsampled: set[int] = set()  # slices of which some rows had no chance to be in the sample
        self._specs = dict(specs)
        if pointer is not None:
            self._specs.update((spec.name, spec) for spec in pointer.binning.columns)
        self._profile = Profile(pointer.binning, pointer.hash) if pointer else Profile()
        self._waiting: list[Profile] = []
        self._ranges: dict[tuple[str, str], set[tuple[int, int]]] = {}
        self._ids: list[int] = []
        self._excluded = self._straddling = self._rows = 0
        self._is_of_sums = False

    def add(self, row: StoredSlice) -> None:
        """Add one slice.

        Raises
        ------
        ProfileError
            If its bytes are damaged.
        """
        self._ids.append(row.id)
        self._rows += row.rows
        self._is_of_sums |= row.span_ms > 0
        self._note_sources(row.sources)
        profile = self._readable(row)
        if profile is None:
            self._excluded += row.rows
            return
        if self._with_samples and profile.sample.most:
            self._note_sample(row.slice_ms, profile.sample)
        elif profile.rows:
            self._unsampled.add(row.slice_ms)
        self._waiting.append(profile)
        if len(self._waiting) >= TOGETHER:
            self._flush()

    def finish(self) -> Merged:
        """Return the sum of all that was added."""
        self._flush()
        sources: Ranges = {}
        for (topic, partition), ranges in sorted(self._ranges.items(), key=_by_place):
            sources.setdefault(topic, {})[partition] = joined(ranges)
        for slice_ms in self._unsampled & self._samples.keys():
            del self._samples[slice_ms]
        if len(self._samples) == 1:
            self._profile.sample = next(iter(self._samples.values()))
        return Merged(
            self._profile,
            sources,
            self._excluded,
            self._straddling,
            self._ids,
            self._rows,
            self._samples,
            self._is_of_sums,
        )

    def _readable(self, row: StoredSlice) -> Profile | None:
        """Read a slice on the bins (or cells) of the result; None if it cannot be moved there."""
        pointer, hash_ = self._pointer, row.reference_hash or ""
        if not hash_:
            profile = Profile.from_bytes(row.bytes)
            if pointer is None:
                return profile
            moved, straddling = profile.rebinned(pointer.binning, pointer.hash)
            self._straddling += straddling
            return moved
        if pointer is None or hash_ != pointer.hash:
            return None
        return Profile.from_bytes(row.bytes, pointer.binning)

    def _note_sample(self, slice_ms: int, sample: Sample) -> None:
        """Add rows to the sample of a slice; where the configuration has changed the smaller size counts."""
        known = self._samples.get(slice_ms)
        parts = [sample] if known is None else [known, sample]
        if known is None or sample.most < known.most:
            known = self._samples[slice_ms] = Sample(sample.most)
            known.merge(*parts)
        else:
            known.merge(sample)

    def _note_sources(self, text: str) -> None:
        for topic, partitions in json.loads(text).items():
            for partition, ranges in partitions.items():
                known = self._ranges.setdefault((topic, partition), set())
                known.update((first, last) for first, last in ranges)

    def _flush(self) -> None:
        for spec in self._kinds():
            # As a profile makes its own: while learning, all values that can be told apart.
            capacity = LIMIT if self._pointer is None else FREQUENT
            self._profile.summaries.setdefault(spec.name, Summary(spec, capacity))
        self._profile.merge(*self._waiting)
        self._waiting = []

    def _kinds(self) -> list[ColumnSpec]:
        """Specs of the columns of waiting slices: as the reference says, as registered, or as first seen."""
        found: dict[str, ColumnSpec] = {}
        for profile in self._waiting:
            for name, summary in profile.summaries.items():
                found.setdefault(name, summary.spec)
        return [self._specs.get(name, spec) for name, spec in sorted(found.items())]


def merge_slices(
    rows: Iterable[StoredSlice],
    specs: Mapping[str, ColumnSpec],
    pointer: Pointer | None,
    *,
    samples: bool = True,
) -> Merged:
    """Add stored slices of one model version up.

    Parameters
    ----------
    rows : iterable of rows of ``slice_profile``
        With ``id``, ``slice_ms``, ``reference_hash``, ``rows``, ``sources`` and ``bytes``; in any order.
    specs : mapping of str to ColumnSpec
        Registered columns of the model version, see `monitor.registry.read_columns`.
    pointer : Pointer or None
        Reference whose bins the result is on; None for cells.
    samples : bool
        Take in the samples of whole rows too.

    Returns
    -------
    Merged
        Counts, sums and extremes are the same, bit for bit, for the same rows in any order.

    Raises
    ------
    ProfileError
        If the bytes of a slice are damaged.
    """
    merging = Merging(specs, pointer, samples=samples)
    for row in sorted(rows, key=lambda row: row.id):
        merging.add(row)
    return merging.finish()


def joined(ranges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Sort ranges ``[from, to)`` and join those that touch or overlap.

    Examples
    --------
    >>> joined([(5, 9), (0, 3), (3, 5), (20, 21)])
    [[0, 9], [20, 21]]
    """
    found: list[list[int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    return found


def joined_sources(texts: Iterable[str]) -> str:
    """Join offsets of several commits, each as JSON ``{topic: {partition: [[from, to]]}}``.

    Examples
    --------
    >>> joined_sources(['{"a": {"0": [[0, 3]]}}', '{"a": {"0": [[3, 5]], "1": [[0, 1]]}}'])
    '{"a":{"0":[[0,5]],"1":[[0,1]]}}'
    """
    known: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for text in texts:
        for topic, partitions in json.loads(text).items():
            for partition, ranges in partitions.items():
                found = known.setdefault((topic, partition), set())
                found.update((first, last) for first, last in ranges)
    sources: Ranges = {}
    for (topic, partition), ranges in sorted(known.items(), key=_by_place):
        sources.setdefault(topic, {})[partition] = joined(ranges)
    return json.dumps(sources, separators=(",", ":"))


def _by_place(item: tuple[tuple[str, str], Any]) -> tuple[str, int]:
    (topic, partition), _ = item
    return topic, int(partition)
