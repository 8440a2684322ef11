"""Slack: one message per incident, edited as it develops, with what changed in its thread.

Notes
-----
Slack has no idempotency key, and the permission to write (``chat:write``) does not let a bot look for its
own messages. So if an answer is lost (a time-out, or the process dies before the answer is recorded), the
next attempt posts a second message. Nothing is lost, and later edits go to the message that was recorded.
Proxies of the environment are honoured as slack-sdk does.
"""

from __future__ import annotations

import http.client
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient, WebhookResponse

from alerting.digest import DigestNotice
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverOptions, ReceiverState
from alerting.retry_after import retry_after_s
from alerting.secrets import Secrets, exactly_one
from alerting.slack_digest import digest_blocks, digest_text
from alerting.slack_message import MAX_SECTION, Block, blocks_of, escape, reply_of, text_of
from schemas.errors import DeliveryError, RetryLater

SLACK_API = "https://slack.com/api/"
PASSING = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "message_limit_exceeded",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "accesslimited",
    }
)
HINTS = {
    "channel_not_found": "check the channel's name, and invite the bot to it if it is private",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "unarchive the channel or name another",
    "invalid_auth": "the token is not valid: create a new one",
    "not_authed": "the token is empty: check token_env or token_file",
    "account_inactive": "the bot was removed from the workspace: install it again",
    "token_revoked": "the token was revoked: create a new one",
    "token_expired": "the token has expired: create a new one",
    "missing_scope": "give the bot the scope chat:write",
    "no_permission": "give the bot the scope chat:write",
    "restricted_action": "a workspace setting keeps the bot from posting in this channel",
    "no_service": "the incoming webhook was removed: create a new one",
    "invalid_token": "the incoming webhook's address is not valid: create a new one",
}
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{1,79}")
NOT_THERE = frozenset({"message_not_found"})
NOT_EDITABLE = frozenset({"cant_update_message", "edit_window_closed"})

# slack-sdk would log addresses that are secrets; what fails is reported by the error that is raised.
_silent = logging.getLogger("driftline.slack")
_silent.setLevel(logging.CRITICAL)


class SlackOptions(ReceiverOptions):
    """Options of a ``slack`` receiver: a bot, or an incoming webhook for those who have nothing else.

    Parameters
    ----------
    token_env, token_file : str
        Bot token (``xoxb-…``) with the scope ``chat:write``.
    url_env, url_file : str
        Address of an incoming webhook, instead of a token. It can neither edit nor thread: every change is a
        message.
    channel : str, optional
        Name or id of the channel; needed with a token, fixed by Slack with an incoming webhook.
    base_url : str
        Slack's API.
    timeout_s : float
        For connecting and for the answer, each.
    """

    type: Literal["slack"]
    token_env: str | None = None
    token_file: str | None = None
    url_env: str | None = None
    url_file: str | None = None
    channel: str | None = Field(default=None, min_length=1)
    base_url: str = Field(default=SLACK_API, pattern=r"^https?://[^@\s]+$")
    timeout_s: float = Field(default=15.0, gt=0, le=30)

    @property
    def uses_bot(self) -> bool:
        """Whether a bot token is configured."""
        return self.token_env is not None or self.token_file is not None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "token_env", "token_file", "url_env", "url_file")
        if self.uses_bot and self.channel is None:
            msg = "channel is missing (a bot needs the name or id of a channel)"
            raise ValueError(msg)
        if not self.uses_bot and self.channel is not None:
            msg = "channel given (an incoming webhook posts to the channel it was made for)"
            raise ValueError(msg)
        return self


class SlackNotifier(Notifier):
    """Posts the first notice of an incident, edits that message for later ones and replies in its thread."""

    Options = SlackOptions
    options: SlackOptions
    only_latest_matters = True

    def __init__(self, options: SlackOptions, secrets: Secrets, now_ms: Callable[[], int]) -> None:
        super().__init__(options, secrets, now_ms)
        self._bot: WebClient | None = None
        self._incoming: WebhookClient | None = None
        # The deliverer retries; an empty list keeps the SDK from doing it as well.
        shared: dict[str, Any] = {"timeout": options.timeout_s, "logger": _silent, "retry_handlers": []}
        if options.uses_bot:
            token = secrets.read(options, "token").get_secret_value()
            self._bot = WebClient(token, base_url=options.base_url, **shared)
        else:
            self._incoming = WebhookClient(secrets.read(options, "url").get_secret_value(), **shared)

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Post or edit the message of the incident; the state kept is its channel and time stamp."""
        if self._incoming is not None:
            self._post_incoming(self._incoming, text_of(notice), blocks_of(notice))
            return None
        if state is None:
            return self._post(notice)
        return self._edit(notice, state)

    def send_digest(self, notice: DigestNotice) -> None:
        """Post what drifted in a week; a message of its own, never edited."""
        text, blocks = digest_text(notice), digest_blocks(notice)
        if self._incoming is not None:
            self._post_incoming(self._incoming, text, blocks)
            return
        self._call(
            self._client.chat_postMessage,
            channel=self.options.channel,
            text=text,
            blocks=blocks,
            unfurl_links=False,
            unfurl_media=False,
            metadata={"event_type": "driftline_digest", "event_payload": {"notice_id": notice.id}},
        )

    def check(self) -> str:
        """Ask Slack who the token belongs to; an incoming webhook cannot be asked without posting."""
        if self._bot is None:
            return "an incoming webhook (cannot be checked without posting)"
        answer = self._call(self._bot.auth_test)
        who, team = answer.get("user", answer.get("user_id", "?")), answer.get("team", "the workspace")
        return f"bot {who} of {team}"

    @classmethod
    def examples(cls) -> list[Example]:
        """One bot, one incoming webhook."""
        return [
            Example(
                {"type": "slack", "channel": "#ml", "token_env": "TOKEN", "base_url": "{server}/api/"},
                {"TOKEN": "xoxb-secret-of-the-bot"},
                {"ok": True, "channel": "C1", "ts": "1767225600.000100", "user": "driftline", "team": "ml"},
            ),
            Example({"type": "slack", "url_env": "HOOK"}, {"HOOK": "{server}/services/secret-path"}),
        ]

    def _post(self, notice: Notice) -> ReceiverState:
        event = {"alert_id": notice.alert.id, "notice_id": notice.id}
        answer = self._call(
            self._client.chat_postMessage,
            channel=self.options.channel,
            text=text_of(notice),
            blocks=blocks_of(notice),
            unfurl_links=False,
            unfurl_media=False,
            metadata={"event_type": "driftline_alert", "event_payload": event},
        )
        return {"channel": str(answer["channel"]), "ts": str(answer["ts"])}

    def _edit(self, notice: Notice, state: ReceiverState) -> ReceiverState:
        """Edit the message, then say in its thread what changed. Post anew if a person deleted it."""
        channel, ts = state["channel"], state["ts"]
        try:
            self._call(
                self._client.chat_update,
                channel=channel,
                ts=ts,
                text=text_of(notice),
                blocks=blocks_of(notice),
            )
        except _RefusedError as refusal:
            if refusal.code in NOT_THERE:
                return self._post(notice)
            if refusal.code not in NOT_EDITABLE:
                raise
        self._call(
            self._client.chat_postMessage,
            channel=channel,
            thread_ts=ts,
            text=escape(reply_of(notice), MAX_SECTION),
            unfurl_links=False,
        )
        return state

    def _post_incoming(self, client: WebhookClient, text: str, blocks: list[Block]) -> None:
        try:
            response: WebhookResponse = client.send(text=text, blocks=blocks)
        except (OSError, http.client.HTTPException) as error:
            raise _unknown_outcome(error) from None  # the cause may hold the address
        if response.status_code != 200:
            raise self._error(response.status_code, response.headers, _code({"error": response.body.strip()}))

    def _call(self, method: Callable[..., Any], **arguments: object) -> Mapping[str, Any]:
        try:
            answer = method(**arguments)
        except SlackApiError as error:
            response = error.response
            code = _code(response.data)
            raise self._error(response.status_code, response.headers, code) from None
        except (OSError, http.client.HTTPException) as error:
            raise _unknown_outcome(error) from None
        data: Mapping[str, Any] = answer.data
        return data

    def _error(self, status: int, headers: Mapping[str, str], code: str) -> DeliveryError:
        """Tell what passes (limits, Slack's own trouble) from what a person has to mend."""
        lowered = {name.lower(): value for name, value in headers.items()}
        after_s = retry_after_s(lowered.get("retry-after"), self.now_ms())
        if status == 429 or code in PASSING:
            return RetryLater(f"Slack asks to wait ({status} {code})", after_s)
        if status >= 500 or (status == 200 and not code):
            return RetryLater(f"an answer with status {status} that is not Slack's", after_s)
        return _RefusedError(code or f"status {status}")

    @property
    def _client(self) -> WebClient:
        if self._bot is None:
            msg = "an incoming webhook has no client for the API"
            raise DeliveryError(msg)
        return self._bot


class _RefusedError(DeliveryError):
    """Slack understood and said no."""

    def __init__(self, code: str) -> None:
        hint = HINTS.get(code)
        super().__init__(f"Slack refused: {code}" + (f" ({hint})" if hint else ""))
        self.code = code


def _code(data: object) -> str:
    """Read Slack's error code; empty if the answer is not Slack's (a page of a proxy, say)."""
    code = data.get("error", "") if isinstance(data, dict) else ""
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def _unknown_outcome(error: Exception) -> RetryLater:
    reason = getattr(error, "reason", error)
    kind = "timed out" if isinstance(reason, TimeoutError) else f"connection failed ({type(reason).__name__})"
    return RetryLater(f"no answer from Slack: {kind}")
