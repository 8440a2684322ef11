"""From an incident to a request for training, in the transaction of the results that caused it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, func, select

from alerting.alert import Alert
from alerting.finding import epoch_ms, instant
from alerting.incidents.incident import Proposal
from alerting.pipeline import FINISHED, Passage, Surroundings
from alerting.retraining.guards import Case, Ruling, Standing, horizon_ms, rule
from alerting.retraining.options import TargetOptions
from alerting.retraining.request import Evidence, RetrainingRequest, Trigger
from monitor.config import Configuration
from monitor.store import retraining
from monitor.store.tables import performance_value
from schemas.decoding import converted

MOST_EVIDENCE = 20
MOST_NAMES = 100
FORMAT = 1
NOT_STARTED = (Standing.REFUSED, Standing.PROPOSED, Standing.DUE)
RETRACTED = "the incident was retracted before it was started"


def request_id(incident_id: str, receiver: str, model: str) -> str:
    """Identity of the request that an incident makes of a target for a model: one, however often it is asked.

    Examples
    --------
    >>> request_id("i", "airflow", "churn") == request_id("i", "airflow", "churn")
    True
    >>> len(request_id("i", "airflow", "churn"))
    32
    """
    text = f"{len(incident_id)}:{incident_id}{len(receiver)}:{receiver}{model}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def propose(
    connection: Connection, configuration: Configuration, passage: Passage, around: Surroundings
) -> None:
    """Ask every target that routes name for a run for each model of an incident, where the guards allow it.

    Parameters
    ----------
    connection : Connection
        Inside the transaction that writes the incident.
    configuration : Configuration
    passage : Passage
        A change of the incident.
    around : Surroundings

    Notes
    -----
    A request that a guard refused is looked at again with every change of the incident; one that waits is
    brought up to date; what was started stays. An incident that is taken back takes what was not started with
    it.
    """
    if passage.incident.state in FINISHED:
        _withdraw(connection, passage, around)
        return
    for receiver in passage.targets:
        options = configuration.receivers[receiver]
        if not isinstance(options, TargetOptions):
            continue
        for model in passage.incident.models:
            _propose_one(connection, configuration, passage, around, (receiver, options), model)


def waiting_for_approval(connection: Connection, incident_id: str) -> tuple[Proposal, ...]:
    """List the requests of an incident that wait for a person."""
    rows = retraining.runs(connection, Standing.PROPOSED.value, incident_id, None, None, MOST_NAMES)
    return tuple(Proposal(row.id, row.receiver, row.model) for row in rows)


def read_request(text: str) -> RetrainingRequest:
    """Read what a row of the ledger holds."""
    held = json.loads(text)
    return converted(held["request"], RetrainingRequest)


def write_request(request: RetrainingRequest) -> str:
    """Write a request for a row of the ledger, with the version of the format."""
    return json.dumps({"format": FORMAT, "request": msgspec.to_builtins(request)})


def _propose_one(
    connection: Connection,
    configuration: Configuration,
    passage: Passage,
    around: Surroundings,
    target: tuple[str, TargetOptions],
    model: str,
) -> None:
    receiver, options = target
    id_ = request_id(passage.incident.id, receiver, model)
    known = retraining.get(connection, id_)
    alerts = [alert for alert in passage.alerts if alert.model == model and alert.is_open]
    if not alerts:
        return
    request = request_of(id_, passage.incident.id, alerts, around.console_url, around.now_ms)
    if known is not None and known.state != Standing.REFUSED.value:
        only, written = [Standing.PROPOSED, Standing.DUE], write_request(request)
        # It will be started with what is known by then.
        retraining.change_if(connection, id_, only, False, around.now_ms, request=written)
        return
    since_ms = around.now_ms - horizon_ms(options)
    case = Case(
        lanes=tuple(dict.fromkeys(finding.lane for alert in alerts for finding in alert.findings)),
        labels=labels_between(connection, configuration, request),
        earlier=retraining.earlier(connection, receiver, model, since_ms, but=id_),
        now_ms=around.now_ms,
    )
    enter(connection, request, receiver, rule(options, case), "", around.now_ms)


def enter(
    connection: Connection,
    request: RetrainingRequest,
    receiver: str,
    ruling: Ruling,
    actor: str,
    now_ms: int,
) -> None:
    """Write what is done with a request into the ledger; replaces a refusal."""
    values = {
        "state": ruling.standing.value,
        "reason": ruling.reason,
        "request": write_request(request),
        "version": request.version,
        "trigger": request.trigger,
        "actor": actor,
    }
    of = {"id": request.id, "incident_id": request.incident_id, "receiver": receiver, "model": request.model}
    retraining.add(connection, {**of, **values}, now_ms)
    fresh = {**values, "not_before_ms": now_ms, "created_at_ms": now_ms}
    retraining.change(connection, request.id, [Standing.REFUSED], now_ms, **fresh)


def request_of(
    id_: str,
    incident_id: str,
    alerts: Sequence[Alert],
    console_url: str,
    now_ms: int,
    trigger: Trigger = "incident",
) -> RetrainingRequest:
    """Put together what a target is told.

    Parameters
    ----------
    alerts : sequence of Alert
        Those of one model in the incident, at least one.
    """
    lead = max(alerts, key=lambda alert: (alert.severity.rank, alert.id))
    findings = sorted(
        (finding for alert in alerts for finding in alert.leading), key=lambda finding: finding.rank
    )
    from_at, to_at = data_range(alerts)
    return RetrainingRequest(
        id=id_,
        model=lead.model,
        version=lead.version,
        reason=lead.summary,
        severity=lead.severity,
        data_from=from_at,
        data_to=to_at,
        requested_at=instant(now_ms),
        incident_id=incident_id,
        incident_url=f"{console_url}/incidents/{incident_id}" if console_url else "",
        evidence=tuple(Evidence.of(finding) for finding in findings[:MOST_EVIDENCE]),
        segments=_named(finding.segment for finding in findings),
        columns=_named(finding.column for finding in findings),
        trigger=trigger,
    )


def data_range(alerts: Sequence[Alert]) -> tuple[datetime, datetime]:
    """Which data is like what the model meets now: from where the change began to the latest window seen."""
    starts = [min(alert.window_start, alert.onset_at or alert.window_start) for alert in alerts]
    ends = [window.end for alert in alerts for window in alert.recent]
    ends += [alert.window_end for alert in alerts]
    first, last = min(starts), max(ends)
    return first, max(last, first + timedelta(milliseconds=1))


def labels_between(connection: Connection, configuration: Configuration, request: RetrainingRequest) -> int:
    """Count labels that have come for predictions of the range to train on."""
    p, shape = performance_value.c, str(configuration.for_model(request.model).windows[0])
    of_window = (
        select(func.max(p.n).label("n"))
        .where(
            p.model == request.model,
            p.version == request.version,
            p.window == shape,
            p.segment == "",
            p.kind == "realised",
            p.start_ms >= epoch_ms(request.data_from),
            p.start_ms < epoch_ms(request.data_to),
        )
        .group_by(p.start_ms)
        .subquery()
    )
    return int(connection.execute(select(func.coalesce(func.sum(of_window.c.n), 0))).scalar_one())


def _withdraw(connection: Connection, passage: Passage, around: Surroundings) -> None:
    """Take back what was not started, where the incident was taken back."""
    if passage.incident.state.value != "retracted":
        return
    for row in retraining.runs(connection, None, passage.incident.id, None, None, 1_000):
        values = {"state": Standing.REJECTED.value, "reason": RETRACTED, "actor": "driftline"}
        retraining.change_if(connection, row.id, NOT_STARTED, False, around.now_ms, **values)


def _named(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))[:MOST_NAMES]
