"""Charts of judged windows: how far a column is from its reference, how much speaks for it, how many rows."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.web.charting.chart import Chart, Level, Look, Marker, Series
from monitor.web.console.feature.windows import JudgedWindow

ROOM = 1.15  # above the highest value; intervals may reach beyond, which would flatten everything else


def effect_chart(
    title: str,
    windows: Sequence[JudgedWindow],
    tolerance: float,
    markers: Sequence[Marker] = (),
) -> Chart:
    """Draw the PSI from window to window, with its interval and the tolerance.

    The index as measured stands beside it: what was taken off is what chance and the usual change from window
    to window give.
    """
    debiased, measured = [one.psi_debiased for one in windows], [one.psi for one in windows]
    highest = max((value for value in (*debiased, *measured) if value is not None), default=0.0)
    series = [
        Series(
            "PSI, de-biased",
            debiased,
            Look.LINE,
            [one.psi_low for one in windows],
            [one.psi_high for one in windows],
            _weak(windows),
        ),
        Series("PSI as measured", measured, Look.DASHED, weak=_weak(windows)),
    ]
    return Chart(
        title,
        _effect_words(windows, tolerance),
        [one.start_ms for one in windows],
        series,
        levels=[Level(tolerance, f"tolerance {tolerance:g}")],
        markers=list(markers),
        low=0.0,
        high=max(ROOM * highest, 2 * tolerance),
    )


def thinned(windows: Sequence[JudgedWindow], most: int) -> list[JudgedWindow]:
    """Keep the farthest window of each group of neighbours, so that at most so many are left."""
    size = max(1, -(-len(windows) // most))
    groups = (windows[first : first + size] for first in range(0, len(windows), size))
    return [max(group, key=lambda one: (one.psi_debiased or 0.0, one.psi or 0.0)) for group in groups]


def evidence_chart(title: str, windows: Sequence[JudgedWindow]) -> Chart:
    """Draw the collected evidence with the level of the alarm; without evidence, the tested statistic."""
    has_evidence = any(one.evidence_log is not None for one in windows)
    values = [one.evidence_log if has_evidence else one.statistic for one in windows]
    level = next((one.threshold for one in reversed(windows) if one.threshold is not None), None)
    alarms = sum(one.is_alarm for one in windows)
    name = "log evidence" if has_evidence else "statistic"
    words = f"An alarm at {level:g} or more. " if level is not None else ""
    said = "No alarm in the range." if not alarms else f"{alarms} of {len(windows)} windows with an alarm."
    if has_evidence and alarms:
        said += " None is collected while one is open."
    return Chart(
        title,
        words + said,
        [one.start_ms for one in windows],
        [Series(name, values, Look.LINE, weak=_weak(windows))],
        levels=[] if level is None else [Level(level, "alarm level")],
    )


def rows_chart(title: str, windows: Sequence[JudgedWindow]) -> Chart:
    """Draw the rows of each window."""
    weak = sum(bool(one.doubts) for one in windows)
    words = f"{weak} of {len(windows)} windows are small or incomplete." if weak else "No window is small."
    series = [Series("rows", [float(one.n) for one in windows], Look.BARS, weak=_weak(windows))]
    return Chart(title, words, [one.start_ms for one in windows], series, low=0.0)


def _effect_words(windows: Sequence[JudgedWindow], tolerance: float) -> str:
    known = [one for one in windows if one.psi_debiased is not None]
    if not known:
        return "No window of the range was judged."
    above = sum(one.psi_debiased is not None and one.psi_debiased > tolerance for one in known)
    return f"{above} of {len(known)} windows lie above the tolerance of {tolerance:g}."


def _weak(windows: Sequence[JudgedWindow]) -> list[bool]:
    return [bool(one.doubts) for one in windows]
