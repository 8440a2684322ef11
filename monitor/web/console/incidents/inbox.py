"""What the inbox shows of each incident: state, since when, what, why, what it costs, who was told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Connection

from alerting.alert import OPEN_STATES, Alert
from alerting.incidents.incident import Incident, gather
from alerting.record import Record
from monitor.incidents.costs import impact_of
from monitor.store import incidents as stored
from monitor.store.engine import reading
from monitor.store.incidents import Unreadable
from monitor.store.queries.inbox import InboxWanted, inbox, totals
from monitor.web.console.done import Done
from monitor.web.console.fields import Blank, FieldInstant, FieldText
from monitor.web.console.incidents.cost import cost_of
from monitor.web.context import Context
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked

LISTED = 25
OPEN = tuple(str(state) for state in OPEN_STATES)
State = Literal["open", "firing", "acknowledged", "resolved", "retracted", "all"]
STATES: dict[State, tuple[str, ...]] = {"open": OPEN, "all": ()}
SORTED_BY_SEVERITY = frozenset({"open", "firing", "acknowledged"})


class InboxAsked(Asked):
    """Parameters of the inbox."""

    state: State = Field("open", description="Only incidents in this state.")
    model: FieldText = Field(None, description="Only incidents with an alert of this model.")
    severity: Annotated[Literal["page", "warn", "info"] | None, Blank] = Field(
        None, description="Only incidents that are so severe."
    )
    q: FieldText = Field(None, description="A part of the summary.")
    from_ms: FieldInstant = Field(None, alias="from", description="Opened at or after this.")
    to_ms: FieldInstant = Field(None, alias="to", description="Opened before this.")
    order: Annotated[Literal["severity", "newest"] | None, Blank] = Field(
        None, description="What comes first; by default the severest of those that are open, else the newest."
    )
    cursor: str | None = Field(None, max_length=2_048, description="Where the page before ended.")
    done: Done | None = Field(None, description="What a form has just done.")

    @property
    def is_severest_first(self) -> bool:
        """Whether the severest incidents come first."""
        return self.order == "severity" if self.order else self.state in SORTED_BY_SEVERITY

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the state narrows the list."""
        return any(
            value is not None for value in (self.model, self.severity, self.q, self.from_ms, self.to_ms)
        )


@dataclass(frozen=True)
class Entry:
    """An incident as the inbox shows it: what is remembered of it, and what it costs in words."""

    incident: Incident
    record: Record
    cost: str
    alerts: Sequence[Alert]

    @property
    def headline(self) -> str:
        """What happened, in a few words."""
        return headline_of(self.incident.whole.summary)

    @property
    def told(self) -> tuple[str, ...]:
        """Receivers that were told of it."""
        return tuple(self.record.told)


@dataclass(frozen=True)
class Unread:
    """An incident that this version cannot read, as the inbox shows it: what stands beside its state."""

    row: Unreadable

    @property
    def headline(self) -> str:
        """What happened, in a few words."""
        return headline_of(self.row.summary)


@dataclass(frozen=True)
class Inbox:
    """A page of the inbox.

    Parameters
    ----------
    entries : sequence of Entry
    totals : dict of str to int
        Incidents of each choice of state, whatever else narrows the list.
    next_cursor : str or None
    """

    entries: Sequence[Entry | Unread]
    totals: dict[str, int]
    next_cursor: str | None


def inbox_of(context: Context, asked: InboxAsked) -> Inbox:
    """Read a page of the inbox."""
    of = "inbox-severity" if asked.is_severest_first else "inbox-newest"
    after = read_cursor(asked.cursor, of, int, int, str)
    wanted = InboxWanted(
        STATES.get(asked.state, (asked.state,)),
        asked.model,
        asked.severity,
        asked.q,
        asked.from_ms,
        asked.to_ms,
        asked.is_severest_first,
    )
    with reading(context.engine) as connection:
        places, last = cut(inbox(connection, wanted, after, LISTED + 1), LISTED)
        read = [entry_of(context, connection, id_) for _, _, id_ in places]
        counted = totals(connection)
    entries = [one for one in read if one is not None]
    return Inbox(entries, _chosen(counted), write_cursor(of, *last) if last else None)


def entry_of(context: Context, connection: Connection, id_: str) -> Entry | Unread | None:
    """Read an incident; None if there is none of that id."""
    known = stored.look(connection, id_)
    if known is None:
        return None
    if isinstance(known, Unreadable):
        return Unread(known)
    impact = impact_of(connection, context.configuration, known.alerts)
    incident = gather(id_, known.record.sequence, known.alerts, impact)
    return Entry(incident, known.record, cost_of(context, connection, incident), known.alerts)


def headline_of(summary: str) -> str:
    """Shorten a summary to what happened.

    Examples
    --------
    >>> headline_of("churn v1: age drifted (PSI 0.4) in the window 1 Jan 2026 (UTC); also x. 62 % of rows.")
    'churn v1: age drifted (PSI 0.4)'
    """
    return summary.partition(" in the window ")[0].rstrip(".")


def _chosen(counted: dict[str, int]) -> dict[str, int]:
    """Sum the states up as they can be chosen."""
    several = {"open": sum(counted.get(state, 0) for state in OPEN), "all": sum(counted.values())}
    single = {name: counted.get(name, 0) for name in ("firing", "acknowledged", "resolved", "retracted")}
    return {"open": several["open"], **single, "all": several["all"]}
