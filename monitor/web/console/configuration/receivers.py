"""Receivers of the configuration for people: what they are, without secrets, and whether they can be told."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from monitor.config import Configuration
from monitor.contracts.yaml_text import flow
from monitor.store.queries.receivers import ReceiverStanding, receiver_standings
from monitor.web.console.configuration.applied import shown

FINGERPRINT_SIGNS = 16


@dataclass(frozen=True)
class ReceiverShown:
    """One receiver.

    Parameters
    ----------
    name, type : str
    is_target : bool
        Whether it starts training rather than reads messages.
    options : tuple of (str, str)
        What is stated, without secrets.
    disabled : str
        Why it wants nothing any more; empty if it does, or if its options have changed since.
    is_used : bool
        Whether a route, an escalation or the digest names it.
    standing : ReceiverStanding
    """

    name: str
    type: str
    is_target: bool
    options: tuple[tuple[str, str], ...]
    disabled: str
    is_used: bool
    standing: ReceiverStanding


def receivers_of(connection: Connection, configuration: Configuration) -> list[ReceiverShown]:
    """Describe every receiver, by name."""
    standings = receiver_standings(connection, list(configuration.receivers))
    used = _used(configuration)
    found = []
    for name, options in sorted(configuration.receivers.items()):
        standing = standings[name]
        stated: dict[str, Any] = options.model_dump(mode="json", by_alias=True, exclude_unset=True)
        kind = str(stated.pop("type"))
        is_same = standing.fingerprint == fingerprint(options)
        found.append(
            ReceiverShown(
                name,
                kind,
                name in configuration.targets,
                tuple((key, flow(value)) for key, value in shown(stated).items()),
                standing.disabled if is_same else "",
                name in used,
                standing,
            )
        )
    return found


def fingerprint(options: BaseModel) -> str:
    """What `alerting.contributed.Configured.fingerprint` is of a receiver with these options."""
    return hashlib.sha256(options.model_dump_json().encode()).hexdigest()[:FINGERPRINT_SIGNS]


def _used(configuration: Configuration) -> set[str]:
    alerts = configuration.alerts
    names = {name for route in alerts.routes for name in route.to}
    names |= {name for route in alerts.routes if route.escalate for name in route.escalate.to}
    return names | set(alerts.digest.to)
