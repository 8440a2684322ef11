"""Buttons in Slack: hears presses, checks who may, lets the decision be made, and answers when it was not.

What a decision changes shows in the message itself, which is edited by way of the outbox; only the person who
pressed sees the answers sent from here.
"""

from __future__ import annotations

import logging
import queue
import random
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pydantic import SecretStr

from alerting.notifiers.base import ReceiverOptions
from alerting.notifiers.slack import SlackOptions, app_token, bot_api
from alerting.secrets import Secrets
from alerting.slack.buttons import (
    ACKNOWLEDGE,
    APPROVE,
    OPEN,
    REJECT,
    SILENCE,
    Press,
    read_press,
    whereabouts,
)
from alerting.slack.client import SlackApi
from alerting.slack.message import escape
from monitor.clock import Clock
from monitor.slack.line import SocketLine
from schemas.errors import DeliveryError, Unavailable, UsageError

logger = logging.getLogger("driftline.slack_buttons")

MOST_WAITING = 1_000
MOST_REMEMBERED = 10_000
LOOK_S = 0.5
MAX_ANSWER = 1_000
HIDDEN_NAMES = frozenset({"", "privategroup"})  # Slack does not tell the names of private channels
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{2,}")


class Decisions(Protocol):
    """What people can decide by pressing a button; `monitor.slack.decisions.ByButton` is one."""

    def acknowledge(self, incident_id: str, actor: str, cause: str = "") -> str:
        """Record that somebody looks after an incident; says what came of it. Raises UsageError."""
        ...

    def silence(self, incident_id: str, actor: str, span_ms: int, cause: str = "") -> str:
        """Tell nobody of an incident for a while; says what came of it. Raises UsageError."""
        ...

    def approve(self, request_id: str, actor: str, cause: str = "") -> str:
        """Let a proposed run of training be started; says what came of it. Raises UsageError."""
        ...

    def reject(self, request_id: str, actor: str, cause: str = "") -> str:
        """Let a proposed run of training not be started; says what came of it. Raises UsageError."""
        ...


@runtime_checkable
class KnowsPresses(Protocol):
    """Decisions that can tell a press which was taken already, also by another process or before a restart.

    Acknowledging, approving and rejecting twice is harmless by itself; a second silence would last longer.
    """

    def silence_once(self, press: str, incident_id: str, actor: str, span_ms: int) -> str:
        """Tell nobody of an incident for a while, once for each press; says what came of it."""
        ...


@dataclass
class Desk:
    """One receiver whose messages have buttons.

    Parameters
    ----------
    name : str
        Of the receiver in the configuration.
    options : SlackOptions
    bot : SlackApi
        Posts answers.
    home : frozenset of str
        Ids of the bot's workspace and organisation; empty until Slack was asked.
    """

    name: str
    options: SlackOptions
    bot: SlackApi
    home: frozenset[str] = field(default=frozenset())

    def is_at(self, press: Press) -> bool:
        """Whether a press comes from the channel of the receiver, as far as Slack tells."""
        wanted = self.options.channel or ""
        if _CHANNEL_ID.fullmatch(wanted):
            return wanted == press.channel_id
        return press.channel_name in HIDDEN_NAMES or press.channel_name == wanted.removeprefix("#")

    def admits(self, press: Press) -> bool:
        """Whether a person may press: of the same workspace, and among those allowed.

        Raises
        ------
        DeliveryError
            If Slack does not say which workspace that is.
        """
        if not self.home:
            told = self.bot.call(self.bot.client.auth_test)
            self.home = frozenset(str(told[key]) for key in ("team_id", "enterprise_id") if told.get(key))
        allowed = self.options.allow_users
        return press.user_team in self.home and (not allowed or press.user_id in allowed)


class SlackActions:
    """Listens for presses of the buttons of one Slack app.

    Parameters
    ----------
    token : SecretStr
        Of the app (``xapp-…``). Slack gives each press to any one of an app's connections: all receivers
        with the same app share one.
    desks : sequence of Desk
        These receivers; at least one.
    decisions : Decisions
    clock : Clock
    rng : random.Random
        Spreads attempts to connect.

    Guarantees
    ----------
    A press that Slack tells of twice is one decision: as long as the process lives by what it remembers, and
    beyond that by what is decided, where `decisions` knows presses (`KnowsPresses`). Nothing that Slack or
    people send ends `run`.
    """

    def __init__(
        self, token: SecretStr, desks: Sequence[Desk], decisions: Decisions, clock: Clock, rng: random.Random
    ) -> None:
        self._token, self._desks, self._decisions = token, tuple(desks), decisions
        self._clock, self._rng = clock, rng
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._seen: OrderedDict[str, None] = OrderedDict()

    def run(self, stop: threading.Event) -> None:
        """Listen until told to stop; leaves within a second, at once after `wake`."""
        options = self._desks[0].options
        api = SlackApi(self._token, options.base_url, options.timeout_s, self._clock.now_ms)
        line = SocketLine(api, self._token, self._put, self._clock, self._rng)
        line.start()
        try:
            while not stop.is_set():
                payload = self._next()
                if payload is not None:
                    self.handle(payload)
        finally:
            line.close()

    def wake(self) -> None:
        """Say that `run` should look at its stop event."""
        self._put(None)

    def handle(self, payload: Mapping[str, Any]) -> None:
        """Do what a payload of Slack asks for; logs and answers whatever goes wrong.

        Parameters
        ----------
        payload : mapping
            Of an interaction, as Slack sent it.
        """
        try:
            press = read_press(payload)
        except UsageError as error:
            logger.warning("Slack told of something that is not for us: %s", error)
            self._answer(self._desks[0], *whereabouts(payload), f"That did not work: {error}.")
            return
        if press.action == OPEN or self._is_repeated(press):
            return
        desks = [desk for desk in self._desks if desk.is_at(press)]
        if not desks:
            logger.warning("%s pressed a button in channel %s, of no receiver", press.actor, press.channel_id)
            text = "That did not work: this channel belongs to none of the receivers that use this Slack app."
            self._answer(self._desks[0], press.channel_id, press.user_id, text)
            return
        answer = self._decide(desks, press)
        if answer:
            self._answer(desks[0], press.channel_id, press.user_id, answer)

    def _decide(self, desks: Sequence[Desk], press: Press) -> str:
        """Let the decision be made; what to answer, empty if the message itself will show it.

        Where it cannot be told which of several receivers a channel belongs to, all have to admit the person.
        """
        name = " or ".join(desk.name for desk in desks)
        did = f"{press.action.removeprefix('driftline_')} of {press.about} by {press.actor}"
        try:
            if not all(desk.admits(press) for desk in desks):
                logger.warning("receiver %s: %s (%s) was refused", name, did, press.user_id)
                return "That did not work: you are not among those who may do this (allow_users)."
            words = self._perform(press)
        except UsageError as error:
            logger.info("receiver %s: %s: %s", name, did, error)
            return f"That did not work: {error}."
        except (Unavailable, DeliveryError) as error:
            logger.warning("receiver %s: %s did not work: %s", name, did, error)
            return "That did not work just now. Try again in a minute."
        except Exception:  # one press must not end the listening
            logger.exception("receiver %s: %s failed", name, did)
            return "That did not work; the log of the service says why."
        logger.info("receiver %s: %s: %s", name, did, words)
        return f"The incident is {words}." if press.action == SILENCE else ""

    def _perform(self, press: Press) -> str:
        if press.action == SILENCE and isinstance(self._decisions, KnowsPresses):
            key = "" if press.key.endswith("/") else press.key  # which ends with the instant of the press
            return self._decisions.silence_once(key, press.about, press.actor, press.span_ms)
        if press.action == SILENCE:
            return self._decisions.silence(press.about, press.actor, press.span_ms)
        decide = {
            ACKNOWLEDGE: self._decisions.acknowledge,
            APPROVE: self._decisions.approve,
            REJECT: self._decisions.reject,
        }[press.action]
        return decide(press.about, press.actor)

    def _is_repeated(self, press: Press) -> bool:
        if press.key in self._seen:
            return True
        self._seen[press.key] = None
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return False

    def _answer(self, desk: Desk, channel: str, user: str, text: str) -> None:
        """Tell one person, if it is known who and where."""
        if not channel or not user:
            return
        bot = desk.bot
        try:
            short = escape(text, MAX_ANSWER)
            bot.call(bot.client.chat_postEphemeral, channel=channel, user=user, text=short)
        except DeliveryError as error:
            logger.warning("receiver %s: user %s was not told: %s", desk.name, user, error)

    def _put(self, payload: dict[str, Any] | None) -> None:
        try:
            self._waiting.put_nowait(payload)
        except queue.Full:
            if payload is not None:
                logger.error("a press of a button was dropped: %d are waiting", MOST_WAITING)  # noqa: TRY400

    def _next(self) -> dict[str, Any] | None:
        try:
            return self._waiting.get(timeout=LOOK_S)
        except queue.Empty:
            return None


def slack_actions(
    receivers: Mapping[str, ReceiverOptions],
    environment: Mapping[str, str],
    decisions: Decisions,
    clock: Clock,
    rng: random.Random,
) -> list[SlackActions]:
    """Make the listeners that a configuration asks for, one for each Slack app.

    Parameters
    ----------
    receivers : mapping of str to ReceiverOptions
        All receivers, by name; those without an app token are left out.
    environment : mapping of str to str
        Where ``…_env`` secrets are read.
    decisions : Decisions
    clock : Clock
    rng : random.Random

    Raises
    ------
    ConfigurationError
        If a secret is missing or cannot be what it should be.
    """
    apps: dict[str, list[Desk]] = {}
    for name, options in receivers.items():
        if isinstance(options, SlackOptions) and options.listens:
            secrets = Secrets(environment, f"receivers.{name}")
            desk = Desk(name, options, bot_api(options, secrets, clock.now_ms))
            apps.setdefault(app_token(options, secrets).get_secret_value(), []).append(desk)
    return [SlackActions(SecretStr(token), desks, decisions, clock, rng) for token, desks in apps.items()]
