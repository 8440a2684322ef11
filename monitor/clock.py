"""Where time comes from: the machine's clocks in production, a hand-turned clock in tests."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the service asks of time; passed in, never read from a global."""

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed instant; never goes back, for measuring spans and deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for that many seconds; returns at once for zero or less."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some fixed instant."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for that many seconds."""
        if seconds > 0:
            time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to; `sleep` moves it instead of waiting.

    Parameters
    ----------
    start_ms : int
        First value of the wall clock, epoch milliseconds. Default: 2026-01-01T00:00:00Z.

    Examples
    --------
    >>> clock = ManualClock(1_000)
    >>> clock.sleep(2.5)
    >>> clock.now_ms(), clock.monotonic()
    (3500, 2.5)
    >>> clock.set_wall(0)
    >>> clock.now_ms(), clock.monotonic()
    (0, 2.5)
    """

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._wall_offset_ms = start_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds, UTC."""
        return self._wall_offset_ms + self._elapsed_ms

    def monotonic(self) -> float:
        """Seconds by which the clock was moved so far."""
        return self._elapsed_ms / 1_000

    def sleep(self, seconds: float) -> None:
        """Move both clocks on by that many seconds."""
        self.advance(round(max(0.0, seconds) * 1_000))

    def advance(self, span_ms: int) -> None:
        """Move both clocks on.

        Parameters
        ----------
        span_ms : int
            Milliseconds, zero or more.

        Raises
        ------
        ValueError
            If the span is negative: use `set_wall` for a wall clock that is turned back.
        """
        if span_ms < 0:
            msg = f"cannot advance by {span_ms} ms (use set_wall to turn the wall clock back)"
            raise ValueError(msg)
        self._elapsed_ms += span_ms

    def set_wall(self, now_ms: int) -> None:
        """Turn the wall clock to an instant, as NTP would; the monotonic clock does not notice."""
        self._wall_offset_ms = now_ms - self._elapsed_ms
