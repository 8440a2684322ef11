"""Decoders by type, each made by one thread alone.

The library builds what it knows of a type when it first meets it. A second thread that meets the type
meanwhile uses what is only half built, and the process ends with a segmentation fault (msgspec 0.22).
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_ONE_AT_A_TIME = threading.Lock()
_json: dict[type, msgspec.json.Decoder[Any]] = {}
_msgpack: dict[type, msgspec.msgpack.Decoder[Any]] = {}


def json_decoder(what: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of JSON for a type; it may be used by several threads.

    Examples
    --------
    >>> json_decoder(list[int]).decode(b"[1, 2]")
    [1, 2]
    """
    found = _json.get(what)
    if found is None:
        with _ONE_AT_A_TIME:
            found = _json.setdefault(what, msgspec.json.Decoder(what))
    return found


def msgpack_decoder(what: type[T]) -> msgspec.msgpack.Decoder[T]:
    """Return the decoder of MessagePack for a type; it may be used by several threads."""
    found = _msgpack.get(what)
    if found is None:
        with _ONE_AT_A_TIME:
            found = _msgpack.setdefault(what, msgspec.msgpack.Decoder(what))
    return found


def converted(value: object, what: type[T]) -> T:
    """Read plain values, such as those of decoded JSON, as a type.

    Raises
    ------
    msgspec.ValidationError
        If they are something else.
    """
    json_decoder(what)  # the type is known from here on, to all threads
    return msgspec.convert(value, what)
