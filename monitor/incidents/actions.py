"""What people do about incidents: acknowledge, resolve, comment, silence. Each is in the audit trail."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from alerting.alert import Alert, Change, ChangeKind, State, acknowledge, resolve
from alerting.finding import instant
from alerting.policy import Match
from alerting.silences import Silence
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.incidents.recording import record_together, say
from monitor.store import alerts, incidents, silences
from monitor.store.engine import immediate, reading
from monitor.store.incidents import Known, Unreadable
from monitor.telemetry import AlertChanged, Telemetry
from schemas.duration import format_duration
from schemas.errors import Unavailable, UsageError

LONGEST_SILENCE_MS = 90 * 86_400_000
AGAIN_MS = 60_000
Step = Callable[[Alert, str, datetime, str], tuple[Alert, list[Change]]]


class NoIncident(UsageError):  # noqa: N818 - reads as an answer: there is no incident
    """There is no incident of that id."""


@dataclass(frozen=True)
class Actions:
    """Decisions of people about incidents, whichever way they come in.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
        Wall clock.
    telemetry : Telemetry

    Notes
    -----
    `actor` is who decides, in at most 256 characters; `cause` why, and may be empty.

    Guarantees
    ----------
    The same comment, or that it is resolved, said again by the same person within a minute is a button that
    was pressed twice, or an answer that got lost: nothing happens twice, and nobody is told that it failed.
    """

    configuration: Configuration
    engine: Engine
    clock: Clock
    telemetry: Telemetry

    def acknowledge(self, incident_id: str, actor: str, cause: str = "") -> str:
        """Record that somebody looks after an incident; doing it twice changes nothing.

        Returns
        -------
        str
            What came of it, in words.

        Raises
        ------
        NoIncident
            If there is none of that id.
        UsageError
            If it is over, or has not fired.
        """
        changed = self._step(incident_id, acknowledge, State.FIRING, actor, cause)
        return "acknowledged" if changed else "was acknowledged already"

    def resolve(self, incident_id: str, actor: str, cause: str = "") -> str:
        """Declare an incident over; the next window with a finding opens a new alert.

        Returns
        -------
        str
            What came of it, in words.

        Raises
        ------
        NoIncident
            If there is none of that id.
        UsageError
            If it is over.
        """
        changed = self._step(incident_id, resolve, None, actor, cause)
        return "resolved" if changed else "was resolved already"

    def comment(self, incident_id: str, actor: str, text: str) -> str:
        """Say something about an incident, to everybody who was told of it.

        Returns
        -------
        str
            What came of it, in words.

        Raises
        ------
        NoIncident
            If there is none of that id.
        UsageError
            If there is no text.
        """
        if not text.strip():
            msg = "a comment needs a text"
            raise UsageError(msg)
        now_ms, said = self.clock.now_ms(), text.strip()
        with immediate(self.engine) as connection:
            known = _locked(connection, incident_id)
            if _is_again(connection, known, ChangeKind.COMMENTED, actor, said, now_ms):
                return "noted already"
            self._say(connection, known, ChangeKind.COMMENTED, said, actor, now_ms)
        return "noted"

    def silence(
        self,
        incident_id: str,
        actor: str,
        span_ms: int,
        cause: str = "",
        *,
        press: str = "",
        is_form: bool = False,
    ) -> str:
        """Tell nobody of an incident for a while; if it is open after that, it is told again.

        Parameters
        ----------
        press : str
            Identity of what asked for it: whoever is told of the same again, however much later, makes no
            second silence. Empty: each call is a wish of its own.
        is_form : bool
            Whether a form asks, which may be sent twice: the same again within a minute makes no second one.

        Returns
        -------
        str
            What came of it, in words.

        Raises
        ------
        NoIncident
            If there is none of that id.
        UsageError
            If it is over, or the span is no span.
        """
        check_span(span_ms)
        now_ms = self.clock.now_ms()
        said = f"for {format_duration(span_ms)}{f': {cause}' if cause else ''}"
        with immediate(self.engine) as connection:
            known = _locked(connection, incident_id)
            id_ = _silence_id(press)
            if silences.is_known(connection, id_):
                return "silenced already"
            if is_form and _is_again(connection, known, ChangeKind.SILENCED, actor, said, now_ms):
                return "silenced already"
            _require_open(connection, known)
            until_ms = now_ms + span_ms
            made = Silence(id_, Match(), now_ms, until_ms, actor, cause, incident_id=incident_id)
            silences.add(connection, made, now_ms)
            self._say(connection, known, ChangeKind.SILENCED, said, actor, now_ms)
        return f"silenced for {format_duration(span_ms)}"

    def _step(
        self, incident_id: str, step: Step, only: State | None, actor: str, cause: str
    ) -> list[AlertChanged]:
        """Take a step with every open alert of an incident, and tell of it once."""
        now_ms = self.clock.now_ms()
        with immediate(self.engine) as connection:
            known = _locked(connection, incident_id)
            is_resolving = step is resolve and not _is_open(known)
            if is_resolving and _is_again(connection, known, ChangeKind.RESOLVED, actor, None, now_ms):
                return []
            _require_open(connection, known)
            concerned = [one for one in known.alerts if one.is_open and only in (None, one.state)]
            if not concerned and only is not None and all(one.has_fired is False for one in known.alerts):
                step(known.alerts[0], actor, instant(now_ms), cause)  # says why it cannot be
            stepped = [step(one, actor, instant(now_ms), cause) for one in concerned]
            record_together(connection, self.configuration, known, stepped, now_ms)
        changes = [
            AlertChanged(alert.model, str(alert.lane), str(alert.severity), str(change.kind))
            for alert, made in stepped
            for change in made
        ]
        for change in changes:
            self.telemetry.emit(change)
        return changes

    def _say(
        self, connection: Connection, known: Known, kind: ChangeKind, text: str, actor: str, now_ms: int
    ) -> None:
        say(connection, self.configuration, known, kind, text, actor, now_ms)


def check_span(span_ms: int) -> None:
    """Check how long a silence lasts.

    Raises
    ------
    UsageError
        If it is not longer than nothing and at most 90 days.
    """
    if not 0 < span_ms <= LONGEST_SILENCE_MS:
        msg = f"a silence lasts longer than nothing and at most {format_duration(LONGEST_SILENCE_MS)}"
        raise UsageError(msg)


def incident_id_of(engine: Engine, alert_id: str) -> str | None:
    """Find the incident of an alert."""
    with reading(engine) as connection:
        return incidents.incident_of(connection, alert_id)


def _silence_id(press: str) -> str:
    """Name a silence after the press that asked for it, at random where nothing tells it from others."""
    return (
        hashlib.sha256(press.encode("utf-8", "replace")).hexdigest()[:16] if press else secrets.token_hex(8)
    )


def _locked(connection: Connection, incident_id: str) -> Known:
    """Read an incident that nobody else changes until the transaction ends.

    Raises
    ------
    NoIncident
        If there is none of that id.
    UsageError
        If this version of Driftline cannot read it.
    Unavailable
        If an alert of another model version has joined meanwhile, whose lock would come too late.
    """
    versions = _versions(_read(connection, incident_id).alerts)
    for model, version in sorted(versions):
        alerts.lock_version(connection, model, version)
    incidents.lock(connection)
    known = _read(connection, incident_id)
    if not _versions(known.alerts) <= versions:
        msg = f"incident {incident_id} has just grown; try again"
        raise Unavailable(msg)
    return known


def _read(connection: Connection, incident_id: str) -> Known:
    known = incidents.look(connection, incident_id)
    if known is None:
        msg = f"there is no incident {incident_id[:80]!r}"
        raise NoIncident(msg)
    if isinstance(known, Unreadable):
        msg = f"incident {incident_id} cannot be read, so it is left as it is: {known.why}"
        raise UsageError(msg)
    return known


def _versions(members: Sequence[Alert]) -> set[tuple[str, str]]:
    return {(one.model, one.version) for one in members}


def _is_open(known: Known) -> bool:
    return any(one.is_open for one in known.alerts)


def _require_open(connection: Connection, known: Known) -> None:
    if _is_open(known):
        return
    ends = (ChangeKind.RESOLVED.value, ChangeKind.RETRACTED.value)
    last = incidents.last_event(connection, known.record.id, ends)
    how = ""
    if last is not None:
        how = f": {last.change} by {last.actor}, {instant(last.noted_at_ms):%Y-%m-%d %H:%M} UTC"
    msg = f"incident {known.record.id} is over already{how} (only open incidents can change)"
    raise UsageError(msg)


def _is_again(
    connection: Connection, known: Known, kind: ChangeKind, actor: str, cause: str | None, now_ms: int
) -> bool:
    """Whether the same person has decided the very same a moment ago; None: for whatever cause."""
    return incidents.has_event(connection, known.record.id, kind.value, actor, cause, now_ms - AGAIN_MS)
