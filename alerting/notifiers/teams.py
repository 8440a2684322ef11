"""Microsoft Teams through the webhook of a workflow: every change is a card.

Notes
-----
The webhook can neither edit nor reply, so each card shows the incident as a whole, and only the latest that
waits is sent. It has no idempotency key: if an answer is lost, the card is posted again.

References
----------
https://learn.microsoft.com/en-us/power-automate/teams/send-a-message-in-teams and
https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, Self

import httpx
from pydantic import Field, SecretStr, model_validator

from alerting.digest import DigestNotice
from alerting.held import HeldNotice
from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.receiver import client_of
from alerting.messages.adaptive_card import card_body_of
from alerting.messages.plain import Message, digest_message_of, held_message_of, message_of
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverOptions, ReceiverState
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError, RetryLater

# Connectors answer 200 and say in words that the message was not delivered, with the status in the words.
_STATUS_IN_WORDS = re.compile(r"HTTP error (\d{3})", re.IGNORECASE)
_FAILURE_IN_WORDS = re.compile(r"delivery failed|bad payload received", re.IGNORECASE)
_PAGE = re.compile(r"\s*<(!doctype|html)", re.IGNORECASE)
SHORTEST_SECRET = 8
HEADERS = {"content-type": "application/json; charset=utf-8"}


class TeamsOptions(ReceiverOptions):
    """Options of a ``teams`` receiver.

    Parameters
    ----------
    url_env, url_file : str
        Address that the workflow "Post to a channel when a webhook request is received" shows; it is a secret
        itself. Exactly one.
    allow_private : bool
        Whether the receiver may live at a private, loopback or link-local address.
    timeout_s : float
        For connecting and for the answer, each.
    ca_file : str, optional
        Certificates to trust in place of the public ones.
    """

    type: Literal["teams"]
    url_env: str | None = None
    url_file: str | None = None
    allow_private: bool = False
    timeout_s: float = Field(default=15.0, gt=0, le=30)
    ca_file: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "url_env", "url_file")
        return self


class TeamsNotifier(Notifier):
    """Posts an Adaptive Card for every change of an incident."""

    Options = TeamsOptions
    options: TeamsOptions
    only_latest_matters = True
    reads_lists = True

    def __init__(
        self,
        options: TeamsOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms)
        url = _secret_url(options, secrets)
        self._http = client_of(options, secrets, str(url), now_ms, resolve)
        parts = [str(url), url.raw_path.decode(), *url.params.values(), *url.path.split("/")]
        self._http.hide(*(part for part in parts if len(part) >= SHORTEST_SECRET))

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Post a card; keeps no state."""
        self._post(message_of(notice))
        return state

    def send_digest(self, notice: DigestNotice) -> None:
        """Post what drifted in a week; a card of its own."""
        self._post(digest_message_of(notice))

    def send_list(self, notice: HeldNotice) -> None:
        """Post what the limit held back; a card of its own."""
        self._post(held_message_of(notice))

    def check(self) -> str:
        """Say that nothing can be found out: whatever the workflow is sent, it posts."""
        return "the webhook of a workflow (cannot be checked without posting)"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @classmethod
    def examples(cls) -> list[Example]:
        """One workflow."""
        options = {"type": "teams", "url_env": "HOOK", "allow_private": True}
        return [
            Example(options, {"HOOK": "{server}/workflows/0a1b/triggers/manual/paths/invoke?sig=c2VjcmV0"})
        ]

    def _post(self, message: Message) -> None:
        answer = self._http.send("POST", "", card_body_of(message), HEADERS)
        problem = self._problem(answer)
        if problem is not None:
            raise problem

    def _problem(self, answer: Answer) -> DeliveryError | None:
        """Read from the words of an answer that looks like success whether it is one."""
        words = answer.content[:2_000].decode(errors="replace")
        if _PAGE.match(words):
            return RetryLater("the answer is a web page, not that of a workflow")
        status = _STATUS_IN_WORDS.search(words)
        if status is not None and int(status[1]) >= 400:
            return self._http.error(Answer(int(status[1]), httpx.Headers(answer.headers), b""))
        if _FAILURE_IN_WORDS.search(words):
            return DeliveryError(f"Teams refused the message{self._http.quote_text(words)}")
        return None


def _secret_url(options: TeamsOptions, secrets: Secrets) -> httpx.URL:
    problem = secrets.problem("url", "not the address of a workflow (use https://host/path)")
    text: SecretStr = secrets.read(options, "url")
    try:
        url = httpx.URL(text.get_secret_value())
    except httpx.InvalidURL:
        raise problem from None  # the cause holds the address
    is_whole = str(url).isascii() and " " not in text.get_secret_value()
    if not is_whole or url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise problem
    return url
