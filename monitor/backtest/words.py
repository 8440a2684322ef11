"""A backtest in lines of text: incidents, who would have been told of each, and what would have trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from alerting.alert import State
from alerting.digest import Digest
from alerting.finding import Kind, Severity, instant, shorten
from alerting.incidents.incident import Incident
from alerting.pipeline import FINISHED
from alerting.retraining.guards import Standing
from alerting.summary import span, subject
from monitor.backtest.report import Backtest, Delivery, Retraining

SHOWN_COLUMNS = 3  # of a week
MOST_WORDS = 200
INDENT = "    "
WHAT = {
    Kind.DRIFT: "drift", Kind.QUALITY: "data quality", Kind.PERFORMANCE: "performance",
    Kind.SLO: "objective missed", Kind.FAIRNESS: "fairness", Kind.ROLLBACK: "an older version does better",
}  # fmt: skip


class Line(NamedTuple):
    """One line; heads of incidents have a severity to be coloured by."""

    text: str
    severity: Severity | None = None


def lines(found: Backtest, budget: str) -> Iterator[Line]:
    """Say what was found.

    Parameters
    ----------
    found : Backtest
    budget : str
        The stated one, as in the configuration.
    """
    fired = [one for one in found.incidents if one.whole.has_fired]
    for incident in fired:
        yield from _incident(incident, found)
    if fired:
        yield Line("")
    yield from _digests(found.digests)
    yield from _retraining_in_all(found.retraining)
    alerts = sum(1 for alert in found.alerts if alert.has_fired)
    count = "no incidents" if not fired else f"{_number(len(fired), 'incident')} ({_number(alerts, 'alert')})"
    judged = span(instant(found.from_ms), instant(found.to_ms))
    windows = _number(found.windows, "window")
    yield Line(f"{count} in {windows} of {', '.join(found.models)}, {judged}; {found.results} results")
    yield Line(f"false alarms: {found.allowed:.2f} allowed ({budget}), {found.spent:.2f} spent")


def _incident(incident: Incident, found: Backtest) -> Iterator[Line]:
    whole = incident.whole
    kinds = dict.fromkeys(WHAT.get(member.kind, str(member.kind)) for member in incident.members)
    head = f"{_time(whole.opened_at)}  {whole.severity:4}  {_subjects(incident)}: {', '.join(kinds)}"
    yield Line(head, whole.severity)
    yield Line(f"{INDENT}{shorten(_event(whole.summary), MOST_WORDS)}")
    yield Line(f"{INDENT}{_course(incident)}")
    if incident.causes:
        cause = incident.causes[0]
        words = cause.words.removeprefix(f"{cause.name}: ")
        yield Line(f"{INDENT}likely cause: {shorten(f'{cause.name}: {words}', MOST_WORDS)}")
    if incident.impact is not None:
        yield Line(f"{INDENT}{incident.impact.words}")
    yield Line(f"{INDENT}told: {_told(found.deliveries, incident.id)}")
    for request in found.retraining:
        if request.incident_id == incident.id:
            yield Line(f"{INDENT}retraining: {_request(request, with_model=len(incident.models) > 1)}")


def _subjects(incident: Incident) -> str:
    names = dict.fromkeys(subject(member.model, member.version) for member in incident.members)
    return ", ".join(names)


def _event(summary: str) -> str:
    """The first sentence, without the model, which stands in the line before."""
    return summary.partition(": ")[2] or summary


def _course(incident: Incident) -> str:
    """When it began, how sure that is, and when it was over."""
    whole = incident.whole
    onsets = [finding.onset_at for finding in whole.findings if finding.onset_at is not None]
    since = f"since {_time(min(onsets))}" if onsets else f"seen from {_time(whole.window_start)} on"
    evidence = "" if whole.evidence_log is None else f" (evidence e^{whole.evidence_log:.1f})"
    if incident.state not in FINISHED or whole.closed_at is None:
        return f"{since}{evidence}; still open at the end"
    over = "taken back" if incident.state is State.RETRACTED else "over"
    return f"{since}{evidence}; {over} {_time(whole.closed_at)}"


def _told(deliveries: Iterable[Delivery], incident_id: str) -> str:
    """Who is told, from when on, and how often; what comes at one moment is one message."""
    moments: dict[str, set[datetime]] = {}
    for one in deliveries:
        if one.alert_id == incident_id:
            moments.setdefault(one.receiver, set()).add(one.at)
    together: dict[str, list[str]] = {}
    for receiver, at in moments.items():
        together.setdefault(_when(at), []).append(receiver)
    return "; ".join(f"{', '.join(names)} {when}" for when, names in together.items()) or "nobody"


def _when(moments: set[datetime]) -> str:
    first, last = min(moments), max(moments)
    if len(moments) == 1:
        return _time(first)
    return f"{len(moments)} times, {_time(first)} to {_time(last)}"


def _request(request: Retraining, *, with_model: bool) -> str:
    """Say what would have become of a request."""
    who = f"{request.receiver} of {request.model}" if with_model else request.receiver
    data = f"data from {_time(request.data_from)} to {_time(request.data_to)}"
    match Standing(request.standing):
        case Standing.STARTED:
            return f"{who} would have started {_time(request.at)} with {data}"
        case Standing.PROPOSED:
            return f"{who} would have waited for approval from {_time(request.at)} on, with {data}"
        case Standing.DRY_RUN:
            return f"{who} would have noted a dry run {_time(request.at)}, with {data}"
        case _:
            return f"{who} would not have started: {request.reason}"


def _retraining_in_all(requests: tuple[Retraining, ...]) -> Iterator[Line]:
    if requests:
        started = sum(request.standing == Standing.STARTED for request in requests)
        refused = sum(request.standing == Standing.REFUSED for request in requests)
        others = len(requests) - started - refused
        more = f", {others} otherwise" if others else ""
        yield Line(f"retraining: {started} would have started, {refused} refused{more}")


def _digests(digests: tuple[Digest, ...]) -> Iterator[Line]:
    """Weeks in which something drifted, each with its leading columns."""
    for digest in digests:
        if digest.listed_total:
            names = list(dict.fromkeys(stream.column for stream in digest.listed))
            left = len(names) - SHOWN_COLUMNS
            more = f" and {_number(left, 'more column')}" if left > 0 else ""
            shown = ", ".join(names[:SHOWN_COLUMNS])
            how_many = f"{digest.listed_total} of {digest.streams} streams drifted"
            yield Line(f"week of {digest.week:%Y-%m-%d}: {how_many}: {shown}{more}")
    if digests:
        listed = sum(1 for digest in digests if digest.listed_total)
        yield Line(f"digest: something drifted in {listed} of {len(digests)} weeks")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
