"""A chart of the console as data: the same for the drawing in the browser, the table, CSV, SVG and PNG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alerting.finding import instant

Value = float | None


class Look(StrEnum):
    """How a series is drawn; no two series of a chart differ by colour alone."""

    LINE = "line"
    DASHED = "dashed"
    STEPS = "steps"
    POINTS = "points"  # marks of places, as of an alarm: where they are counts, not how high
    BARS = "bars"


class Event(StrEnum):
    """What a marker on the time axis stands for."""

    DEPLOYMENT = "deployment"
    REFERENCE = "reference"
    INCIDENT = "incident"
    TRAINING = "training"


@dataclass(frozen=True)
class Series:
    """Values along the axis of a chart.

    Parameters
    ----------
    name : str
        As the legend has it.
    values : sequence of float or None
        One for each place of the axis; None where nothing is known.
    look : Look
    low, high : sequence of float or None
        A band around the values, as long as they are; empty for none.
    weak : sequence of bool
        Places where few rows or an unfinished window make a value say little; they are greyed.
    """

    name: str
    values: Sequence[Value]
    look: Look = Look.LINE
    low: Sequence[Value] = ()
    high: Sequence[Value] = ()
    weak: Sequence[bool] = ()


@dataclass(frozen=True)
class Marker:
    """Something that happened at an instant.

    Parameters
    ----------
    at_ms : int
    event : Event
    words : str
        What happened, in a few words.
    url : str
        Where to read on; empty for nowhere.
    """

    at_ms: int
    event: Event
    words: str
    url: str = ""


@dataclass(frozen=True)
class Level:
    """A value with a meaning, drawn as a line across: a tolerance, an objective, an alarm level."""

    value: float
    name: str


@dataclass(frozen=True)
class Chart:
    """One chart, over time or over categories.

    Parameters
    ----------
    title : str
    words : str
        What is to be seen, in a sentence, for those who do not see it.
    axis : sequence of int or str
        Instants in epoch milliseconds, ascending, or names of categories.
    series : sequence of Series
    unit : str
        ``share`` for values from 0 to 1 that are written in percent, another unit, or empty.
    levels : sequence of Level
    markers : sequence of Marker
        Only over time.
    low, high : float, optional
        Ends of the value axis; by default those of the values.
    span : (int, int), optional
        Ends of the time axis, epoch milliseconds; by default those of the axis. Charts that are read together
        have the same.
    """

    title: str
    words: str
    axis: Sequence[int] | Sequence[str]
    series: Sequence[Series]
    unit: str = ""
    levels: Sequence[Level] = ()
    markers: Sequence[Marker] = ()
    low: float | None = None
    high: float | None = None
    span: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check that everything is as long as the axis.

        Raises
        ------
        ValueError
            Names the series.
        """
        for one in self.series:
            for part in (one.values, one.low, one.high, one.weak):
                if len(part) not in (len(self.axis), 0) or len(one.values) != len(self.axis):
                    msg = f"{self.title}: {one.name} has {len(part)} places, the axis {len(self.axis)}"
                    raise ValueError(msg)

    @property
    def is_over_time(self) -> bool:
        """Whether the axis is time."""
        return not self.axis or isinstance(self.axis[0], int)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return all(value is None for one in self.series for value in one.values)

    def document(self) -> dict[str, Any]:
        """Give the chart as the script in the browser reads it; values that are not finite become null."""
        return {
            "title": self.title,
            "words": self.words,
            "over_time": self.is_over_time,
            "axis": list(self.axis),
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "span": self.span,
            "series": [
                {
                    "name": one.name,
                    "look": one.look.value,
                    "values": _finite(one.values),
                    "low": _finite(one.low),
                    "high": _finite(one.high),
                    "weak": [int(weak) for weak in one.weak],
                }
                for one in self.series
            ],
            "levels": [{"value": one.value, "name": one.name} for one in self.levels],
            "markers": [
                {"at": one.at_ms, "event": one.event.value, "words": one.words, "url": one.url}
                for one in self.markers
            ],
        }

    def header(self) -> list[str]:
        """Name the columns of the table."""
        names = ["Time (UTC)" if self.is_over_time else "Value"]
        for one in self.series:
            names.append(one.name)
            if one.low:
                names += [f"{one.name}, low", f"{one.name}, high"]
        return names

    def rows(self) -> Iterator[list[str | float | None]]:
        """List the table, a row for each place of the axis."""
        axis: Sequence[int | str] = self.axis
        for place, at in enumerate(axis):
            name = at if isinstance(at, str) else instant(int(at)).strftime("%Y-%m-%dT%H:%M:%SZ")
            row: list[str | float | None] = [name]
            for one in self.series:
                value = one.values[place]
                row.append(value if one.look is not Look.POINTS else None if value is None else "yes")
                if one.low:
                    row += [one.low[place], one.high[place]]
            yield row


def _finite(values: Sequence[Value]) -> list[Value]:
    return [value if value is not None and math.isfinite(value) else None for value in values]
