"""How event times of replayed letters are judged: by when their messages arrived in Kafka."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from monitor.partitions import EventTimes

Times = NDArray[np.int64]


class ArrivalTimes(EventTimes):
    """Event times of the owned partitions, seen from the arrival of a letter's message.

    Parameters
    ----------
    times : EventTimes
        Of the messages that are fetched.

    Attributes
    ----------
    arrived_ms : int
        Timestamp of the record of the letter that is being taken; 0 or less: not known, so nothing is late.

    Notes
    -----
    A message that could not be read came in time all the same: what came after it does not make it late. Its
    events are late only if they were further back than the horizon when they arrived, and are so still. They
    move the newest event time at most to their arrival, so that they make nothing else late that is not.
    """

    def __init__(self, times: EventTimes) -> None:
        self._of_fetched = times
        self.arrived_ms = 0

    def index_of(self, models: Iterable[str]) -> Times:
        """Column of each model."""
        return self._of_fetched.index_of(models)

    def late(
        self, slot: Times, model: Times, event_ms: Times, horizon_ms: Times, now_ms: int
    ) -> NDArray[np.bool_]:
        """Say which events were too late, and take in the others."""
        newest = np.minimum(self._of_fetched.newest[slot, model], self.arrived_ms)
        late = (event_ms < newest - horizon_ms) & (self.arrived_ms > 0)
        self.note(slot, model, event_ms, now_ms)
        return np.asarray(late)

    def behind(self, slot: Times, model: Times, event_ms: Times, lateness_ms: Times) -> NDArray[np.bool_]:
        """Say of none that it came out of order: what had come before a letter is not known any more."""
        return np.zeros(len(slot), bool)

    def known(self, event_ms: Times) -> Times:
        """Event times, none of them later than the arrival."""
        return np.minimum(event_ms, self.arrived_ms) if self.arrived_ms > 0 else event_ms

    def note(self, slot: Times, model: Times, event_ms: Times, now_ms: int) -> None:
        """Take in events that are newer than all that was fetched of their model."""
        known_ms = self.known(event_ms)
        newer = np.flatnonzero(known_ms > self._of_fetched.newest[slot, model])
        if len(newer):
            self._of_fetched.note(slot[newer], model[newer], known_ms[newer], now_ms)
