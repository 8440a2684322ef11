"""An alert in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerting.finding import Finding, Kind, shorten
from schemas.attribution import Attribution
from schemas.column import FAIRNESS_PREFIX, PERFORMANCE_CALIBRATION, PERFORMANCE_ERROR
from schemas.verdict import QUALITY_PREFIX, Lane, MovedBin

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NAMED_COLUMNS = 3
MAX_SUMMARY = 1_000
DAY = timedelta(days=1)
WITH_FINDINGS = (Kind.DRIFT, Kind.PERFORMANCE, Kind.FAIRNESS, Kind.QUALITY)
"""Kinds of incidents that gather findings on several columns."""
WRONG = "wrong"  # bin of performance.error


def summarise(kind: Kind, model: str, version: str, findings: Sequence[Finding]) -> str:
    """Say what happened, where, when, how much, and what moved.

    Parameters
    ----------
    findings : sequence of Finding
        At least one; the first is the one that matters most.

    Examples
    --------
    >>> from alerting.finding import instant
    >>> from schemas.verdict import MovedBin
    >>> window = instant(1_767_261_600_000), instant(1_767_262_200_000)
    >>> effect = {"psi": 0.82, "psi_low": 0.79, "psi_high": 0.86}
    >>> moved = (MovedBin("[48.1, 61.0)", 0.09, 0.62, 0.4),)
    >>> score = Finding("score", "", Lane.PREDICTIONS, "e-detector", *window, **effect, moved=moved)
    >>> age = Finding("age", "", Lane.FEATURES, "e-detector", *window)
    >>> for sentence in summarise(Kind.DRIFT, "churn", "1", [score, age]).split(". "):
    ...     print(sentence)
    churn v1: score drifted (PSI 0.82, 0.79–0.86) in the window 10:00–10:10 UTC on 1 Jan 2026; also age
    62 % of rows in [48.1, 61.0), reference 9 %.
    """
    lead = findings[0]
    when = span(lead.window_start, lead.window_end)
    text = f"{subject(model, version)}: {_event(kind, lead)}{_effect(lead)} in the window {when}"
    others = _others(findings) if kind in WITH_FINDINGS else ""
    details = "".join(f" {detail}" for detail in (_detail(lead), why_text(findings)) if detail)
    return shorten(f"{text}{others}.{details}", MAX_SUMMARY)


def summarise_several(summaries: Sequence[str], others: str = "") -> str:
    """Say what happened in an incident of several alerts: the first in full, of the others what it is.

    Parameters
    ----------
    summaries : sequence of str
        Of the alerts, the one that matters most first.
    others : str
        Names of other models that are concerned.

    Examples
    --------
    >>> first = "churn: score drifted in the window 10:00–10:10."
    >>> summarise_several([first, "churn: data quality changed: age in the window 10:00–10:10."])
    'churn: score drifted in the window 10:00–10:10. Also data quality changed: age.'
    """
    first, rest = summaries[0], [_event_alone(text) for text in summaries[1:]]
    named = list(dict.fromkeys(text for text in rest if text))
    shown, left = named[:NAMED_COLUMNS], len(named) - NAMED_COLUMNS
    more = f"; and {left} more" if left > 0 else ""
    also = f" Also {'; '.join(shown)}{more}." if shown else ""
    models = f" Other models with the same: {others}." if others else ""
    room = MAX_SUMMARY - len(also) - len(models)
    return shorten(f"{shorten(first, max(room, MAX_SUMMARY // 2))}{also}{models}", MAX_SUMMARY)


def _event_alone(text: str) -> str:
    """What happened, without the model and the window."""
    return text.partition(": ")[2].partition(" in the window ")[0].rstrip(".")


def subject(model: str, version: str) -> str:
    """Name a model version.

    Examples
    --------
    >>> subject("churn", "3"), subject("churn", "unversioned"), subject("churn", "blue")
    ('churn v3', 'churn', 'churn blue')
    """
    if version in ("", "unversioned"):
        return model
    return f"{model} v{version}" if version[0].isdigit() else f"{model} {version}"


def span(start: datetime, end: datetime) -> str:
    """Write a window the way people say it.

    Examples
    --------
    >>> from alerting.finding import instant
    >>> span(instant(0), instant(600_000)), span(instant(0), instant(86_400_000))
    ('00:00–00:10 UTC on 1 Jan 1970', '1 Jan 1970 (UTC)')
    >>> span(instant(82_800_000), instant(90_000_000))
    '23:00 on 1 Jan 1970 – 01:00 on 2 Jan 1970 (UTC)'
    """
    if end - start == DAY and _clock(start) == "00:00":
        return f"{date(start)} (UTC)"
    if start.date() == end.date():
        return f"{_clock(start)}–{_clock(end)} UTC on {date(start)}"
    return f"{_clock(start)} on {date(start)} – {_clock(end)} on {date(end)} (UTC)"


def where(finding: Finding) -> str:
    """Name the stream of a finding.

    Examples
    --------
    >>> from alerting.finding import instant
    >>> where(Finding("age", "carrier=UA", Lane.SEGMENTS, "e-detector", instant(0), instant(1)))
    'age where carrier=UA'
    """
    column = finding.column or "the columns together"
    return f"{column} where {finding.segment}" if finding.segment else column


def share(value: float) -> str:
    """Write a share of rows as a percentage.

    Examples
    --------
    >>> share(0.62), share(0.0004), share(0.0)
    ('62 %', '0.04 %', '0 %')
    """
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 1 or percent == 0 else f"{percent:.1g} %"


def psi_text(finding: Finding) -> str:
    """Write the effect with its interval, or nothing where there is none.

    Examples
    --------
    >>> from alerting.finding import instant
    >>> effect = {"psi": 0.4, "psi_low": 0.3, "psi_high": 0.5}
    >>> psi_text(Finding("age", "", Lane.FEATURES, "e-detector", instant(0), instant(1), **effect))
    'PSI 0.40, 0.30–0.50'
    """
    if finding.psi is None:
        return ""
    if finding.psi_low is None or finding.psi_high is None:
        return f"PSI {_number(finding.psi)}"
    return f"PSI {_number(finding.psi)}, {_number(finding.psi_low)}–{_number(finding.psi_high)}"


def moved_text(finding: Finding) -> str:
    """Say where rows went, or repeat the detector's own explanation where it names no bins.

    Of the bins that moved most, the one that gained tells people more than those that it gained from.
    """
    if not finding.moved:
        return finding.explanation
    wrong = _more_wrong(finding)
    if wrong is not None:
        return f"{share(wrong.share)} of them are, {share(wrong.reference_share)} in the reference"
    first = max(finding.moved, key=lambda moved: moved.share - moved.reference_share)
    return f"{share(first.share)} of rows in {first.label}, reference {share(first.reference_share)}"


def attribution_of(findings: Sequence[Finding]) -> Attribution | None:
    """Where a change of the predictions comes from, if one of the findings knows and it is beyond chance."""
    known = (finding.attribution for finding in findings)
    return next((one for one in known if one is not None and one.is_beyond_chance), None)


def why_text(findings: Sequence[Finding]) -> str:
    """Say in a sentence where a change of the predictions comes from; empty where that is not known."""
    found = attribution_of(findings)
    return "" if found is None else f"{found.summary[:1].upper()}{found.summary[1:]}."


def _event(kind: Kind, lead: Finding) -> str:
    if kind is Kind.NO_DATA:
        return "no events arrived"
    if kind is Kind.PARTITION_STOPPED:
        return f"partition {lead.column} was stopped" if lead.column else "a partition was stopped"
    if kind is Kind.SLO:
        return f"{lead.column} misses its objective"
    if kind is Kind.ROLLBACK:
        return f"{lead.column or 'another version'} does better on the same events"
    if kind is Kind.FAIRNESS:
        segment, _, measure = lead.column.removeprefix(FAIRNESS_PREFIX).rpartition(".")
        return f"values of {segment} are treated more differently than allowed ({measure.replace('_', ' ')})"
    if kind is Kind.QUALITY:
        if lead.detector.startswith(QUALITY_PREFIX):
            return f"data quality changed: {where(lead)}"
        return f"contract of {where(lead)} is broken"
    if lead.lane is Lane.PERFORMANCE:
        return _performance(lead)
    if lead.lane is Lane.QUALITY:
        return f"data quality changed: {where(lead)}"
    return f"{where(lead)} drifted"


def _more_wrong(finding: Finding) -> MovedBin | None:
    """Share of wrong predictions, where the finding is that it has risen."""
    if finding.column != PERFORMANCE_ERROR:
        return None
    moved = (one for one in finding.moved if one.label == WRONG)
    return next((one for one in moved if one.share > one.reference_share), None)


def _performance(lead: Finding) -> str:
    at = f" where {lead.segment}" if lead.segment else ""
    if _more_wrong(lead) is not None:
        return f"more predictions are wrong{at}"
    if lead.column == PERFORMANCE_CALIBRATION:
        return f"scores mean something else{at}"
    return f"performance changed: {where(lead)}"


def _effect(lead: Finding) -> str:
    if _more_wrong(lead) is not None:
        return ""  # the shares say it better
    text = psi_text(lead)
    return f" ({text})" if text else ""


def _others(findings: Sequence[Finding]) -> str:
    """Name the other columns, the first few in full."""
    names = [
        name for name in dict.fromkeys(finding.column for finding in findings) if name != findings[0].column
    ]
    if not names:
        return ""
    named, rest = names[:NAMED_COLUMNS], len(names) - NAMED_COLUMNS
    more = f" and {rest} more column{'s' if rest > 1 else ''}" if rest > 0 else ""
    return f"; also {', '.join(named)}{more}"


def _detail(lead: Finding) -> str:
    text = moved_text(lead).strip()
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


def date(at: datetime) -> str:
    """Write a day, such as ``5 Jan 2026``."""
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"
