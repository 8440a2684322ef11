"""Takes a model out of what it shares with others: incidents, and messages that list several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from sqlalchemy import Connection, delete, func, or_, select, update

from alerting.alert import Alert
from alerting.digest import DigestNotice
from alerting.finding import epoch_ms
from alerting.held import HeldNotice
from alerting.incidents.incident import Incident, gather, inputs_of
from alerting.notice import Notice, notice_of
from alerting.payload import decode, encode
from monitor.erasure.belonging import Target, alerts_of, shared_incidents
from monitor.store import incidents
from monitor.store.outbox import WAITING
from monitor.store.tables import incident, incident_alert, incident_column, outbox

INCIDENTS_AT_ONCE = 50
MESSAGES_AT_ONCE = 200


def leave_incidents(connection: Connection, target: Target) -> int:
    """Take alerts of the target out of some incidents that have others; returns of how many incidents.

    What an incident says of itself then follows from the alerts that are left. Messages that wait say only
    that; those that were sent and named the target are removed.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction that holds the lock of incidents (`monitor.store.incidents.lock`).
    target : Target
    """
    some = shared_incidents(target).order_by(incident.c.id).limit(INCIDENTS_AT_ONCE)
    ids = list(connection.execute(some).scalars())
    member = incident_alert.c
    mine = (member.incident_id.in_(ids), member.alert_id.in_(alerts_of(target)))
    connection.execute(delete(incident_alert).where(*mine))
    for id_ in ids:
        known = incidents.load(connection, id_)
        if known is not None:
            rest = gather(id_, known.record.sequence, known.alerts)
            _rewrite(connection, rest, known.alerts)
            _rewrite_messages(connection, target, rest)
    return len(ids)


def _rewrite(connection: Connection, rest: Incident, alerts: Sequence[Alert]) -> None:
    whole = rest.whole
    starts = [min(one.window_start, one.onset_at or one.window_start) for one in alerts]
    values = {
        "model": whole.model,
        "version": whole.version,
        "kind": whole.kind.value,
        "severity": whole.severity.value,
        "state": whole.state.value,
        "start_ms": epoch_ms(min(starts)),
        "latest_start_ms": epoch_ms(max(one.window_start for one in alerts)),
        "opened_at_ms": epoch_ms(whole.opened_at),
        "closed_at_ms": None if whole.closed_at is None else epoch_ms(whole.closed_at),
        "summary": whole.summary,
    }
    connection.execute(update(incident).where(incident.c.id == rest.id).values(values))
    c, named = incident_column.c, {name[:512] for one in alerts for name in inputs_of(one)}
    gone = (c.incident_id == rest.id, c.column.not_in(sorted(named)))
    connection.execute(delete(incident_column).where(*gone))


def _rewrite_messages(connection: Connection, target: Target, rest: Incident) -> None:
    rows = connection.execute(
        select(outbox.c.id, outbox.c.state, outbox.c.payload).where(outbox.c.alert_id == rest.id)
    )
    for row in rows.all():
        notice = decode(row.payload)
        if not isinstance(notice, Notice) or not _names(notice, target):
            continue
        this = outbox.c.id == row.id
        if row.state == WAITING:
            now = replace(notice_of(notice.id, notice.change, rest), url=notice.url)
            connection.execute(update(outbox).where(this).values(payload=encode(now)))
        else:
            connection.execute(delete(outbox).where(this))


def _names(notice: Notice, target: Target) -> bool:
    named = {(one.model, one.version) for one in notice.members} | {
        (notice.alert.model, notice.alert.version)
    }
    return any(_is_of(*one, target) for one in named)


def leave_lists(connection: Connection, target: Target, after: str) -> str | None:
    """Take the target out of digests and lists of what was held back, some messages at a time.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction.
    target : Target
    after : str
        Id of the last message seen; empty to begin with.

    Returns
    -------
    str or None
        Id of the last message seen; None if there are no more.
    """
    c = outbox.c
    name = msgspec.json.encode(target.model).decode()
    is_list = or_(c.payload.contains('"kind":"digest"'), c.payload.contains('"kind":"held"'))
    has_name = func.replace(c.payload, name, "") != c.payload
    query = select(c.id, c.payload).where(c.id > after, is_list, has_name)
    rows = connection.execute(query.order_by(c.id).limit(MESSAGES_AT_ONCE)).all()
    for row in rows:
        said = decode(row.payload)
        rest = _without(said, target)
        if rest is not said:
            connection.execute(update(outbox).where(c.id == row.id).values(payload=encode(rest)))
    return rows[-1].id if rows else None


def _without(said: Notice | DigestNotice | HeldNotice, target: Target) -> Notice | DigestNotice | HeldNotice:
    if isinstance(said, DigestNotice):
        digest = said.digest
        listed = tuple(one for one in digest.listed if not _is_of(one.model, one.version, target))
        fewer = len(digest.listed) - len(listed)
        if not fewer:
            return said
        left = replace(digest, listed=listed, listed_total=digest.listed_total - fewer)
        return replace(said, digest=left)
    if isinstance(said, HeldNotice):
        told = tuple(one for one in said.incidents if not _is_of(one.model, one.version, target))
        fewer = len(said.incidents) - len(told)
        return replace(said, incidents=told, total=said.total - fewer) if fewer else said
    return said


def _is_of(model: str, version: str, target: Target) -> bool:
    return model == target.model and target.version in (None, version)
