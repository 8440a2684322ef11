"""What charts show, as plain values, and a chart as it is sent: an image with its words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from alerting.finding import Finding, shorten
from alerting.notice import Notice
from alerting.summary import share, span

MOST_BINS = 20
MOST_POINTS = 60
MAX_ALT_TEXT = 1_000  # Slack's limit of alt_txt
NAMED_BINS = 3
_NUMBER = r"[-+.\deinfa]+"
_RANGE = re.compile(
    rf"\[(?P<low>{_NUMBER}), (?P<high>{_NUMBER})[)\]]|= (?P<atom>{_NUMBER})"
    rf"|(?P<below><) {_NUMBER}|(?P<above>>=) {_NUMBER}"
)


@dataclass(frozen=True)
class ShareOfBin:
    """Share of rows in one bin, in the reference and in a window."""

    label: str
    reference: float
    current: float

    @property
    def change(self) -> float:
        """How far the share has moved, whichever way."""
        return abs(self.current - self.reference)


@dataclass(frozen=True)
class Distribution:
    """Shares of rows for each bin of a column: a window against the reference.

    Parameters
    ----------
    title : str
        What was looked at: column, segment and model.
    bins : tuple of ShareOfBin
        At least one.
    start, end : datetime
        The window, aware UTC.
    is_ordered : bool
        Whether the bins lie on a scale, so that neighbours may be merged.
    is_partial : bool
        These are only the bins that moved most.
    """

    title: str
    bins: tuple[ShareOfBin, ...]
    start: datetime
    end: datetime
    is_ordered: bool
    is_partial: bool = False

    @property
    def alt_text(self) -> str:
        """The chart in words, within Slack's limit."""
        moved = sorted(self.bins, key=lambda one: -one.change)[:NAMED_BINS]
        listed = "; ".join(
            f"{shorten(one.label, 80)} {share(one.current)}, reference {share(one.reference)}"
            for one in moved
        )
        window = span(self.start, self.end)
        return shorten(
            f"Bar chart of shares of rows, {self.title}: the window {window} beside the reference. "
            f"Moved most: {listed}.",
            MAX_ALT_TEXT,
        )


@dataclass(frozen=True)
class Point:
    """What was measured of one window.

    Parameters
    ----------
    start : datetime
        First instant of the window, aware UTC.
    low, high : float or None
        Interval of the value.
    is_alarm : bool
        Whether an alarm was raised or was open.
    """

    start: datetime
    value: float
    low: float | None = None
    high: float | None = None
    is_alarm: bool = False


@dataclass(frozen=True)
class Series:
    """A statistic from window to window.

    Parameters
    ----------
    title : str
        What was looked at: column, segment and model.
    measure : str
        Name of the statistic, for its axis.
    points : tuple of Point
        At least one, oldest first.
    limit : float or None
        What the statistic is held against.
    limit_name : str
        What that is: ``threshold``, ``tolerance``, ``before``.
    onset_at : datetime or None
        Where the incident began.
    """

    title: str
    measure: str
    points: tuple[Point, ...]
    limit: float | None = None
    limit_name: str = "threshold"
    onset_at: datetime | None = None

    @property
    def alt_text(self) -> str:
        """The chart in words, within Slack's limit."""
        values = [point.value for point in self.points]
        limit = "" if self.limit is None else f" The {self.limit_name} is {self.limit:.3g}."
        began = "" if self.onset_at is None else f" The incident began about {_minute(self.onset_at)}."
        alarms = sum(point.is_alarm for point in self.points)
        count = len(values)
        return shorten(
            f"Line chart of {self.measure}, {self.title}, over {count} window{'s' if count > 1 else ''} from "
            f"{_minute(self.points[0].start)} to {_minute(self.points[-1].start)}: lowest {min(values):.3g}, "
            f"highest {max(values):.3g}, latest {values[-1]:.3g}; {alarms} with an alarm.{limit}{began}",
            MAX_ALT_TEXT,
        )


@dataclass(frozen=True)
class Chart:
    """A chart as it is sent.

    Parameters
    ----------
    filename : str
        With its ending.
    title : str
    alt_text : str
        The chart in words, at most 1,000 characters.
    png : bytes
        The image.
    """

    filename: str
    title: str
    alt_text: str
    png: bytes


def leading_finding(notice: Notice) -> Finding | None:
    """Finding that speaks for an incident: that of its column and segment, else the one that matters most."""
    alert = notice.alert
    own = (one for one in alert.findings if (one.column, one.segment) == (alert.column, alert.segment))
    return next(own, alert.findings[0] if alert.findings else None)


def limited(found: Distribution, most: int = MOST_BINS) -> Distribution:
    """Merge bins until there are few enough to be read.

    Parameters
    ----------
    found : Distribution
    most : int
        Bins to be left; at least two.

    Returns
    -------
    Distribution
        On a scale the emptiest neighbours become one bin; of values the rarest go into ``(n others)``. Shares
        add up to what they were.

    Examples
    --------
    >>> from alerting.finding import instant
    >>> bins = tuple(ShareOfBin(name, 0.25, 0.25) for name in "abcd")
    >>> letters = Distribution("letter", bins, instant(0), instant(1), is_ordered=False)
    >>> [(one.label, one.current) for one in limited(letters, 3).bins]
    [('a', 0.25), ('b', 0.25), ('(2 others)', 0.5)]
    """
    if len(found.bins) <= most:
        return found
    bins = _neighbours_merged(found.bins, most) if found.is_ordered else _rarest_merged(found.bins, most)
    return replace(found, bins=bins)


def _neighbours_merged(bins: tuple[ShareOfBin, ...], most: int) -> tuple[ShareOfBin, ...]:
    """Merge ranges; what is no range (``missing``) stays alone."""
    kept = list(bins)
    while len(kept) > most:
        weights = [_weight(pair) if _joint(*pair) else math.inf for pair in pairwise(kept)]
        at = weights.index(min(weights))
        if weights[at] == math.inf:
            return _rarest_merged(tuple(kept), most)
        kept[at : at + 2] = [_merged(kept[at : at + 2], _joint(kept[at], kept[at + 1]))]
    return tuple(kept)


def _joint(first: ShareOfBin, second: ShareOfBin) -> str:
    """Label of two neighbouring ranges together; empty if one of them is none."""
    low, high = _RANGE.fullmatch(first.label), _RANGE.fullmatch(second.label)
    if low is None or high is None:
        return ""
    start, end = low["low"] or low["atom"], high["high"]
    if low["below"] and end:
        return f"< {end}"
    if high["above"] and start:
        return f">= {start}"
    if start and (end or high["atom"]):
        return f"[{start}, {end})" if end else f"[{start}, {high['atom']}]"
    return ""


def _rarest_merged(bins: tuple[ShareOfBin, ...], most: int) -> tuple[ShareOfBin, ...]:
    ordered = sorted(range(len(bins)), key=lambda at: (-_weight((bins[at],)), at))
    kept = sorted(ordered[: most - 1])
    rest = [bins[at] for at in sorted(ordered[most - 1 :])]
    return (*(bins[at] for at in kept), _merged(rest, f"({len(rest)} others)"))


def _weight(group: Sequence[ShareOfBin]) -> float:
    return sum(one.reference + one.current for one in group)


def _merged(group: Sequence[ShareOfBin], label: str) -> ShareOfBin:
    return ShareOfBin(label, sum(one.reference for one in group), sum(one.current for one in group))


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
