"""Incidents as receivers are told of them, the ordinary ones and the worst ones."""

from dataclasses import replace
from datetime import timedelta

from alerting.alert import Change, ChangeKind, State, acknowledge
from alerting.finding import Finding, instant
from alerting.incidents.impact import Impact, Knowledge
from alerting.incidents.incident import gather
from alerting.incidents.root_cause import Cause
from alerting.notice import Notice, notice_of
from schemas.verdict import Lane
from tests.alerting.factory import START_MS, finding, notices, play, window

URL = "https://drift.example.com/incidents/1"
# Escapes, links, markup, line breaks, marks that reverse text, and letters of all lengths.
HOSTILE = "<script>alert(1)</script>\r\nBcc: x@y\u202e[a](http://evil)\x00\x1b 😀שלום{{DATE(2017)}}@all"
STORY = notices(window(0, ["age"]), window(1, ["score"]), window(2), window(3), window(4))
OPENED, RISEN, RESOLVED = STORY
MISTAKEN, RETRACTED = notices(window(0, ["age"]), window(0, revision=2))


def acknowledged() -> Notice:
    """The incident after somebody has seen it."""
    alert, _ = play(window(0, ["age"]))
    seen, (change,) = acknowledge(alert, "operator", instant(START_MS + 900_000), "looking into it")
    return notice_of("n-ack", change, gather(seen.id, change.sequence, [seen]), "https://drift.example.com")


def pending() -> Notice:
    """An incident that has not fired: nobody is to be told."""
    alert = replace(OPENED.alert, state=State.PENDING, has_fired=False)
    return replace(OPENED, alert=alert, change=replace(OPENED.change, kind=ChangeKind.PENDING))


def reminded(notice: Notice = RISEN) -> Notice:
    """The same incident some hours later, with nothing new."""
    change = Change(
        ChangeKind.REMINDED, 9, "nobody has acknowledged it for 2h", "driftline", notice.change.at
    )
    return replace(notice, id=f"{notice.id}-again", change=change)


def enormous(columns=1_000, text=HOSTILE * 5) -> Notice:
    """A thousand findings with the longest and worst names, causes and all the rest."""
    found: list[Finding] = [
        finding(f"{text}{i}", segment=text, lane=Lane.PREDICTIONS, explanation=text) for i in range(columns)
    ]
    (notice,) = notices(window(0, found, model=text, version=text))
    causes = tuple(Cause(f"{text}{i}", 1.0, 0.5, None, (text,), text[:240]) for i in range(5))
    members = tuple(
        replace(member, id=f"m{i}") for i in range(50) for member in _members(window(0, ["age"], model=text))
    )
    impact = Impact("f1", 0.613, 0.58, 0.64, 0.71, Knowledge.ESTIMATED, 1_204)
    return replace(notice, causes=causes, members=members, members_total=400, impact=impact, url=URL)


def late(notice: Notice, by: timedelta) -> Notice:
    """The same, with events whose time is ahead of the clock."""
    return replace(notice, alert=replace(notice.alert, opened_at=notice.alert.opened_at + by))


def _members(observation):
    alert, _ = play(observation)
    return gather(alert.id, 1, [alert]).members
