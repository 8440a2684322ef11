"""The mergeable summary of the rows of one model version in one slice of event time.

Counts are exact. As long as a model version has no reference, each column is counted on dyadic `Cells`;
afterwards on the bins of the reference, as one dense row of all bins for all rows and for each segment value.
Columns that turn up after the reference was made stay on cells. Merging is addition.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.arrivals import Arrivals
from detectors.binning import Binning, Bins, NumericBins, SegmentValues, bins_for, rebin
from detectors.cells import LIMIT, Cells, float_keys, keys_to_floats
from detectors.groups import GroupNumbers, Groups, binned_groups, count_rows, numbered
from detectors.hashing import hash_strings
from detectors.packing import pack, unpack
from detectors.prepared import Prepared, Section
from detectors.sample import Sample, SampleState
from detectors.sealed import seal, unseal
from detectors.segment_tally import SegmentTally, SegmentTallyState
from detectors.summary import FREQUENT, Summary, SummaryState, add_matrix
from schemas.batch import INVALID, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind
from schemas.contract import Contract, RuleKey, Tally, TallyState
from schemas.decoding import msgpack_decoder
from schemas.errors import ProfileError
from schemas.showing import examples_of

MAGIC = b"DLP1"


class _CellState(msgspec.Struct, array_like=True):
    shift: int
    group: bytes
    cell: bytes
    count: bytes
    invalid: bytes


class _State(msgspec.Struct, array_like=True):
    reference_hash: str
    groups: tuple[str, ...]
    group_rows: bytes
    counts: bytes
    summaries: list[SummaryState]
    cells: dict[str, _CellState]
    sample: bytes = b""  # older profiles have none
    violations: TallyState = []  # nor this
    arrivals: list[int] = []  # nor this
    by_segment: SegmentTallyState | None = None  # nor this


class Profile:
    """All that is kept of the rows of one (model, version, slice).

    Parameters
    ----------
    binning : Binning, optional
        Bins of the reference; None before there is one.
    reference_hash : str, optional
        Hash of the reference that the bins belong to; empty before there is one.
    sample_rows : int
        Most rows of which a sample is kept; with 0 the samples of merged profiles are left out too.

    Attributes
    ----------
    groups : list of str
        Groups of rows that are counted apart: ``""`` (all rows), ``"origin=EWR"``, …
    group_rows : int64 array [groups]
        Rows of each group. A column's missing values are the rows that it neither counts nor calls invalid.
    counts : int64 array [groups, bins]
        Counts on the bins of the reference, all columns side by side.
    cells : dict of str to Cells
        Counts of the columns without bins.
    summaries : dict of str to Summary
    sample : Sample
        Whole rows; those of a profile that was read are decoded when they are asked for.
    violations : Tally
        How many rows break the hard rules of the contract.
    by_segment : SegmentTally
        The same by the groups of `groups`, if there are any besides all rows.
    arrivals : Arrivals
        How the rows arrived.

    Guarantees
    ----------
    Splitting rows into batches in any way, and merging in any order, gives the same counts. Memory is
    bounded by the number of columns, segment values and bins, not by the number of rows.
    """

    def __init__(
        self, binning: Binning | None = None, reference_hash: str = "", sample_rows: int = 0
    ) -> None:
        self.binning, self.reference_hash = binning, reference_hash
        self._sample: Sample | bytes = Sample(sample_rows)
        self._groups = Groups() if binning is None else Groups(binning.groups)
        self.group_rows: NDArray[np.int64] = np.zeros(len(self.groups), np.int64)
        self.counts: NDArray[np.int64] = np.zeros(
            (0, 0) if binning is None else (len(self.groups), int(binning.offsets[-1])), np.int64
        )
        self.summaries: dict[str, Summary] = {}
        self.cells: dict[str, Cells] = {}
        self.violations, self.by_segment = Tally(), SegmentTally()
        self.arrivals = Arrivals()

    @property
    def groups(self) -> list[str]:
        """Labels of the groups of rows."""
        return self._groups.labels

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.group_rows[0])

    @property
    def size_bytes(self) -> int:
        """Memory that the counts and sketches take, roughly."""
        cells = sum(20 * len(c.cell) for c in self.cells.values())
        sketches = 3_000 * len(self.summaries)
        sketches += sum(one.distinct.size_bytes for one in self.summaries.values() if one.distinct.exact)
        violations = self.violations.size_bytes + self.by_segment.size_bytes
        return int(self.counts.nbytes) + cells + sketches + violations

    @property
    def sample(self) -> Sample:
        """A sample of whole rows."""
        if isinstance(self._sample, bytes):
            self._sample = Sample.from_state(_decode_sample(self._sample))
        return self._sample

    @sample.setter
    def sample(self, sample: Sample) -> None:
        self._sample = sample

    def missing(self, column: str) -> int:
        """Rows without a value in a column."""
        summary = self.summaries.get(column)
        return self.rows if summary is None else self.rows - summary.ok - summary.invalid

    # --- adding rows ----------------------------------------------------------------------------------------

    def add(self, prepared: Prepared, section: Section) -> None:
        """Add a section of consecutive rows of a batch that was prepared with the same binning."""
        self.sample.add(prepared.batch, section.start, section.stop)
        if self.binning is not None:
            self.counts += prepared.counts(section)
            self.group_rows += prepared.group_rows(section)
            groups: GroupNumbers = ()
        else:
            groups = self._groups.of_rows(prepared.batch.segments, slice(section.start, section.stop))
            self._count_groups(count_rows(groups, section.rows, len(self.groups)))
        self._refine(prepared)
        self._add_numbers(prepared, section, groups)
        self._add_categories(prepared, section, groups)
        for spec, every in prepared.batch.vectors:
            status = every[section.start : section.stop]
            summary = self._summary(spec)
            if summary.spec.kind is not spec.kind:
                self._refuse(spec.name, status, groups)
                continue
            summary.count(int(np.count_nonzero(status == OK)), int(np.count_nonzero(status == INVALID)))
            if not prepared.is_binned(spec):
                self._count_cells(spec.name, np.zeros(section.rows, np.int64), status, groups)
        prepared.add_violations(section, self.violations)
        prepared.add_segment_violations(section, self.by_segment, groups, len(self.groups))
        self._add_arrivals(prepared, section)

    def _refine(self, prepared: Prepared) -> None:
        """Choose finer distinct counts for columns of which no value may come twice."""
        if not prepared.unique:
            return
        for spec in prepared.batch.columns:
            if spec.name in prepared.unique:
                self._summary(spec).refine()

    def add_kept_out(self, batch: Batch, rows: NDArray[np.intp], rule: RuleKey, contract: Contract) -> None:
        """Count rows that break a rule and are kept out, as that and as nothing else.

        Parameters
        ----------
        batch : Batch
        rows : int array [n]
            At least one.
        rule : RuleKey
        contract : Contract
            That the rule is of.
        """
        broken_ms = batch.event_ms[rows]
        self.violations.add(rule, len(rows), broken_ms)
        known = self.violations.examples.get(rule)
        self.violations.show(rule, examples_of(batch, rows, rule, contract, known))
        groups = self._groups_of(batch, rows)
        if groups:
            self._count_groups(np.zeros(len(self.groups), np.int64))
            self.by_segment.hold([rule], count_rows(groups, len(rows), len(self.groups)))
            self.by_segment.violate([(rule, np.arange(len(rows)))], groups, broken_ms)

    def _groups_of(self, batch: Batch, rows: NDArray[np.intp]) -> GroupNumbers:
        """Groups of some rows."""
        if self.binning is None:
            return self._groups.of_rows(batch.segments, rows)
        picked = {name: Categories(c.codes[rows], c.values) for name, c in (batch.segments or {}).items()}
        return numbered(binned_groups(self.binning, picked, len(rows)))

    def _add_arrivals(self, prepared: Prepared, section: Section) -> None:
        arrived, bins = prepared.batch.arrived, prepared.lag_bins
        if arrived is not None and bins is not None:
            rows = slice(section.start, section.stop)
            behind = int(np.count_nonzero(arrived.is_behind[rows]))
            self.arrivals.add(section.rows, behind=behind, bins=bins[rows])

    def _add_numbers(self, prepared: Prepared, section: Section, groups: GroupNumbers) -> None:
        every = prepared.batch.numeric
        mine = [i for i, spec in enumerate(every) if self._summary(spec).spec.kind is spec.kind]
        if len(mine) < len(every):
            for i in set(range(len(every))) - set(mine):
                self._refuse(every[i].name, prepared.batch.status[i, section.start : section.stop], groups)
        if not mine or not section.rows:
            return
        values, status, hashes = prepared.numbers(mine, section)
        summaries = [self.summaries[every[i].name] for i in mine]
        use = None
        if status is None:
            for summary in summaries:
                summary.count(section.rows, 0)
        else:
            use = status == OK
            invalid = np.count_nonzero(status == INVALID, axis=1).tolist()
            for summary, right, wrong in zip(summaries, use.sum(axis=1).tolist(), invalid, strict=True):
                summary.count(right, wrong)
        add_matrix(summaries, values, use, hashes)
        free = [at for at, i in enumerate(mine) if not prepared.is_binned(every[i])]
        if free:
            names = [every[mine[at]].name for at in free]
            if len(free) < len(mine):
                values, status = values[free], None if status is None else status[free]
            self._count_all_cells(names, float_keys(values), status, groups)

    def _add_categories(self, prepared: Prepared, section: Section, groups: GroupNumbers) -> None:
        free: dict[str, tuple[NDArray[np.int64], NDArray[np.uint8]]] = {}
        for i, spec in enumerate(prepared.batch.categorical):
            status = prepared.category_status(i, section)
            summary = self._summary(spec)
            if summary.spec.kind is not spec.kind:
                self._refuse(spec.name, status, groups)
                continue
            right = int(np.count_nonzero(status == OK))
            summary.count(right, 0 if right == len(status) else int(np.count_nonzero(status == INVALID)))
            summary.add_categories(*prepared.distinct_categories(i, section))
            if not prepared.is_binned(spec):
                free[spec.name] = prepared.category_keys(i, section), status
        if free:
            keys, status = (np.vstack(column) for column in zip(*free.values(), strict=True))
            self._count_all_cells(list(free), keys, status, groups)

    def _summary(self, spec: ColumnSpec) -> Summary:
        summary = self.summaries.get(spec.name)
        if summary is None:
            # While learning, every value that can still be told apart keeps its name.
            kept = FREQUENT if self.binning is not None else LIMIT
            summary = self.summaries[spec.name] = Summary(self._known(spec), kept)
        return summary

    def _known(self, spec: ColumnSpec) -> ColumnSpec:
        """Return the column as the reference knows it."""
        at = None if self.binning is None else self.binning.index.get(spec.name)
        return spec if self.binning is None or at is None else self.binning.columns[at]

    def _refuse(self, name: str, status: NDArray[np.uint8], groups: GroupNumbers) -> None:
        """Count values of another kind than the column's as invalid."""
        wrong = np.where(status == OK, np.uint8(INVALID), status)
        self.summaries[name].count(0, int(np.count_nonzero(wrong == INVALID)))
        if name in self.cells:
            self._count_cells(name, np.zeros(len(wrong), np.int64), wrong, groups)

    def _count_all_cells(
        self,
        names: list[str],
        keys: NDArray[np.int64],
        status: NDArray[np.uint8] | None,
        groups: GroupNumbers,
    ) -> None:
        """Count columns on cells, all those without missing or invalid values at once."""
        clean = np.ones(len(names), bool) if status is None else ~status.any(axis=1)
        together = np.flatnonzero(clean).tolist()
        if together and keys.shape[1]:
            floors = [self._shift(names[i]) for i in together]
            picked = keys if len(together) == len(names) else keys[together]
            for i, new in zip(
                together, Cells.count_matrix(picked, groups, len(self.groups), floors), strict=True
            ):
                self._add_cells(names[i], new)
        if status is not None:
            for i in np.flatnonzero(~clean).tolist():
                self._count_cells(names[i], keys[i], status[i], groups)

    def _count_cells(
        self, name: str, keys: NDArray[np.int64], status: NDArray[np.uint8], groups: GroupNumbers
    ) -> None:
        self._add_cells(name, Cells.count_keys(keys, status, groups, len(self.groups), self._shift(name)))

    def _shift(self, name: str) -> int:
        known = self.cells.get(name)
        return 0 if known is None else known.shift

    def _add_cells(self, name: str, new: Cells) -> None:
        known = self.cells.get(name)
        self.cells[name] = new if known is None else known.merge((new, None))

    def _count_groups(self, rows: NDArray[np.int64]) -> None:
        """Add numbers of rows by group."""
        if len(rows) > len(self.group_rows):
            self.group_rows = np.pad(self.group_rows, (0, len(rows) - len(self.group_rows)))
        self.group_rows[: len(rows)] += rows

    def declare(self, specs: Iterable[ColumnSpec]) -> None:
        """Fix the kinds of columns before anything is merged; values of another kind count as invalid."""
        for spec in specs:
            self._summary(spec)

    # --- merging --------------------------------------------------------------------------------------------

    def merge(self, *others: Profile) -> None:
        """Add other profiles to this one.

        Raises
        ------
        ProfileError
            If they are not all on the bins of the same reference.
        """
        found: dict[str, list[tuple[Cells, NDArray[np.int32] | None]]] = {}
        for other in others:
            if other.reference_hash != self.reference_hash:
                theirs, ours = (x.reference_hash or "no reference" for x in (other, self))
                msg = f"a profile on the bins of {theirs} cannot be added to one on the bins of {ours}"
                raise ProfileError(msg)
            moved = self._merge_rows(other)
            self.violations.merge(other.violations)
            self.by_segment.merge(other.by_segment, moved, len(self.groups))
            self.arrivals.merge(other.arrivals)
            if self.sample.most:
                self.sample.merge(other.sample)
            for name, summary in other.summaries.items():
                mine = self._summary(summary.spec)
                mine.merge(summary)
                if name in other.cells:
                    same = mine.spec.kind is summary.spec.kind
                    found.setdefault(name, []).append(
                        (other.cells[name] if same else _all_invalid(other.cells[name]), moved)
                    )
        for name, parts in found.items():
            self.cells[name] = self.cells.get(name, Cells.empty()).merge(*parts)

    def _merge_rows(self, other: Profile) -> NDArray[np.int32] | None:
        """Add counts and group sizes; returns the number here of each of its groups, None for the same."""
        if self.binning is not None:
            self.counts += other.counts
            self.group_rows += other.group_rows
            return None
        moved = self._groups.moved(other.groups)
        rows = other.group_rows
        if moved is not None:
            rows = np.zeros(len(self.groups), np.int64)
            np.add.at(rows, moved, other.group_rows)
        self._count_groups(rows)
        return moved

    # --- moving onto bins -----------------------------------------------------------------------------------

    def choose_bins(self, name: str) -> Bins:
        """Choose bins for a column from its cells."""
        summary = self.summaries[name]
        names: dict[int, str] = {}
        if summary.frequent is not None:
            values = [item.value for item in summary.frequent.items()]
            names = dict(zip(hash_strings(pa.array(values, pa.string())).tolist(), values, strict=True))
        lowest, highest = (
            (summary.lowest, summary.highest) if summary.spec.kind is Kind.NUMERIC else (0.0, 0.0)
        )
        return bins_for(summary.spec, self.cells.get(name, Cells.empty()), lowest, highest, names)

    def rebinned(self, binning: Binning, reference_hash: str) -> tuple[Profile, int]:
        """Move the counts of a profile without bins onto the bins of a reference.

        Returns
        -------
        profile : Profile
        straddling : int
            Values whose cell an edge cuts, over all columns; see `detectors.binning.rebin`.
        """
        target = Profile(binning, reference_hash)
        spare = len(target.groups)  # for the rows of segments that the reference does not know
        groups = target._groups.places(self.groups)
        group_rows = np.zeros(spare + 1, np.int64)
        np.add.at(group_rows, groups, self.group_rows)
        _fill_absent(group_rows, binning)
        target.group_rows = group_rows[:spare]
        straddling = 0
        for i, (spec, bins) in enumerate(zip(binning.columns, binning.bins, strict=True)):
            cells = self.cells.get(spec.name, Cells.empty())
            if spec.name in self.summaries and self.summaries[spec.name].spec.kind is not spec.kind:
                cells = _all_invalid(cells)
            moved, cut = rebin(cells, bins, groups, group_rows)
            target.counts[:, binning.offsets[i] : binning.offsets[i + 1]] = moved[:spare]
            straddling += cut
        for name, summary in self.summaries.items():
            known = binning.index.get(name)
            target._summary(summary.spec if known is None else binning.columns[known]).merge(summary)
            if known is None:
                target.cells[name] = self.cells[name]
        target._sample = self._sample
        target.violations.merge(self.violations)
        target.by_segment.merge(self.by_segment, groups, spare)
        target.arrivals.merge(self.arrivals)
        return target, straddling

    # --- bytes ----------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Serialise; versioned and compressed."""
        state = _State(
            self.reference_hash,
            () if self.binning is not None else tuple(self.groups),
            pack(self.group_rows),
            pack(self.counts),
            [summary.state() for summary in self.summaries.values()],
            {
                name: _CellState(c.shift, pack(c.group), pack(c.cell), pack(c.count), pack(c.invalid))
                for name, c in self.cells.items()
            },
            self._sample if isinstance(self._sample, bytes) else _encode_sample(self._sample),
            self.violations.state(),
            self.arrivals.state(),
            self.by_segment.state(sorted(self.violations.counts)),
        )
        return seal(MAGIC, state)

    @staticmethod
    def reference_of(data: bytes) -> str:
        """Hash of the reference whose bins serialised bytes are on; empty for none."""
        return _decode(data).reference_hash

    @classmethod
    def from_bytes(cls, data: bytes, binning: Binning | None = None) -> Profile:
        """Read a profile.

        Parameters
        ----------
        data : bytes
        binning : Binning, optional
            Bins of the reference that the profile names; needed when it names one.

        Raises
        ------
        ProfileError
            If the bytes are not a profile, of a version that is not known, or the bins are not the right
            ones.
        """
        state = _decode(data)
        if bool(state.reference_hash) != (binning is not None):
            msg = f"a profile on the bins of {state.reference_hash or 'no reference'} needs exactly those"
            raise ProfileError(msg)
        profile = cls(binning, state.reference_hash)
        counts, rows = unpack(state.counts), unpack(state.group_rows)
        if counts.size != profile.counts.size or (binning is not None and len(rows) != len(profile.groups)):
            msg = "the counts of the profile do not fit the bins of its reference"
            raise ProfileError(msg)
        profile.counts, profile.group_rows = counts.reshape(profile.counts.shape), rows
        if state.sample:
            profile._sample = state.sample
        profile.violations = Tally.from_state(state.violations)
        profile.by_segment = SegmentTally.from_state(state.by_segment, sorted(profile.violations.counts))
        profile.arrivals = Arrivals.from_state(state.arrivals)
        if binning is None:
            profile._groups = Groups(state.groups)
        profile.summaries = {s.spec.name: Summary.from_state(s) for s in state.summaries}
        profile.cells = {
            name: Cells(
                c.shift,
                unpack(c.group).astype(np.int32),
                *(unpack(x) for x in (c.cell, c.count, c.invalid)),
            )
            for name, c in state.cells.items()
        }
        return profile


def profile_batch(
    batch: Batch,
    slice_ms: int,
    binning: Binning | None = None,
    reference_hash: str = "",
    sample_rows: int = 0,
    contract: Contract | None = None,
) -> dict[int, Profile]:
    """Profile a batch on its own.

    Returns
    -------
    dict of int to Profile
        By start of the slice.
    """
    prepared = Prepared(batch, binning, slice_ms, contract)
    profiles: dict[int, Profile] = {}
    for section in prepared.sections:
        profile = profiles.setdefault(section.slice_ms, Profile(binning, reference_hash, sample_rows))
        profile.add(prepared, section)
    return profiles


def choose_binning(pooled: Profile, segments: tuple[str, ...], max_segment_values: int) -> Binning:
    """Choose bins for every column, and the segment values with counts of their own."""
    names = sorted(pooled.summaries)
    return Binning(
        tuple(pooled.summaries[name].spec for name in names),
        tuple(pooled.choose_bins(name) for name in names),
        tuple(_segment_values(pooled, column, max_segment_values) for column in segments),
    )


def _segment_values(pooled: Profile, column: str, most: int) -> SegmentValues:
    prefix = f"{column}="
    found = [
        (-int(rows), label.removeprefix(prefix))
        for label, rows in zip(pooled.groups, pooled.group_rows, strict=True)
        if rows and label.startswith(prefix) and not label.endswith(("=(missing)", "=(other)"))
    ]
    names = [name for _, name in sorted(found)[:most]]
    hashes = hash_strings(pa.array(names, pa.string()))
    order = np.argsort(hashes)
    return SegmentValues(column, tuple(names[i] for i in order), tuple(hashes[order].tolist()))


def moments(pooled: Profile, binning: Binning) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation from the middles of cells: the same for the same rows in any order."""
    means, deviations = np.full((2, len(binning.columns)), np.nan)
    for i, (spec, bins) in enumerate(zip(binning.columns, binning.bins, strict=True)):
        cells = pooled.cells.get(spec.name, Cells.empty())
        if not isinstance(bins, NumericBins) or not cells.total:
            continue
        key, count = cells.of_group(0)
        middle = keys_to_floats(key + np.int64((1 << min(cells.shift, 62)) // 2))
        share = count / count.sum()
        scale = max(float(np.abs(middle).max()), 1e-300)
        mean = float(share @ (middle / scale))
        means[i] = mean * scale
        deviations[i] = float(np.sqrt(share @ (middle / scale - mean) ** 2)) * scale
    return means, deviations


def _fill_absent(group_rows: NDArray[np.int64], binning: Binning) -> None:
    """Rows that were counted without a segment column of the reference have no value in it."""
    last = 0
    for segment in binning.segments:
        first, last = last + 1, last + len(segment.names) + 2
        if not group_rows[first : last + 1].any():
            group_rows[last] = group_rows[0]


def _all_invalid(cells: Cells) -> Cells:
    """Count the values of a column of another kind as invalid."""
    none = Cells.empty()
    counted = np.bincount(cells.group, cells.count, len(cells.invalid)).astype(np.int64)
    return Cells(0, none.group, none.cell, none.count, cells.invalid + counted)


def _decode(data: bytes) -> _State:
    return unseal(MAGIC, data, _State, "profile")


def _encode_sample(sample: Sample) -> bytes:
    """Serialise a sample; nothing for one that never keeps rows."""
    return msgspec.msgpack.encode(sample.state()) if sample.most else b""


def _decode_sample(data: bytes) -> SampleState:
    try:
        return msgpack_decoder(SampleState).decode(data)
    except msgspec.MsgspecError as problem:
        msg = f"damaged sample of rows: {problem}"
        raise ProfileError(msg) from problem
