"""An expression as a contract holds it: its text, and the tree that was read from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from schemas.column import Kind
from schemas.expressions.checking import check_types
from schemas.expressions.parsing import parse
from schemas.expressions.tree import Node, columns_of


@dataclass(frozen=True)
class Expression:
    """A condition that rows have to meet.

    Parameters
    ----------
    source : str
        As it was written.
    kinds : mapping of str to Kind
        Of the columns that are known already.

    Raises
    ------
    UsageError
        If it cannot be read, or its parts do not go together.

    Examples
    --------
    >>> Expression("dep_delay <= arr_delay + 120 or cancelled == 1").columns
    ('dep_delay', 'arr_delay', 'cancelled')
    """

    source: str
    kinds: Mapping[str, Kind] = field(default_factory=dict, compare=False, hash=False)

    def __post_init__(self) -> None:
        check_types(self.tree, self.kinds)

    @cached_property
    def tree(self) -> Node:
        """What it says."""
        return parse(self.source)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns that it is about."""
        return columns_of(self.tree)
