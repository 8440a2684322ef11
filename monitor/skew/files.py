"""Files with events: tables, messages line by line, or a file that is one message."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import msgspec
import pyarrow as pa

from monitor.config.settings import ModelSettings
from monitor.decode.message import Message
from monitor.frames.names import KnownKinds
from monitor.frames.table import Table, open_table
from monitor.skew.messages import Fetch
from schemas.errors import UsageError

Form = Literal["table", "lines", "message"]

MOST_LINES = 10_000
_START_BYTES = 4_096
_NO_KINDS = KnownKinds(ModelSettings(), {})
"""What the contract calls a column does not matter here: values are compared as they are written."""


def open_rows(path: str) -> Table:
    """Open a table with its columns as they are written; see `monitor.frames.table.open_table`."""
    return open_table(path, _NO_KINDS)


def form_of(path: str) -> Form:
    """Tell what a file holds, by its beginning.

    Raises
    ------
    UsageError
        If it cannot be read.
    """
    try:
        with pa.input_stream(path, compression="detect") as stream, io.BufferedReader(stream) as file:
            start = file.read(_START_BYTES)
            first = start if b"\n" in start else start + file.readline()
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UsageError(msg) from error
    if start.startswith(b"PAR1"):
        return "table"
    if first.lstrip()[:1] in (b"{", b"["):
        return "lines" if _is_json(first.strip().partition(b"\n")[0]) else "message"
    return "message" if _is_binary(start) else "table"


def messages_of(path: str) -> Iterator[Fetch]:
    """Read a file with messages."""
    return _whole(path) if form_of(path) == "message" else _lines(path)


def _lines(path: str) -> Iterator[Fetch]:
    with pa.input_stream(path, compression="detect") as stream, io.BufferedReader(stream) as lines:
        while chosen := list(islice(lines, MOST_LINES)):
            yield _fetch([line for line in chosen if not line.isspace()])


def _whole(path: str) -> Iterator[Fetch]:
    with pa.input_stream(path, compression="detect") as stream:
        yield _fetch([stream.read()])


def _fetch(values: list[bytes]) -> Fetch:
    return Fetch(values, lambda row: Message(values[row]))


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)  # whole, whatever its numbers are
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return False
    return True


def _is_binary(start: bytes) -> bool:
    return start.startswith((b"Obj\x01", b"ARROW1")) or b"\0" in start
