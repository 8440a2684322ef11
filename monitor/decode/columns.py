"""The columns of a model version as they become known, and how JSON is told apart into them.

A column gets its kind from the first values seen, or from the configuration, and keeps it. Safe to use from
several threads: readers take a snapshot, and additions replace it.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from schemas.column import ColumnSpec, Kind, Source, feature_name

LONGEST_NAME = 500
_ESCAPED = re.compile(r'["\\\x00-\x1f]')  # typed decoders take no such keys
_ARROW = {
    float: pa.float64(),
    int: pa.int64(),
    str: pa.string(),
    bool: pa.bool_(),
    list: pa.list_(pa.float64()),
}


@dataclass(frozen=True)
class Column:
    """A feature column and the JSON type that its values usually have; None until values were seen."""

    spec: ColumnSpec
    type: pa.DataType | None


@dataclass(frozen=True)
class Snapshot:
    """Columns known at one moment.

    `schema` holds those that Arrow can read together; a key that is both a value and an object cannot be in
    it twice.
    """

    columns: dict[str, Column]
    fast: tuple[Column, ...]
    schema: pa.Schema
    full: bool

    @classmethod
    def of(cls, columns: dict[str, Column], most: int) -> Snapshot:
        """Work out which columns Arrow can read together."""
        tree: dict[str, object] = {}
        typed = [column for column in columns.values() if column.type is not None]
        fast = tuple(column for column in typed if _insert(tree, column.spec.path, column.type))
        return cls(columns, fast, pa.schema(_fields(tree)), len(columns) >= most)

    @cached_property
    def names(self) -> dict[tuple[str, ...], str]:
        """Name of each column by the path of its keys; to join them for each value would take longer."""
        return {column.spec.path: name for name, column in self.columns.items()}

    def is_new(self, path: tuple[str, ...]) -> bool:
        """Whether values at a path would teach something: a column, or its usual type."""
        known = self.columns.get(self.names.get(path) or feature_name(path))
        return not self.full if known is None else known.type is None


class Columns:
    """Feature columns of one model version.

    Parameters
    ----------
    configured : dict of str to Kind
        Kinds that the configuration fixes.
    most : int
        Number of feature columns after which new ones are ignored and only counted.
    """

    def __init__(self, configured: dict[str, Kind], most: int) -> None:
        self._configured, self._most = configured, most
        self._lock = threading.Lock()
        self.ignored = 0
        self.now = Snapshot.of({}, most)

    def restore(self, specs: Iterable[ColumnSpec]) -> None:
        """Take over columns that are already registered; their kind wins over ours."""
        with self._lock:
            columns = dict(self.now.columns)
            for spec in specs:
                known = columns.get(spec.name)
                if known is None or known.spec != spec:
                    # Categories come as texts, integers or booleans: the values will tell.
                    kind = None if spec.kind is Kind.CATEGORICAL else _usual_type(spec.kind)
                    columns[spec.name] = Column(spec, kind)
            if columns != self.now.columns:
                self.now = Snapshot.of(columns, self._most)

    def learn(self, seen: dict[tuple[str, ...], Counter[type]]) -> Snapshot:
        """Add columns for paths that are not known yet, and the usual types of columns that were restored.

        A name that no database can store (with a NUL character or half a surrogate pair) is ignored.

        Parameters
        ----------
        seen : dict of path to Counter of type
            Types of the values at each path, None left out.
        """
        with self._lock:
            columns = dict(self.now.columns)
            for path, types in seen.items():
                name = feature_name(path)
                known = columns.get(name)
                if known is not None:
                    if known.type is None and known.spec.path == path:
                        columns[name] = Column(known.spec, _type_of(known.spec.kind, types))
                elif len(columns) >= self._most or not is_storable(name):
                    self.ignored += 1
                else:
                    columns[name] = self._new(name, path, types)
            if columns != self.now.columns:
                self.now = Snapshot.of(columns, self._most)
            return self.now

    def _new(self, name: str, path: tuple[str, ...], types: Counter[type]) -> Column:
        usual = _usual(types)
        kind = self._configured.get(name) or (
            Kind.NUMERIC if usual is float else Kind.VECTOR if usual is list else Kind.CATEGORICAL
        )
        return Column(ColumnSpec(name, kind, Source.FEATURE, path), _type_of(kind, types))


def is_storable(name: str) -> bool:
    """Whether both databases can keep a column name."""
    if len(name) > LONGEST_NAME or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usual(types: Counter[type]) -> type:
    rank = {float: types[int] + types[float], str: types[str], bool: types[bool], list: types[list]}
    return max(rank, key=lambda kind: rank[kind])


def _type_of(kind: Kind, types: Counter[type]) -> pa.DataType:
    """Arrow type that most values of a column have."""
    usual = _usual(types)
    if kind is Kind.CATEGORICAL and usual is float:
        return pa.float64() if types[float] else pa.int64()
    if kind is Kind.CATEGORICAL and usual is not list:
        return _ARROW[usual]
    return _usual_type(kind)


def _usual_type(kind: Kind) -> pa.DataType:
    return {Kind.NUMERIC: pa.float64(), Kind.CATEGORICAL: pa.string(), Kind.VECTOR: pa.list_(pa.float64())}[
        kind
    ]


def _insert(tree: dict[str, object], path: tuple[str, ...], arrow: pa.DataType) -> bool:
    if any(_ESCAPED.search(key) for key in path):
        return False
    for key in path[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            return False
        tree = below
    if path[-1] in tree:
        return False
    tree[path[-1]] = arrow
    return True


def _fields(tree: dict[str, object]) -> list[pa.Field]:
    return [pa.field(key, pa.struct(_fields(x)) if isinstance(x, dict) else x) for key, x in tree.items()]
