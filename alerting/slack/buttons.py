"""Buttons of an incident in Slack, and what Slack says when somebody presses one.

The names of actions are part of messages that stay in Slack for years: they never change their meaning.

References
----------
https://docs.slack.dev/reference/block-kit/blocks/actions-block/ and
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alerting.alert import State
from alerting.finding import shorten
from alerting.incidents.incident import Proposal
from alerting.notice import Notice
from schemas.duration import UNITS_MS
from schemas.errors import UsageError

ACKNOWLEDGE, SILENCE, OPEN = "driftline_acknowledge", "driftline_silence", "driftline_open"
APPROVE, REJECT = "driftline_approve_training", "driftline_reject_training"
SILENCES = (("1h", "Silence 1 hour"), ("8h", "Silence 8 hours"), ("24h", "Silence 24 hours"))
SPANS_MS = {"1h": UNITS_MS["h"], "8h": 8 * UNITS_MS["h"], "24h": UNITS_MS["d"]}
MAX_URL = 3_000
MAX_ID = 64  # of an incident
MAX_NAME = 80
SHOWN_PROPOSALS = 3
MAX_ASKED = 150

Block = dict[str, Any]


@dataclass(frozen=True)
class Press:
    """Somebody pressed a button of an incident.

    Parameters
    ----------
    action : str
        `ACKNOWLEDGE`, `SILENCE`, `OPEN`, `APPROVE` or `REJECT`.
    about : str
        Incident, or request for training, as the button says; nobody has checked that there is one. Empty for
        `OPEN`.
    span_ms : int
        How long to be silent; 0 for other actions.
    user_id, user_name, user_team : str
        Who; the team is empty where Slack does not tell.
    channel_id, channel_name : str
        Where; the name of a private channel is not told.
    key : str
        The same for repetitions of one press.
    """

    action: str
    about: str
    span_ms: int
    user_id: str
    user_name: str
    user_team: str
    channel_id: str
    channel_name: str
    key: str

    @property
    def actor(self) -> str:
        """Who it was, for the audit trail."""
        return f"slack:{self.user_name or self.user_id}"


def buttons_of(notice: Notice) -> list[Block]:
    """Lay out the buttons that make sense in the state of an incident; no block without any.

    Parameters
    ----------
    notice : Notice

    Returns
    -------
    list of dict
        One ``actions`` block, or none, and two blocks for each run of training that waits for approval. What
        is pending has told nobody and cannot be acknowledged; what is over can only be opened.
    """
    state, id_ = notice.alert.state, notice.alert.id
    elements: list[Block] = []
    if state is State.FIRING:
        elements.append(_button("Acknowledge", ACKNOWLEDGE, value=id_, style="primary"))
    if notice.alert.is_open:
        elements.append(_silence(id_))
    if notice.url and len(notice.url) <= MAX_URL:
        elements.append(_button("Open", OPEN, url=notice.url, value=id_))
    blocks: list[Block] = [{"type": "actions", "elements": elements}] if elements else []
    for proposal in notice.proposals[:SHOWN_PROPOSALS] if notice.alert.is_open else ():
        blocks += _training(proposal)
    return blocks


def read_press(payload: object) -> Press:
    """Read a ``block_actions`` payload.

    Parameters
    ----------
    payload : object
        JSON as Slack sent it; anything may be in it.

    Raises
    ------
    UsageError
        If it is none, or of a button that is not Driftline's; says what is wrong in a few words.

    Examples
    --------
    >>> action = {"action_id": "driftline_acknowledge", "value": "5f1e", "action_ts": "1767225600.000100"}
    >>> user, channel = {"id": "U1", "username": "ann"}, {"id": "C1", "name": "ml"}
    >>> payload = {"type": "block_actions", "user": user, "channel": channel, "actions": [action]}
    >>> press = read_press(payload)
    >>> press.action, press.about, press.actor
    ('driftline_acknowledge', '5f1e', 'slack:ann')
    """
    if not isinstance(payload, dict) or payload.get("type") != "block_actions":
        msg = "not a press of a button"
        raise UsageError(msg)
    actions = payload.get("actions")
    action = actions[0] if isinstance(actions, list) and actions else None
    user = payload.get("user")
    if not isinstance(action, dict) or not _text(user, "id"):
        msg = "a press of a button without the button or the user"
        raise UsageError(msg)
    name, about, span_ms = _wanted(action)
    channel = payload.get("channel") or {"id": _text(payload.get("container"), "channel_id")}
    user_id = _text(user, "id")
    return Press(
        action=name,
        about=about,
        span_ms=span_ms,
        user_id=user_id,
        user_name=shorten(_text(user, "username") or _text(user, "name"), MAX_NAME),
        user_team=_text(user, "team_id"),
        channel_id=_text(channel, "id"),
        channel_name=_text(channel, "name"),
        key=f"{user_id}/{name}/{about}/{_text(action, 'action_ts')}",
    )


def whereabouts(payload: object) -> tuple[str, str]:
    """Ids of the channel and the user of any payload; empty where it does not say."""
    found = payload if isinstance(payload, dict) else {}
    return _text(found.get("channel"), "id"), _text(found.get("user"), "id")


def _wanted(action: dict[str, Any]) -> tuple[str, str, int]:
    """What is to be done, with which incident or request, for how long."""
    name, value, span_ms = _text(action, "action_id"), _text(action, "value"), 0
    if name == OPEN:
        return name, "", 0
    if name == SILENCE:
        span, _, value = _text(action.get("selected_option"), "value").partition(":")
        span_ms = SPANS_MS.get(span, 0)
    if name not in (ACKNOWLEDGE, SILENCE, APPROVE, REJECT) or (name == SILENCE and not span_ms):
        msg = f"a button that this version does not know: {shorten(name, MAX_NAME)!r}"
        raise UsageError(msg)
    if not 0 < len(value) <= MAX_ID:
        msg = f"a button {name} that does not say what it is about"
        raise UsageError(msg)
    return name, value, span_ms


def _training(proposal: Proposal) -> list[Block]:
    """Ask whether training may be started; texts are plain, so that nothing in them is markup."""
    asked = f"{proposal.receiver} would train {proposal.model} anew. Shall it?"
    buttons = [
        _button("Approve", APPROVE, value=proposal.id, style="primary"),
        _button("Reject", REJECT, value=proposal.id),
    ]
    return [
        {"type": "section", "text": _plain(shorten(asked, MAX_ASKED))},
        {"type": "actions", "elements": buttons},
    ]


def _silence(id_: str) -> Block:
    options = [{"text": _plain(label), "value": f"{span}:{id_}"} for span, label in SILENCES]
    return {
        "type": "static_select", "action_id": SILENCE, "placeholder": _plain("Silence …"), "options": options,
    }  # fmt: skip


def _button(label: str, action: str, **more: str) -> Block:
    return {"type": "button", "text": _plain(label), "action_id": action, **more}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": True}


def _text(value: object, key: str) -> str:
    """Read a text out of what may be anything."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
