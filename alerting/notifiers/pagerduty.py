"""PagerDuty through its Events API v2: an incident here is an alert there, the digest is a change event.

Notes
-----
What is sent follows from the state of the incident alone, so a message that comes twice, or of which older
ones were dropped, leaves PagerDuty as it should be. PagerDuty keeps an alert that was acknowledged that way
when the same alert is triggered again; it only writes it down.

References
----------
https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ and
https://developer.pagerduty.com/docs/events-api-v2/send-change-events/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from alerting.alert import State
from alerting.digest import DigestNotice
from alerting.finding import Severity
from alerting.http.addresses import Resolve, resolve_all
from alerting.http.receiver import client_of
from alerting.messages.plain import Message, digest_message_of, message_of, one_line
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverOptions, ReceiverState
from alerting.secrets import Secrets, exactly_one
from alerting.summary import subject

PAGERDUTY = "https://events.pagerduty.com"
MAX_SUMMARY = 1_024
MAX_NAME = 255
SEVERITIES = {Severity.PAGE: "critical", Severity.WARN: "warning", Severity.INFO: "info"}
ACTIONS = {
    State.FIRING: "trigger",
    State.ACKNOWLEDGED: "acknowledge",
    State.RESOLVED: "resolve",
    State.RETRACTED: "resolve",
}

Event = dict[str, Any]


class PagerDutyOptions(ReceiverOptions):
    """Options of a ``pagerduty`` receiver.

    Parameters
    ----------
    routing_key_env, routing_key_file : str
        Integration key of an Events API v2 integration of the service; exactly one.
    base_url : str
        The Events API; for accounts in Europe ``https://events.eu.pagerduty.com``.
    allow_private : bool
        Whether `base_url` may be a private, loopback or link-local address.
    timeout_s : float
        For connecting and for the answer, each.
    ca_file : str, optional
        Certificates to trust in place of the public ones.
    """

    type: Literal["pagerduty"]
    routing_key_env: str | None = None
    routing_key_file: str | None = None
    base_url: str = Field(default=PAGERDUTY, pattern=r"^https?://[^@\s?#]+$")
    allow_private: bool = False
    timeout_s: float = Field(default=15.0, gt=0, le=30)
    ca_file: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "routing_key_env", "routing_key_file")
        return self


class PagerDutyNotifier(Notifier):
    """Triggers, acknowledges and resolves the alert whose ``dedup_key`` is the id of the incident."""

    Options = PagerDutyOptions
    options: PagerDutyOptions
    only_latest_matters = True

    def __init__(
        self,
        options: PagerDutyOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms)
        self._routing_key = secrets.read(options, "routing_key")
        key = self._routing_key.get_secret_value()
        if not key.isascii() or not key.isalnum():
            problem = secrets.problem("routing_key", "not an integration key (use its 32 letters and digits)")
            raise problem
        self._http = client_of(options, secrets, options.base_url, now_ms, resolve)
        self._http.hide(key)

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Tell of the state that the incident is in now; nothing while it is pending. Keeps no state."""
        if notice.alert.state in ACTIONS:
            self._enqueue("/v2/enqueue", event_of(notice))
        return state

    def send_digest(self, notice: DigestNotice) -> None:
        """Send what drifted in a week as a change event, which is shown on the service and pages nobody."""
        self._enqueue("/v2/change/enqueue", change_event_of(notice))

    def check(self) -> str:
        """Say that nothing can be found out: whatever the Events API takes is told to people."""
        return "an integration key of the Events API (cannot be checked without posting)"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @classmethod
    def examples(cls) -> list[Example]:
        """One service."""
        options = {
            "type": "pagerduty",
            "routing_key_env": "KEY",
            "base_url": "{server}",
            "allow_private": True,
        }
        answer = {"status": "success", "message": "Event processed", "dedup_key": "incident"}
        return [Example(options, {"KEY": "0123456789abcdef0123456789abcdef"}, answer)]

    def _enqueue(self, path: str, event: Event) -> None:
        self._http.post(path, {"routing_key": self._routing_key.get_secret_value(), **event})


def event_of(notice: Notice) -> Event:
    """Write an event, without its routing key."""
    alert, message = notice.alert, message_of(notice)
    event: Event = {"event_action": ACTIONS[alert.state], "dedup_key": one_line(alert.id, MAX_NAME)}
    payload = {
        "summary": one_line(alert.summary or message.title, MAX_SUMMARY),
        "severity": SEVERITIES[alert.severity],
        "source": one_line(subject(alert.model, alert.version), MAX_NAME),
        "timestamp": alert.opened_at,
        "component": one_line(alert.column or "several columns", MAX_NAME),
        "group": one_line(alert.model, MAX_NAME),
        "class": str(alert.kind),
        "custom_details": details_of(message),
    }
    client = {"client": "Driftline", "client_url": notice.url} if notice.url else {"client": "Driftline"}
    return {**event, **client, "links": _links(message), "payload": payload}


def change_event_of(notice: DigestNotice) -> Event:
    """Write a digest as a change event, without its routing key."""
    message = digest_message_of(notice)
    payload = {
        "summary": one_line(f"{message.title}: {message.summary}", MAX_SUMMARY),
        "source": "Driftline",
        "timestamp": notice.at,
        "custom_details": details_of(message),
    }
    return {"payload": payload, "links": _links(message)}


def details_of(message: Message) -> dict[str, Any]:
    """Write the sections and the small print of a message as an object."""
    sections = {one.heading: list(one.shown) for one in message.sections}
    return {"Summary": message.summary, **sections, **dict(message.facts)}


def _links(message: Message) -> list[dict[str, str]]:
    return [{"href": message.url, "text": "Open in Driftline"}] if message.url else []
