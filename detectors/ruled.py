"""What hard rules are judged by: how many rows were held against each, and what is known of some columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from detectors.distinct import Distinct
from detectors.groups import GroupNumbers, Groups
from detectors.prepared import Prepared, Section
from detectors.profile import Profile
from detectors.segment_tally import SegmentTally
from schemas.batch import INVALID, OK
from schemas.contract import Contract, Tally


@dataclass
class Values:
    """Rows with a valid and with an invalid value of a column, and how many different values there were."""

    ok: int = 0
    invalid: int = 0
    distinct: Distinct = field(default_factory=Distinct)

    def merge(self, other: Values) -> None:
        """Add those of other rows."""
        self.ok, self.invalid = self.ok + other.ok, self.invalid + other.invalid
        self.distinct = self.distinct.merge(other.distinct)


@dataclass
class RuleCounts:
    """Counts of the rows of a window.

    Parameters
    ----------
    rows : int
    violations : Tally
    columns : dict of str to Values
        Of the columns that came, at least those that the contract names.
    by_segment : SegmentTally
        The violations by group of rows.
    groups : Groups
    """

    rows: int = 0
    violations: Tally = field(default_factory=Tally)
    columns: dict[str, Values] = field(default_factory=dict)
    by_segment: SegmentTally = field(default_factory=SegmentTally)
    groups: Groups = field(default_factory=Groups)

    @classmethod
    def of(cls, profile: Profile) -> RuleCounts:
        """Take them from a profile."""
        columns = {
            name: Values(summary.ok, summary.invalid, summary.distinct)
            for name, summary in profile.summaries.items()
        }
        groups = Groups(profile.groups)
        return cls(profile.rows, profile.violations, columns, profile.by_segment, groups)

    @classmethod
    def of_section(cls, prepared: Prepared, section: Section, contract: Contract) -> RuleCounts:
        """Count rows that were prepared with a contract."""
        found = cls(section.rows)
        rows, batch = slice(section.start, section.stop), prepared.batch
        found._add_violations(prepared, section)
        found.columns = {rules.column: Values() for rules in contract.columns}
        for name in contract.unique:
            found.columns[name].distinct = Distinct.fine()
        for i, spec in enumerate(batch.numeric):
            if (values := found.columns.get(spec.name)) is not None:
                _, status, hashes = prepared.numbers([i], section)
                right = np.full(section.rows, True) if status is None else status[0] == OK
                values.ok += int(np.count_nonzero(right))
                values.invalid += 0 if status is None else int(np.count_nonzero(status[0] == INVALID))
                if spec.name in contract.unique:
                    values.distinct.update(hashes[0][right])
        for i, spec in enumerate(batch.categorical):
            if (values := found.columns.get(spec.name)) is not None:
                status = prepared.category_status(i, section)
                values.ok += int(np.count_nonzero(status == OK))
                values.invalid += int(np.count_nonzero(status == INVALID))
                if spec.name in contract.unique:
                    values.distinct.update(prepared.distinct_categories(i, section)[2])
        for spec, every in batch.vectors:
            if (values := found.columns.get(spec.name)) is not None:
                values.ok += int(np.count_nonzero(every[rows] == OK))
                values.invalid += int(np.count_nonzero(every[rows] == INVALID))
        return found

    def _add_violations(self, prepared: Prepared, section: Section) -> None:
        prepared.add_violations(section, self.violations)
        numbers: GroupNumbers = ()
        if prepared.binning is not None:
            self.groups = Groups(prepared.binning.groups)
        else:
            numbers = self.groups.of_rows(prepared.batch.segments, slice(section.start, section.stop))
        prepared.add_segment_violations(section, self.by_segment, numbers, len(self.groups.labels))

    def missing(self, column: str) -> int:
        """Rows without a value in a column."""
        values = self.columns.get(column)
        return self.rows if values is None else self.rows - values.ok - values.invalid

    def _merge_segments(self, part: RuleCounts) -> None:
        if not self.by_segment.rules:
            self.groups = Groups(part.groups.labels)
        moved = self.groups.moved(part.groups.labels)
        self.by_segment.merge(part.by_segment, moved, len(self.groups.labels))

    @classmethod
    def sum(cls, parts: Iterable[RuleCounts]) -> RuleCounts:
        """Add the counts of several lots of rows, which are not changed."""
        total = cls()
        for part in parts:
            total.rows += part.rows
            total.violations.merge(part.violations)
            total._merge_segments(part)
            for name, values in part.columns.items():
                total.columns.setdefault(name, Values()).merge(values)
        return total
