"""Formats that are not Driftline's own: each message becomes native events, which are then read as those are.

A message is read as a whole or not at all: if one of the events in it cannot be read, all of it becomes a
dead letter, so that it can be replayed without counting anything twice.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.decode.envelope import Envelopes, LabelEnvelopes
from monitor.decode.flat import row_id
from monitor.decode.formats.flat import Flat
from monitor.decode.halves import LONGEST_HALF, Half, Pair
from monitor.decode.json import Json
from monitor.decode.message import About, Event, Message
from monitor.decode.reading import AnyFormat, Format, Kind, Paired, Reading, Wrapping
from monitor.decode.records import InColumns, envelopes_of, joined, messages_of
from schemas.errors import EventError

logger = logging.getLogger(__name__)

Parts = TypeVar("Parts", Envelopes, LabelEnvelopes)

_DEEPEST = 3  # formats inside each other
_MOST_EVENTS = 100_000  # of one message
_LONGEST_SCOPE = 1_024
_NO_JSON = (b"\x00", b"\x01", b"\xff", b"ARROW1")  # as messages of formats begin that are read in columns
_UNFORESEEN = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)


class Translated:
    """Decoder that finds out, or is told, in which of some formats a message is.

    Parameters
    ----------
    formats : sequence of Format, Paired or Wrapping
        In the order in which they are asked whether a message is theirs.
    reading : Reading
    in_columns : bool
        Whether simple messages may be read many at a time; what comes out is the same.
    """

    def __init__(self, formats: Sequence[AnyFormat], reading: Reading, *, in_columns: bool = True) -> None:
        self._formats, self._reading = tuple(formats), reading
        self._json = Json()
        self._is_columnar = in_columns and any(isinstance(one, InColumns) for one in self._formats)

    def decode(self, values: Sequence[bytes], about: About | None = None) -> Envelopes:
        """Read messages with predictions; see `monitor.decode.envelope.Decoder`."""
        parts = self._in_columns(values, about) if self._is_columnar else []
        written = self._written(values, about, "predictions", messages_of(parts))
        found = _whole(self._json.decode(written.natives), written.row, written.problems)
        found = replace(found, halves=written.halves) if written.halves else found
        return joined([found, *parts]) if parts else found

    def decode_labels(self, values: Sequence[bytes], about: About | None = None) -> LabelEnvelopes:
        """Read messages with labels; see `monitor.decode.envelope.Decoder`."""
        written = self._written(values, about, "labels")
        return _whole(self._json.decode_labels(written.natives), written.row, written.problems)

    def decode_pairs(self, pairs: Sequence[Pair]) -> Envelopes:
        """Read requests with their responses; rows are those of `pairs`."""
        written = _Written()
        for at, pair in enumerate(pairs):
            try:
                written.add(at, self.join(pair))
            except (EventError, *_UNFORESEEN) as error:
                written.refuse(at, error)
        return _whole(self._json.decode(written.natives), written.row, written.problems)

    def read(self, message: Message, kind: Kind) -> tuple[str, list[Event] | Half]:
        """Tell what one message is.

        Returns
        -------
        str
            Names of the format, from the outside to the inside: ``cloudevents/json``.
        list of dict, or Half
            Native events; or, of a request or a response alone, which it is.

        Raises
        ------
        EventError
            If it cannot be read.
        """
        path, found = self._translated(message, kind, self._formats, ())
        if isinstance(found, Half):
            return "/".join(path), found
        return "/".join(path), self._completed(path, found, message)

    def translate(self, message: Message, kind: Kind) -> tuple[str, list[Event]]:
        """Turn one message into native events; see `read`.

        Raises
        ------
        EventError
            If it cannot be read, or is a request or a response alone.
        """
        path, found = self.read(message, kind)
        if isinstance(found, Half):
            msg = f"{path}: a {found.side} alone; its {found.other} is a message of its own"
            raise EventError(msg)
        return path, found

    def join(self, pair: Pair) -> list[Event]:
        """Turn a request and its response into native events.

        Raises
        ------
        EventError
            If they cannot be read.
        """
        if _kind(pair.format) is not Paired:
            msg = f"{pair.format}: not a format of requests and responses"
            raise EventError(msg)
        try:
            joined = cast("Paired", _named(pair.format)).joined
            events = joined(pair.request, pair.response, self._reading)
        except _UNFORESEEN as error:
            raise _not_in(pair.format, error) from error
        return self._completed((pair.format,), events, pair.request)

    def _completed(self, path: Sequence[str], events: list[Event], message: Message) -> list[Event]:
        if not events:
            msg = f"{'/'.join(path)}: there is no event in it"
            raise EventError(msg)
        if len(events) > _MOST_EVENTS:
            msg = f"{len(events)} events in one message (at most {_MOST_EVENTS} are allowed)"
            raise EventError(msg)
        return [self._complete(event, message) for event in events]

    def _translated(
        self, message: Message, kind: Kind, formats: Sequence[AnyFormat], above: tuple[str, ...]
    ) -> tuple[tuple[str, ...], list[Event] | Half]:
        found = formats[0] if len(formats) == 1 else self._matching(formats, message)
        path = (*above, found.name)
        try:
            if _kind(found.name) is Format:
                return path, cast("Format", found).events(message, self._reading, kind)
            if _kind(found.name) is Paired:
                return path, _half(cast("Paired", found), message, kind, path)
            if len(above) >= _DEEPEST:
                msg = f"{'/'.join(path)}: nested too deeply"
                raise EventError(msg)
            events: list[Event] = []
            inside = path
            for inner, known in cast("Wrapping", found).unwrap(message, self._reading):
                inside, its = self._translated(inner, kind, _auto(), path)
                if isinstance(its, Half):
                    msg = f"{'/'.join(inside)}: a {its.side} alone, inside of another message"
                    raise EventError(msg)
                events += [{**_of_row(known, at, len(its)), **event} for at, event in enumerate(its)]
        except _UNFORESEEN as error:
            raise _not_in("/".join(path), error) from error
        return inside, events

    def _matching(self, formats: Iterable[AnyFormat], message: Message) -> AnyFormat:
        for known in formats:
            if known.matches(message):
                return known
        document = message.document  # says why it is no JSON, if it is none
        if self._reading.fields and isinstance(document, dict):
            flat: Format = Flat()
            return flat
        what = type(document).__name__
        if isinstance(document, dict):
            what = f"an object with {', '.join(sorted(map(str, document))[:8]) or 'nothing'}"
        msg = f"auto: the message is in no known format ({what})"
        raise EventError(msg)

    def _complete(self, event: Event, message: Message) -> Event:
        """Add what the stream and Kafka know."""
        known: Event = {"timestamp": message.timestamp_ms}
        if self._reading.model:
            known["model"] = self._reading.model
        if self._reading.version:
            known["version"] = self._reading.version
        return {**known, **{name: value for name, value in event.items() if value is not None}}

    def _in_columns(self, values: Sequence[bytes], about: About | None) -> list[Envelopes]:
        """Read the messages that are simple enough to be read many at a time."""
        stamp_ms = np.zeros(len(values), np.int64)
        messages: defaultdict[AnyFormat, dict[int, Message]] = defaultdict(dict)
        for at, value in enumerate(values):
            if len(self._formats) > 1 and not value.startswith(_NO_JSON):
                continue
            message = Message(value) if about is None else about(at)
            try:
                found = (
                    self._formats[0] if len(self._formats) == 1 else self._matching(self._formats, message)
                )
            except EventError:
                continue  # said of the message when it is read on its own
            messages[found][at] = message
            stamp_ms[at] = message.timestamp_ms
        parts: list[Envelopes] = []
        for one, its in messages.items():
            if not isinstance(one, InColumns):
                continue
            try:
                made = [
                    envelopes_of(records, self._reading, stamp_ms)
                    for records in one.records(its, self._reading)
                ]
            except (pa.ArrowException, *_UNFORESEEN) as error:
                # Read one by one, they become dead letters at worst.
                logger.warning("%s: messages are not read together: %s", one.name, type(error).__name__)
                continue
            parts += [envelopes for envelopes in made if envelopes is not None and len(envelopes)]
        return parts

    def _written(
        self, values: Sequence[bytes], about: About | None, kind: Kind, taken: Collection[int] = ()
    ) -> _Written:
        """Write every message that is not taken yet as native events, as far as it can be read."""
        written = _Written()
        for at, value in enumerate(values):
            if at in taken:
                continue
            message = Message(value) if about is None else about(at)
            try:
                _, found = self.read(message, kind)
                if isinstance(found, Half):
                    written.halves.append((at, found))
                else:
                    written.add(at, found)
            except (EventError, *_UNFORESEEN) as error:
                written.refuse(at, error)
        return written


@dataclass
class _Written:
    """Events as native messages, the message that each is of, why others cannot be read, and halves."""

    natives: list[bytes] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    halves: list[tuple[int, Half]] = field(default_factory=list)

    def add(self, at: int, events: Sequence[Event]) -> None:
        """Add the events of a message."""
        encoded = [msgspec.json.encode(event) for event in events]
        self.natives += encoded
        self.row += [at] * len(encoded)

    def refuse(self, at: int, error: Exception) -> None:
        """Say why a message cannot be read."""
        self.problems.append((at, str(error)[:300]))


@cache
def _kind(name: str) -> type:
    """What kind a format is; to ask a protocol takes as long as to read a message."""
    one = _named(name)
    return next((kind for kind in (Format, Paired) if isinstance(one, kind)), Wrapping)


@cache
def _named(name: str) -> AnyFormat | None:
    return next((one for one in _auto() if one.name == name), None)


def _half(found: Paired, message: Message, kind: Kind, path: Sequence[str]) -> Half:
    if kind == "labels":
        msg = f"{'/'.join(path)}: requests and responses say nothing of labels"
        raise EventError(msg)
    if len(message.value) > LONGEST_HALF:
        msg = f"{'/'.join(path)}: {len(message.value)} bytes (at most {LONGEST_HALF} of a half are kept)"
        raise EventError(msg)
    half = found.half(message)
    if "\0" in half.key or len(half.scope) > _LONGEST_SCOPE:
        msg = f"{'/'.join(path)}: a NUL character, or a name of more than {_LONGEST_SCOPE} characters"
        raise EventError(msg)
    return half


def _not_in(path: str, error: Exception) -> EventError:
    return EventError(f"{path}: not in this format ({type(error).__name__}: {str(error)[:200]})")


def _auto() -> tuple[AnyFormat, ...]:
    from monitor.decode.catalog import every  # the catalog imports this module

    return every()


def _of_row(known: Event, at: int, rows: int) -> Event:
    """What is known of the events of a message, for one of them: ids tell them apart."""
    if rows == 1 or known.get("event_id") is None:
        return known
    return {**known, "event_id": row_id(known["event_id"], at, rows)}


def _whole(found: Parts, row: Sequence[int], problems: list[tuple[int, str]]) -> Parts:
    """Count messages instead of events, and leave out those of which an event cannot be read."""
    of = np.array(row, np.int64)
    wrong = of[np.array([at for at, _ in found.problems], np.int64)]
    first, behind = np.searchsorted(of, wrong).tolist(), np.searchsorted(of, wrong, "right").tolist()
    broken: dict[int, str] = {}
    for (at, reason), begin, end in zip(found.problems, first, behind, strict=True):
        which = f"event {at - begin}: " if end - begin > 1 else ""
        broken.setdefault(row[at], f"{which}{reason}")
    keep = np.flatnonzero(~np.isin(of[found.row], list(broken)))
    changed: dict[str, Any] = {"row": of[found.row][keep], "problems": sorted([*problems, *broken.items()])}
    if len(keep) < len(found):
        changed |= {name: _picked(getattr(found, name), keep) for name in _columns(found)}
    return type(found)(**{**{name: getattr(found, name) for name in found.__dataclass_fields__}, **changed})


def _columns(found: Envelopes | LabelEnvelopes) -> list[str]:
    return [name for name in found.__dataclass_fields__ if name not in ("row", "problems", "halves")]


def _picked(column: Any, keep: NDArray[np.intp]) -> Any:
    return column[keep] if isinstance(column, np.ndarray) else [column[at] for at in keep.tolist()]
