"""What a page says after a form has done something: one of a fixed set of words, by a key in the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlencode

from fastapi import Response

from monitor.web.console.forms import back

Done = Literal[
    "acknowledged", "acknowledged-already", "resolved", "silenced", "commented", "asked", "approved",
    "rejected", "retried", "sent", "sent-all", "silence", "silence-ended", "reference",
]  # fmt: skip

WORDS: dict[Done, str] = {
    "acknowledged": "Acknowledged: everybody who was told of it reads that you look after it.",
    "acknowledged-already": "It had been acknowledged already; below is by whom.",
    "resolved": "Resolved. The next window with a finding opens a new incident.",
    "silenced": "Silenced. If it is open when the silence ends, it is told again.",
    "commented": "Your comment is part of the story now, and sent to everybody who was told.",
    "asked": "A run of training was asked for; see how it stands below.",
    "approved": "Approved: the run will be started.",
    "rejected": "Rejected: the run will not be started.",
    "retried": "The run will be started again.",
    "sent": "The message waits to be sent again.",
    "sent-all": "All dead messages of the receiver wait to be sent again.",
    "silence": "The silence is made.",
    "silence-ended": "The silence has ended. What is open is told soon.",
    "reference": "The reference is taken: the next windows are compared with it.",
}


def said(done: Done | None) -> str:
    """Say what was done; empty if nothing was.

    Examples
    --------
    >>> said("approved"), said(None)
    ('Approved: the run will be started.', '')
    """
    return "" if done is None else WORDS[done]


def back_done(posted: Mapping[str, str], done: Done, default: str) -> Response:
    """Lead back to the page of a form, which then says what was done.

    Examples
    --------
    >>> back_done({"back": "/incidents?state=all&done=resolved"}, "silenced", "/").headers["location"]
    '/incidents?state=all&done=silenced'
    """
    page, _, query = posted.get("back", default).partition("?")
    kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "done"]
    return back({"back": f"{page}?{urlencode([*kept, ('done', done)])}"}, default)


assert set(get_args(Done)) == set(WORDS)  # noqa: S101 - a key without words would fail where it is shown
