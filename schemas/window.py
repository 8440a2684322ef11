"""Slices and windows of event time. All instants are epoch milliseconds, UTC."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.duration import format_duration, parse_duration


@dataclass(frozen=True, order=True)
class WindowSpec:
    """A shape of window: how long, and how often a new one begins.

    Parameters
    ----------
    length_ms : int
        Length of a window; a multiple of `every_ms`.
    every_ms : int
        Distance between the starts of two windows. Equal to the length for tumbling windows, smaller for
        sliding ones.

    Examples
    --------
    >>> spec = WindowSpec.parse("1h/15m")
    >>> spec.starts_covering(3_600_000)
    [900000, 1800000, 2700000, 3600000]
    >>> str(spec), str(WindowSpec.parse("1d"))
    ('1h/15m', '1d')
    """

    length_ms: int
    every_ms: int

    @classmethod
    def parse(cls, text: str) -> WindowSpec:
        """Read ``1h`` (tumbling) or ``1h/15m`` (an hour, a new one every 15 minutes)."""
        length, _, every = text.partition("/") if isinstance(text, str) else (text, "", "")
        length_ms = parse_duration(length)
        every_ms = parse_duration(every) if every else length_ms
        if not length_ms or not every_ms or length_ms % every_ms:
            msg = f"{text!r} is not a window (use 1h, or 1h/15m where the first is a multiple of the second)"
            raise ValueError(msg)
        return cls(length_ms, every_ms)

    def __str__(self) -> str:
        length = format_duration(self.length_ms)
        return length if self.every_ms == self.length_ms else f"{length}/{format_duration(self.every_ms)}"

    def is_apart(self, start_ms: int) -> bool:
        """Whether a window is one of those that do not overlap: every one of tumbling windows.

        Evidence may be collected over such windows only; overlapping ones would count the same rows twice.

        Examples
        --------
        >>> spec = WindowSpec.parse("1h/30m")
        >>> spec.is_apart(7_200_000), spec.is_apart(5_400_000)
        (True, False)
        """
        return start_ms % self.length_ms == 0

    def starts_covering(self, instant_ms: int) -> list[int]:
        """Starts of all windows that contain an instant, oldest first."""
        newest = instant_ms - instant_ms % self.every_ms
        return list(range(newest - self.length_ms + self.every_ms, newest + 1, self.every_ms))


@dataclass(frozen=True, order=True)
class Window:
    """One span of event time of a model version, from `start_ms` (included) to `end_ms` (not included)."""

    spec: WindowSpec
    start_ms: int

    @property
    def end_ms(self) -> int:
        """First instant after the window."""
        return self.start_ms + self.spec.length_ms
