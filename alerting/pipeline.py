"""From changes of an alert to messages: which receivers are told of what."""

from __future__ import annotations

from collections.abc import Sequence

from alerting.alert import Alert, Change
from alerting.notice import encode, notice_of
from alerting.outbox import OutboxRow, row_id
from alerting.policy import Route


def receivers_of(alert: Alert, routes: Sequence[Route]) -> list[str]:
    """Name the receivers of an alert: those of every matching route, each once, in order."""
    named = [
        receiver
        for route in routes
        if route.match.agrees(
            severities=alert.severities,
            lanes=alert.lanes,
            kind=alert.kind,
            model=alert.model,
            version=alert.version,
        )
        for receiver in route.to
    ]
    return list(dict.fromkeys(named))


def outbox_rows(
    alert: Alert, changes: Sequence[Change], routes: Sequence[Route], console_url: str = ""
) -> list[OutboxRow]:
    """Write one message for every change and receiver.

    Parameters
    ----------
    alert : Alert
        As it is after the changes.
    changes : sequence of Change
        What `alerting.alert.step` returned; empty gives no rows.
    routes : sequence of Route
        From the configuration.
    console_url : str
        Address of the console, for links; empty for messages without links.

    Returns
    -------
    list of OutboxRow
        With deterministic identities: the same change always gives the same rows.
    """
    rows = []
    for change in changes:
        for receiver in receivers_of(alert, routes):
            id_ = row_id(alert.id, change.sequence, receiver)
            payload = encode(notice_of(id_, change, alert, console_url))
            rows.append(OutboxRow(id_, alert.id, change.sequence, receiver, payload))
    return rows
