"""Stored state as bytes: a name with a version, a length and a checksum, and the compressed rest."""

from __future__ import annotations

import struct
import zlib
from typing import TypeVar

import msgspec
import pyarrow as pa

from schemas.decoding import msgpack_decoder
from schemas.errors import ProfileError

LONGEST = 1 << 30
_HEADER = struct.Struct("<II")  # bytes and CRC-32 of what was compressed
_MAGIC_BYTES = 4
_State = TypeVar("_State")


def seal(magic: bytes, state: msgspec.Struct) -> bytes:
    """Write a state.

    Parameters
    ----------
    magic : bytes
        Four bytes that name the kind of state and its version.
    state : msgspec.Struct
    """
    return seal_raw(magic, msgspec.msgpack.encode(state))


def seal_raw(magic: bytes, raw: bytes) -> bytes:
    """Write bytes that were encoded already."""
    packed: bytes = pa.compress(raw, codec="zstd", asbytes=True)
    return magic + _HEADER.pack(len(raw), zlib.crc32(raw)) + packed


def unseal(
    magic: bytes, data: bytes, kind: type[_State], what: str, error: type[Exception] = ProfileError
) -> _State:
    """Read what `seal` wrote.

    Parameters
    ----------
    magic : bytes
    data : bytes
    kind : type
        Of the state.
    what : str
        Name of the state for messages.
    error : type
        Of the exception.

    Raises
    ------
    error
        If the bytes are of another kind or version, or damaged.
    """
    raw = unseal_raw(magic, data, what, error)
    try:
        return msgpack_decoder(kind).decode(raw)
    except msgspec.MsgspecError as problem:
        msg = f"damaged {what}: {problem}"
        raise error(msg) from problem


def unseal_raw(magic: bytes, data: bytes, what: str, error: type[Exception] = ProfileError) -> bytes:
    """Read what `seal_raw` wrote; see `unseal`."""
    start = _MAGIC_BYTES + _HEADER.size
    if data[:_MAGIC_BYTES] != magic:
        begin = bytes(data[:_MAGIC_BYTES])
        msg = f"not a {what} of a known version (starts with {begin!r}, {magic!r} is known)"
        raise error(msg)
    try:
        size, checksum = _HEADER.unpack_from(data, _MAGIC_BYTES)
        raw: bytes = pa.decompress(data[start:], size, codec="zstd", asbytes=True) if size <= LONGEST else b""
    except (OSError, struct.error, pa.ArrowException) as problem:
        msg = f"damaged {what}: {problem}"
        raise error(msg) from problem
    if size > LONGEST or zlib.crc32(raw) != checksum:
        msg = f"damaged {what}: wrong length or checksum"
        raise error(msg)
    return raw
