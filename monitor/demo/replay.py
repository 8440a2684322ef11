"""Sends the script at the pace asked for, never further ahead of the readers than the broker can keep."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping

from monitor.clock import Clock
from monitor.demo.broker import EmbeddedBroker
from monitor.demo.faults import DAY_MS
from monitor.demo.script import Kind, Message, Script

# 306 days in a little less than two minutes.
DAYS_PER_S = 2.75
# Of one partition. At 420 bytes a message this is 3.4 MB before compression; the broker keeps 5 MiB after it.
MOST_UNREAD = 8_000
NAP_S = 0.02
CHECK_EVERY = 250

Positions = Mapping[tuple[str, int], int]


class Pace:
    """How fast event time goes by.

    Parameters
    ----------
    from_ms : int
        Event time at the start.
    days_per_s : float or None
        Days of event time a second; None for no limit.
    clock : Clock

    Examples
    --------
    >>> from monitor.clock import ManualClock
    >>> clock = ManualClock()
    >>> pace = Pace(0, 2.0, clock)
    >>> pace.wait_s(DAY_MS)
    0.5
    >>> clock.sleep(0.75)
    >>> pace.wait_s(DAY_MS)
    0.0
    """

    def __init__(self, from_ms: int, days_per_s: float | None, clock: Clock) -> None:
        self._from_ms, self._days_per_s, self._clock = from_ms, days_per_s, clock
        self._started = clock.monotonic()

    def wait_s(self, at_ms: int) -> float:
        """Seconds until an instant of event time is due; 0 if it is."""
        if self._days_per_s is None:
            return 0.0
        due_s = (at_ms - self._from_ms) / DAY_MS / self._days_per_s
        return max(0.0, due_s - (self._clock.monotonic() - self._started))


class Replay:
    """Sends a script in a thread of its own.

    Parameters
    ----------
    script : Script
    broker : EmbeddedBroker
    positions : callable
        Next offset of every partition that the service reads, as committed. Partitions that it does not read
        are missing; nothing waits for those.
    clock : Clock
    days_per_s : float or None
        Days of event time a second; None for as fast as the service reads.

    Attributes
    ----------
    at_ms : int
        Event time of the latest message.
    sent : Counter of Kind
        Messages sent so far.
    error : Exception or None
        Why it ended early.
    """

    def __init__(
        self,
        script: Script,
        broker: EmbeddedBroker,
        positions: Callable[[], Positions],
        clock: Clock,
        days_per_s: float | None,
    ) -> None:
        self._script, self._broker, self._positions, self._clock = script, broker, positions, clock
        self._days_per_s = days_per_s
        self._seen: Positions = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self.at_ms = script.span_ms[0]
        self.sent: Counter[Kind] = Counter()
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, now."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether there is more to send."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._send_all()
        except Exception as error:  # shown by whoever waits for the replay
            self.error = error

    def _send_all(self) -> None:
        pace = Pace(self.at_ms, self._days_per_s, self._clock)
        for block in self._script.blocks():
            for start in range(0, len(block), CHECK_EVERY):
                part = block[start : start + CHECK_EVERY]
                if not (self._wait(pace, part[-1].at_ms) and self._wait_for_readers()):
                    return
                self._send(part)
        self._broker.flush()

    def _send(self, part: list[Message]) -> None:
        for message in part:
            self._broker.send(message.topic, message.key, message.value)
            self.sent[message.kind] += 1
        self._broker.poll()
        self.at_ms = part[-1].at_ms

    def _wait(self, pace: Pace, at_ms: int) -> bool:
        """Wait until event time has come so far; returns whether to go on."""
        wait_s = pace.wait_s(at_ms)
        return not self._stop.wait(wait_s) if wait_s else not self._stop.is_set()

    def _wait_for_readers(self) -> bool:
        """Wait until every partition has room for more; returns whether to go on."""
        if self._most_unread(self._seen) <= MOST_UNREAD:
            return True
        while True:
            self._seen = self._positions()
            if self._most_unread(self._seen) <= MOST_UNREAD:
                return True
            if self._stop.wait(NAP_S):
                return False

    def _most_unread(self, positions: Positions) -> int:
        """Messages of the partition that is furthest behind, of those that are read."""
        sent = self._broker.sent
        return max((sent[place] - offset for place, offset in positions.items()), default=MOST_UNREAD + 1)
