"""What a receiver's limit held back, as one message that lists it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from alerting.finding import Severity, shorten
from alerting.notice import Notice

FORMAT = 1
CARRIED_INCIDENTS = 50
MAX_SUMMARY = 200
TYPE = "driftline.held_back"


@dataclass(frozen=True)
class HeldIncident:
    """One incident that was not told of by itself; as it was at its latest change."""

    id: str
    model: str
    version: str
    severity: Severity
    state: str
    summary: str
    url: str = ""


@dataclass(frozen=True)
class HeldNotice:
    """One list to one receiver.

    Parameters
    ----------
    id : str
        Stable over all attempts; made of what is listed.
    incidents : tuple of HeldIncident
        The most severe first, at most 50.
    total : int
        How many there are.
    limit : str
        The limit that held them back, ``20 per hour``.
    at : datetime
        When the list was made.
    """

    id: str
    incidents: tuple[HeldIncident, ...]
    total: int
    limit: str
    at: datetime
    kind: Literal["held"] = "held"
    format: int = FORMAT

    @property
    def type(self) -> str:
        """Name of the event."""
        return TYPE

    @property
    def headline(self) -> str:
        """Say in one line what was held back, and why."""
        several = "incident was" if self.total == 1 else "incidents were"
        return f"{self.total:,} more {several} held back by the limit of {self.limit}"


def held_notice(notices: Sequence[Notice], receiver: str, limit: str, at: datetime) -> HeldNotice:
    """Make one list of notices, of each incident the latest.

    Parameters
    ----------
    notices : sequence of Notice
        At least one, in the order in which they were written.
    receiver : str
        Who is told.
    limit : str
        What holds them back.
    at : datetime
        Now, aware UTC.
    """
    latest = {notice.alert.id: notice for notice in notices}
    ordered = sorted(latest.values(), key=lambda one: (-one.alert.severity.rank, one.alert.id))
    key = ":".join([receiver, *sorted(notice.id for notice in notices)])
    id_ = hashlib.sha256(key.encode()).hexdigest()[:32]
    listed = tuple(_held(notice) for notice in ordered[:CARRIED_INCIDENTS])
    return HeldNotice(id_, listed, len(ordered), limit, at)


def line(incident: HeldIncident) -> str:
    """Write one incident; not escaped.

    Examples
    --------
    >>> line(HeldIncident("i", "churn", "3", Severity.PAGE, "firing", "churn v3: score drifted"))
    'page, firing: churn v3: score drifted'
    """
    return f"{incident.severity}, {incident.state}: {incident.summary}"


def _held(notice: Notice) -> HeldIncident:
    alert = notice.alert
    return HeldIncident(
        alert.id,
        alert.model,
        alert.version,
        alert.severity,
        str(alert.state),
        shorten(alert.summary, MAX_SUMMARY),
        notice.url,
    )
