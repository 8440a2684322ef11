"""Charts of judged windows: how far a column is from its reference, how much speaks for it, how many rows."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.web.charting.chart import Chart, Level, Look, Marker, Series, Value
from monitor.web.console.feature.windows import Judged, JudgedWindow

ROOM = 1.15  # above the highest value; intervals may reach beyond, which would flatten everything else


def effect_chart(
    title: str,
    judged: Judged,
    tolerance: float,
    markers: Sequence[Marker] = (),
) -> Chart:
    """Draw the PSI from window to window, with its interval, what is usual, the tolerance and the alarms.

    The index as measured stands beside it: what was taken off is what chance and the usual change from window
    to window give.
    """
    windows = judged.windows
    debiased, measured = [one.psi_debiased for one in windows], [one.psi for one in windows]
    usual = [one.usual for one in windows]
    values = [value for value in (*debiased, *measured, *usual) if value is not None]
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
    if any(value is not None for value in usual):
        series.append(Series("usual", usual, Look.LINE))
    return Chart(
        title,
        _effect_words(windows, tolerance) + judged.words,
        [one.start_ms for one in windows],
        series + _alarms(windows, measured),
        levels=[Level(tolerance, "tolerance")],
        markers=list(markers),
        low=0.0,
        high=max(ROOM * max(values, default=0.0), 2 * tolerance),
    )


def evidence_chart(title: str, judged: Judged) -> Chart:
    """Draw the collected evidence with the level of the alarm; without evidence, the tested statistic."""
    windows = judged.windows
    has_evidence = any(one.evidence is not None for one in windows)
    values = [one.evidence if has_evidence else one.statistic for one in windows]
    level = next((one.threshold for one in reversed(windows) if one.threshold is not None), None)
    alarms = sum(one.is_alarm for one in windows)
    name = "evidence (powers of ten)" if has_evidence else "statistic"
    words = f"An alarm at {level:.3g} or more. " if level is not None else ""
    said = "No alarm in the range." if not alarms else f"{alarms} of {len(windows)} windows with an alarm."
    if has_evidence and alarms:
        said += " None is collected while one is open."
    known = [value for value in values if value is not None]
    heights = [value if value is not None else level or 0.0 for value in values] if known else values
    return Chart(
        title,
        words + said + judged.words,
        [one.start_ms for one in windows],
        [Series(name, values, Look.LINE, weak=_weak(windows)), *_alarms(windows, heights)],
        levels=[] if level is None else [Level(level, "alarm level")],
    )


def rows_chart(title: str, judged: Judged) -> Chart:
    """Draw the rows of each window."""
    windows = judged.windows
    weak = sum(bool(one.doubts) for one in windows)
    words = f"{weak} of {len(windows)} windows are small or incomplete." if weak else "No window is small."
    series = [Series("rows", [float(one.n) for one in windows], Look.BARS, weak=_weak(windows))]
    return Chart(title, words + judged.words, [one.start_ms for one in windows], series, low=0.0)


def _alarms(windows: Sequence[JudgedWindow], heights: Sequence[Value]) -> list[Series]:
    """Mark the windows in alarm, where there is one."""
    values = [height if one.is_alarm else None for one, height in zip(windows, heights, strict=True)]
    return [Series("in alarm", values, Look.POINTS)] if any(one.is_alarm for one in windows) else []


def _effect_words(windows: Sequence[JudgedWindow], tolerance: float) -> str:
    known = [one for one in windows if one.psi_debiased is not None]
    if not known:
        return "No window of the range was judged."
    above = sum(one.psi_debiased is not None and one.psi_debiased > tolerance for one in known)
    alarms = sum(one.is_alarm for one in known)
    are = "is" if above == 1 else "are"
    said = f"{above} of {len(known)} windows, each on its own, {are} more than {tolerance:g} beyond the usual"
    if not alarms:
        return f"{said}; none is in alarm."
    stays = ": smaller changes that stay are an alarm, too" if alarms > above else ""
    return f"{said}; {alarms} {'is' if alarms == 1 else 'are'} in alarm{stays}."


def _weak(windows: Sequence[JudgedWindow]) -> list[bool]:
    return [bool(one.doubts) for one in windows]
