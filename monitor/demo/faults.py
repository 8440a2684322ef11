"""The faults that the demo plants, all in one table, and what each does to the flights.

Real flights drift by themselves; these are the things that break. Days are UTC, as Driftline's windows are.
The early ones lie in March, when nothing else has changed yet, so that each can be told from the seasons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from monitor.demo.flights import UNKNOWN, Flights, Names

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
Mask = NDArray[np.bool_]


class Effect(Enum):
    """What a fault does."""

    REPEATED = "every event of the day is sent again when the day is over"
    MISSING = "the code arrives as null"
    CELSIUS = "temperatures arrive in °C instead of °F"
    HELD_BACK = "predictions arrive five days after their flights"
    FLIPPED = "labels say the opposite"
    MALFORMED = "messages that nobody can read are mixed in"


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Parameters
    ----------
    name : str
        Short name, for people.
    effect : Effect
    from_day, to_day : str
        First day, and first day after it, as YYYY-MM-DD in UTC.
    column : str
        Feature whose values say which flights are meant; empty for all flights.
    value : str
        That value.
    """

    name: str
    effect: Effect
    from_day: str
    to_day: str
    column: str = ""
    value: str = ""

    @property
    def from_ms(self) -> int:
        """First instant, epoch milliseconds."""
        return day_ms(self.from_day)

    @property
    def to_ms(self) -> int:
        """First instant after it, epoch milliseconds."""
        return day_ms(self.to_day)

    @property
    def days(self) -> str:
        """First and last day, for people.

        Examples
        --------
        >>> FAULTS[1].days, FAULTS[3].days
        ('3 Mar', '11 – 13 Mar')
        """
        first = datetime.fromtimestamp(self.from_ms / 1_000, UTC)
        last = datetime.fromtimestamp((self.to_ms - DAY_MS) / 1_000, UTC)
        end = f"{last.day} {last:%b}"
        return end if first == last else f"{first.day} – {end}"

    def meant(self, flights: Flights) -> Mask:
        """Which flights it is about."""
        mask = (flights.event_ms >= self.from_ms) & (flights.event_ms < self.to_ms)
        if self.column:
            names = flights.named[self.column]
            mask &= names.codes == names.names.index(self.value)
        return mask


FAULTS = (
    Fault("malformed messages", Effect.MALFORMED, "2013-03-03", "2013-03-08"),
    Fault("Kennedy held back", Effect.HELD_BACK, "2013-03-03", "2013-03-04", "origin", "JFK"),
    Fault("a day sent twice", Effect.REPEATED, "2013-03-06", "2013-03-07"),
    Fault("JetBlue without its code", Effect.MISSING, "2013-03-11", "2013-03-14", "carrier", "B6"),
    Fault("Newark's labels flipped", Effect.FLIPPED, "2013-03-14", "2013-03-21", "origin", "EWR"),
    Fault("LaGuardia in Celsius", Effect.CELSIUS, "2013-03-24", "2013-03-31", "origin", "LGA"),
)
HELD_BACK_MS = 5 * DAY_MS
# What a careless producer sends; each kind comes once on every day of the fault.
MALFORMED = (
    b'{"event_id": "cut-off", "model": "flight-delay", "timesta',
    b'{"event_id": "x", "model": "flight-delay", "timestamp": "tomorrow", "features": {}, "prediction": 0}',
    b'{"model": "flight-delay", "timestamp": "2013-03-03T12:00:00Z", "features": {}, "prediction": 0}',
    b'{"event_id": "x", "model": "flight-delay", "timestamp": 1362312000000, "features": 7, "prediction": 1}',
    b'{"event_id": "caf\xe9", "model": "flight-delay", "timestamp": "2013-03-03T12:00:00Z", "prediction": 1}',
    b'["event_id", "model", "timestamp"]',
    b"",
)


def day_ms(day: str) -> int:
    """Midnight UTC, epoch milliseconds.

    Examples
    --------
    >>> day_ms("2013-03-01")
    1362096000000
    """
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000)


def with_faulty_features(flights: Flights, faults: tuple[Fault, ...] = FAULTS) -> Flights:
    """Change the features as the faults do; the model then scores what it is given."""
    numeric, named = dict(flights.numeric), dict(flights.named)
    for fault in faults:
        mask = fault.meant(flights)
        if fault.effect is Effect.CELSIUS:
            numeric["temp"] = np.where(mask, ((numeric["temp"] - 32) * 5 / 9).round(2), numeric["temp"])
        elif fault.effect is Effect.MISSING:
            column = named[fault.column]
            named[fault.column] = Names(np.where(mask, UNKNOWN, column.codes), column.names)
    return replace(flights, numeric=numeric, named=named)


def sent_ms(flights: Flights, faults: tuple[Fault, ...] = FAULTS) -> NDArray[np.int64]:
    """When each prediction is sent, in event time: at its flight's scheduled departure, unless held back."""
    result = flights.event_ms.copy()
    for fault in faults:
        if fault.effect is Effect.HELD_BACK:
            result[fault.meant(flights)] += HELD_BACK_MS
    return result


def repeated(flights: Flights, faults: tuple[Fault, ...] = FAULTS) -> NDArray[np.intp]:
    """Rows of the flights whose predictions are sent a second time, a day after the first."""
    masks = [fault.meant(flights) for fault in faults if fault.effect is Effect.REPEATED]
    return np.flatnonzero(np.any(masks, axis=0)) if masks else np.zeros(0, np.intp)


def told_labels(flights: Flights, faults: tuple[Fault, ...] = FAULTS) -> NDArray[np.int64]:
    """Labels as they are sent; -1 where there is none."""
    labels = flights.label.copy()
    for fault in faults:
        if fault.effect is Effect.FLIPPED:
            mask = fault.meant(flights) & (labels != UNKNOWN)
            labels[mask] = 1 - labels[mask]
    return labels


def malformed_at(faults: tuple[Fault, ...] = FAULTS) -> list[tuple[int, bytes]]:
    """Unreadable messages with the event time at which they are sent, spread over each day."""
    found = []
    for fault in faults:
        if fault.effect is Effect.MALFORMED:
            for midnight in range(fault.from_ms, fault.to_ms, DAY_MS):
                found += [
                    (midnight + (12 + number) * HOUR_MS, message) for number, message in enumerate(MALFORMED)
                ]
    return found
