"""Events as messages: decoded as the service decodes them, with features as they were sent."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import is_
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from detectors.mismatch import Values
from monitor.decode.catalog import build
from monitor.decode.envelope import Envelopes
from monitor.decode.feature_block import Cells
from monitor.decode.features import LONGEST_NUMBER
from monitor.decode.halves import Half, Pair
from monitor.decode.message import About, Message
from monitor.decode.reading import Reading
from monitor.decode.translated import Translated
from monitor.frames.names import EVENT_ID, TAG_PREFIX, TIMESTAMP
from monitor.skew.batch import NO_TIME, Batch, Wanted
from monitor.skew.columns import Objects, of_objects, text_of_objects
from monitor.skew.keys import joined
from schemas.column import feature_name

MOST_WAITING, MOST_WAITING_BYTES = 50_000, 256 << 20
"""Requests and responses that came alone and are kept until the other comes."""


@dataclass(frozen=True)
class Fetch:
    """Some messages.

    Parameters
    ----------
    values : sequence of bytes
    about : callable
        Returns the message of a row with its headers.
    """

    values: Sequence[bytes]
    about: About


class EventReader:
    """Reads the events of a model out of messages of one stream.

    Parameters
    ----------
    format_ : str
    reading : Reading
    wanted : Wanted

    Attributes
    ----------
    unreadable : int
        Messages that are no events.
    problem : str or None
        Why the first of them is none.
    """

    def __init__(self, format_: str, reading: Reading, wanted: Wanted) -> None:
        self._decoder = build(format_, reading)
        self._wanted = wanted
        self._halves: OrderedDict[tuple[str, str], Message] = OrderedDict()
        self._waiting_bytes = self._given_up = 0
        self.unreadable = 0
        self.problem: str | None = None

    def read(self, fetches: Iterable[Fetch]) -> Iterator[Batch]:
        """Read messages.

        Raises
        ------
        Unavailable
            If a schema registry that they need is away.
        """
        for fetch in fetches:
            envelopes = self._decoder.decode(fetch.values, fetch.about)
            yield from self._batches(envelopes)
            pairs = self._pairs(envelopes.halves, fetch.about)
            if pairs and isinstance(self._decoder, Translated):
                yield from self._batches(self._decoder.decode_pairs(pairs))

    @property
    def unpaired(self) -> int:
        """Requests and responses whose other half has not come."""
        return len(self._halves) + self._given_up

    def _batches(self, envelopes: Envelopes) -> Iterator[Batch]:
        self.unreadable += len(envelopes.problems)
        if envelopes.problems and self.problem is None:
            self.problem = envelopes.problems[0][1]
        mine = np.ones(len(envelopes), bool)
        for there, value in (
            (envelopes.model, self._wanted.model),
            (envelopes.version, self._wanted.version),
        ):
            if value is not None:
                mine &= np.fromiter(there, object, len(mine)) == value
        rows = np.flatnonzero(mine)
        if len(rows):
            yield batch_of(envelopes, rows, self._wanted)

    def _pairs(self, halves: Sequence[tuple[int, Half]], about: About) -> list[Pair]:
        """Put requests and responses together; the oldest that wait are given up when they are too many."""
        pairs: list[Pair] = []
        for row, half in halves:
            message = about(row)
            other = self._halves.pop((half.digest, half.other), None)
            if other is None:
                sent_before = self._halves.get((half.digest, half.side), message)
                self._waiting_bytes += 0 if sent_before is not message else len(message.value)
                self._halves[half.digest, half.side] = sent_before
            else:
                self._waiting_bytes -= len(other.value)
                both = (message, other) if half.side == "request" else (other, message)
                pairs.append(Pair(half.format, *both))
        while len(self._halves) > MOST_WAITING or self._waiting_bytes > MOST_WAITING_BYTES:
            _, oldest = self._halves.popitem(last=False)
            self._waiting_bytes -= len(oldest.value)
            self._given_up += 1
        return pairs


def batch_of(envelopes: Envelopes, rows: NDArray[np.int64], wanted: Wanted) -> Batch:
    """Make a batch of some events.

    Parameters
    ----------
    envelopes : Envelopes
    rows : int64 array [n]
    wanted : Wanted
    """
    read = _Features(envelopes, rows, frozenset(wanted.key))
    times = envelopes.event_ms[rows]
    parts = [_part(envelopes, rows, name, read) for name in wanted.key]
    # Files do not say when a message was sent, so an event that tells no time itself has none.
    return Batch(joined(parts), np.where(times == 0, NO_TIME, times), read.values)


class _Features:
    """Features of some events; decoded when they are needed, all at once."""

    def __init__(self, envelopes: Envelopes, rows: NDArray[np.int64], key: frozenset[str]) -> None:
        self._features, self._rows, self._key = envelopes.features, rows, key

    def values(self, chosen: NDArray[np.int64]) -> dict[str, Values]:
        """Values of the columns that make no key, by their names."""
        columns = self.columns(chosen)
        return {name: of_objects(found) for name, found in columns.items() if name not in self._key}

    def columns(self, chosen: NDArray[np.int64] | None = None) -> dict[str, Objects]:
        """Objects of all columns, by their names."""
        rows = self._rows if chosen is None else self._rows[chosen]
        return _columns(_objects(self._features, rows))


def _part(envelopes: Envelopes, rows: NDArray[np.int64], name: str, features: _Features) -> pa.Array:
    """Texts of a part of the key."""
    if name == EVENT_ID:
        return pa.array(list(envelopes.event_id), pa.string()).take(pa.array(rows))
    if name == TIMESTAMP:
        return pa.array(envelopes.event_ms[rows]).cast(pa.string())
    if name.startswith(TAG_PREFIX):
        tags = np.fromiter(envelopes.tags, object, len(envelopes))[rows]
        columns = _columns([{} if tag is None else tag for tag in tags.tolist()])
        found = columns.get(name.removeprefix(TAG_PREFIX))
    else:
        found = features.columns().get(name)
    return pa.nulls(len(rows), pa.string()) if found is None else text_of_objects(found)


def _objects(features: Sequence[Any], rows: NDArray[np.int64]) -> list[Any]:
    """Features of some events as Python objects, read together."""
    raws = _raws(features, rows)
    try:
        return list(msgspec.json.decode(b"[" + b",".join(raws) + b"]"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return list(map(_alone, raws))


def _raws(features: Sequence[Any], rows: NDArray[np.int64]) -> list[bytes]:
    """Features as JSON."""
    if isinstance(features, Cells):
        return features.block.raws(features.rows[rows])
    chosen = [features[row] for row in rows.tolist()]
    return [one[0].raws(np.array([one[1]]))[0] if isinstance(one, tuple) else bytes(one) for one in chosen]


def _alone(raw: bytes) -> Any:
    """Read features with numbers beyond the largest float; these are infinite."""
    return json.loads(raw, parse_int=_whole)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < LONGEST_NUMBER else float(digits)


def _columns(objects: Sequence[Any]) -> dict[str, Objects]:
    """Turn JSON objects into columns of objects, by the names that features have."""
    found: dict[str, Objects] = {}
    _flatten(objects, (), np.arange(len(objects)), len(objects), found)
    return found


def _flatten(
    objects: Sequence[Any],
    path: tuple[str, ...],
    rows: NDArray[np.int64],
    n: int,
    found: dict[str, Objects],
) -> None:
    """Add columns of the objects in some of n rows, and of the objects inside of them."""
    table = pd.DataFrame(objects, dtype=object)
    for at, name in enumerate(map(str, table.columns)):
        values = table.iloc[:, at].to_numpy(object)
        is_object = _is_object(values)
        inner = np.flatnonzero(is_object)
        if len(inner):
            _flatten(values[inner].tolist(), (*path, name), rows[inner], n, found)
        if len(inner) < len(values):
            column = found.setdefault(feature_name((*path, name)), np.full(n, None, object))
            column[rows[~is_object]] = values[~is_object]


def _is_object(values: Objects) -> NDArray[np.bool_]:
    return np.fromiter(map(partial(is_, dict), map(type, values)), bool, len(values))
