"""Work on a batch that is done once for all its slices: order, hashes and bins of every value.

The parts that profiles take out are views or single vectorised calls over a *section*, the consecutive rows
of one slice. Nothing here loops over rows or values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.arrivals import lag_bins
from detectors.binning import Binning, NumericBins, PresenceBins
from detectors.groups import GroupNumbers, binned_groups, count_rows, lookup, numbered
from detectors.hashing import hash_numbers, hash_strings
from detectors.segment_tally import SegmentTally
from schemas.batch import CODE_INVALID, INVALID, MISSING, Batch, Categories
from schemas.checks.catalog import Held, violations
from schemas.column import ColumnSpec
from schemas.contract import Contract, RuleKey, Tally
from schemas.errors import ProfileError
from schemas.examples import Examples
from schemas.showing import examples_of

FEW = 4_096  # strings that are made into Python strings all together


@dataclass(frozen=True)
class Section:
    """Consecutive rows of a prepared batch that belong to one slice."""

    slice_ms: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


class Prepared:
    """A batch sorted by slice, with what all its profiles need.

    Parameters
    ----------
    batch : Batch
    binning : Binning or None
        Bins of the reference of the batch's model version.
    slice_ms : int
        Length of a slice.
    contract : Contract, optional
        Hard rules that the rows are held against.
    """

    def __init__(
        self, batch: Batch, binning: Binning | None, slice_ms: int, contract: Contract | None = None
    ) -> None:
        index = batch.event_ms // slice_ms
        if len(index) > 1 and (np.diff(index) < 0).any():
            order = np.argsort(index, kind="stable")
            batch, index = batch.take(order), index[order]
        starts = (
            np.concatenate(([0], np.flatnonzero(np.diff(index)) + 1, [len(index)]))
            if len(index)
            else np.zeros(1, int)
        )
        self.batch, self.binning, self._contract = batch, binning, contract
        self.sections = [Section(int(index[a]) * slice_ms, int(a), int(b)) for a, b in pairwise(starts)]
        self.clean: list[bool] = np.logical_not(batch.status.any(axis=1)).tolist()
        self._hashes = hash_numbers(batch.numbers.ravel()).reshape(batch.numbers.shape)
        self._category_hashes = _hashed(batch.categories)

    def is_binned(self, spec: ColumnSpec) -> bool:
        """Whether the reference has bins for a column."""
        return self.binning is not None and spec.name in self.binning.index

    @cached_property
    def violations(self) -> list[Held]:
        """Every rule that the rows were held against, and which of them break it."""
        return [] if self._contract is None else violations(self.batch, self._contract)

    def add_violations(self, section: Section, tally: Tally) -> None:
        """Count how many rows of a section were held against each rule, and how many broke it."""
        for key, mask, skipped in self.violations:
            held = section.rows
            if skipped is not None:
                held -= int(np.count_nonzero(skipped[section.start : section.stop]))
            if mask is None:
                tally.add(key, held)
                continue
            broken = np.flatnonzero(mask[section.start : section.stop]) + section.start
            tally.add(key, held, self.batch.event_ms[broken])
            if len(broken):
                tally.show(key, self._examples(key, broken, tally.examples.get(key)))

    def add_segment_violations(
        self, section: Section, tally: SegmentTally, groups: GroupNumbers, width: int
    ) -> None:
        """Count rows of a section by rule and group; only rules that some row breaks or skips take work.

        Parameters
        ----------
        section : Section
        tally : SegmentTally
        groups : tuple of int32 arrays [rows of the section]
            Of each row, by segment column; where there is a reference, its groups are taken.
        width : int
            Number of groups.
        """
        rows = slice(section.start, section.stop)
        if self.binning is not None:
            groups = tuple(group[rows] for group in self._group_numbers)
        if not groups or not self.violations:
            return
        tally.hold(self._rules, count_rows(groups, section.rows, width))
        broken: list[tuple[RuleKey, NDArray[np.intp]]] = []
        for key, mask, skipped in self.violations:
            if skipped is not None and (left_out := np.flatnonzero(skipped[rows])).size:
                picked = tuple(group[left_out] for group in groups)
                tally.skip(key, count_rows(picked, len(left_out), width))
            if mask is not None and (wrong := np.flatnonzero(mask[rows])).size:
                broken.append((key, wrong))
        tally.violate(broken, groups, self.batch.event_ms[rows])

    @cached_property
    def _rules(self) -> list[RuleKey]:
        return [held.key for held in self.violations]

    @property
    def unique(self) -> frozenset[str]:
        """Columns of which no value may come twice."""
        return frozenset() if self._contract is None else self._contract.unique

    def _examples(self, key: RuleKey, rows: NDArray[np.intp], known: Examples | None) -> Examples | None:
        """Examples of rows that break a rule, besides those that are known."""
        return None if self._contract is None else examples_of(self.batch, rows, key, self._contract, known)

    @cached_property
    def lag_bins(self) -> NDArray[np.intp] | None:
        """Bin of the lag of each row, see `detectors.arrivals`; None where nothing is known of them."""
        arrived = self.batch.arrived
        return None if arrived is None else lag_bins(arrived.came_ms, self.batch.event_ms)

    # --- numbers --------------------------------------------------------------------------------------------

    def numbers(
        self, columns: Sequence[int], section: Section
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None, NDArray[np.uint64]]:
        """Values, status and hashes of numeric columns in a section, a row each; no status: all are OK."""
        rows = slice(section.start, section.stop)
        values, status = self.batch.numbers[:, rows], self.batch.status[:, rows]
        hashes = self._hashes[:, rows]
        if len(columns) < len(values):
            values, status, hashes = values[columns], status[columns], hashes[columns]
        return values, None if all(self.clean[i] for i in columns) else status, hashes

    # --- categories -----------------------------------------------------------------------------------------

    def category_status(self, i: int, section: Section) -> NDArray[np.uint8]:
        """Status of each row of categorical column `i` in a section."""
        return _status(self.batch.categories[i].codes[section.start : section.stop])

    def category_keys(self, i: int, section: Section) -> NDArray[np.int64]:
        """Keys of all values of categorical column `i` in a section, for counting on cells."""
        codes = self.batch.categories[i].codes[section.start : section.stop]
        hashes = self._category_hashes[i]
        if not len(hashes):
            return np.zeros(len(codes), np.int64)
        return hashes[np.maximum(codes, 0)].view(np.int64)

    def distinct_categories(
        self, i: int, section: Section
    ) -> tuple[Sequence[str], NDArray[np.int64], NDArray[np.uint64]]:
        """Values of categorical column `i` that occur in a section, their numbers of rows, their hashes."""
        categories = self.batch.categories[i]
        codes = categories.codes[section.start : section.stop]
        counts = np.bincount(codes[codes >= 0], minlength=len(categories.values))
        used = np.flatnonzero(counts)
        if len(categories.values) > FEW:
            names: Sequence[str] = _Strings(categories.values, used)
        else:
            names = categories.values.to_pylist()
            names = names if len(used) == len(names) else [names[code] for code in used.tolist()]
        return names, counts[used], self._category_hashes[i][used]

    # --- counts on the bins of the reference ----------------------------------------------------------------

    def counts(self, section: Section) -> NDArray[np.int64]:
        """Counts of a section on the bins of the reference, ``[groups, bins]``."""
        binning = self._need_binning()
        bins = int(binning.offsets[-1])
        rows = slice(section.start, section.stop)
        codes = self.codes[:, rows]
        blocks = []
        for size, group in self.segment_groups:
            joint = group[rows] * bins + codes
            blocks.append(np.bincount(joint.ravel(), minlength=size * bins).reshape(size, bins))
        total = blocks[0].sum(axis=0) if blocks else np.bincount(codes.ravel(), minlength=bins)
        return np.concatenate([total[None, :], *blocks])

    def group_rows(self, section: Section) -> NDArray[np.int64]:
        """Rows of a section in each group of the reference."""
        rows = slice(section.start, section.stop)
        parts = [np.bincount(group[rows], minlength=size) for size, group in self.segment_groups]
        return np.concatenate([[section.rows], *parts])

    def _need_binning(self) -> Binning:
        if self.binning is None:
            msg = "prepared without bins"
            raise ProfileError(msg)
        return self.binning

    @cached_property
    def segment_groups(self) -> list[tuple[int, NDArray[np.int64]]]:
        """For each segment column the number of its groups, and the group of each row."""
        return binned_groups(self._need_binning(), self.batch.segments, len(self.batch), self._hashes_of)

    @cached_property
    def _group_numbers(self) -> GroupNumbers:
        """Groups of all rows, as the reference numbers them."""
        return numbered(self.segment_groups)

    def _hashes_of(self, categories: Categories) -> NDArray[np.uint64]:
        """Hashes of the values of a segment, which is often one of the columns too."""
        for known, hashes in zip(self.batch.categories, self._category_hashes, strict=True):
            if known is categories:
                return hashes
        return hash_strings(categories.values)

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Flat bin of each value, ``[columns of the reference, n]``; columns that did not come: missing."""
        binning = self._need_binning()
        codes = np.empty((len(binning.columns), len(self.batch)), np.int64)
        codes[:] = (binning.offsets[1:] - 2)[:, None]
        for i, spec in enumerate(self.batch.numeric):
            if (at := binning.index.get(spec.name)) is not None:
                self._number_codes(i, at, codes[at])
        for i, spec in enumerate(self.batch.categorical):
            if (at := binning.index.get(spec.name)) is not None:
                self._category_codes(i, at, codes[at])
        for spec, status in self.batch.vectors:
            if (at := binning.index.get(spec.name)) is not None:
                end = binning.offsets[at + 1]
                if isinstance(binning.bins[at], PresenceBins):
                    codes[at] = end - 3 + status
                else:  # the reference knows this column as something else
                    codes[at] = np.where(status == MISSING, end - 2, end - 1)
        return codes

    def _number_codes(self, i: int, at: int, out: NDArray[np.int64]) -> None:
        binning = self._need_binning()
        bins, first, end = binning.bins[at], binning.offsets[at], binning.offsets[at + 1]
        status = self.batch.status[i]
        if isinstance(bins, NumericBins):
            np.add(bins.small_codes(self.batch.numbers[i]), first, out=out)
        else:
            out[:] = end - 1  # the reference knows this column as something else
        if not self.clean[i]:
            out[status == MISSING] = end - 2
            out[status == INVALID] = end - 1

    def _category_codes(self, i: int, at: int, out: NDArray[np.int64]) -> None:
        binning = self._need_binning()
        bins, first, end = binning.bins[at], int(binning.offsets[at]), int(binning.offsets[at + 1])
        codes = self.batch.categories[i].codes
        if isinstance(bins, NumericBins | PresenceBins):
            out[:] = np.where(codes == -1, end - 2, end - 1)
        else:
            out[:] = lookup(bins.codes(self._category_hashes[i]) + first, codes, end - 2, end - 1)


def _hashed(columns: Sequence[Categories]) -> list[NDArray[np.uint64]]:
    """Hash the values of all columns in one call."""
    if not columns:
        return []
    hashes = hash_strings(pa.concat_arrays([categories.values for categories in columns]))
    return np.split(hashes, np.cumsum([len(categories.values) for categories in columns])[:-1])


def _status(codes: NDArray[np.int32]) -> NDArray[np.uint8]:
    status = np.zeros(len(codes), np.uint8)
    if len(codes) and codes.min() < 0:
        status[codes < 0] = MISSING
        status[codes == CODE_INVALID] = INVALID
    return status


class _Strings(Sequence[str]):
    """Some strings of an Arrow array, made into Python strings only when asked for one by one."""

    def __init__(self, values: pa.Array, picked: NDArray[np.intp]) -> None:
        self._values, self._picked = values, picked

    def __len__(self) -> int:
        return len(self._picked)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return _Strings(self._values, self._picked[at])
        return str(self._values[int(self._picked[at])].as_py())
