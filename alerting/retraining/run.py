"""A run of a training pipeline, as the system that runs it tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import httpx

from alerting.finding import shorten

MAX_DETAIL = 300
MAX_LINK = 2_048


class RunState(StrEnum):
    """How far a run is; `UNKNOWN` where the target cannot or can no longer tell.

    Examples
    --------
    >>> [state.value for state in RunState if state.is_over]
    ['succeeded', 'failed', 'cancelled']
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, one way or another."""
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True)
class Run:
    """One run of a pipeline.

    Parameters
    ----------
    id : str
        What the target needs to find it again; may change as the run is followed (a place in a queue
        becomes a build).
    url : str
        Page of the run for people; empty if there is none.
    state : RunState
        How far it is.
    detail : str
        The target's own words, such as why it waits or failed; at most 300 characters.
    """

    id: str
    url: str
    state: RunState
    detail: str = ""

    def __post_init__(self) -> None:
        # What another system says is shown to people: one line of bounded length.
        words = "".join(letter if letter.isprintable() else " " for letter in self.detail[: 4 * MAX_DETAIL])
        object.__setattr__(self, "detail", shorten(" ".join(words.split()), MAX_DETAIL))


def web_link(text: object) -> str:
    """Take an address that another system sent only if a browser may open it.

    Examples
    --------
    >>> web_link("https://ci.example/run/1"), web_link("javascript:alert(1)"), web_link(None)
    ('https://ci.example/run/1', '', '')
    """
    if not isinstance(text, str) or len(text) > MAX_LINK:
        return ""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return ""
    is_plain = url.scheme in ("http", "https") and url.host and not url.userinfo
    return text if is_plain else ""
