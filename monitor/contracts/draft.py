"""A contract that is being read: what documents say of a column, put together without contradictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from monitor.config.problem import show
from monitor.contracts.contract import (
    CATEGORICAL,
    MOST_VALUES,
    NUMERIC,
    Contract,
    is_finite_number,
    problem_of,
)
from monitor.contracts.document import Node
from monitor.contracts.patterns import fitting

_LONGEST_NAME = 256


class ColumnDraft:
    """What is known of one column so far.

    Parameters
    ----------
    name : str
    place : Node
        Where the document speaks of it.
    notes : list of str
        Where to say what is left out.
    """

    def __init__(self, name: str, place: Node, notes: list[str]) -> None:
        if not name or len(name) > _LONGEST_NAME:
            msg = f"{show(name)} is no name of a column (use 1 to {_LONGEST_NAME} characters)"
            raise place.wrong(msg)
        self.name, self.place = name, place
        self.options: dict[str, Any] = {}
        self.is_integer = False
        self._notes = notes

    def left_out(self, what: str) -> None:
        """Say that something cannot be said in a contract of ours."""
        note = f"left out: {self.name}: {what}"
        if note not in self._notes:
            self._notes.append(note)

    def of_kind(self, kind: str | None, *, is_integer: bool = False) -> None:
        """Fix the kind, unless another part of the document has."""
        if kind is not None:
            self.options.setdefault("kind", kind)
            self.is_integer = self.is_integer or is_integer

    def at_least(self, bound: Any, *, is_exclusive: bool = False) -> None:
        """Set the smallest valid number; the greatest of several holds."""
        number = self._bound(bound, is_exclusive=is_exclusive, step=1)
        if number is not None:
            self.options["min"] = max(number, self.options.get("min", number))

    def at_most(self, bound: Any, *, is_exclusive: bool = False) -> None:
        """Set the largest valid number; the least of several holds."""
        number = self._bound(bound, is_exclusive=is_exclusive, step=-1)
        if number is not None:
            self.options["max"] = min(number, self.options.get("max", number))

    def one_of(self, values: Sequence[Any]) -> None:
        """Set the valid values; of several lists what is in all of them holds. None means missing."""
        if not isinstance(values, list | tuple):
            self.left_out(f"values {show(values)} (not a list)")
            return
        fit = _distinct(value for value in values if value is not None)
        strange = [value for value in fit if not _is_scalar(value)]
        if strange or not fit or len(fit) > MOST_VALUES:
            why = "not all are single values" if strange else "none" if not fit else f"over {MOST_VALUES}"
            self.left_out(f"its list of values ({why})")
            return
        if "values" in self.options:
            known = set(map(repr, self.options["values"]))
            fit = [value for value in fit if repr(value) in known]
            if not fit:
                msg = "its lists of values have none in common"
                raise self.place.wrong(msg)
        self.options["values"] = fit

    def matching(self, pattern: Any, *, extent: str) -> None:
        """Set the pattern that texts follow; `extent` is what it covers: ``whole``, ``start`` or ``part``."""
        fit = fitting(pattern, extent) if isinstance(pattern, str) and pattern else None
        problem = "not a text" if fit is None else problem_of({"kind": CATEGORICAL, "pattern": fit})
        if problem is not None:
            self.left_out(f"pattern {show(pattern)} ({problem})")
            return
        if self.options.get("pattern", fit) != fit:
            self.left_out(f"pattern {show(pattern)} (a column has one pattern)")
            return
        self.options["pattern"] = fit

    def not_null(self) -> None:
        """Say that values may not be missing."""
        self.options["nullable"] = False

    def unique(self) -> None:
        """Say that no value may come twice."""
        self.options["unique"] = True

    def optional(self) -> None:
        """Say that events need not carry the column."""
        self.options["required"] = False

    def missing_at_most(self, share: Any) -> None:
        """Set how many values may be missing; 0 is for `not_null`."""
        self._share("max_missing", share)

    def violating_at_most(self, share: Any) -> None:
        """Set how many values may break the contract; the strictest of several holds."""
        self._share("limit", share)

    def finished(self) -> dict[str, Any]:
        """Options that go together.

        Raises
        ------
        UsageError
            If the document contradicts itself.
        """
        said = self.options
        if "values" in said:
            said["kind"] = CATEGORICAL
        for name in ("min", "max"):
            if name in said and said.get("kind") == CATEGORICAL:
                self.left_out(f"{name} {said.pop(name):g} (only numeric columns have a range)")
        if "pattern" in said and (said.get("kind") == NUMERIC or {"min", "max"} & said.keys()):
            self.left_out(f"pattern {show(said.pop('pattern'))} (only categorical columns have one)")
        problem = problem_of(said)
        if problem is not None:
            raise self.place.wrong(problem)
        return said

    def _bound(self, bound: Any, *, is_exclusive: bool, step: int) -> int | float | None:
        if bound is None:
            return None
        if not is_finite_number(bound):
            self.left_out(f"bound {show(bound)} (only numbers are bounds)")
            return None
        number: int | float = bound
        if is_exclusive and self.is_integer:
            return math.floor(number) + 1 if step > 0 else math.ceil(number) - 1
        if is_exclusive:
            self.left_out(f"that {number:g} itself is not valid (bounds are valid here)")
        return number

    def _share(self, option: str, share: Any) -> None:
        if isinstance(share, str):
            self._rows(option, share)
            return
        if not is_finite_number(share) or not 0 <= share <= 1:
            self.left_out(f"{option} {show(share)} (not a share between 0 and 1)")
            return
        known = self.options.get(option, float(share))
        if isinstance(known, str):
            self.left_out(f"{option} {show(share)} (beside {known})")
            return
        self.options[option] = min(float(share), known)

    def _rows(self, option: str, limit: str) -> None:
        if option in self.options and self.options[option] != limit:
            self.left_out(f"{option} {limit} (beside {show(self.options[option])})")
            return
        self.options[option] = limit


class Draft:
    """A contract that is being read."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._columns: dict[str, ColumnDraft] = {}

    def column(self, name: str, place: Node) -> ColumnDraft:
        """What is known of a column so far; begins with nothing."""
        if name not in self._columns:
            self._columns[name] = ColumnDraft(name, place, self.notes)
        return self._columns[name]

    def left_out(self, what: str) -> None:
        """Say that something cannot be said in a contract of ours."""
        if f"left out: {what}" not in self.notes:
            self.notes.append(f"left out: {what}")

    def left_out_keys(self, place: Node, known: Iterable[str], ignored: Iterable[str] = ()) -> None:
        """Say which keys of a mapping are left out: all but `known`, and those that hold no rule."""
        for key, below in place.entries().items():
            if key not in (*known, *ignored) and below.value not in (None, False, [], {}, ""):
                self.left_out(f"{'.'.join(map(str, below.path))}: {_shown(below.value)}")

    def finished(self, **about: Any) -> Contract:
        """Put everything together.

        Raises
        ------
        UsageError
            If the document contradicts itself.
        """
        columns = {name: column.finished() for name, column in self._columns.items()}
        return Contract(columns, notes=tuple(self.notes), **about)


def _shown(value: Any) -> str:
    return show(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | bool) or is_finite_number(value)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())
