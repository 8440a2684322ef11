"""What is agreed on the columns of a model, and how often it was broken: hard rules, without statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.column import Kind

DETECTOR_PREFIX = "contract."
"""Results of a rule are those of a detector of this name: ``contract.range``."""
SCORE_SUMS = "scores"
"""Stands for the scores of an event together, where rules are about their sum."""


@dataclass(frozen=True)
class ColumnRules:
    """What is agreed on one column.

    Parameters
    ----------
    column : str
    kind : Kind or None
        What the values have to be; None: whatever the column was first seen as.
    low, high : float or None
        Smallest and largest valid number.
    values : tuple of str or None
        Names of the valid values of a categorical column.
    numbers : tuple of float
        Those of the valid values that are numbers, for a column of numbers.
    pattern : str or None
        Regular expression (RE2) that the whole of a value must match.
    counts_missing : bool
        Whether a missing value breaks the contract.
    limit, missing_limit : float
        Largest share of the rows of a window that may break any one rule; for missing values their own.
    required : bool
        Whether some row of every window has to have a value.
    severity : str
        ``info``, ``warn`` or ``page``.
    """

    column: str
    kind: Kind | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] | None = None
    numbers: tuple[float, ...] = ()
    pattern: str | None = None
    counts_missing: bool = False
    limit: float = 0.0
    missing_limit: float = 0.0
    required: bool = True
    severity: str = "warn"

    @cached_property
    def value_set(self) -> pa.Array:
        """Names of the valid values, as Arrow looks them up."""
        return pa.array(self.values or (), pa.string())

    @property
    def has_bounds(self) -> bool:
        """Whether there is a smallest or a largest valid number."""
        return self.low is not None or self.high is not None


@dataclass(frozen=True)
class Contract:
    """What is agreed on the columns of a model.

    Parameters
    ----------
    columns : tuple of ColumnRules
        One for each column that the configuration names.
    probabilities : bool
        Whether scores without bounds of their own have to be probabilities.
    """

    columns: tuple[ColumnRules, ...] = ()
    probabilities: bool = False
    keys: dict[tuple[str, str], RuleKey] = field(
        default_factory=dict, init=False, compare=False, hash=False, repr=False
    )

    @cached_property
    def _by_name(self) -> dict[str, ColumnRules]:
        return {rules.column: rules for rules in self.columns}

    def of(self, column: str) -> ColumnRules | None:
        """Return what is agreed on a column, if anything."""
        return self._by_name.get(column)


@dataclass(frozen=True)
class Rule:
    """One rule on one column.

    Parameters
    ----------
    terms : str
        Stands for everything that decides which rows break it: counts of other terms are of another rule.
    words : str
        What is wrong with rows that break it: ``are above 120``.
    limit : float
        Largest share of rows that may break it.
    severity : str or None
        None: as the policy of alerts says.
    """

    terms: str
    words: str
    limit: float
    severity: str | None


class RuleKey(NamedTuple):
    """What violations are counted by: the check, the column, and the terms of the rule."""

    check: str
    column: str
    terms: str


class Count(NamedTuple):
    """How many rows were held against a rule, how many broke it, and when the first and the last of those."""

    rows: int
    broken: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def plus(self, other: Count) -> Count:
        """Add the counts of other rows."""
        rows = self.rows + other.rows
        if not self.broken or not other.broken:
            return (self if self.broken else other)._replace(rows=rows)
        return Count(
            rows,
            self.broken + other.broken,
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
        )


COUNT_BYTES = 200  # memory of a count, roughly
TallyState = list[tuple[str, str, str, int, int, int, int]]


class Tally:
    """Counts of violations by rule.

    Guarantees
    ----------
    Splitting rows in any way and merging in any order gives the same counts. Memory is bounded by the number
    of rules.

    Examples
    --------
    >>> tally, key = Tally(), RuleKey("range", "age", "")
    >>> tally.add(key, 3, np.array([7, 5]))
    >>> tally.add(key, 4)
    >>> tally.counts[key]
    Count(rows=7, broken=2, first_ms=5, last_ms=7)
    """

    def __init__(self) -> None:
        self.counts: dict[RuleKey, Count] = {}

    def add(self, key: RuleKey, rows: int, broken_ms: NDArray[np.int64] | None = None) -> None:
        """Count rows that were held against a rule; `broken_ms` are the times of those that broke it."""
        if broken_ms is None or not len(broken_ms):
            self._plus(key, Count(rows))
        else:
            self._plus(key, Count(rows, len(broken_ms), int(broken_ms.min()), int(broken_ms.max())))

    def merge(self, other: Tally) -> None:
        """Add the counts of other rows."""
        for key, count in other.counts.items():
            self._plus(key, count)

    def _plus(self, key: RuleKey, count: Count) -> None:
        known = self.counts.get(key)
        self.counts[key] = count if known is None else known.plus(count)

    @property
    def size_bytes(self) -> int:
        """Memory that the counts take, roughly."""
        return COUNT_BYTES * len(self.counts)

    def state(self) -> TallyState:
        """Plain values, in order of the rules."""
        return [(*key, *self.counts[key]) for key in sorted(self.counts)]

    @classmethod
    def from_state(cls, state: TallyState) -> Tally:
        """Read what `state` gave."""
        tally = cls()
        tally.counts = {RuleKey(*row[:3]): Count(*row[3:]) for row in state}
        return tally


def terms_of(*parts: object) -> str:
    """Short text that stands for the parts of a rule.

    Examples
    --------
    >>> terms_of(0.0, 120.0) == terms_of(0.0, 120.0), terms_of(0.0, 120.0) == terms_of(0.0, 130.0)
    (True, False)
    """
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def listed(names: Iterable[str], shown: int = 3) -> str:
    """Name the first few of several values.

    Examples
    --------
    >>> listed(["UA", "AA"]), listed("abcde")
    ('UA, AA', 'a, b, c and 2 more')
    """
    every = [name if len(name) <= 30 else name[:29] + "…" for name in names]
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more
