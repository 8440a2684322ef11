"""What is agreed on the columns of a model, and how often it was broken: hard rules, without statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.column import Kind
from schemas.examples import Example, Examples
from schemas.expressions.expression import Expression
from schemas.policy import COUNTED, Action, Policy

DETECTOR_PREFIX = "contract."
"""Results of a rule are those of a detector of this name: ``contract.range``."""
AGREEMENT_PREFIX = "rules."
"""Results of a rule about several columns have the column ``rules.<name>``."""
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
    required : bool
        Whether some row of every window has to have a value.
    is_unique : bool
        Whether no value may come twice in a window.
    freshness_ms : int or None
        How old an instant may be at the time of its event.
    is_personal : bool
        Whether values must not be shown, nor kept as examples.
    policy : Policy
        What follows when rows break a rule of the column.
    policies : mapping of str to Policy
        The same for single rules, by the name of their check.
    """

    column: str
    kind: Kind | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] | None = None
    numbers: tuple[float, ...] = ()
    pattern: str | None = None
    counts_missing: bool = False
    required: bool = True
    is_unique: bool = False
    freshness_ms: int | None = None
    is_personal: bool = False
    policy: Policy = COUNTED
    policies: Mapping[str, Policy] = field(default_factory=dict)

    @cached_property
    def value_set(self) -> pa.Array:
        """Names of the valid values, as Arrow looks them up."""
        return pa.array(self.values or (), pa.string())

    @property
    def has_bounds(self) -> bool:
        """Whether there is a smallest or a largest valid number."""
        return self.low is not None or self.high is not None

    @property
    def acts(self) -> bool:
        """Whether something becomes of rows that break a rule, besides being counted."""
        return self.policy.acts or any(policy.acts for policy in self.policies.values())

    def policy_of(self, check: str) -> Policy:
        """What follows when rows break the rule of a check."""
        return self.policies.get(check, self.policy)


@dataclass(frozen=True)
class Agreement:
    """A rule about several columns.

    Parameters
    ----------
    name : str
    expression : Expression
        What has to hold.
    policy : Policy
        What follows when rows break it.
    columns : tuple of str
        Columns whose values are shown with examples; empty: those of the expression.
    """

    name: str
    expression: Expression
    policy: Policy = COUNTED
    columns: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """What results call it: rules are judged like columns."""
        return f"{AGREEMENT_PREFIX}{self.name}"

    @property
    def shown(self) -> tuple[str, ...]:
        """Columns whose values are shown with examples."""
        return self.columns or self.expression.columns


@dataclass(frozen=True)
class Contract:
    """What is agreed on the columns of a model.

    Parameters
    ----------
    columns : tuple of ColumnRules
        One for each column that the configuration names.
    probabilities : bool
        Whether scores without bounds of their own have to be probabilities.
    agreements : tuple of Agreement
        Rules about several columns.
    examples : int
        Most events that are kept as examples of each broken rule.
    """

    columns: tuple[ColumnRules, ...] = ()
    probabilities: bool = False
    agreements: tuple[Agreement, ...] = ()
    examples: int = 5
    keys: dict[tuple[str, str], RuleKey] = field(
        default_factory=dict, init=False, compare=False, hash=False, repr=False
    )

    @cached_property
    def _by_name(self) -> dict[str, ColumnRules]:
        return {rules.column: rules for rules in self.columns}

    def of(self, column: str) -> ColumnRules | None:
        """Return what is agreed on a column, if anything."""
        return self._by_name.get(column)

    @property
    def is_agreed(self) -> bool:
        """Whether anything is agreed, besides what holds for every model."""
        return bool(self.columns or self.agreements)

    @cached_property
    def _agreements(self) -> dict[str, Agreement]:
        return {agreement.column: agreement for agreement in self.agreements}

    def agreement(self, column: str) -> Agreement | None:
        """Return the rule about several columns that results call so."""
        return self._agreements.get(column)

    @cached_property
    def hidden(self) -> frozenset[str]:
        """Columns whose values must not be shown."""
        return frozenset(rules.column for rules in self.columns if rules.is_personal)

    @cached_property
    def unique(self) -> frozenset[str]:
        """Columns of which no value may come twice in a window."""
        return frozenset(rules.column for rules in self.columns if rules.is_unique)

    @cached_property
    def acting(self) -> Contract | None:
        """The part about columns with rules that act; None if there are none."""
        columns = tuple(rules for rules in self.columns if rules.acts)
        agreements = tuple(one for one in self.agreements if one.policy.acts)
        return replace(self, columns=columns, agreements=agreements) if columns or agreements else None


@dataclass(frozen=True)
class Rule:
    """One rule on one column.

    Parameters
    ----------
    terms : str
        Stands for everything that decides which rows break it: counts of other terms are of another rule.
    words : str
        What is wrong with rows that break it: ``are above 120``.
    policy : Policy
        What follows when rows do.
    fault : str
        What is wrong with one value: ``is above 120``.
    """

    terms: str
    words: str
    policy: Policy = COUNTED
    fault: str = ""

    @property
    def counted_as(self) -> str:
        """Terms that violations are counted by.

        Rows in quarantine are counted when they are put there, and once more if they are taken in after all:
        a rule that puts rows there is never the same as one that does not.
        """
        return f"{self.terms}:{self.policy.action}" if self.policy.action is Action.QUARANTINE else self.terms


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
EXAMPLE_BYTES = 400


class RuleState(msgspec.Struct, array_like=True):
    """What is known of one rule, as it is stored."""

    check: str
    column: str
    terms: str
    rows: int
    broken: int
    first_ms: int
    last_ms: int
    most: int = 0  # older ones have no examples
    examples: tuple[Example, ...] = ()


TallyState = list[RuleState]


class Tally:
    """Counts of violations by rule, with examples of them.

    Guarantees
    ----------
    Splitting rows in any way and merging in any order gives the same counts and examples. Memory is bounded
    by the number of rules.

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
        self.examples: dict[RuleKey, Examples] = {}

    def add(self, key: RuleKey, rows: int, broken_ms: NDArray[np.int64] | None = None) -> None:
        """Count rows that were held against a rule; `broken_ms` are the times of those that broke it."""
        if broken_ms is None or not len(broken_ms):
            self._plus(key, Count(rows))
        else:
            self._plus(key, Count(rows, len(broken_ms), int(broken_ms.min()), int(broken_ms.max())))

    def show(self, key: RuleKey, examples: Examples | None) -> None:
        """Add examples of rows that broke a rule."""
        if examples is not None and examples.most:
            known = self.examples.get(key)
            self.examples[key] = examples if known is None else known.plus(examples)

    def merge(self, other: Tally) -> None:
        """Add the counts of other rows."""
        for key, count in other.counts.items():
            self._plus(key, count)
        for key, examples in other.examples.items():
            self.show(key, examples)

    def _plus(self, key: RuleKey, count: Count) -> None:
        known = self.counts.get(key)
        self.counts[key] = count if known is None else known.plus(count)

    @property
    def size_bytes(self) -> int:
        """Memory that the counts take, roughly."""
        kept = sum(len(examples.kept) for examples in self.examples.values())
        return COUNT_BYTES * len(self.counts) + EXAMPLE_BYTES * kept

    def state(self) -> TallyState:
        """Plain values, in order of the rules."""
        nothing = Examples(0)
        return [
            RuleState(*key, *self.counts[key], shown.most, shown.kept)
            for key in sorted(self.counts)
            for shown in (self.examples.get(key, nothing),)
        ]

    @classmethod
    def from_state(cls, state: TallyState) -> Tally:
        """Read what `state` gave."""
        tally = cls()
        for row in state:
            key = RuleKey(row.check, row.column, row.terms)
            tally.counts[key] = Count(row.rows, row.broken, row.first_ms, row.last_ms)
            tally.show(key, Examples(row.most, row.examples))
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
