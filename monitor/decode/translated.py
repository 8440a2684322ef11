"""Formats that are not Driftline's own: each message becomes native events, which are then read as those are.

A message is read as a whole or not at all: if one of the events in it cannot be read, all of it becomes a
dead letter, so that it can be replayed without counting anything twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.decode.envelope import Envelopes, LabelEnvelopes
from monitor.decode.flat import row_id
from monitor.decode.formats.flat import Flat
from monitor.decode.json import Json
from monitor.decode.message import About, Event, Message
from monitor.decode.reading import Format, Kind, Reading, Wrapping
from schemas.errors import EventError

Parts = TypeVar("Parts", Envelopes, LabelEnvelopes)

_DEEPEST = 3  # formats inside each other
_MOST_EVENTS = 100_000  # of one message
_UNFORESEEN = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)


class Translated:
    """Decoder that finds out, or is told, in which of some formats a message is.

    Parameters
    ----------
    formats : sequence of Format or Wrapping
        In the order in which they are asked whether a message is theirs.
    reading : Reading
    """

    def __init__(self, formats: Sequence[Format | Wrapping], reading: Reading) -> None:
        self._formats, self._reading = tuple(formats), reading
        self._json = Json()

    def decode(self, values: Sequence[bytes], about: About | None = None) -> Envelopes:
        """Read messages with predictions; see `monitor.decode.envelope.Decoder`."""
        natives, row, problems = self._natives(values, about, "predictions")
        return _whole(self._json.decode(natives), row, problems)

    def decode_labels(self, values: Sequence[bytes], about: About | None = None) -> LabelEnvelopes:
        """Read messages with labels; see `monitor.decode.envelope.Decoder`."""
        natives, row, problems = self._natives(values, about, "labels")
        return _whole(self._json.decode_labels(natives), row, problems)

    def translate(self, message: Message, kind: Kind) -> tuple[str, list[Event]]:
        """Turn one message into native events.

        Returns
        -------
        str
            Names of the format, from the outside to the inside: ``cloudevents/json``.
        list of dict

        Raises
        ------
        EventError
            If it cannot be read.
        """
        path, events = self._translated(message, kind, self._formats, ())
        if not events:
            msg = f"{'/'.join(path)}: there is no event in it"
            raise EventError(msg)
        if len(events) > _MOST_EVENTS:
            msg = f"{len(events)} events in one message (at most {_MOST_EVENTS} are allowed)"
            raise EventError(msg)
        return "/".join(path), [self._complete(event, message) for event in events]

    def _translated(
        self, message: Message, kind: Kind, formats: Sequence[Format | Wrapping], above: tuple[str, ...]
    ) -> tuple[tuple[str, ...], list[Event]]:
        found = formats[0] if len(formats) == 1 else self._matching(formats, message)
        path = (*above, found.name)
        try:
            if isinstance(found, Format):
                return path, found.events(message, self._reading, kind)
            if len(above) >= _DEEPEST:
                msg = f"{'/'.join(path)}: nested too deeply"
                raise EventError(msg)
            events: list[Event] = []
            inside = path
            for inner, known in found.unwrap(message, self._reading):
                inside, its = self._translated(inner, kind, _auto(), path)
                events += [{**_of_row(known, at, len(its)), **event} for at, event in enumerate(its)]
        except _UNFORESEEN as error:
            msg = f"{'/'.join(path)}: not in this format ({type(error).__name__}: {str(error)[:200]})"
            raise EventError(msg) from error
        return inside, events

    def _matching(self, formats: Iterable[Format | Wrapping], message: Message) -> Format | Wrapping:
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

    def _natives(
        self, values: Sequence[bytes], about: About | None, kind: Kind
    ) -> tuple[list[bytes], list[int], list[tuple[int, str]]]:
        """Events as native messages, the message that each is of, and why others cannot be read."""
        natives: list[bytes] = []
        row: list[int] = []
        problems: list[tuple[int, str]] = []
        for at, value in enumerate(values):
            message = Message(value) if about is None else about(at)
            try:
                _, events = self.translate(message, kind)
                encoded = [msgspec.json.encode(event) for event in events]
            except (EventError, *_UNFORESEEN) as error:
                problems.append((at, str(error)[:300]))
                continue
            natives += encoded
            row += [at] * len(encoded)
        return natives, row, problems


def _auto() -> tuple[Format | Wrapping, ...]:
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
    several = {at for at in row if row.count(at) > 1} if found.problems else set()
    broken: dict[int, str] = {}
    for at, reason in found.problems:
        first = int(np.searchsorted(of, of[at]))
        which = f"event {at - first}: " if row[at] in several else ""
        broken.setdefault(row[at], f"{which}{reason}")
    keep = np.flatnonzero(~np.isin(of[found.row], list(broken)))
    changed: dict[str, Any] = {"row": of[found.row][keep], "problems": sorted([*problems, *broken.items()])}
    if len(keep) < len(found):
        changed |= {name: _picked(getattr(found, name), keep) for name in _columns(found)}
    return type(found)(**{**{name: getattr(found, name) for name in found.__dataclass_fields__}, **changed})


def _columns(found: Envelopes | LabelEnvelopes) -> list[str]:
    return [name for name in found.__dataclass_fields__ if name not in ("row", "problems")]


def _picked(column: Any, keep: NDArray[np.intp]) -> Any:
    return column[keep] if isinstance(column, np.ndarray) else [column[at] for at in keep.tolist()]
