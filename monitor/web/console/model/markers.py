"""What happened to a model along the time axis of its page: versions, references, incidents, training."""

from __future__ import annotations

from sqlalchemy import Connection, select

from monitor.store.tables import deployment, incident, incident_alert, reference_pointer, retraining_run
from monitor.web.charting.chart import Event, Marker
from monitor.web.console.model.view import View
from monitor.web.console.shell import path

MOST = 40  # of each kind, the newest ones
SEEN = "seen"


def markers_of(connection: Connection, view: View) -> list[Marker]:
    """List what happened in the range of a view, by time.

    Notes
    -----
    Versions, references and incidents are placed at event time. Deployments that somebody told and training
    are placed at the time they were told; a replay of the past has them outside of its range.
    """
    found = [
        *_versions(view),
        *_deployments(connection, view),
        *_references(connection, view),
        *_incidents(connection, view),
        *_training(connection, view),
    ]
    return sorted(found, key=lambda one: one.at_ms)


def _versions(view: View) -> list[Marker]:
    first = view.versions[0].first_slice_ms
    return [
        Marker(row.first_slice_ms, Event.DEPLOYMENT, f"first events of version {row.version} ({row.role})")
        for row in view.versions[-MOST:]
        if view.from_ms <= row.first_slice_ms < view.to_ms and row.first_slice_ms > first
    ]


def _deployments(connection: Connection, view: View) -> list[Marker]:
    d = deployment.c
    query = select(d.at_ms, d.version, d.comment).where(
        d.model == view.model, d.at_ms >= view.from_ms, d.at_ms < view.to_ms, d.source != SEEN
    )
    rows = connection.execute(query.order_by(d.at_ms.desc()).limit(MOST))
    return [
        Marker(row.at_ms, Event.DEPLOYMENT, f"version {row.version} deployed {row.comment}".strip())
        for row in rows
    ]


def _references(connection: Connection, view: View) -> list[Marker]:
    p = reference_pointer.c
    query = select(p.from_ms, p.version, p.revision, p.promoted_by).where(
        p.model == view.model, p.version.in_(view.shown), p.from_ms >= view.from_ms, p.from_ms < view.to_ms
    )
    rows = connection.execute(query.order_by(p.from_ms.desc()).limit(MOST))
    return [
        Marker(
            row.from_ms,
            Event.REFERENCE,
            f"reference {row.revision} of version {row.version}, by {row.promoted_by}",
        )
        for row in rows
    ]


def _incidents(connection: Connection, view: View) -> list[Marker]:
    i, member = incident.c, incident_alert.c
    of_model = select(member.incident_id).where(member.model == view.model)
    query = select(i.id, i.opened_at_ms, i.kind, i.severity, i.state).where(
        i.id.in_(of_model), i.opened_at_ms >= view.from_ms, i.opened_at_ms <= view.to_ms
    )
    rows = connection.execute(query.order_by(i.opened_at_ms.desc()).limit(MOST))
    return [
        Marker(
            row.opened_at_ms,
            Event.INCIDENT,
            f"incident: {kind_words(row.kind)}, severity {row.severity}, now {row.state}",
            f"/incidents/{path(row.id)}",
        )
        for row in rows
    ]  # fmt: skip


def _training(connection: Connection, view: View) -> list[Marker]:
    r = retraining_run.c
    query = select(r.created_at_ms, r.receiver, r.state, r.incident_id).where(
        r.model == view.model, r.created_at_ms >= view.from_ms, r.created_at_ms < view.to_ms
    )
    rows = connection.execute(query.order_by(r.created_at_ms.desc()).limit(MOST))
    return [
        Marker(
            row.created_at_ms, Event.TRAINING, f"training asked of {row.receiver}: {row.state}",
            f"/incidents/{path(row.incident_id)}" if row.incident_id else "",
        )
        for row in rows
    ]  # fmt: skip


def kind_words(kind: str) -> str:
    """Name a kind of incident for people.

    Examples
    --------
    >>> kind_words("slo"), kind_words("no_data")
    ('objective missed', 'no data')
    """
    return {"slo": "objective missed"}.get(kind, kind.replace("_", " "))
