"""What people decide about retraining: approve, reject, ask for a run, say how one ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, case, func

from alerting.alert import ChangeKind
from alerting.retraining.guards import Case, Ruling, Standing, horizon_ms, rule
from alerting.retraining.options import TargetOptions
from alerting.retraining.run import RunState, web_link
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.incidents.actions import NoIncident
from monitor.incidents.recording import say
from monitor.retraining.proposals import enter, labels_between, request_id, request_of
from monitor.store import incidents, retraining
from monitor.store.engine import immediate, reading
from monitor.store.retraining import AFTER_RUN
from monitor.store.tables import retraining_run
from monitor.telemetry import Retrained, Telemetry
from schemas.errors import UsageError

CAN_BE_TRIED_AGAIN = (Standing.FAILED, Standing.CANCELLED, Standing.LOST, Standing.REJECTED, Standing.DRY_RUN)


class NoRequest(UsageError):  # noqa: N818 - reads as an answer: there is no such request
    """There is no request for training of that id."""


@dataclass(frozen=True)
class Decisions:
    """Decisions about requests for training, whichever way they come in.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
        Wall clock.
    telemetry : Telemetry
    on_due : callable
        Called after there is something to start.
    """

    configuration: Configuration
    engine: Engine
    clock: Clock
    telemetry: Telemetry
    on_due: Callable[[], None] = lambda: None

    def approve(self, id_: str, actor: str, cause: str = "") -> str:
        """Let a proposed run be started.

        Raises
        ------
        NoRequest
            If there is none of that id.
        UsageError
            If it does not wait for approval.
        """
        words = f"approved by {actor}{_because(cause)}"
        self._decide(id_, [Standing.PROPOSED], Standing.DUE, actor, words)
        self.on_due()
        return "approved"

    def reject(self, id_: str, actor: str, cause: str = "") -> str:
        """Let a proposed run, or one that has not been started yet, not be started.

        Raises
        ------
        NoRequest
            If there is none of that id.
        UsageError
            If it was started, or is over.
        """
        words = f"rejected by {actor}{_because(cause)}"
        waiting = [Standing.PROPOSED, Standing.REFUSED, Standing.DUE]
        self._decide(id_, waiting, Standing.REJECTED, actor, words, tried=False)
        return "rejected"

    def retry(self, id_: str, actor: str, cause: str = "") -> str:
        """Start a run again that failed, was cancelled, lost or rejected.

        Raises
        ------
        NoRequest
            If there is none of that id.
        UsageError
            If it is under way.
        """
        now_ms = self.clock.now_ms()
        fresh: dict[str, Any] = {
            "attempts": 0, "not_before_ms": now_ms, "created_at_ms": now_ms, "run_id": None, "run_url": None,
            "finished_at_ms": None, "last_error": None, "lease_until_ms": 0, "lease_token": None,
        }  # fmt: skip
        words = f"to be tried again, says {actor}{_because(cause)}"
        self._decide(id_, CAN_BE_TRIED_AGAIN, Standing.DUE, actor, words, **fresh)
        self.on_due()
        return "will be started again"

    def ask(self, incident_id: str, receiver: str, model: str, actor: str, cause: str = "") -> Ruling:
        """Ask a target for a run, whatever the evidence; the other guards hold.

        Returns
        -------
        Ruling
            What is done, and why.

        Raises
        ------
        NoIncident
            If there is none of that id, or the model is not in it.
        UsageError
            If the receiver starts no runs, or the incident has asked for its run already.
        """
        options = self.configuration.receivers.get(receiver)
        if not isinstance(options, TargetOptions):
            known = ", ".join(sorted(self.configuration.targets)) or "there are none"
            msg = f"{receiver!r} is no receiver that starts training (use one of: {known})"
            raise UsageError(msg)
        now_ms = self.clock.now_ms()
        with immediate(self.engine) as connection:
            incidents.lock(connection)
            known_incident = incidents.load(connection, incident_id)
            alerts = [one for one in known_incident.alerts if one.model == model] if known_incident else []
            if known_incident is None or not alerts:
                msg = f"there is no incident {incident_id[:80]!r} of model {model!r}"
                raise NoIncident(msg)
            id_ = request_id(incident_id, receiver, model)
            before = retraining.get(connection, id_)
            if before is not None and before.state != Standing.REFUSED.value:
                msg = f"the incident has asked {receiver} for a run already: it is {before.state}"
                raise UsageError(msg)
            url = self.configuration.console_url
            request = request_of(id_, incident_id, alerts, url, now_ms, "person")
            earlier = retraining.earlier(connection, receiver, model, now_ms - horizon_ms(options), but=id_)
            labels = labels_between(connection, self.configuration, request)
            ruling = rule(options, Case((), labels, earlier, now_ms, by_person=True))
            enter(connection, request, receiver, ruling, actor, now_ms)
            words = f"asked for by {actor}{_because(cause)}: {ruling.reason}"
            say(connection, self.configuration, known_incident, ChangeKind.RETRAINING, words, actor, now_ms)
        self.on_due()
        return ruling

    def report(self, id_: str, state: RunState, url: str = "", detail: str = "") -> str:
        """Take a pipeline's own word on how its run stands.

        Raises
        ------
        NoRequest
            If there is none of that id.
        UsageError
            If its run was not started, or is over.
        """
        standing, now_ms, r = AFTER_RUN.get(state, Standing.STARTED), self.clock.now_ms(), retraining_run.c
        values: dict[str, Any] = {"run_url": web_link(url)} if web_link(url) else {}
        values["started_at_ms"] = func.coalesce(r.started_at_ms, now_ms)
        if standing.is_over:
            values["finished_at_ms"] = now_ms
        else:  # a target that cannot follow it would have it called lost at once
            later_ms = now_ms + self._cooldown_ms(id_)
            is_followed = r.state == Standing.STARTED.value
            values["not_before_ms"] = case((is_followed, r.not_before_ms), else_=later_ms)
        words = f"the pipeline says: {state}{f' ({detail})' if detail else ''}"
        only = [Standing.STARTED, Standing.DUE, Standing.LOST]
        self._decide(id_, only, standing, "pipeline", words, is_news=standing.is_over, tried=True, **values)
        return standing.value

    def _cooldown_ms(self, id_: str) -> int:
        with reading(self.engine) as connection:
            row = retraining.get(connection, id_)
        options = None if row is None else self.configuration.receivers.get(row.receiver)
        return options.cooldown // timedelta(milliseconds=1) if isinstance(options, TargetOptions) else 0

    def _decide(
        self,
        id_: str,
        only: Sequence[Standing],
        then: Standing,
        actor: str,
        words: str,
        *,
        tried: bool | None = None,
        is_news: bool = True,
        **values: object,
    ) -> None:
        now_ms = self.clock.now_ms()
        with immediate(self.engine) as connection:
            incidents.lock(connection)
            row = retraining.get(connection, id_)
            if row is None:
                msg = f"there is no request for training {id_[:80]!r}"
                raise NoRequest(msg)
            changed = {
                "state": then.value,
                "reason": words,
                "actor": actor,
                "not_before_ms": now_ms,
                **values,
            }
            if tried is None:
                is_done = retraining.change(connection, id_, only, now_ms, **changed)
            else:
                is_done = retraining.change_if(connection, id_, only, tried, now_ms, **changed)
            if not is_done:
                msg = f"the request is {_standing(row, tried)} (this can be done while it is {_listed(only)})"
                raise UsageError(msg)
            if is_news:
                self._tell(connection, row.incident_id, words, actor, now_ms)
        self.telemetry.emit(Retrained(row.model, row.receiver, then.value))

    def _tell(self, connection: Connection, incident_id: str, words: str, actor: str, now_ms: int) -> None:
        known = incidents.load(connection, incident_id)
        if known is not None and known.alerts:
            say(connection, self.configuration, known, ChangeKind.RETRAINING, words, actor, now_ms)


def _standing(row: Any, tried: bool | None) -> str:
    """Say how a request stands that could not be changed; a claim may have come between."""
    if row.state == Standing.DUE.value and tried is not None:
        return "not started yet" if tried else "being started"
    return str(row.state)


def _listed(only: Sequence[Standing]) -> str:
    return ", ".join(one.value for one in only)


def _because(cause: str) -> str:
    return f": {cause}" if cause else ""
