"""A map of segments over time: cells with a value, how grave it is, and whether it says little."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from schemas.duration import UNITS_MS, format_duration

MOST_BUCKETS = 60
DAY_MS = UNITS_MS["d"]
DAYS = (1, 2, 7, 14, 28)

Key = tuple[str, int]
"""Segment and number of the bucket."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one segment in one bucket of time.

    Parameters
    ----------
    value : float or None
        None where nothing is known.
    n : int
        Rows.
    is_small : bool
        So few rows, in one of its windows, that the value says little.
    alarms : int
        Windows with an alarm.
    """

    value: float | None
    n: int
    is_small: bool
    alarms: int = 0


@dataclass(frozen=True)
class Cell:
    """One cell; `level` is 0 (nothing of note) to 3 (worst)."""

    value: float | None
    n: int
    level: int
    is_weak: bool
    alarms: int

    @property
    def brief(self) -> str:
        """The value, short enough for a cell.

        Examples
        --------
        >>> [Cell(value, 0, 0, False, 0).brief for value in (0.0, 0.0001, 0.00704, 0.5, 5.4444, 1234.5, None)]
        ['0', '< 0.001', '0.007', '0.5', '5.44', '1234', '–']
        """
        if self.value is None:
            return "–"
        if abs(self.value) < 1:
            text = f"{self.value:.3f}".rstrip("0").rstrip(".")
            return "< 0.001" if text == "0" and self.value > 0 else text
        return f"{self.value:.3g}" if abs(self.value) < 1_000 else f"{self.value:.0f}"


@dataclass(frozen=True)
class Row:
    """One segment: its cells, one for each bucket."""

    segment: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Buckets:
    """Equal stretches of event time that follow each other."""

    from_ms: int
    length_ms: int
    number: int

    @property
    def starts(self) -> list[int]:
        """Start of each."""
        return [self.from_ms + i * self.length_ms for i in range(self.number)]

    @property
    def to_ms(self) -> int:
        """End of the last."""
        return self.from_ms + self.number * self.length_ms

    def number_of(self, at_ms: int) -> int:
        """Number of the bucket that an instant is in."""
        return (at_ms - self.from_ms) // self.length_ms

    @property
    def words(self) -> str:
        """How long they are.

        Examples
        --------
        >>> Buckets(0, 86_400_000, 3).words
        '1d'
        """
        return format_duration(self.length_ms)


@dataclass(frozen=True)
class Scale:
    """How grave values are, and which segments come first.

    Parameters
    ----------
    legend : str
        What the levels mean, in words.
    level : callable
        Level of a value; takes the values of the segment's other cells too.
    badness : callable
        Larger for what is worse, of a value and those of its segment.
    of_alarms : int
        Level that a value with an alarm has at least.
    """

    legend: str
    level: Callable[[float, Sequence[float]], int]
    badness: Callable[[float, Sequence[float]], float]
    of_alarms: int = 0


def buckets_of(from_ms: int, to_ms: int, window_ms: int) -> Buckets:
    """Cut a range into at most sixty buckets: windows, else days, else several days.

    Examples
    --------
    >>> hour = 3_600_000
    >>> [(b.words, b.number) for b in (buckets_of(0, hours * hour, hour) for hours in (24, 60, 61, 24 * 90))]
    [('1h', 24), ('1h', 60), ('1d', 3), ('2d', 45)]
    """
    sizes = [window_ms, *(size for days in DAYS if (size := days * DAY_MS) > window_ms)]
    while True:
        for size in sizes:
            start = from_ms // min(size, DAY_MS) * min(size, DAY_MS)
            number = -(-(to_ms - start) // size)
            if number <= MOST_BUCKETS:
                return Buckets(start, size, max(number, 1))
        sizes = [sizes[-1] * 2]


def rows_of(
    measured: Mapping[Key, Measured],
    segments: Iterable[str],
    buckets: Buckets,
    scale: Scale,
    *,
    end_ms: int,
    to_ms: int,
) -> list[Row]:
    """Lay values out as rows, the worst segment first.

    Parameters
    ----------
    segments : iterable of str
        Those without any value are left out.
    end_ms : int
        End of the last judged window: buckets that reach beyond are not finished.
    to_ms : int
        End of the range, which the last bucket may reach beyond.
    """
    found: list[tuple[tuple[float, float], Row]] = []
    for segment in segments:
        cells = [measured.get((segment, i)) for i in range(buckets.number)]
        every = [one.value for one in cells if one is not None and one.value is not None]
        if not every:
            continue
        starts = buckets.starts
        row = Row(
            segment,
            tuple(
                _cell(one, scale, every, is_finished=min(start + buckets.length_ms, to_ms) <= end_ms)
                for one, start in zip(cells, starts, strict=True)
            ),
        )
        found.append((_worst(row, scale, every), row))
    found.sort(key=lambda item: (-item[0][0], -item[0][1], item[1].segment))
    return [row for _, row in found]


def _cell(one: Measured | None, scale: Scale, every: Sequence[float], *, is_finished: bool) -> Cell:
    if one is None or one.value is None:
        return Cell(None, 0 if one is None else one.n, 0, is_weak=True, alarms=0)
    is_weak = one.is_small or not is_finished
    level = max(scale.level(one.value, every), scale.of_alarms if one.alarms else 0)
    return Cell(one.value, one.n, 0 if is_weak else level, is_weak, one.alarms)


def _worst(row: Row, scale: Scale, every: Sequence[float]) -> tuple[float, float]:
    """How bad the worst cell of a row is that says something, then all of them on average."""
    known = [cell.value for cell in row.cells if cell.value is not None and not cell.is_weak]
    bad = [scale.badness(value, every) for value in known]
    return (max(bad), fmean(bad)) if bad else (float("-inf"), float("-inf"))
