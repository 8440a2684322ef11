"""What is sent when: prediction and label events in the order of event time, faults included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from math import isnan
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.demo import faults, model
from monitor.demo.flights import UNKNOWN, Flights

PREDICTIONS, LABELS = "flights.predictions", "flights.labels"
BLOCK = 1_000

_encode = msgspec.json.Encoder().encode


class Kind(IntEnum):
    """What is sent; at the same instant in this order."""

    PREDICTION = 0
    REPEATED = 1
    LABEL = 2
    MALFORMED = 3


@dataclass(frozen=True)
class Message:
    """One message; `at_ms` is the event time at which it is sent."""

    at_ms: int
    kind: Kind
    key: str
    value: bytes

    @property
    def topic(self) -> str:
        """Where it is sent."""
        return LABELS if self.kind is Kind.LABEL else PREDICTIONS


class Script:
    """Everything that the demo sends.

    Parameters
    ----------
    flights : Flights
        As they really were, in the order of departure.
    scorer : DelayModel
        Scores what the faults have left of the features.
    until_ms : int
        Flights scheduled later, and what would be sent later, are left out.
    planted : tuple of Fault

    Notes
    -----
    The order is worked out once, on columns; messages are written block by block while they are sent.
    """

    def __init__(
        self,
        flights: Flights,
        scorer: model.DelayModel,
        until_ms: int,
        planted: tuple[faults.Fault, ...] = faults.FAULTS,
    ) -> None:
        flights = flights.taken(flights.event_ms < until_ms)
        self._booked = flights.named["carrier"]
        self._flights = faults.with_faulty_features(flights, planted)
        self._scores = scorer.score(self._flights)
        self._labels = faults.told_labels(flights, planted)
        self._unreadable = faults.malformed_at(planted)
        sent_ms = faults.sent_ms(flights, planted)
        again = faults.repeated(flights, planted)
        told = np.flatnonzero(self._labels != UNKNOWN)
        parts = (
            (Kind.PREDICTION, np.arange(len(flights)), sent_ms),
            (Kind.REPEATED, again, sent_ms[again] + faults.DAY_MS),
            (Kind.LABEL, told, flights.landed_ms[told]),
            (Kind.MALFORMED, np.arange(len(self._unreadable)), np.array([at for at, _ in self._unreadable])),
        )
        at_ms = np.concatenate([times for _, _, times in parts])
        kinds = np.concatenate([np.full(len(rows), kind) for kind, rows, _ in parts])
        order = np.lexsort((kinds, at_ms))
        order = order[at_ms[order] < until_ms]
        self._at_ms, self._kinds = at_ms[order], kinds[order]
        self._rows: NDArray[np.intp] = np.concatenate([rows for _, rows, _ in parts])[order]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def span_ms(self) -> tuple[int, int]:
        """Event time of the first and the last message."""
        return int(self._at_ms[0]), int(self._at_ms[-1])

    def count(self, kind: Kind) -> int:
        """Number of messages of a kind."""
        return int((self._kinds == kind).sum())

    def blocks(self) -> Iterator[list[Message]]:
        """Write the messages, a thousand at a time."""
        for start in range(0, len(self), BLOCK):
            yield self._block(slice(start, start + BLOCK))

    def _block(self, span: slice) -> list[Message]:
        kinds, rows = self._kinds[span], self._rows[span]
        result: list[Message | None] = [None] * len(rows)
        for wanted, write in ((Kind.PREDICTION, self._predictions), (Kind.LABEL, self._told)):
            at = np.flatnonzero((kinds == wanted) | ((kinds == Kind.REPEATED) & (wanted is Kind.PREDICTION)))
            for place, kind, at_ms, (key, value) in zip(
                at.tolist(), kinds[at].tolist(), self._at_ms[span][at].tolist(), write(rows[at]), strict=True
            ):
                result[place] = Message(at_ms, Kind(kind), key, value)
        for place in np.flatnonzero(kinds == Kind.MALFORMED).tolist():
            at_ms, value = self._unreadable[rows[place]]
            result[place] = Message(at_ms, Kind.MALFORMED, f"malformed-{rows[place]}", value)
        return [message for message in result if message is not None]

    def _predictions(self, rows: NDArray[np.intp]) -> list[tuple[str, bytes]]:
        flights, scores = self._flights.taken(rows), self._scores[rows]
        columns = [_json_numbers(flights.numeric[name]) for name in model.NUMERIC]
        columns += [flights.named[name].texts() for name in model.NAMED]  # None where the code is missing
        names = (*model.NUMERIC, *model.NAMED)
        ids = flights.event_ids(self._booked.taken(rows))
        said = zip(ids, flights.event_ms.tolist(), scores.tolist(), zip(*columns, strict=True), strict=True)
        return [
            (id_, _encode(_prediction(id_, event_ms, score, dict(zip(names, values, strict=True)))))
            for id_, event_ms, score, values in said
        ]

    def _told(self, rows: NDArray[np.intp]) -> list[tuple[str, bytes]]:
        flights = self._flights.taken(rows)
        ids = flights.event_ids(self._booked.taken(rows))
        said = zip(ids, flights.landed_ms.tolist(), self._labels[rows].tolist(), strict=True)
        return [
            (id_, _encode({"event_id": id_, "model": model.NAME, "timestamp": landed_ms, "label": label}))
            for id_, landed_ms, label in said
        ]


def _json_numbers(values: NDArray[np.float64]) -> list[Any]:
    """Plain numbers, and None for what JSON has no number for."""
    return [None if isnan(value) else value for value in values.tolist()]


def _prediction(id_: str, event_ms: int, score: float, features: dict[str, object]) -> dict[str, object]:
    return {
        "event_id": id_,
        "model": model.NAME,
        "version": model.VERSION,
        "timestamp": event_ms,
        "features": features,
        "prediction": int(score >= model.THRESHOLD),
        "score": round(score, 4),
    }
