"""What a receiver is told: one change of one incident, as the incident was at that change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from alerting.alert import Alert, Change
from alerting.incidents.impact import Impact
from alerting.incidents.incident import Incident, Member, Proposal
from alerting.incidents.root_cause import Cause
from schemas.decoding import json_decoder
from schemas.errors import StoreError

N = TypeVar("N")
FORMAT = 1
CARRIED_FINDINGS = 50
CARRIED_MEMBERS = 50
CARRIED_PROPOSALS = 5


@dataclass(frozen=True)
class Notice:
    """One message to one receiver.

    Parameters
    ----------
    id : str
        Stable over all attempts; receivers use it to drop repetitions.
    change : Change
        What happened.
    alert : Alert
        The incident right after that, all its alerts as one, with one finding per stream and at most 50 of
        them. Its id is the incident's.
    findings_total : int
        Number of streams of the incident.
    columns_total : int
        Number of columns of the incident.
    url : str
        Address of the incident on the console; empty if none is configured.
    members : tuple of Member
        The alerts of the incident, at most 50, the one that matters most first.
    members_total : int
        Number of its alerts.
    causes : tuple of Cause
        What may be behind it, the likeliest first.
    impact : Impact or None
        What it costs, where performance is known or estimated.
    proposals : tuple of Proposal
        Runs of training that wait for approval, at most 5.
    """

    id: str
    change: Change
    alert: Alert
    findings_total: int
    columns_total: int
    url: str = ""
    format: int = FORMAT
    members: tuple[Member, ...] = ()
    members_total: int = 1
    causes: tuple[Cause, ...] = ()
    impact: Impact | None = None
    proposals: tuple[Proposal, ...] = ()

    @property
    def segments(self) -> tuple[str, ...]:
        """Segments that the findings name."""
        return tuple(dict.fromkeys(one.segment for one in self.alert.findings if one.segment))

    @property
    def type(self) -> str:
        """Name of the event, such as ``driftline.alert.opened``."""
        return f"driftline.alert.{self.change.kind}"


def notice_of(id_: str, change: Change, incident: Incident, console_url: str = "") -> Notice:
    """Put together what a receiver needs to know, in bounded space."""
    whole = incident.whole
    leading = whole.leading
    url = f"{console_url.rstrip('/')}/incidents/{incident.id}" if console_url else ""
    return Notice(
        id_,
        change,
        replace(whole, findings=leading[:CARRIED_FINDINGS]),
        len(leading),
        len(whole.columns),
        url,
        members=incident.members[:CARRIED_MEMBERS],
        members_total=len(incident.members),
        causes=incident.causes,
        impact=incident.impact,
        proposals=incident.proposals[:CARRIED_PROPOSALS],
    )


def encode(notice: Notice) -> str:
    """Write a notice as JSON."""
    return msgspec.json.encode(notice).decode()


def decode(payload: str) -> Notice:
    """Read what `encode` wrote; see `alerting.payload` for everything that may be in the outbox.

    Raises
    ------
    StoreError
        If it is something else, or from a later version.
    """
    return read(payload, Notice)


def read(payload: str, what: type[N]) -> N:
    """Read a payload that is known to be of a type.

    Raises
    ------
    StoreError
        If it is something else, or from a later version.
    """
    try:
        notice = json_decoder(what).decode(payload)
    except msgspec.MsgspecError as error:
        msg = f"this is not a notice: {error}"
        raise StoreError(msg) from error
    format_ = getattr(notice, "format", None)
    if format_ != FORMAT:
        msg = f"a notice has format {format_} (this version reads {FORMAT}); update Driftline"
        raise StoreError(msg)
    return notice
