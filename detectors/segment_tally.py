"""Violations of hard rules by segment: how many rows of each group were held against a rule and broke it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.groups import GroupNumbers
from detectors.packing import pack, unpack
from detectors.tensor import IntArray
from schemas.contract import RuleKey
from schemas.errors import ProfileError

_LATEST, _EARLIEST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


class SegmentTallyState(msgspec.Struct, array_like=True):
    """A `SegmentTally` as it is stored; `places` count through rules and groups."""

    rules: bytes
    rows: bytes
    places: bytes
    broken: bytes
    first_ms: bytes
    last_ms: bytes


class Broken(NamedTuple):
    """Rows of each group that break a rule, and the times of the first and the last of them.

    Parameters
    ----------
    rows, first_ms, last_ms : int64 array [groups]
        Times mean nothing where there are no rows.
    """

    rows: IntArray
    first_ms: IntArray
    last_ms: IntArray

    @classmethod
    def none(cls, groups: int) -> Broken:
        """No row at all."""
        return cls(np.zeros(groups, np.int64), np.full(groups, _LATEST), np.full(groups, _EARLIEST))

    def plus(self, other: Broken) -> Broken:
        """Add other rows of the same groups."""
        return Broken(
            self.rows + other.rows,
            np.minimum(self.first_ms, other.first_ms),
            np.maximum(self.last_ms, other.last_ms),
        )

    def moved(self, to: NDArray[np.int32], groups: int) -> Broken:
        """Put the rows into other groups; those behind the last one are left out."""
        found = Broken.none(max(groups, int(to.max(initial=0)) + 1))
        np.add.at(found.rows, to, self.rows)
        np.minimum.at(found.first_ms, to, self.first_ms)
        np.maximum.at(found.last_ms, to, self.last_ms)
        return Broken(*(values[:groups] for values in found))


class SegmentTally:
    """Counts of rows by rule and group.

    Attributes
    ----------
    groups : int
        Groups that are counted so far; the first one is all rows.
    rules : list of RuleKey
        Rules that rows were held against.
    rows : int64 array [rules, groups]
        Rows that were held against each rule.
    broken : dict of RuleKey to Broken
        Of rules that some row breaks.

    Guarantees
    ----------
    Splitting rows in any way and merging in any order gives the same counts. Memory is 8 bytes for each rule
    and group, and 24 more for each group of a rule that is broken.

    Examples
    --------
    >>> tally, key = SegmentTally(), RuleKey("range", "age", "")
    >>> origin = np.array([1, 2, 1])
    >>> tally.hold([key], np.array([3, 2, 1]))
    >>> tally.violate([(key, np.array([0]))], (origin,), np.array([7, 5, 9]))
    >>> tally.rows.tolist(), tally.broken[key].rows.tolist()
    ([[3, 2, 1]], [1, 1, 0])
    """

    def __init__(self) -> None:
        self.rules: list[RuleKey] = []
        self.rows: IntArray = np.zeros((0, 0), np.int64)
        self.broken: dict[RuleKey, Broken] = {}

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.rows.shape[1])

    @property
    def size_bytes(self) -> int:
        """Memory that the counts take, roughly."""
        return self.rows.nbytes + 24 * self.groups * len(self.broken)

    # --- adding rows ----------------------------------------------------------------------------------------

    def hold(self, rules: Sequence[RuleKey], rows: IntArray) -> None:
        """Count rows that were held against each of several rules.

        Parameters
        ----------
        rules : sequence of RuleKey
        rows : int64 array [groups]
            The same for each of the rules.
        """
        if not self.rules:
            self.rules, self.rows = list(rules), np.tile(rows, (len(rules), 1))
            return
        self._widen(len(rows))
        places = self._places(rules)
        self.rows[slice(None) if places is None else places, : len(rows)] += rows

    def skip(self, rule: RuleKey, rows: IntArray) -> None:
        """Take back rows that could not be held against a rule; ``int64 [groups]``."""
        self.rows[self.rules.index(rule), : len(rows)] -= rows

    def violate(
        self,
        broken: Sequence[tuple[RuleKey, NDArray[np.intp]]],
        groups: GroupNumbers,
        event_ms: IntArray,
    ) -> None:
        """Count rows that break rules that they were held against.

        Parameters
        ----------
        broken : sequence of (RuleKey, int array)
            Which of the rows break each rule.
        groups : tuple of int32 arrays [n]
            Of all rows, by segment column.
        event_ms : int64 array [n]
            Times of all rows.
        """
        if not broken:
            return
        rows = np.concatenate([wrong for _, wrong in broken])
        rule = np.repeat(np.arange(len(broken)) * self.groups, [len(wrong) for _, wrong in broken])
        found, times = Broken.none(len(broken) * self.groups), event_ms[rows]
        for place in (rule, *(rule + group[rows] for group in groups)):
            np.add(found.rows, np.bincount(place, minlength=len(found.rows)), out=found.rows)
            np.minimum.at(found.first_ms, place, times)
            np.maximum.at(found.last_ms, place, times)
        parts = (values.reshape(len(broken), self.groups) for values in found)
        for (key, _), *mine in zip(broken, *parts, strict=True):
            self._add(key, Broken(*mine))

    def _add(self, rule: RuleKey, broken: Broken) -> None:
        known = self.broken.get(rule)
        self.broken[rule] = broken if known is None else known.plus(broken)

    def _places(self, rules: Sequence[RuleKey]) -> list[int] | None:
        """Place of each rule, None for all in order; new ones get one."""
        if rules == self.rules:
            return None
        index = {rule: i for i, rule in enumerate(self.rules)}
        new = [rule for rule in rules if rule not in index]
        if new:
            index.update((rule, len(self.rules) + i) for i, rule in enumerate(new))
            self.rules = [*self.rules, *new]
            self.rows = np.concatenate((self.rows, np.zeros((len(new), self.groups), np.int64)))
        return [index[rule] for rule in rules]

    def _widen(self, groups: int) -> None:
        """Make room for groups."""
        more = groups - self.groups
        if more <= 0:
            return
        self.rows = np.pad(self.rows, ((0, 0), (0, more)))
        to = np.arange(groups - more, dtype=np.int32)
        self.broken = {rule: broken.moved(to, groups) for rule, broken in self.broken.items()}

    # --- merging --------------------------------------------------------------------------------------------

    def merge(self, other: SegmentTally, moved: NDArray[np.int32] | None, groups: int) -> None:
        """Add the counts of other rows, which are not changed.

        Parameters
        ----------
        other : SegmentTally
        moved : int32 array or None
            Number here of each group there, None for the same ones; rows of groups behind the last one here
            are left out.
        groups : int
            Number of groups here.
        """
        if not other.rules:
            return
        self._widen(groups)
        to = np.arange(other.groups, dtype=np.int32) if moved is None else moved[: other.groups]
        rows = other.rows if moved is None else _moved(other.rows, to)[:, : self.groups]
        places = self._places(other.rules)
        self.rows[slice(None) if places is None else places, : rows.shape[1]] += rows
        for rule, broken in other.broken.items():
            self._add(rule, broken.moved(to, self.groups))

    # --- bytes ----------------------------------------------------------------------------------------------

    def state(self, order: Sequence[RuleKey]) -> SegmentTallyState | None:
        """Return everything as bytes; None without rules.

        Parameters
        ----------
        order : sequence of RuleKey
            Rules of the profile, in which those are that are counted here.
        """
        if not self.rules:
            return None
        places = {rule: i for i, rule in enumerate(order)}
        mine = sorted(self.rules, key=places.__getitem__)
        index = {rule: i for i, rule in enumerate(self.rules)}
        nothing = Broken.none(self.groups)
        broken = [self.broken.get(rule, nothing) for rule in mine]
        rows, first_ms, last_ms = (np.concatenate(values) for values in zip(*broken, strict=True))
        used = np.flatnonzero(rows)
        return SegmentTallyState(
            pack(np.array([places[rule] for rule in mine])),
            pack(self.rows[[index[rule] for rule in mine]]),
            *(pack(values) for values in (used, rows[used], first_ms[used], last_ms[used])),
        )

    @classmethod
    def from_state(cls, state: SegmentTallyState | None, order: Sequence[RuleKey]) -> SegmentTally:
        """Read what `state` gave.

        Raises
        ------
        ProfileError
            If the parts do not fit each other.
        """
        tally = cls()
        if state is None:
            return tally
        rules, rows = unpack(state.rules), unpack(state.rows)
        used, *values = (unpack(data) for data in (state.places, state.broken, state.first_ms, state.last_ms))
        fits = len(rules) and len(rules) == len(np.unique(rules)) and not len(rows) % len(rules)
        if not fits or rules.min() < 0 or rules.max() >= len(order):
            msg = f"violations by segment: {len(rows)} counts of {len(rules)} rules, {len(order)} are known"
            raise ProfileError(msg)
        if any(len(one) != len(used) for one in values) or np.any((used < 0) | (used >= len(rows))):
            msg = f"violations by segment: {len(used)} places do not fit {len(rows)} counts"
            raise ProfileError(msg)
        tally.rules = [order[place] for place in rules.tolist()]
        tally.rows = rows.reshape(len(rules), -1)
        of_rule, group = np.divmod(used, max(tally.groups, 1))
        for at in np.unique(of_rule).tolist():
            mine = of_rule == at
            broken = Broken(*(one[mine] for one in values))
            tally.broken[tally.rules[at]] = broken.moved(group[mine].astype(np.int32), tally.groups)
        return tally


def _moved(rows: IntArray, to: NDArray[np.int32]) -> IntArray:
    """Put counts ``[rules, groups]`` into other groups."""
    found = np.zeros((int(to.max(initial=0)) + 1, len(rows)), np.int64)
    np.add.at(found, to, rows.T)
    return found.T
