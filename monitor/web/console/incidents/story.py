"""The story of one incident: everything that its page tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from alerting.finding import epoch_ms
from alerting.incidents.incident import Incident
from alerting.record import Record
from alerting.retraining.guards import Standing
from alerting.retraining.options import TargetOptions
from alerting.summary import attribution_of
from monitor.references.offers import Offer
from monitor.retraining.decisions import CAN_BE_TRIED_AGAIN
from monitor.retraining.watch import words_of
from monitor.store import retraining
from monitor.store.engine import reading
from monitor.store.queries import alerts as alert_queries
from monitor.store.queries import incidents as queries
from monitor.store.queries.around import deployments_between
from monitor.web.console.incidents.findings import Found, FoundBy, found_by, speaking
from monitor.web.console.incidents.inbox import Unread, entry_of, headline_of
from monitor.web.console.incidents.offered import offer_after
from monitor.web.context import Context
from monitor.web.problems import Refused, not_found
from schemas.attribution import Attribution
from schemas.column import is_input

SHOWN_RUNS = 20
BEFORE_MS = 2 * 86_400_000  # deployments so long before an incident may have to do with it


@dataclass(frozen=True)
class Happened:
    """One thing that happened, and who was told.

    Parameters
    ----------
    row : row
        Of ``incident_event``.
    told : sequence of (str, str)
        Receivers, and how the message to each stands; empty if that is not known any more.
    """

    row: Any
    told: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Run:
    """A request for training, and what people may do about it; `offer`: references of what came of it."""

    row: Any
    offer: Offer | None = None

    @property
    def can_be_approved(self) -> bool:
        """Whether it waits for a person."""
        return str(self.row.state) == Standing.PROPOSED.value

    @property
    def can_be_rejected(self) -> bool:
        """Whether it has not been started yet."""
        waiting = (Standing.PROPOSED, Standing.REFUSED, Standing.DUE)
        return self.row.state in {one.value for one in waiting} and not self.row.attempts

    @property
    def can_be_retried(self) -> bool:
        """Whether it can be started again."""
        return self.row.state in {one.value for one in CAN_BE_TRIED_AGAIN}

    @property
    def outcome(self) -> dict[str, Any] | None:
        """Whether the version that came of it does better, as it is stored."""
        known: dict[str, Any] | None = json.loads(self.row.outcome) if self.row.outcome else None
        return known

    @property
    def outcome_words(self) -> str:
        """The same in a sentence; empty as long as nothing is known."""
        known = self.outcome
        if known is None:
            return ""
        # What was offered when this was written down may be taken by now.
        return words_of(self.row.model, known if self.offer is None else known | {"reference": ""})


@dataclass(frozen=True)
class Target:
    """A receiver that starts training."""

    name: str
    is_dry: bool
    needs_approval: bool


@dataclass(frozen=True)
class Story:
    """Everything of one incident; `cost` says in words what it costs, and is empty if that is not known."""

    incident: Incident
    record: Record
    cost: str
    found: Sequence[FoundBy]
    events: Sequence[Happened]
    runs: Sequence[Run]
    deployments: Sequence[Any]
    targets: Sequence[Target]
    is_whole: bool

    @property
    def alerts_left(self) -> int:
        """Alerts that are not listed, as there are too many."""
        return len(self.incident.members) - len(self.found)

    @property
    def id(self) -> str:
        """Of the incident."""
        return self.incident.id

    @property
    def headline(self) -> str:
        """What happened, in a few words."""
        return headline_of(self.incident.whole.summary)

    @property
    def is_open(self) -> bool:
        """Whether people can still do something about it."""
        return self.incident.whole.is_open

    @property
    def opened_after(self) -> str:
        """How long after its beginning it was opened; empty if that is not known."""
        whole = self.incident.whole
        return "" if whole.onset_at is None else lasting(whole.onset_at, whole.opened_at)

    @property
    def lasted(self) -> str:
        """How long it was open; empty as long as it is."""
        whole = self.incident.whole
        return "" if whole.closed_at is None else lasting(whole.opened_at, whole.closed_at)

    @property
    def attribution(self) -> Attribution | None:
        """Where the change of the predictions comes from."""
        return attribution_of(self.incident.whole.findings)

    def feature_model(self, name: str, models: Sequence[str]) -> str:
        """Name the model whose page of a column says more about a cause; empty if it is no column."""
        return (models or self.incident.models)[0] if is_input(name) and name != "events" else ""

    def chosen(self, result_id: int | None) -> Found | None:
        """Choose the finding that the charts are about."""
        return speaking(self.found, result_id)


@dataclass(frozen=True)
class UnreadStory:
    """What can be told of an incident that this version cannot read."""

    entry: Unread
    events: Sequence[Happened]
    is_whole: bool


def story_or_rest(context: Context, id_: str) -> Story | UnreadStory:
    """Read everything of one incident, or what is left of one that cannot be read.

    Raises
    ------
    Refused
        If there is none of that id.
    """
    with reading(context.engine) as connection:
        entry = entry_of(context, connection, id_)
        if entry is None:
            raise not_found(id_, "incident", "path.id")
        rows = queries.events(connection, id_)
        if isinstance(entry, Unread):
            is_whole = len(rows) < queries.MOST_EVENTS
            return UnreadStory(entry, _told(connection, id_, rows), is_whole)
        incident, alerts = entry.incident, entry.alerts
        begin_ms = epoch_ms(incident.whole.onset_at or incident.whole.window_start)
        closed_at = incident.whole.closed_at
        end_ms = context.clock.now_ms() if closed_at is None else epoch_ms(closed_at)
        return Story(
            incident,
            entry.record,
            entry.cost,
            found_by(context, connection, incident, alerts),
            _told(connection, id_, rows),
            [
                Run(row, offer_after(context, connection, row))
                for row in retraining.runs(connection, None, id_, None, None, SHOWN_RUNS)
            ],
            deployments_between(connection, incident.models, begin_ms - BEFORE_MS, end_ms + 1),
            targets_of(context),
            is_whole=len(rows) < queries.MOST_EVENTS,
        )


def story_of(context: Context, id_: str) -> Story:
    """Read everything of one incident.

    Raises
    ------
    Refused
        If there is none of that id, or it cannot be read.
    """
    found = story_or_rest(context, id_)
    if isinstance(found, UnreadStory):
        raise Refused(409, f"incident {id_} cannot be read: {found.entry.row.why}")
    return found


def lasting(begin: datetime, end: datetime) -> str:
    """Say how long something took, in its two largest units; empty if it took less than a minute.

    Examples
    --------
    >>> from alerting.finding import instant
    >>> lasting(instant(0), instant(2 * 86_400_000 + 3_660_000)), lasting(instant(0), instant(900_000))
    ('2 d 1 h', '15 min')
    """
    minutes = int((end - begin).total_seconds() // 60)
    parts = (minutes // 1_440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")
    return " ".join([f"{value} {unit}" for value, unit in parts if value > 0][:2]) if minutes > 0 else ""


def targets_of(context: Context) -> list[Target]:
    """List the receivers of the configuration that start training."""
    return [
        Target(name, options.dry_run, options.approval == "manual")
        for name, options in sorted(context.configuration.receivers.items())
        if isinstance(options, TargetOptions)
    ]


def _told(connection: Connection, id_: str, rows: Sequence[Any]) -> list[Happened]:
    """Put together what happened, and how the message about it to each receiver stands."""
    states = {
        (int(row.sequence), str(row.receiver)): str(row.state)
        for row in alert_queries.deliveries(connection, id_)
    }
    return [
        Happened(row, [(name, states.get((int(row.sequence), name), "")) for name in json.loads(row.told)])
        for row in rows
    ]
