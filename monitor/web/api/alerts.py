"""``/alerts``: incidents, what happened to them, who was told; and what people may do about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from alerting.alert import OPEN_STATES, Alert, Change, acknowledge, resolve
from alerting.codec import document
from alerting.finding import instant as moment
from monitor.incidents.actions import Actions, incident_id_of
from monitor.incidents.recording import record
from monitor.store import alerts as stored
from monitor.store.engine import immediate, reading
from monitor.store.incidents import Unreadable
from monitor.store.queries import alerts as queries
from monitor.telemetry import AlertChanged
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.documents import InstantText, Number, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import DurationText, NoParameters, Paged, PathText, QueryText, Text
from monitor.web.problems import Refused, not_found
from monitor.web.sign_in.acting import name_or
from schemas.errors import StoreError, Unavailable, UsageError

STATES = {"open": tuple(str(state) for state in OPEN_STATES)}
Step = Callable[..., tuple[Alert, list[Change]]]


class Effect(BaseModel):
    """Effect size with its interval."""

    psi: Number
    psi_low: Number
    psi_high: Number


class MovedBin(BaseModel):
    """One bin and how its share changed."""

    label: str
    reference_share: Number
    share: Number
    psi: Number


class Finding(BaseModel):
    """One column and segment that drifted."""

    column: str
    segment: str
    lane: str
    severity: str
    detector: str
    window_start: InstantText
    window_end: InstantText
    onset_at: InstantText | None
    psi: Number
    psi_debiased: Number
    psi_low: Number
    psi_high: Number
    statistic: Number
    threshold: Number
    threshold_source: str
    evidence_log: Number
    threshold_log: Number
    explanation: str
    moved: list[MovedBin]
    attribution: dict[str, Any] | None = Field(
        None, description="Where a change of the mean prediction comes from."
    )
    examples: list[dict[str, Any]] = Field(
        [], description="Events that broke a rule, as in results: at most three."
    )


class AlertDocument(BaseModel):
    """One incident as it is now."""

    id: str
    model: str
    version: str
    kind: str = Field(description="`drift`, `no_data` or `partition_stopped`.")
    lane: str
    severity: str = Field(description="`page`, `warn` or `info`.")
    column: str = Field(description="Column of the finding that matters most.")
    segment: str
    state: str = Field(description="`pending`, `firing`, `acknowledged`, `resolved` or `retracted`.")
    opened_at: InstantText
    closed_at: InstantText | None
    window_start: InstantText
    window_end: InstantText
    onset_at: InstantText | None
    evidence_log: Number
    threshold_log: Number
    effect: Effect
    summary: str
    sequence: int = Field(description="Number of changes so far.")
    clean_windows: int = Field(description="Clean windows in a row.")
    findings: list[Finding] = Field(description="One for each column and segment, at most 50.")
    findings_total: int


class Unread(BaseModel):
    """What stands beside the state of an alert or incident that this version cannot read."""

    id: str
    model: str
    version: str
    kind: str
    severity: str
    state: str
    summary: str
    opened_at: InstantText | None
    closed_at: InstantText | None
    why: str = Field(description="Why it cannot be read, and what to do.")


class AlertsPage(Page[AlertDocument]):
    """One page of alerts."""

    unreadable: list[Unread] = Field(
        [], description="Alerts of this page that this version cannot read, and why; normally none."
    )


class AlertEvent(BaseModel):
    """One thing that happened to an alert."""

    sequence: int
    change: str
    cause: str
    actor: str = Field(description="`driftline`, or who it was.")
    at: InstantText | None


class Delivery(BaseModel):
    """One message to one receiver."""

    id: str
    sequence: int = Field(description="Which change it tells of.")
    receiver: str
    state: str = Field(description="`waiting`, `delivered`, `superseded` by a newer one, or `dead`.")
    attempts: int
    not_before: InstantText | None = Field(description="Earliest next attempt.")
    created_at: InstantText | None
    finished_at: InstantText | None
    last_error: str | None


class AlertDetail(AlertDocument):
    """One incident with everything that happened to it."""

    events: list[AlertEvent] = Field(description="In order; the latest 500.")
    deliveries: list[Delivery] = Field(description="In order; the latest 500.")


class AlertsAsked(Paged):
    """Parameters of the list of alerts."""

    state: Literal["open", "pending", "firing", "acknowledged", "resolved", "retracted"] | None = Field(
        None, description="Only alerts in this state; `open`: pending, firing or acknowledged."
    )
    model: QueryText | None = Field(None, description="Only alerts of this model.")


class Decision(BaseModel):
    """Who changes an alert, and why."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    actor: Annotated[Text, AfterValidator(name_or)] = Field(
        "api",
        min_length=1,
        max_length=200,
        validate_default=True,
        description="Who decides; part of the audit trail. Of whoever is signed in, their own name counts.",
    )
    cause: Text = Field("", max_length=1_000, description="Why.")


class SilenceDecision(Decision):
    """Who silences an incident, for how long, and why."""

    for_ms: DurationText = Field(
        3_600_000, alias="for", description="How long: `1h` (the default), `3d`; at most `90d`."
    )


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["alerts"])

    @router.get("/alerts", summary="Alerts, newest first")
    def list_alerts(asked: Annotated[AlertsAsked, Query()]) -> AlertsPage:
        """Alerts as they are now; one that cannot be read keeps no other from being listed."""
        after = read_cursor(asked.cursor, "alerts", int, str)
        states = () if asked.state is None else STATES.get(asked.state, (asked.state,))
        with reading(context.engine) as connection:
            found = queries.alerts(connection, states, asked.model, after, asked.limit + 1)
        rows, last = cut(found, asked.limit)
        return AlertsPage(
            items=[AlertDocument(**document(alert)) for _, alert in rows if isinstance(alert, Alert)],
            next_cursor=write_cursor("alerts", last[0], last[1].id) if last else None,
            unreadable=[read_unreadable(one) for _, one in rows if isinstance(one, Unreadable)],
        )

    @router.get("/alerts/{id}", summary="One alert with its audit trail", responses=also(409))
    def get_alert(id: PathText, asked: Annotated[NoParameters, Query()]) -> AlertDetail:
        """An incident, everything that happened to it, and who was told."""
        return _detail(context, id)

    @router.post("/alerts/{id}/acknowledge", summary="Say that an alert has been seen", responses=also(409))
    def acknowledge_alert(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> AlertDetail:
        """Acknowledging twice changes nothing; an alert that is over answers 409."""
        return _change(context, id, acknowledge, decision or Decision())

    @router.post("/alerts/{id}/resolve", summary="Declare an alert over", responses=also(409))
    def resolve_alert(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> AlertDetail:
        """The next window with a finding opens a new alert; one that is over already answers 409."""
        return _change(context, id, resolve, decision or Decision())

    @router.post(
        "/alerts/{id}/silence", summary="Tell nobody of an alert's incident for a while", responses=also(409)
    )
    def silence_alert(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[SilenceDecision | None, Body()] = None,
    ) -> AlertDetail:
        """If it is open when the silence ends, it is told again; one that is over answers 409."""
        incident_id = incident_id_of(context.engine, id)
        if incident_id is None:
            raise not_found(id, "alert", "path.id")
        actions = Actions(context.configuration, context.engine, context.clock, context.telemetry)
        try:
            one = decision or SilenceDecision()
            actions.silence(incident_id, one.actor, one.for_ms, one.cause)
        except UsageError as error:
            raise Refused(409, str(error)) from error
        return _detail(context, id)

    return router


def _change(context: Context, id_: str, step: Step, decision: Decision) -> AlertDetail:
    """Let a person change an alert, and write the messages about it, in one transaction."""
    now_ms = context.clock.now_ms()
    with immediate(context.engine) as connection:
        try:
            before = stored.load_to_change(connection, id_)
        except Unavailable:
            raise
        except StoreError as error:
            raise _cannot_be_read(id_, error) from error
        if before is None:
            raise not_found(id_, "alert", "path.id")
        try:
            after, changes = step(before, decision.actor, moment(now_ms), decision.cause)
        except UsageError as error:
            raise Refused(409, str(error)) from error
        record(connection, context.configuration, after, changes, now_ms)
    for change in changes:
        context.telemetry.emit(AlertChanged(after.model, after.lane, after.severity, change.kind))
    return _detail(context, id_)


def _cannot_be_read(id_: str, error: StoreError) -> Refused:
    return Refused(409, f"alert {id_} cannot be read, so it is left as it is: {error}")


def _detail(context: Context, id_: str) -> AlertDetail:
    with reading(context.engine) as connection:
        try:
            alert = stored.load(connection, id_)
        except Unavailable:
            raise
        except StoreError as error:
            raise _cannot_be_read(id_, error) from error
        if alert is None:
            raise not_found(id_, "alert", "path.id")
        events = queries.events(connection, id_)
        deliveries = queries.deliveries(connection, id_)
    return AlertDetail(
        **document(alert),
        events=[_event(row) for row in events],
        deliveries=[read_delivery(row) for row in deliveries],
    )


def read_unreadable(one: Unreadable) -> Unread:
    """Make a document of what is left of an alert or incident that cannot be read."""
    same = ("id", "model", "version", "kind", "severity", "state", "summary", "why")
    return Unread(
        **{name: getattr(one, name) for name in same},
        opened_at=instant(one.opened_at_ms),
        closed_at=instant(one.closed_at_ms),
    )


def _event(row: Any) -> AlertEvent:
    same = {name: getattr(row, name) for name in ("sequence", "change", "cause", "actor")}
    return AlertEvent(**same, at=instant(row.at_ms))


def read_delivery(row: Any) -> Delivery:
    """Make a document of a row of the outbox."""
    same = ("id", "sequence", "receiver", "state", "attempts", "last_error")
    return Delivery(
        **{name: getattr(row, name) for name in same},
        not_before=instant(row.not_before_ms),
        created_at=instant(row.created_at_ms),
        finished_at=instant(row.finished_at_ms),
    )
