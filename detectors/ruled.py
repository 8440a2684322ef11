"""What hard rules are judged by: how many rows were held against each, and what is known of some columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from detectors.distinct import Distinct
from detectors.prepared import Prepared, Section
from detectors.profile import Profile
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
    """

    rows: int = 0
    violations: Tally = field(default_factory=Tally)
    columns: dict[str, Values] = field(default_factory=dict)

    @classmethod
    def of(cls, profile: Profile) -> RuleCounts:
        """Take them from a profile."""
        columns = {
            name: Values(summary.ok, summary.invalid, summary.distinct)
            for name, summary in profile.summaries.items()
        }
        return cls(profile.rows, profile.violations, columns)

    @classmethod
    def of_section(cls, prepared: Prepared, section: Section, contract: Contract) -> RuleCounts:
        """Count rows that were prepared with a contract."""
        found = cls(section.rows)
        prepared.add_violations(section, found.violations)
        found.columns = {rules.column: Values() for rules in contract.columns}
        rows, batch = slice(section.start, section.stop), prepared.batch
        for i, spec in enumerate(batch.numeric):
            if (values := found.columns.get(spec.name)) is not None:
                _, status, hashes = prepared.numbers([i], section)
                right = np.full(section.rows, True) if status is None else status[0] == OK
                values.ok += int(np.count_nonzero(right))
                values.invalid += 0 if status is None else int(np.count_nonzero(status[0] == INVALID))
                values.distinct.update(hashes[0][right])
        for i, spec in enumerate(batch.categorical):
            if (values := found.columns.get(spec.name)) is not None:
                status = prepared.category_status(i, section)
                values.ok += int(np.count_nonzero(status == OK))
                values.invalid += int(np.count_nonzero(status == INVALID))
                values.distinct.update(prepared.distinct_categories(i, section)[2])
        for spec, every in batch.vectors:
            if (values := found.columns.get(spec.name)) is not None:
                values.ok += int(np.count_nonzero(every[rows] == OK))
                values.invalid += int(np.count_nonzero(every[rows] == INVALID))
        return found

    def missing(self, column: str) -> int:
        """Rows without a value in a column."""
        values = self.columns.get(column)
        return self.rows if values is None else self.rows - values.ok - values.invalid

    @classmethod
    def sum(cls, parts: Iterable[RuleCounts]) -> RuleCounts:
        """Add the counts of several lots of rows, which are not changed."""
        total = cls()
        for part in parts:
            total.rows += part.rows
            total.violations.merge(part.violations)
            for name, values in part.columns.items():
                total.columns.setdefault(name, Values()).merge(values)
        return total
