"""Features of many events, from JSON objects to the columns of a `Batch`.

Arrow reads all events of a model version at once, with the columns that are known. Whatever it refuses (a key
that is new, a value of another type, a key given twice) costs only the rows concerned: rows with values of
another type are found all at once, other faults row by row with a typed decoder; the rest goes through Arrow,
and what is not usual is read as Python objects.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from numpy.typing import NDArray

from monitor.decode.columns import Column, Columns, Snapshot
from monitor.decode.feature_block import Cells, FeatureParts, blocks_of
from monitor.decode.odd_rows import odd_rows
from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, Categories, Lists
from schemas.column import ColumnSpec, Kind, feature_name

Raws = Sequence[Any]  # JSON objects, bytes-like, or cells of a `FeatureBlock`
Tables = list[tuple[NDArray[np.int64], pa.Table]]
Flats = list[tuple[int, dict[tuple[str, ...], Any]]]

SMALLEST = 8
TEACHERS = 16  # rows that new columns are learned from before the rest of a block is read with them
LONGEST_NUMBER = 400  # digits; Python refuses to read more than a few thousand
LONG_BYTES = 65_536  # a row longer than this is read on its own
_BEGINS_WITH_NULL = re.compile(rb"[ \t\r\n\xef\xbb\xbf]*null")  # also behind a byte order mark


@dataclass(frozen=True)
class Features:
    """Decoded features; the fields are those of `Batch`."""

    numeric: tuple[ColumnSpec, ...]
    numbers: NDArray[np.float64]
    status: NDArray[np.uint8]
    categorical: tuple[ColumnSpec, ...]
    categories: tuple[Categories, ...]
    vectors: tuple[tuple[ColumnSpec, NDArray[np.uint8]], ...]
    lists: dict[str, Lists] = field(default_factory=dict)


class FeatureDecoder:
    """Decodes the features of one model version; safe to use from several threads.

    Parameters
    ----------
    columns : Columns
        What is known of the columns; grows as new keys are seen.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._typed: tuple[pa.Schema, msgspec.json.Decoder[Any]] | None = None

    def decode(self, raws: Raws | FeatureParts) -> tuple[Features, NDArray[np.int64], list[tuple[int, str]]]:
        """Decode objects.

        Parameters
        ----------
        raws : sequence of bytes-like or `Cell`, or FeatureParts
            JSON, or places in columns.

        Returns
        -------
        features : Features
            Of the rows that could be read.
        rows : int64 array
            Which of `raws` they are.
        problems : list of (int, str)
            The other rows, and why.
        """
        snapshot = self.columns.now
        every = np.arange(len(raws))
        cells = [raws] if isinstance(raws, Cells) else raws.cells if isinstance(raws, FeatureParts) else None
        if cells is not None and (of_blocks := _tables(cells, snapshot)) is not None:
            return _assemble(snapshot, len(raws), of_blocks, []), every, []
        if not isinstance(raws, list):
            raws = raws.listed() if isinstance(raws, FeatureParts) else list(raws)
        refused = None
        if tuple in set(map(type, raws)):
            pass  # some came in columns: those are looked for below
        elif snapshot.fast and len(raws):
            if (table := _read(raws, snapshot)) is not None:
                return _assemble(snapshot, len(raws), [(every, table)], []), every, []
            refused = snapshot
        tables, slow, problems = self._apart(raws, refused)
        snapshot = self.columns.now
        rows = _without(every, [row for row, _ in problems])
        new_place = np.full(len(raws), -1)
        new_place[rows] = np.arange(len(rows))
        parts = [(new_place[chunk], table) for chunk, table in tables]
        features = _assemble(snapshot, len(rows), parts, [(int(new_place[row]), flat) for row, flat in slow])
        return features, rows, problems

    def _apart(self, raws: Raws, refused: Snapshot | None) -> tuple[Tables, Flats, list[tuple[int, str]]]:
        """Read with Arrow what it can read together, and the rest one by one; the first teach the others.

        Parameters
        ----------
        raws : sequence of bytes-like or Cell
        refused : Snapshot or None
            With these columns Arrow has refused all of them together; None: that was not tried.
        """
        tables: Tables = []
        slow: Flats = []
        problems: list[tuple[int, str]] = []
        every = np.arange(len(raws))
        for part in (every[:TEACHERS], every[TEACHERS:]):
            rows = part
            if refused is None:
                blocks, rows = _from_blocks(raws, part, self.columns.now)
                tables += blocks
                raws = _as_json(raws, rows)
            read = self._together(raws, rows, is_refused=refused is self.columns.now)
            tables += read
            left = _without(rows, np.concatenate([done for done, _ in read])) if read else rows
            self._one_by_one(raws, left, slow, problems)
        return tables, slow, problems

    def _together(self, raws: Raws, rows: NDArray[np.int64], *, is_refused: bool) -> Tables:
        """Read with Arrow as many of the given rows as possible.

        Parameters
        ----------
        raws : sequence of bytes-like
        rows : int64 array
        is_refused : bool
            Arrow has refused them already, together with others.
        """
        snapshot = self.columns.now
        if not snapshot.fast or not len(rows):
            return []
        picked = _picked(raws, rows)
        odd = odd_rows(picked, snapshot.schema) if is_refused else None
        if odd is None:
            if (table := _read(picked, snapshot)) is not None:
                return [(rows, table)]
            odd = odd_rows(picked, snapshot.schema)
        if odd is not None:
            rows = rows[~odd]
            if (table := _read(_picked(raws, rows), snapshot)) is not None:
                return [(rows, table)]
        passed = self._passing(raws, rows, snapshot)
        # Something that only Arrow minds, such as a key given twice.
        return _halves(raws, passed, snapshot)

    def _passing(self, raws: Raws, rows: NDArray[np.int64], snapshot: Snapshot) -> NDArray[np.int64]:
        """Rows that have only known keys with values of the usual type."""
        decode = self._typed_decoder(snapshot)
        passed = []
        for row in rows.tolist():
            raw = raws[row]
            if len(raw) > LONG_BYTES:
                continue
            try:
                decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            passed.append(row)
        return np.array(passed, np.int64)

    def _typed_decoder(self, snapshot: Snapshot) -> Any:
        if self._typed is None or self._typed[0] is not snapshot.schema:
            self._typed = snapshot.schema, msgspec.json.Decoder(_struct(list(snapshot.schema)))
        return self._typed[1].decode

    def _one_by_one(
        self,
        raws: Raws,
        rows: NDArray[np.int64],
        slow: Flats,
        problems: list[tuple[int, str]],
    ) -> None:
        seen: defaultdict[tuple[str, ...], Counter[type]] = defaultdict(Counter)
        known = self.columns.now
        for row in rows.tolist():
            try:
                flat = flatten(json.loads(bytes(raws[row]), parse_int=_whole))
            except (ValueError, RecursionError) as error:
                problems.append((row, f"features: {error}"[:300]))
                continue
            for path, value in flat.items():
                if value is not None and known.is_new(path):
                    seen[path][type(value)] += 1
            if known.full:
                flat = {path: v for path, v in flat.items() if feature_name(path) in known.columns}
            slow.append((row, flat))
        if seen:
            self.columns.learn(seen)


def _picked(raws: Raws, rows: NDArray[np.int64]) -> list[Any]:
    return [raws[row] for row in rows.tolist()]


def _without(rows: NDArray[np.int64], some: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows but for some of them."""
    left = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, bool)
    left[rows] = True
    left[np.asarray(some, np.int64)] = False
    return np.flatnonzero(left)


def flatten(value: Any) -> dict[tuple[str, ...], Any]:
    """Turn nested objects into one level, with the path of keys as the key.

    Raises
    ------
    ValueError
        If it is not an object.

    Examples
    --------
    >>> flatten({"x": [1], "user": {"age": 3}})
    {('x',): [1], ('user', 'age'): 3}
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        msg = "not an object"
        raise ValueError(msg)  # noqa: TRY004 - a fault in the data, not in the program
    flat: dict[tuple[str, ...], Any] = {}
    waiting: list[tuple[tuple[str, ...], dict[str, Any]]] = [((), value)]
    while waiting:
        above, level = waiting.pop()
        for key, item in level.items():
            if isinstance(item, dict):
                waiting.append(((*above, key), item))
            else:
                flat[(*above, key)] = item
    return flat


def _whole(digits: str) -> int | float:
    """Read a whole number; one beyond the floats is infinite for Arrow, so it is here."""
    return (
        int(digits)
        if len(digits) < LONGEST_NUMBER
        else math.copysign(math.inf, -1 if digits[0] == "-" else 1)
    )


def _tables(several: Sequence[Cells], snapshot: Snapshot) -> Tables | None:
    """Take all rows out of columns; None if some do not fit those that are known."""
    found: Tables = []
    first = 0
    for cells in several:
        table = cells.block.table(cells.rows, snapshot)
        if table is None:
            return None
        found.append((np.arange(first, first + len(cells)), table))
        first += len(cells)
    return found


def _from_blocks(raws: Raws, rows: NDArray[np.int64], snapshot: Snapshot) -> tuple[Tables, NDArray[np.int64]]:
    """Take rows out of columns where they fit those that are known; returns also the other rows."""
    picked = raws if len(rows) == len(raws) else [raws[row] for row in rows.tolist()]
    left = np.ones(len(rows), bool)
    in_blocks = np.flatnonzero(np.array([type(raw) is tuple for raw in picked], bool))
    cells = picked if len(in_blocks) == len(rows) else [picked[at] for at in in_blocks.tolist()]
    tables: Tables = []
    for block, at, of_block in blocks_of(cells):
        table = block.table(of_block, snapshot)
        if table is not None:
            tables.append((rows[in_blocks[at]], table))
            left[in_blocks[at]] = False
    return tables, rows[left]


def _as_json(raws: Raws, rows: NDArray[np.int64]) -> Raws:
    """The same with some rows as JSON, also where they came in columns."""
    cells = [row for row in rows.tolist() if type(raws[row]) is tuple]
    if not cells:
        return raws
    written: list[Any] = list(raws)
    for block, at, of_block in blocks_of([raws[row] for row in cells]):
        for row, raw in zip(at.tolist(), block.raws(of_block), strict=True):
            written[cells[row]] = raw
    return written


def _read(raws: Raws, snapshot: Snapshot) -> pa.Table | None:
    """Read objects with Arrow; None if it refuses any of them."""
    joined = b"\n".join(raws)
    if _BEGINS_WITH_NULL.match(joined):
        return None  # Arrow 26 does not refuse that: the process would end
    try:
        table = pj.read_json(
            pa.BufferReader(joined),
            read_options=pj.ReadOptions(use_threads=False, block_size=max(len(joined) + 1, 1024)),
            parse_options=pj.ParseOptions(
                explicit_schema=snapshot.schema,
                unexpected_field_behavior="error",
                newlines_in_values=joined.count(b"\n") >= len(raws),
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return table if table.num_rows == len(raws) else None


def _halves(raws: Raws, rows: NDArray[np.int64], snapshot: Snapshot) -> Tables:
    """Read rows with Arrow, leaving out the smallest blocks that it refuses."""
    if not len(rows):
        return []
    if (table := _read([raws[i] for i in rows], snapshot)) is not None:
        return [(rows, table)]
    if len(rows) <= SMALLEST:
        return []
    middle = len(rows) // 2
    return _halves(raws, rows[:middle], snapshot) + _halves(raws, rows[middle:], snapshot)


def _struct(fields: list[pa.Field]) -> type[msgspec.Struct]:
    """Return a type that accepts exactly what Arrow accepts for a schema."""
    of_arrow: dict[Any, Any] = {pa.float64(): float, pa.int64(): int, pa.string(): str, pa.bool_(): bool}
    members: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}
    for i, item in enumerate(fields):
        if pa.types.is_struct(item.type):
            kind: Any = _struct([item.type.field(j) for j in range(item.type.num_fields)])
        elif pa.types.is_list(item.type):
            kind = list[float | None]
        else:
            kind = of_arrow[item.type]
        members.append((f"f{i}", kind | None, None))
        names[f"f{i}"] = item.name
    return msgspec.defstruct("Features", members, rename=names, forbid_unknown_fields=True, gc=False)


def _leaf(table: pa.Table, path: tuple[str, ...]) -> pa.Array:
    column = table.column(path[0])
    chunk = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    for key in path[1:]:
        # A null object makes its members null; `flatten` carries that down.
        chunk = chunk.flatten()[chunk.type.get_field_index(key)]
    return chunk


def _assemble(
    snapshot: Snapshot,
    n: int,
    tables: Tables,
    slow: Flats,
) -> Features:
    names = snapshot.names
    named = [
        (row, {names.get(path) or feature_name(path): value for path, value in flat.items()})
        for row, flat in slow
    ]
    columns = list(snapshot.columns.values())
    numeric = [c for c in columns if c.spec.kind is Kind.NUMERIC]
    numbers = np.zeros((len(numeric), n))
    status = np.full((len(numeric), n), MISSING, np.uint8)
    fast = {column.spec.name for column in snapshot.fast}
    for i, column in enumerate(numeric):
        for rows, table in tables:
            if column.spec.name in fast and _has(table, column):
                _numbers(_leaf(table, column.spec.path), rows, numbers[i], status[i])
        for row, values in named:
            numbers[i, row], status[i, row] = _number(values.get(column.spec.name))
    categorical = [c for c in columns if c.spec.kind is Kind.CATEGORICAL]
    vectors = [c for c in columns if c.spec.kind is Kind.VECTOR]
    return Features(
        tuple(c.spec for c in numeric),
        numbers,
        status,
        tuple(c.spec for c in categorical),
        tuple(_categories(c, n, tables if c.spec.name in fast else [], named) for c in categorical),
        tuple((c.spec, _presence(c, n, tables if c.spec.name in fast else [], named)) for c in vectors),
        {c.spec.name: _lists(c, n, tables if c.spec.name in fast else [], named) for c in vectors},
    )


def _has(table: pa.Table, column: Column) -> bool:
    """Whether a table was read with a schema that already had the column."""
    path = column.spec.path
    at = table.schema.get_field_index(path[0])
    if at < 0:
        return False
    kind = table.schema.field(at).type
    for key in path[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(key) < 0:
            return False
        kind = kind.field(key).type
    return bool(kind == column.type)


def _numbers(
    chunk: pa.Array, rows: NDArray[np.int64], numbers: NDArray[np.float64], status: NDArray[np.uint8]
) -> None:
    values = chunk.to_numpy(zero_copy_only=False)
    finite = np.isfinite(values)
    if finite.all():
        everything = len(rows) == len(numbers)
        numbers[slice(None) if everything else rows] = values
        status[slice(None) if everything else rows] = 0
        return
    missing = chunk.is_null().to_numpy(zero_copy_only=False)
    numbers[rows] = np.where(finite, values, 0.0)
    status[rows] = np.where(missing, MISSING, np.where(finite, 0, INVALID))


def _number(value: Any) -> tuple[float, int]:
    if value is None:
        return 0.0, MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0, INVALID
    try:
        number = float(value)
    except OverflowError:
        return 0.0, INVALID
    return (number, 0) if math.isfinite(number) else (0.0, INVALID)


def category_text(value: Any) -> str | None:
    """Name of a category; None for what cannot be one. PostgreSQL keeps no NUL characters: they are replaced.

    Examples
    --------
    >>> category_text(True), category_text(3.0), category_text(3), category_text("3"), category_text([3])
    ('true', '3', '3', '3', None)
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else None
    return value.replace("\0", "\ufffd") if isinstance(value, str) else None


def _categories(
    column: Column,
    n: int,
    tables: Tables,
    named: list[tuple[int, dict[str, Any]]],
) -> Categories:
    codes = np.full(n, CODE_MISSING, np.int32)
    dictionaries: list[pa.Array] = []
    size = 0
    distinct = True
    for rows, table in tables:
        if not _has(table, column):
            continue
        encoded = _leaf(table, column.spec.path).dictionary_encode()
        values_of = encoded.dictionary
        texts_of = category_texts(values_of)
        indices = encoded.indices
        if indices.null_count:
            indices = indices.fill_null(CODE_MISSING - size)
        found = indices.to_numpy(zero_copy_only=False)
        if size:
            found = found + size
        if texts_of.null_count:
            wrong = np.flatnonzero(texts_of.is_null().to_numpy(zero_copy_only=False)) + size
            found = np.where(np.isin(found, wrong), CODE_INVALID, found)
            texts_of = texts_of.fill_null("")
        distinct &= texts_of is values_of
        codes[rows] = found
        dictionaries.append(texts_of)
        size += len(texts_of)
    if named:
        texts: dict[str, int] = {}
        for row, values in named:
            value = values.get(column.spec.name)
            if column.type == pa.float64() and isinstance(value, int) and not isinstance(value, bool):
                value = _number(value)[0] if _number(value)[1] == 0 else math.inf  # as Arrow reads it
            text = category_text(value)
            if text is not None:
                # Half a surrogate pair becomes a question mark.
                codes[row] = texts.setdefault(text.encode("utf-8", "replace").decode(), size + len(texts))
            elif value is not None:
                codes[row] = CODE_INVALID
        dictionaries.append(pa.array(list(texts), pa.string()))
    if len(dictionaries) == 1 and distinct:
        return Categories(codes, dictionaries[0])
    if not dictionaries:
        return Categories(codes, pa.array([], pa.string()))
    # The same value may be in several dictionaries, or twice in one (0.0 and -0.0); codes become one.
    joined = pa.concat_arrays(dictionaries).dictionary_encode()
    same = np.concatenate((joined.indices.to_numpy(), [CODE_INVALID, CODE_MISSING])).astype(np.int32)
    return Categories(same[codes], joined.dictionary)


def category_texts(values: pa.Array) -> pa.Array:
    """Names of categories that Arrow read; null for what cannot be one."""
    if values.type == pa.string():
        data = values.buffers()[2]
        # A call of Arrow's takes longer than looking through the values of a small batch.
        has_nul = data is not None and b"\0" in data.to_pybytes()
        return pc.replace_substring(values, "\0", "\ufffd") if has_nul else values
    return pa.array([category_text(value) for value in values.to_pylist()], pa.string())


def _presence(
    column: Column,
    n: int,
    tables: Tables,
    named: list[tuple[int, dict[str, Any]]],
) -> NDArray[np.uint8]:
    status = np.full(n, MISSING, np.uint8)
    for rows, table in tables:
        if _has(table, column):
            status[rows] = _leaf(table, column.spec.path).is_null().to_numpy(zero_copy_only=False)
    for row, values in named:
        value = values.get(column.spec.name)
        status[row] = MISSING if value is None else 0 if isinstance(value, list) else INVALID
    return status


def _lists(column: Column, n: int, tables: Tables, named: list[tuple[int, dict[str, Any]]]) -> Lists:
    """Lists of all rows; what is no number in one is null."""
    parts, rows = [], np.full(n, -1, np.int64)
    size = 0
    for places, table in tables:
        if _has(table, column):
            part = _leaf(table, column.spec.path)
            parts.append(part)
            rows[places] = np.arange(size, size + len(part))
            size += len(part)
    odd = [(row, values.get(column.spec.name)) for row, values in named]
    told = [(row, [_list_item(x) for x in value]) for row, value in odd if isinstance(value, list)]
    if told:
        parts.append(pa.array([value for _, value in told], pa.list_(pa.float64())))
        rows[[row for row, _ in told]] = np.arange(size, size + len(told))
    if len(parts) == 1 and not told and len(parts[0]) == n:
        return Lists(parts[0], None if (np.diff(rows) == 1).all() else rows)
    nothing = pa.array([], pa.list_(pa.float64()))
    return Lists(pa.concat_arrays(parts) if parts else nothing, rows)


def _list_item(value: Any) -> float | None:
    number, state = _number(value)
    return number if state == 0 else None
