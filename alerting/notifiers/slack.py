"""Slack: one message per incident, edited as it develops, with what changed in its thread.

Notes
-----
Slack has no idempotency key, and the permission to write (``chat:write``) does not let a bot look for its
own messages. So if an answer is lost (a time-out, or the process dies before the answer is recorded), the
next attempt posts a second message. Nothing is lost, and later edits go to the message that was recorded.
Charts come after their message, into its thread (`alerting.slack.charts`), and cannot keep it from being
sent. Buttons are shown where somebody listens for presses (`monitor.slack.actions`). Proxies of the
environment are honoured as slack-sdk does.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator
from slack_sdk.webhook import WebhookClient, WebhookResponse

from alerting.digest import DigestNotice
from alerting.held import HeldNotice
from alerting.http.receiver import secret_address
from alerting.messages.words import reply_of
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverOptions, ReceiverState
from alerting.secrets import Secrets, exactly_one
from alerting.slack.buttons import Block
from alerting.slack.charts import ChartThread
from alerting.slack.client import Refused, SlackApi, code_of, error_of, silent, unknown_outcome
from alerting.slack.digest import digest_blocks, digest_text, list_blocks, list_text
from alerting.slack.message import MAX_SECTION, blocks_of, escape, text_of
from schemas.errors import DeliveryError

SLACK_API = "https://slack.com/api/"
BOT_PREFIX, APP_PREFIX = "xoxb-", "xapp-"
NOT_THERE = frozenset({"message_not_found"})
NOT_EDITABLE = frozenset({"cant_update_message", "edit_window_closed"})
CHART_TIMEOUT_S = 5.0
CHART_PATIENCE_MS = 15_000  # a chart has to wait for the next notice if the message itself took longer

UserId = Annotated[str, StringConstraints(pattern=r"^[UW][A-Z0-9]{1,31}$")]


class SlackOptions(ReceiverOptions):
    """Options of a ``slack`` receiver: a bot, or an incoming webhook for those who have nothing else.

    Parameters
    ----------
    token_env, token_file : str
        Bot token (``xoxb-…``) with the scope ``chat:write``, and ``files:write`` for charts.
    url_env, url_file : str
        Address of an incoming webhook, instead of a token. It can neither edit nor thread: every change is a
        message.
    channel : str, optional
        Name or id of the channel; needed with a token, fixed by Slack with an incoming webhook.
    app_token_env, app_token_file : str, optional
        App-level token (``xapp-…``) with the scope ``connections:write``: presses of buttons come through
        Socket Mode, which needs no address that Slack can reach.
    buttons : bool, optional
        Whether messages have buttons to acknowledge and to silence; default: if there is an app token.
    allow_users : list of str
        Ids of the users who may press them; empty: everybody in the channel.
    charts : bool
        Whether charts are posted in the thread of an incident; an incoming webhook cannot.
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
    app_token_env: str | None = None
    app_token_file: str | None = None
    buttons: bool | None = None
    allow_users: tuple[UserId, ...] = ()
    charts: bool = True
    base_url: str = Field(default=SLACK_API, pattern=r"^https?://[^@\s]+$")
    timeout_s: float = Field(default=15.0, gt=0, le=30)

    @property
    def uses_bot(self) -> bool:
        """Whether a bot token is configured."""
        return self.token_env is not None or self.token_file is not None

    @property
    def listens(self) -> bool:
        """Whether an app token is configured, so that presses of buttons arrive."""
        return self.app_token_env is not None or self.app_token_file is not None

    @property
    def has_buttons(self) -> bool:
        """Whether messages have buttons."""
        return self.listens if self.buttons is None else self.buttons

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "token_env", "token_file", "url_env", "url_file")
        if self.uses_bot and self.channel is None:
            msg = "channel is missing (a bot needs the name or id of a channel)"
            raise ValueError(msg)
        if not self.uses_bot and self.channel is not None:
            msg = "channel given (an incoming webhook posts to the channel it was made for)"
            raise ValueError(msg)
        self._check_buttons()
        return self

    def _check_buttons(self) -> None:
        if self.listens:
            exactly_one(self, "app_token_env", "app_token_file")
        if self.listens and not self.uses_bot:
            msg = "an app token is given (an incoming webhook has no buttons: use token_env or token_file)"
            raise ValueError(msg)
        if not self.listens and (self.buttons or self.allow_users):
            given = "buttons" if self.buttons else "allow_users"
            msg = f"{given} given, and nobody would hear of presses (add app_token_env or app_token_file)"
            raise ValueError(msg)


class SlackNotifier(Notifier):
    """Posts the first notice of an incident, edits that message for later ones and replies in its thread."""

    Options = SlackOptions
    options: SlackOptions
    only_latest_matters = True
    reads_lists = True

    def __init__(self, options: SlackOptions, secrets: Secrets, now_ms: Callable[[], int]) -> None:
        super().__init__(options, secrets, now_ms)
        self._bot: SlackApi | None = None
        self._app_token = app_token(options, secrets) if options.listens else None
        self._incoming: WebhookClient | None = None
        if options.uses_bot:
            self._bot = bot_api(options, secrets, now_ms)
            short_s = min(options.timeout_s, CHART_TIMEOUT_S)
            self._chart_thread = ChartThread(bot_api(options, secrets, now_ms, short_s), now_ms)
        else:
            # The deliverer retries; an empty list keeps the SDK from doing it as well.
            shared: dict[str, Any] = {"timeout": options.timeout_s, "logger": silent, "retry_handlers": []}
            url = secret_address(options, secrets, "url").get_secret_value()
            self._incoming = WebhookClient(url, **shared)

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Post or edit the message of the incident; the state kept is its channel, time stamp and charts."""
        if self._incoming is not None:
            self._post_incoming(self._incoming, text_of(notice), blocks_of(notice))
            return None
        began_ms = self.now_ms()
        state = self._post(notice) if state is None else self._edit(notice, state)
        draw = self.charts
        if draw is None or not self.options.charts or self.now_ms() - began_ms > CHART_PATIENCE_MS:
            return state
        return self._chart_thread.follow(notice, draw, state)

    def send_digest(self, notice: DigestNotice) -> None:
        """Post what drifted in a week; a message of its own, never edited."""
        self._post_alone("driftline_digest", notice.id, digest_text(notice), digest_blocks(notice))

    def send_list(self, notice: HeldNotice) -> None:
        """Post what the limit held back; a message of its own, never edited."""
        self._post_alone("driftline_held_back", notice.id, list_text(notice), list_blocks(notice))

    def _post_alone(self, event: str, id_: str, text: str, blocks: list[Block]) -> None:
        if self._incoming is not None:
            self._post_incoming(self._incoming, text, blocks)
            return
        self._api.call(
            self._api.client.chat_postMessage,
            channel=self.options.channel,
            text=text,
            blocks=blocks,
            unfurl_links=False,
            unfurl_media=False,
            metadata={"event_type": event, "event_payload": {"notice_id": id_}},
        )

    def check(self) -> str:
        """Ask Slack who the tokens belong to; an incoming webhook cannot be asked without posting."""
        if self._bot is None:
            return "an incoming webhook (cannot be checked without posting)"
        answer = self._bot.call(self._bot.client.auth_test)
        who, team = answer.get("user", answer.get("user_id", "?")), answer.get("team", "the workspace")
        if self._app_token is None:
            return f"bot {who} of {team}"
        secret = self._app_token.get_secret_value()
        self._bot.call(self._bot.client.apps_connections_open, app_token=secret)
        return f"bot {who} of {team}, which hears of buttons"

    @classmethod
    def examples(cls) -> list[Example]:
        """A bot, one with buttons, an incoming webhook."""
        bot = {"type": "slack", "channel": "#ml", "token_env": "TOKEN", "base_url": "{server}/api/"}
        secret = {"TOKEN": "xoxb-secret-of-the-bot"}
        answer = {
            "ok": True, "channel": "C1", "ts": "1767225600.000100", "user": "driftline", "team": "ml",
            "url": "wss://example.org/link",
        }  # fmt: skip
        return [
            Example(bot, secret, answer),
            Example({**bot, "app_token_env": "APP"}, {**secret, "APP": "xapp-secret-of-the-app"}, answer),
            Example({"type": "slack", "url_env": "HOOK"}, {"HOOK": "{server}/services/secret-path"}),
        ]

    def _post(self, notice: Notice) -> ReceiverState:
        event = {"alert_id": notice.alert.id, "notice_id": notice.id}
        answer = self._api.call(
            self._api.client.chat_postMessage,
            channel=self.options.channel,
            text=text_of(notice),
            blocks=self._blocks(notice),
            unfurl_links=False,
            unfurl_media=False,
            metadata={"event_type": "driftline_alert", "event_payload": event},
        )
        return {"channel": str(answer["channel"]), "ts": str(answer["ts"])}

    def _edit(self, notice: Notice, state: ReceiverState) -> ReceiverState:
        """Edit the message, then say in its thread what changed. Post anew if a person deleted it."""
        channel, ts = state["channel"], state["ts"]
        try:
            self._api.call(
                self._api.client.chat_update,
                channel=channel,
                ts=ts,
                text=text_of(notice),
                blocks=self._blocks(notice),
            )
        except Refused as refusal:
            if refusal.code in NOT_THERE:
                return self._post(notice)
            if refusal.code not in NOT_EDITABLE:
                raise
        self._api.call(
            self._api.client.chat_postMessage,
            channel=channel,
            thread_ts=ts,
            text=escape(reply_of(notice), MAX_SECTION),
            unfurl_links=False,
        )
        return state

    def _blocks(self, notice: Notice) -> list[Block]:
        return blocks_of(notice, has_buttons=self.options.has_buttons)

    def _post_incoming(self, client: WebhookClient, text: str, blocks: list[Block]) -> None:
        try:
            response: WebhookResponse = client.send(text=text, blocks=blocks)
        except (OSError, http.client.HTTPException) as error:
            raise unknown_outcome(error) from None  # the cause may hold the address
        if response.status_code != 200:
            code = code_of({"error": response.body.strip()})
            raise error_of(response.status_code, response.headers, code, self.now_ms())

    @property
    def _api(self) -> SlackApi:
        if self._bot is None:
            msg = "an incoming webhook has no client for the API"
            raise DeliveryError(msg)
        return self._bot


def bot_api(
    options: SlackOptions, secrets: Secrets, now_ms: Callable[[], int], timeout_s: float | None = None
) -> SlackApi:
    """Make the client of the bot of a receiver.

    Parameters
    ----------
    timeout_s : float, optional
        In place of that of the options.

    Raises
    ------
    ConfigurationError
        If the token is missing, or cannot be that of a bot.
    """
    key = "token"
    token = secrets.read(options, key)
    if token.get_secret_value().startswith(APP_PREFIX):
        raise secrets.problem(key, f"a bot's token is needed, which begins with {BOT_PREFIX}")
    return SlackApi(token, options.base_url, timeout_s or options.timeout_s, now_ms)


def app_token(options: SlackOptions, secrets: Secrets) -> SecretStr:
    """Read the token with which the connection for buttons is opened.

    Raises
    ------
    ConfigurationError
        If it is missing, or cannot be that of an app.
    """
    key = "app_token"
    token = secrets.read(options, key)
    if not token.get_secret_value().startswith(APP_PREFIX):
        raise secrets.problem(key, f"an app-level token is needed, which begins with {APP_PREFIX}")
    return token
