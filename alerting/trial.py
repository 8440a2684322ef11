"""A message that tries a receiver: an incident that is over, so that nobody is woken by it."""

from __future__ import annotations

import secrets
from datetime import timedelta

from alerting.alert import Alert, Change, ChangeKind, Effect, State
from alerting.finding import Finding, Kind, Severity, instant
from alerting.incidents.incident import gather
from alerting.notice import Notice, notice_of
from schemas.verdict import Lane

MODEL = "driftline-test"
SUMMARY = "This is a test of the receiver {receiver}. Nothing has happened, and nothing is to be done."
SPAN = timedelta(minutes=5)


def trial_notice(receiver: str, now_ms: int, console_url: str = "") -> Notice:
    """Make a notice of an incident that is resolved already.

    Parameters
    ----------
    receiver : str
        Its name in the configuration; part of the text.
    now_ms : int
        Wall clock.
    console_url : str
        For the link; empty for none.

    Examples
    --------
    >>> notice = trial_notice("oncall", 1_767_225_600_000)
    >>> notice.alert.state.value, notice.alert.severity.value, notice.change.kind.value
    ('resolved', 'info', 'resolved')
    """
    until = instant(now_ms)
    since = until - SPAN
    summary = SUMMARY.format(receiver=receiver)
    finding = Finding("test", "", Lane.QUALITY, "test", since, until, explanation=summary)
    alert = Alert(
        id=f"test-{secrets.token_hex(8)}",
        model=MODEL,
        version="",
        kind=Kind.QUALITY,
        lane=Lane.QUALITY,
        severity=Severity.INFO,
        column="test",
        segment="",
        state=State.RESOLVED,
        opened_at=since,
        closed_at=until,
        window_start=since,
        window_end=until,
        onset_at=since,
        evidence_log=None,
        threshold_log=None,
        effect=Effect(),
        summary=summary,
        sequence=1,
        findings=(finding,),
        recent=(),
        lanes=(Lane.QUALITY,),
        severities=(Severity.INFO,),
    )
    change = Change(ChangeKind.RESOLVED, 1, "a test message", "driftline", until)
    return notice_of(secrets.token_hex(16), change, gather(alert.id, 1, [alert]), console_url)
