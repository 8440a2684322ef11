"""CSV files: UTF-8, commas, a line of names. Types are those of all values of a column, not of the first.

Texts are taken for numbers or truth values only if every text of the column is one. An empty field is
missing; so is ``NaN``, ``NA``, ``null`` and the like among numbers, while among texts these are texts. Texts
with a leading zero (``007``) stay texts: no program writes a number so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from monitor.frames.names import KnownKinds
from monitor.frames.table import MOST_ROWS, Table
from schemas.column import Kind

BLOCK_BYTES = 4 << 20
NOT_A_NUMBER = pa.array(["NaN", "nan", "NA", "N/A", "null", "NULL", "None", "none"])
_TRUTH = pa.array(["true", "false", "True", "False", "TRUE", "FALSE"])
_CODE = r"^[+-]?0[0-9xX]"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_CANDIDATES: tuple[pa.DataType, ...] = (pa.int64(), pa.float64(), pa.bool_())


def read(path: str | Path, kinds: KnownKinds) -> Table:
    """Open a CSV file; reads it once to learn the types.

    Raises
    ------
    pa.ArrowException
        If a line has too many or too few fields, or the text is not UTF-8.
    OSError
        If it cannot be read.
    """
    with _reader(path, []) as reader:
        names = reader.schema.names
    guesses = {name: _Guess() for name in names}
    if len(guesses) == len(names):
        for part in _texts(path, names):
            for name, guess in guesses.items():
                guess.look(part.column(name))
    types = {name: guess.type for name, guess in guesses.items()}
    faulty = {n for n, kind in types.items() if kind == pa.string() and kinds.of(n) is Kind.NUMERIC}
    types.update(dict.fromkeys(faulty, pa.float64()))

    def parts() -> Iterator[pa.Table]:
        for part in _texts(path, names):
            columns = [
                _valid_numbers(part.column(name))
                if name in faulty
                else _typed(part.column(name), types[name])
                for name in names
            ]
            yield pa.table(columns, names=names)

    return Table(str(path), pa.schema([(name, types[name]) for name in names]), parts, has_types=False)


def _reader(path: str | Path, names: list[str]) -> pyarrow.csv.CSVStreamingReader:
    return pyarrow.csv.open_csv(
        pa.input_stream(str(path), compression="detect"),
        # One thread: only then do errors name the row.
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def _texts(path: str | Path, names: list[str]) -> Iterator[pa.Table]:
    with _reader(path, names) as reader:
        for block in reader:
            for start in range(0, block.num_rows, MOST_ROWS):
                yield pa.Table.from_batches([block.slice(start, MOST_ROWS)])


class _Guess:
    """Narrowest type that all texts of a column seen so far fit into."""

    def __init__(self) -> None:
        self._left = list(_CANDIDATES)
        self._any = self._any_value = False

    @property
    def type(self) -> pa.DataType:
        """Null before the first text; text while there are only such as could mean "missing"."""
        if not self._any:
            return pa.null()
        return self._left[0] if self._left and self._any_value else pa.string()

    def look(self, texts: pa.ChunkedArray) -> None:
        """Take in more texts."""
        if texts.null_count == len(texts):
            return
        self._any = True
        values = _without_marks(texts)
        self._any_value = self._any_value or values.null_count < len(values)
        if self._left and pc.any(pc.match_substring_regex(values, _CODE)).as_py():
            self._left = []
        while self._left and not _fits(texts, values, self._left[0]):
            self._left.pop(0)


def _without_marks(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take texts that mean "missing" among numbers as missing."""
    return pc.if_else(pc.is_in(texts, NOT_A_NUMBER), pa.scalar(None, pa.string()), texts)


def _fits(texts: pa.ChunkedArray, values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    if kind == pa.bool_():
        return bool(pc.all(pc.is_in(texts.drop_null(), _TRUTH)).as_py())
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _typed(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if kind == pa.string():
        return texts
    if kind == pa.null():
        return pa.chunked_array([pa.nulls(len(texts))])
    if kind == pa.bool_():
        return pc.equal(pc.utf8_lower(texts), "true")
    return _without_marks(texts).cast(kind)


def _valid_numbers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read numbers; a text that is none becomes infinite, which counts as invalid."""
    values = _without_marks(texts)
    is_number = pc.match_substring_regex(values, _NUMBER)
    numbers = pc.if_else(is_number, values, pa.scalar(None, pa.string())).cast(pa.float64())
    return pc.if_else(pc.invert(is_number), pa.scalar(float("inf")), numbers)
