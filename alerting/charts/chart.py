"""Draws charts as PNG images, without a browser: a distribution, a statistic over time.

Notes
-----
Two pixels for each point of a screen; the background is solid and light, so that the same image can be read
in light and dark clients. Colours are those of Okabe and Ito, which people with any kind of colour vision can
tell apart, and nothing is said by colour alone: bars have hatching, alarms a marker of their own, lines a
label. matplotlib's Agg renderer is used without pyplot, one drawing at a time, since matplotlib keeps state
that threads share.

References
----------
M. Okabe and K. Ito, "Color universal design", https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from alerting.charts.canvas import BLUE, GRID, HEIGHT, INK, PAPER, SKY, VERMILLION, canvas, head, png_of
from alerting.charts.data import Chart, Distribution, Point, Series, ShareOfBin, limited
from alerting.finding import shorten
from alerting.summary import MONTHS, date, share, span

FLAT_LABELS = 6  # more would run into each other
LABEL_WIDTH, NARROW_LABEL_WIDTH = 18, 14
ROW_INCHES = 0.42
MOST_TICKS = 5
GAP = 1.5  # of the usual step: windows in between were not judged


def distribution_chart(found: Distribution) -> Chart:
    """Draw shares of rows for each bin, the window beside the reference.

    Parameters
    ----------
    found : Distribution
        Of more than 20 bins some are merged.

    Returns
    -------
    Chart
        The same bytes for the same values. Bins on a scale stand side by side, values below each other.
    """
    shown = limited(found)
    height = HEIGHT if shown.is_ordered else max(HEIGHT, 1.6 + ROW_INCHES * len(shown.bins))
    with canvas(height) as (figure, axes):
        (_draw_side_by_side if shown.is_ordered else _draw_below_each_other)(axes, shown)
        partial = "; the bins that moved most" if shown.is_partial else ""
        below = f"window {span(shown.start, shown.end)}{partial}"
        head(figure, axes, shown.title, below)
        return Chart("distribution.png", f"{shown.title}: distribution", shown.alt_text, png_of(figure))


def series_chart(found: Series) -> Chart:
    """Draw a statistic from window to window, with its interval, its limit and where the incident began.

    Returns
    -------
    Chart
        The same bytes for the same values.
    """
    with canvas(HEIGHT) as (figure, axes):
        for stretch in _stretches(found.points):
            _draw_stretch(axes, stretch)
        _draw_alarms(axes, [point for point in found.points if point.is_alarm])
        _draw_limit(axes, found)
        _draw_onset(axes, found)
        _time_axis(axes, found.points)
        axes.set_ylabel(shorten(found.measure, 40))
        axes.margins(y=0.15)
        axes.grid(axis="y", color=GRID)
        axes.set_axisbelow(True)
        head(figure, axes, found.title, _when(found.points))
        return Chart("over-time.png", f"{found.title}: {found.measure}", found.alt_text, png_of(figure))


# --- distribution -------------------------------------------------------------------------------------------


def _draw_side_by_side(axes: Axes, shown: Distribution) -> None:
    places = range(len(shown.bins))
    width = 0.4
    left, right = [at - width / 2 for at in places], [at + width / 2 for at in places]
    axes.bar(left, [one.reference for one in shown.bins], width, label="reference", **_REFERENCE)
    axes.bar(right, [one.current for one in shown.bins], width, label="this window", **_CURRENT)
    if (at := _gained_most(shown.bins)) is not None:
        value = shown.bins[at].current
        axes.annotate(share(value), (right[at], value), (0, 3), textcoords="offset points", ha="center")
    is_flat = len(shown.bins) <= FLAT_LABELS
    labels = [shorten(one.label, NARROW_LABEL_WIDTH if is_flat else LABEL_WIDTH) for one in shown.bins]
    turned: dict[str, Any] = {} if is_flat else {"rotation": 50, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(list(places), labels, fontsize=11, **turned)
    axes.set_xlim(-0.6, len(shown.bins) - 0.4)
    axes.margins(y=0.15)
    axes.set_ylabel("share of rows")
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)


def _draw_below_each_other(axes: Axes, shown: Distribution) -> None:
    places = range(len(shown.bins))
    height = 0.38
    upper, lower = [at - height / 2 for at in places], [at + height / 2 for at in places]
    axes.barh(upper, [one.reference for one in shown.bins], height, label="reference", **_REFERENCE)
    axes.barh(lower, [one.current for one in shown.bins], height, label="this window", **_CURRENT)
    if (at := _gained_most(shown.bins)) is not None:
        value = shown.bins[at].current
        axes.annotate(share(value), (value, lower[at]), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(list(places), [shorten(one.label, LABEL_WIDTH + 6) for one in shown.bins], fontsize=12)
    axes.set_ylim(len(shown.bins) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_xlabel("share of rows")
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)


_REFERENCE: dict[str, Any] = {"facecolor": PAPER, "edgecolor": BLUE, "hatch": "////", "linewidth": 1.2}
_CURRENT: dict[str, Any] = {"facecolor": VERMILLION, "edgecolor": INK, "linewidth": 0.6}


def _gained_most(bins: Sequence[ShareOfBin]) -> int | None:
    """Name the bin that rows went to, if any gained."""
    gains = [one.current - one.reference for one in bins]
    return gains.index(max(gains)) if max(gains) > 0 else None


def _percent(value: float, _position: int | None = None) -> str:
    return f"{100 * value:.3g} %"


# --- statistic over time ------------------------------------------------------------------------------------


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    """Break the line where windows are missing."""
    steps = [_seconds(after) - _seconds(before) for before, after in pairwise(points)]
    usual = median(steps) if steps else 0.0
    found = [[points[0]]]
    for step, point in zip(steps, points[1:], strict=True):
        if step > GAP * usual:
            found.append([])
        found[-1].append(point)
    return found


def _draw_stretch(axes: Axes, points: Sequence[Point]) -> None:
    at = [_seconds(point) for point in points]
    known = axes.get_legend_handles_labels()[1]
    low = [point.value if point.low is None else point.low for point in points]
    high = [point.value if point.high is None else point.high for point in points]
    if any(point.low is not None for point in points):
        label = "_" if "interval" in known else "interval"
        if len(points) == 1:
            axes.vlines(at, low, high, color=SKY, linewidth=8, label=label)
        else:
            axes.fill_between(at, low, high, color=SKY, linewidth=0, label=label)
    values = [point.value for point in points]
    label = "_" if "value" in known else "value"
    axes.plot(at, values, color=BLUE, linewidth=2, marker="o", markersize=4.5, label=label)


def _draw_alarms(axes: Axes, points: Sequence[Point]) -> None:
    if points:
        at, values = [_seconds(point) for point in points], [point.value for point in points]
        axes.plot(
            at, values, linestyle="", marker="D", markersize=8, label="alarm", zorder=4,
            markerfacecolor=VERMILLION, markeredgecolor=INK,
        )  # fmt: skip


def _draw_limit(axes: Axes, found: Series) -> None:
    if found.limit is not None:
        label = f"{found.limit_name} {found.limit:.3g}"
        axes.axhline(found.limit, color=INK, linewidth=1.6, linestyle=(0, (6, 3)), label=label)


def _draw_onset(axes: Axes, found: Series) -> None:
    """Mark where the incident began, if that lies within the chart."""
    if found.onset_at is None:
        return
    first, last = _seconds(found.points[0]), _seconds(found.points[-1])
    at = found.onset_at.timestamp()
    if not first <= at <= last:
        return
    axes.axvline(at, color=INK, linewidth=1.6, linestyle=":")
    is_late = at > first + 0.7 * (last - first)
    axes.annotate(
        f"began {found.onset_at:%H:%M}", (at, 1.0), (-5 if is_late else 5, -3),
        xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if is_late else "left",
        va="top", fontsize=12, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


def _when(points: Sequence[Point]) -> str:
    first, last = points[0].start, points[-1].start
    days = date(first) if first.date() == last.date() else f"{date(first)} to {date(last)}"
    return f"{len(points)} window{'s' if len(points) > 1 else ''}, {days}"


def _time_axis(axes: Axes, points: Sequence[Point]) -> None:
    step = max(1, -(-(len(points) - 1) // (MOST_TICKS - 1)))
    shown = [points[at] for at in range(0, len(points), step)]
    labels = []
    for number, point in enumerate(shown):
        is_new_day = number == 0 or point.start.date() != shown[number - 1].start.date()
        day = f"\n{point.start.day} {MONTHS[point.start.month - 1]}" if is_new_day else ""
        labels.append(f"{point.start:%H:%M}{day}")
    axes.set_xticks([_seconds(point) for point in shown], labels)
    axes.set_xlabel("start of the window, UTC")


def _seconds(point: Point) -> float:
    return point.start.timestamp()
