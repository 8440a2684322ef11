"""The reference of the version that came of a run: which are offered, and taking one."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection

from alerting.alert import ChangeKind
from alerting.finding import instant
from monitor.incidents.recording import say
from monitor.references.offers import SHORT, Offer, accept, offer_of
from monitor.retraining.decisions import NoRequest
from monitor.store import incidents, retraining
from monitor.store.engine import immediate
from monitor.store.queries.models import versions_of
from monitor.web.context import Context
from schemas.errors import UnusableReference, UsageError


def offer_after(context: Context, connection: Connection, run: Any) -> Offer | None:
    """Look which references there are for the version that came of a run; None as long as none has come."""
    version = json.loads(run.outcome).get("version") if run.outcome else None
    if version is None or run.started_at_ms is None or version not in versions_of(connection, run.model):
        return None
    settings = context.configuration.for_model(run.model)
    return offer_of(connection, settings, (run.model, version), int(run.started_at_ms))


def take(context: Context, id_: str, run_id: str, hash_: str, actor: str, reason: str) -> None:
    """Compare the version that came of a run with a reference that is offered to it, and tell of it.

    Parameters
    ----------
    id_ : str
        Of the incident.
    run_id : str
        Of the request for training.
    hash_ : str
        Of the reference; one that is in force already is left as it is.
    actor : str
    reason : str

    Raises
    ------
    UsageError
        If the incident has no such run, or the reference is not offered to its version.
    """
    now_ms = context.clock.now_ms()
    with immediate(context.engine) as connection:
        run = retraining.get(connection, run_id)
        if run is None or run.incident_id != id_:
            msg = f"this incident has no request for training {run_id[:80]!r}"
            raise NoRequest(msg)
        found = offer_after(context, connection, run)
        if found is not None and found.in_force is not None and found.in_force.hash == hash_:
            return
        chosen = None if found is None else next((one for one in found.candidates if one.hash == hash_), None)
        if found is None or chosen is None:
            msg = f"the reference {hash_[:SHORT]!r} is not offered to the version that came of this run"
            raise UsageError(msg)
        key, settings = (found.model, found.version), context.configuration.for_model(found.model)
        try:
            _, from_ms = accept(connection, settings, key, chosen.hash, by=actor, now_ms=now_ms)
        except UnusableReference as error:
            raise UsageError(str(error)) from error
        incidents.lock(connection)
        known = incidents.look(connection, id_)
        if isinstance(known, incidents.Known):
            since = f", from {instant(from_ms):%Y-%m-%d %H:%M} UTC on" if from_ms else ""
            because = f": {reason}" if reason else ""
            words = f"version {found.version} is compared with {hash_[:SHORT]}, of {chosen.source}{since}"
            told = f"{words}, says {actor}{because}"
            say(connection, context.configuration, known, ChangeKind.RETRAINING, told, actor, now_ms)
