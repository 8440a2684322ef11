"""Changes to inputs: of bytes, of JSON values in their places, of fields of Protobuf, of tables of Arrow."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from tests.fuzz.tables import strange_stream
from tests.fuzz.target import LONGEST_INPUT, Target

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, -(2**63), 2**64, 10**400, 1e308, -0.0, 5e-324, float("nan"),
    float("inf"), "",
    "\0", "\ud800", "x" * 300, "2026-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999+14:00",
    "1e5", "NaN", "BYTES", "base64", "CSV", [], {}, [None], [[]], {"": {}}, [[1, 2], [3]], {"$ref": "#"},
    {"a": [1, "x", None]},
)  # fmt: skip
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_DEEP = 600
_ARROW = (b"\xff\xff\xff\xff", b"ARROW1")

Change = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def mutated(data: bytes, target: Target, rng: random.Random) -> bytes:
    """Change an input in one to four ways, mostly such that it still looks like what it was."""
    front, body = data[: target.surroundings], data[target.surroundings :]
    if rng.random() < 0.1:
        front = bytes(rng.randrange(256) for _ in range(target.surroundings))
    others = [seed[target.surroundings :] for seed in target.seeds]
    for _ in range(rng.randint(1, 4)):
        body = rng.choice(_changes(body))(body, rng, others)
    return (front + body)[:LONGEST_INPUT]


def _changes(body: bytes) -> list[Change]:
    """Changes that suit what a body looks like."""
    if body.startswith(_ARROW):
        return [flipped, number_set, another_table]
    if body[:1] in (b"{", b"["):
        return [
            value_replaced,
            value_replaced,
            entry_dropped,
            entry_renamed,
            values_swapped,
            nested,
            flipped,
            spliced,
        ]
    return [flipped, number_set, cut, repeated, spliced, field_changed, field_changed, line_moved]


# --- bytes ------------------------------------------------------------------------------------------------


def flipped(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Set a few bytes at random."""
    changed = bytearray(body or b"\0")
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] = rng.choice((rng.randrange(256), 0, 0xFF, 0x80))
    return bytes(changed)


def number_set(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Write a number that is often forgotten over some bytes."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    written = (rng.choice(INTERESTING) % 256**size).to_bytes(size, order)
    at = rng.randrange(len(body) + 1)
    return body[:at] + written + body[at + size :]


def cut(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Leave some bytes out, often the end."""
    first = rng.randrange(len(body) + 1)
    return body[:first] + (b"" if rng.random() < 0.5 else body[first + rng.randint(1, 16) :])


def repeated(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Repeat some bytes, now and then very often."""
    first = rng.randrange(len(body) + 1)
    piece = body[first : first + rng.randint(1, 32)]
    return body[:first] + piece * rng.choice((2, 3, 1_000)) + body[first:]


def spliced(body: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Go on with the end of another input."""
    other = rng.choice(others)
    return body[: rng.randrange(len(body) + 1)] + other[rng.randrange(len(other) + 1) :]


def line_moved(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Move a line, or change how far it is indented."""
    lines = body.split(b"\n")
    line = lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randrange(len(lines) + 1), line if rng.random() < 0.5 else b"  " + line)
    return b"\n".join(lines)


# --- JSON -------------------------------------------------------------------------------------------------


def value_replaced(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Put a strange value somewhere."""
    return _in_document(body, rng, lambda holder, key, _: holder.__setitem__(key, rng.choice(STRANGE)))


def entry_dropped(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Leave something out."""
    return _in_document(body, rng, lambda holder, key, _: holder.__delitem__(key))


def entry_renamed(body: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Call something as something is called elsewhere."""
    names = sorted({name for _, name in _places(_document(rng.choice(others))) if isinstance(name, str)})

    def rename(holder: Any, key: Any, _: Any) -> None:
        if isinstance(holder, dict) and names:
            holder[rng.choice(names)] = holder.pop(key)

    return _in_document(body, rng, rename)


def values_swapped(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Put a value in the place of another, or both into a list."""

    def swap(holder: Any, key: Any, places: list[tuple[Any, Any]]) -> None:
        other, there = rng.choice(places)
        holder[key] = deepcopy(other[there]) if rng.random() < 0.7 else [holder[key]] * 3

    return _in_document(body, rng, swap)


def nested(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Put a value deep into lists or objects, as text: those who read it have to stop by themselves."""
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    at = rng.randrange(len(body) + 1)
    return body[:at] + opening * _DEEP + b"1" + closing * _DEEP + body[at:]


def _in_document(
    body: bytes, rng: random.Random, change: Callable[[Any, Any, list[tuple[Any, Any]]], None]
) -> bytes:
    document = _document(body)
    places = _places(document)
    if not places:
        return flipped(body, rng, ())
    holder, key = rng.choice(places)
    try:
        change(holder, key, places)
        return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    except RecursionError:
        return nested(body, rng, ())


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None  # no document any more: bytes are changed instead


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = (
            list(holder)
            if isinstance(holder, dict)
            else range(len(holder))
            if isinstance(holder, list)
            else ()
        )
        found += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys]
    return found


# --- Protobuf and Arrow -----------------------------------------------------------------------------------


def field_changed(body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Repeat, drop or renumber a field of a message of Protobuf, or change one inside of it."""
    fields = _fields(body)
    if not fields:
        return flipped(body, rng, ())
    start, inside, end = rng.choice(fields)
    before, piece, after = body[:start], body[start:end], body[end:]
    what = rng.randrange(4)
    if what == 0:
        return before + piece * rng.choice((2, 3, 100)) + after
    if what == 1:
        return before + after
    if what == 2:
        return before + bytes([rng.randrange(128)]) + piece[1:] + after
    content = field_changed(body[inside:end], rng, ())
    return before + piece[:1] + _varint(len(content)) + content + after


def _fields(body: bytes) -> list[tuple[int, int, int]]:
    """Where fields begin, where their contents do, and where they end; of those with a length."""
    found, at = [], 0
    while at < len(body):
        start, kind = at, body[at] & 7
        at += 1
        if kind == 2:
            length = shift = 0
            while at < len(body):
                length |= (body[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if body[at - 1] < 0x80:
                    break
            found.append((start, at, min(at + length, len(body))))
            at += length
        elif kind == 0:
            while at < len(body) and body[at] >= 0x80:
                at += 1
            at += 1
        else:
            at += {1: 8, 5: 4}.get(kind, 1)
    return found


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def another_table(_body: bytes, rng: random.Random, _others: Sequence[bytes]) -> bytes:
    """Take a stream of Arrow with columns of strange types."""
    return strange_stream(rng)
