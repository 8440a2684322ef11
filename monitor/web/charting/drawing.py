"""Draws a chart without a browser, as SVG or PNG; see `alerting.charts.canvas` for the style."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from datetime import UTC

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from alerting.charts import canvas
from alerting.charts.canvas import INK
from alerting.finding import shorten
from monitor.web.charting.chart import Chart, Look, Value
from monitor.web.console.words import minute

# Okabe and Ito; the same, in the same order, as in static/style.css.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6B6B6B", "#A58A00")
DASHES = ("-", "--", "-.", ":")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
DAY_MS = 86_400_000
HEIGHT = 4.4
MOST_BARS = 40
LINE = 100  # letters
LEGEND, SAMPLE = 90, 7  # letters of a line of the legend, and of what stands for a line of the chart in it
LEGEND_LINE = 0.26  # inches


def png_of(chart: Chart) -> bytes:
    """Draw a chart as PNG."""
    with canvas.canvas(_height(chart)) as (figure, axes):
        _draw(figure, axes, chart)
        return canvas.png_of(figure)


def svg_of(chart: Chart) -> bytes:
    """Draw a chart as SVG; letters stay letters, so that they can be searched and read aloud."""
    with canvas.canvas(_height(chart)) as (figure, axes):
        _draw(figure, axes, chart)
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        out = io.BytesIO()
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "driftline"})
        figure.savefig(out, format="svg", metadata={"Date": None, "Title": chart.title})
        return out.getvalue()


def _height(chart: Chart) -> float:
    usual = HEIGHT if chart.is_over_time else max(HEIGHT, 1.8 + 0.3 * min(len(chart.axis), MOST_BARS))
    return usual + LEGEND_LINE * (_legend_lines(chart) - 1)


def _legend(chart: Chart) -> list[str]:
    levels = [f"{shorten(one.name, 30)} {written(one.value, chart.unit)}" for one in chart.levels]
    return [shorten(one.name, 24) for one in chart.series] + (levels if chart.is_over_time else [])


def _legend_columns(chart: Chart) -> int:
    """As many as the longest name leaves room for."""
    return max(1, LEGEND // (max(map(len, _legend(chart)), default=1) + SAMPLE))


def _legend_lines(chart: Chart) -> int:
    return max(1, -(-len(_legend(chart)) // _legend_columns(chart)))


def _draw(figure: Figure, axes: Axes, chart: Chart) -> None:
    (_over_time if chart.is_over_time else _over_categories)(axes, chart)
    if chart.words:  # whole: they say what is not shown, too
        figure.supxlabel(textwrap.fill(chart.words, LINE), fontsize=10, x=0.015, ha="left")
    canvas.head(figure, axes, chart.title, _of_time(chart))
    _write_legend(figure, axes, chart)


def _write_legend(figure: Figure, axes: Axes, chart: Chart) -> None:
    """Write the legend in lines that fit, and leave room for them above the axes."""
    for usual in list(figure.legends):
        usual.remove()
    height, lines = figure.get_figheight(), _legend_lines(chart)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.005, 1 - 0.62 / height),
        ncols=_legend_columns(chart), frameon=False, fontsize=12, handlelength=1.8, columnspacing=1.4,
        borderaxespad=0.0,
    )  # fmt: skip
    head = canvas.HEAD_INCHES + LEGEND_LINE * (lines - 1)
    figure.set_layout_engine("constrained", rect=(0.0, 0.0, 1.0, 1.0 - head / height), w_pad=0.1, h_pad=0.06)


def _of_time(chart: Chart) -> str:
    """Say which stretch of time a chart is of, and in which zone its axis is."""
    at = (
        chart.span
        if chart.span is not None
        else [int(one) for one in chart.axis]
        if chart.is_over_time
        else []
    )
    return f"{minute(min(at))} to {minute(max(at))}" if at else ""


def _over_time(axes: Axes, chart: Chart) -> None:
    at = [int(one) / DAY_MS for one in chart.axis]  # days since 1970, as matplotlib counts
    for number, series in enumerate(chart.series):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        label = shorten(series.name, 24)
        values = _numbers(series.values)
        if series.low:
            axes.fill_between(at, _numbers(series.low), _numbers(series.high), color=colour, alpha=0.18, lw=0)
        if series.look is Look.POINTS:  # below the axis, where they hide nothing
            there = [place for place, value in zip(at, values, strict=True) if value == value]
            axes.plot(there, [-0.02] * len(there), transform=axes.get_xaxis_transform(), clip_on=False,
                      color=INK, linestyle="none", marker="|", markersize=7, label=label)  # fmt: skip
            continue
        style = "--" if series.look is Look.DASHED else dash
        shape = SHAPES[number % len(SHAPES)] if len(at) < 60 else ""
        drawstyle = "steps-post" if series.look is Look.STEPS else "default"
        axes.plot(
            at,
            values,
            color=colour,
            linestyle=style,
            marker=shape,
            markersize=4,
            label=label,
            drawstyle=drawstyle,
        )
    for level in chart.levels:
        label = f"{shorten(level.name, 30)} {written(level.value, chart.unit)}"
        axes.axhline(level.value, color=INK, linewidth=1, linestyle=(0, (6, 3)), label=label)
    for marker in chart.markers:
        axes.axvline(marker.at_ms / DAY_MS, color=INK, linewidth=1, linestyle=":")
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=8)  # type: ignore[no-untyped-call]  # matplotlib's annotations
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]  # as above
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, chart.unit)))
    axes.set_ylim(bottom=chart.low, top=chart.high)
    if chart.span is not None:
        axes.set_xlim(chart.span[0] / DAY_MS, chart.span[1] / DAY_MS)


def _over_categories(axes: Axes, chart: Chart) -> None:
    names = [shorten(str(name), 24) for name in chart.axis[:MOST_BARS]]
    if len(chart.axis) > MOST_BARS:
        axes.set_xlabel(f"The first {MOST_BARS} of {len(chart.axis)}; all are in the CSV.", loc="left")
    thick = 0.8 / max(len(chart.series), 1)
    for number, series in enumerate(chart.series):
        places = [place + number * thick for place in range(len(names))]
        widths = [value or 0.0 for value in series.values[:MOST_BARS]]
        hatch = ("", "///", "...", "xxx")[number % 4]
        axes.barh(places, widths, height=thick, color=COLOURS[number % len(COLOURS)], hatch=hatch,
                  label=shorten(series.name, 24))  # fmt: skip
    axes.set_yticks([place + 0.4 - thick / 2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, chart.unit)))
    for level in chart.levels:
        axes.axvline(level.value, color=INK, linewidth=1, linestyle=(0, (6, 3)))


def written(value: float, unit: str) -> str:
    """Write a value of an axis.

    Examples
    --------
    >>> written(0.25, "share"), written(1234.5, ""), written(12.0, "ms")
    ('25 %', '1,234', '12 ms')
    """
    if unit == "share":
        return f"{100 * value:.4g} %"
    number = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
    return f"{number} {unit}".strip()


def _numbers(values: Sequence[Value]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
