"""The columns of a model version as they become known, and how JSON is told apart into them.

A column gets its kind from the first values seen, or from the configuration, and keeps it. Safe to use from
several threads: readers take a snapshot, and additions replace it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from schemas.column import ColumnSpec, Kind, Source, feature_name

LONGEST_NAME = 500
_ARROW = {
    float: pa.float64(),
    int: pa.int64(),
    str: pa.string(),
    bool: pa.bool_(),
    list: pa.list_(pa.float64()),
}


@dataclass(frozen=True)
class Column:
    """A feature column and the JSON type that its values usually have."""

    spec: ColumnSpec
    type: pa.DataType


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
        fast = tuple(column for column in columns.values() if _insert(tree, column.spec.path, column.type))
        return cls(columns, fast, pa.schema(_fields(tree)), len(columns) >= most)


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
                    columns[spec.name] = Column(spec, _usual_type(spec.kind))
            if columns != self.now.columns:
                self.now = Snapshot.of(columns, self._most)

    def learn(self, seen: dict[tuple[str, ...], Counter[type]]) -> Snapshot:
        """Add columns for paths that are not known yet.

        Parameters
        ----------
        seen : dict of path to Counter of type
            Types of the values at each path, None left out.
        """
        with self._lock:
            columns = dict(self.now.columns)
            for path, types in seen.items():
                name = feature_name(path)
                if name in columns:
                    continue
                if len(columns) >= self._most or len(name) > LONGEST_NAME:
                    self.ignored += 1
                    continue
                columns[name] = self._new(name, path, types)
            if len(columns) != len(self.now.columns):
                self.now = Snapshot.of(columns, self._most)
            return self.now

    def _new(self, name: str, path: tuple[str, ...], types: Counter[type]) -> Column:
        numbers = types[int] + types[float]
        rank = {float: numbers, str: types[str], bool: types[bool], list: types[list]}
        usual = max(rank, key=lambda kind: rank[kind])
        kind = self._configured.get(name) or (
            Kind.NUMERIC if usual is float else Kind.VECTOR if usual is list else Kind.CATEGORICAL
        )
        if kind is Kind.CATEGORICAL and usual is float:
            arrow = pa.float64() if types[float] else pa.int64()
        elif kind is Kind.CATEGORICAL and usual is not list:
            arrow = _ARROW[usual]
        else:
            arrow = _usual_type(kind)
        return Column(ColumnSpec(name, kind, Source.FEATURE, path), arrow)


def _usual_type(kind: Kind) -> pa.DataType:
    return {Kind.NUMERIC: pa.float64(), Kind.CATEGORICAL: pa.string(), Kind.VECTOR: pa.list_(pa.float64())}[
        kind
    ]


def _insert(tree: dict[str, object], path: tuple[str, ...], arrow: pa.DataType) -> bool:
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
