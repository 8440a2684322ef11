"""What is known of receivers: what has not arrived, what arrived last, whether one wants nothing any more."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from monitor.store.outbox import DEAD, DELIVERED, WAITING
from monitor.store.tables import outbox, receiver_state


@dataclass(frozen=True)
class Backlog:
    """Messages that have not arrived at a receiver."""

    receiver: str
    waiting: int
    dead: int


def backlogs(connection: Connection) -> list[Backlog]:
    """Count what has not arrived, by receiver; receivers that have got everything are left out."""
    o = outbox.c
    query = select(o.receiver, o.state, func.count()).where(o.state.in_((WAITING, DEAD)))
    found: dict[str, dict[str, int]] = {}
    for receiver, state, number in connection.execute(query.group_by(o.receiver, o.state)):
        found.setdefault(receiver, {})[state] = int(number)
    return [
        Backlog(name, numbers.get(WAITING, 0), numbers.get(DEAD, 0))
        for name, numbers in sorted(found.items())
    ]


@dataclass(frozen=True)
class ReceiverStanding:
    """One receiver; `disabled` says why it wants nothing any more, as of options with that fingerprint."""

    disabled: str = ""
    fingerprint: str = ""
    waiting: int = 0
    dead: int = 0
    delivered_at_ms: int | None = None


def receiver_standings(connection: Connection, names: list[str]) -> dict[str, ReceiverStanding]:
    """Look up receivers by name."""
    disabled = _states(connection, names)
    missing = {one.receiver: one for one in backlogs(connection)}
    found = {}
    for name in names:
        state, backlog = disabled.get(name, {}), missing.get(name, Backlog(name, 0, 0))
        found[name] = ReceiverStanding(
            str(state.get("disabled", "")),
            str(state.get("fingerprint", "")),
            backlog.waiting,
            backlog.dead,
            _last(connection, name),
        )
    return found


def disabled_receivers(connection: Connection, names: list[str]) -> dict[str, str]:
    """Why receivers want nothing any more, by name; those that do are left out."""
    states = _states(connection, names)
    return {name: str(state["disabled"]) for name, state in sorted(states.items()) if state.get("disabled")}


def _states(connection: Connection, names: list[str]) -> dict[str, dict[str, str]]:
    r = receiver_state.c
    states = connection.execute(select(r.receiver, r.state).where(r.receiver.in_(names), r.alert_id == ""))
    return {row.receiver: json.loads(row.state) for row in states}


def _last(connection: Connection, receiver: str) -> int | None:
    o = outbox.c
    query = select(func.max(o.finished_at_ms)).where(o.receiver == receiver, o.state == DELIVERED)
    at_ms: int | None = connection.execute(query).scalar_one()
    return at_ms
