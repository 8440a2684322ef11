"""Refuses Arrow data that would need far more memory than they take up in a message."""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import EventError

MOST_BYTES = 256 << 20  # of all batches, unpacked
MOST_VALUES = 10_000_000  # in the lists of a column
# Numbers of fields in Message.fbs, and kinds of messages there.
_KIND, _HEADER = 1, 2
_BUFFERS, _COMPRESSION = 2, 3
_DICTIONARY, _BATCH = 2, 3
_DATA_OF_DICTIONARY = 1
_MOST_TYPES = 32  # that are remembered; one may be as large as a message


def refuse_if_large(size: int) -> None:
    """Raise `EventError` for more than `MOST_BYTES`."""
    if size > MOST_BYTES:
        msg = f"arrow: more than {MOST_BYTES >> 20} MiB in one message"
        raise EventError(msg)


def check_packed(data: pa.Buffer) -> None:
    """Add up what compressed buffers say of their sizes, before they are unpacked.

    Raises
    ------
    EventError
        If they are too large, or what describes them is broken.
    """
    size = 0
    try:
        for message in pa.ipc.MessageReader.open_stream(data):
            size += _unpacked(bytes(message.metadata), message.body)
            refuse_if_large(size)
    except struct.error as error:
        msg = "arrow: broken metadata"
        raise EventError(msg) from error


def _unpacked(metadata: bytes, body: pa.Buffer | None) -> int:
    """Size that the compressed buffers of a message say they have."""
    root = _uint32(metadata, 0)
    kind, header = _field(metadata, root, _KIND), _field(metadata, root, _HEADER)
    if body is None or kind is None or header is None or metadata[kind] not in (_DICTIONARY, _BATCH):
        return 0
    table: int | None = header + _uint32(metadata, header)
    if metadata[kind] == _DICTIONARY:
        data = _field(metadata, header + _uint32(metadata, header), _DATA_OF_DICTIONARY)
        table = None if data is None else data + _uint32(metadata, data)
    if table is None or _field(metadata, table, _COMPRESSION) is None:
        return 0
    buffers, bytes_ = _field(metadata, table, _BUFFERS), memoryview(body)
    if buffers is None:
        return 0
    start, size = buffers + _uint32(metadata, buffers), 0
    for at in range(_uint32(metadata, start)):
        offset, length = struct.unpack_from("<qq", metadata, start + 4 + 16 * at)
        if length >= 8:
            size += max(0, struct.unpack_from("<q", bytes_, offset)[0])  # -1: not compressed after all
    return size


def _uint32(data: bytes, at: int) -> int:
    found: int = struct.unpack_from("<I", data, at)[0]
    return found


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table is; None if it is left out."""
    names = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", data, names)[0]:
        return None
    offset = struct.unpack_from("<H", data, names + 4 + 2 * number)[0]
    return table + offset if 0 < table + offset < len(data) and offset else None


def shared_bytes(column: pa.Array) -> int:
    """Size that values written once take up in all rows: those of dictionaries and of views.

    Raises
    ------
    EventError
        If there are too many values in lists, or a type lets values stand anywhere any number of times.
    """
    kind = column.type
    if _stands_for_itself(kind):
        return 0
    if pa.types.is_dictionary(kind):
        return len(column) * _longest(column.dictionary)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _viewed(column)
    if pa.types.is_struct(kind):
        return sum(shared_bytes(column.field(at)) for at in range(kind.num_fields))
    _check_lists(column)
    return 0


@lru_cache(maxsize=_MOST_TYPES)
def _stands_for_itself(kind: pa.DataType) -> bool:
    """Whether each value has bytes of its own, so that there is nothing to look for in a column."""
    if pa.types.is_struct(kind):
        return all(_stands_for_itself(kind.field(at).type) for at in range(kind.num_fields))
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or any(is_one(kind) for is_one in texts)


def _viewed(column: pa.Array) -> int:
    """Length of all texts of a column of views, each of which begins with its length."""
    views = np.frombuffer(column.buffers()[1], np.int32)[::4][column.offset : column.offset + len(column)]
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return int(np.maximum(views[valid], 0).astype(np.int64).sum())


def _longest(values: pa.Array) -> int:
    """Size of the largest value of a dictionary."""
    kind = values.type
    if pa.types.is_primitive(kind):
        return 8
    texts = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
    if any(is_one(kind) for is_one in texts):
        return int(pc.max(pc.binary_length(values)).as_py() or 0)
    msg = f"arrow: dictionaries of {kind} are not read"
    raise EventError(msg)


def _check_lists(column: pa.Array) -> None:
    kind = column.type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_map)
    if any(is_one(kind) for is_one in lists):
        inner = [column.keys, column.items] if pa.types.is_map(kind) else [column.values]
        if len(inner[0]) > MOST_VALUES:
            msg = f"arrow: more than {MOST_VALUES} values in the lists of a column"
            raise EventError(msg)
        for values in inner:
            _check_inside(values)
    elif pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        msg = f"arrow: columns of {str(kind)[:60]} are not read"
        raise EventError(msg)


def _check_inside(values: pa.Array) -> None:
    """Lists hold plain values, lists and structs of those."""
    kind = values.type
    if pa.types.is_struct(kind):
        for at in range(kind.num_fields):
            _check_inside(values.field(at))
    elif pa.types.is_dictionary(kind) or "view" in str(kind):
        msg = f"arrow: lists of {str(kind)[:60]} are not read"
        raise EventError(msg)
    else:
        _check_lists(values)
