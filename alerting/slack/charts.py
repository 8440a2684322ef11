"""Charts in the thread of an incident: uploaded after its message, each once, and never in its way.

Notes
-----
The image is shared into the thread rather than put into the message as an ``image`` block: Slack takes files
in at its leisure, and refuses blocks (``invalid_blocks``) that name a file which is not ready. What goes
wrong with a chart is logged; the next notice of the incident tries again. If only the answer to the last step
got lost, the chart counts as shown.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from alerting.alert import State
from alerting.charts.data import Chart, leading_finding
from alerting.notice import Notice
from alerting.slack.client import Refused, SharingUnknown, SlackApi
from schemas.errors import RetryLater

logger = logging.getLogger("driftline.deliver.charts")

MOST_REMEMBERED = 20
# No chart can be shown before somebody mends this.
LASTING = frozenset(
    {
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "file_uploads_disabled",
        "file_uploads_except_images_disabled",
        "access_denied",
        "unknown_method",
    }
)
Draw = Callable[[Notice], Sequence[Chart]]


class ChartThread:
    """Puts the charts of incidents into their threads.

    Parameters
    ----------
    api : SlackApi
        Of the bot; needs the scope ``files:write``.
    now_ms : callable
        Wall clock.

    Guarantees
    ----------
    Never raises for what a chart or Slack does. May be called from several threads.
    """

    def __init__(self, api: SlackApi, now_ms: Callable[[], int]) -> None:
        self._api, self._now_ms = api, now_ms
        self._not_before_ms = 0
        self._is_off = False
        self._lock = threading.Lock()

    def follow(self, notice: Notice, draw: Draw, state: dict[str, Any]) -> dict[str, Any]:
        """Show the charts of a notice, unless they have been.

        Parameters
        ----------
        notice : Notice
            Its message is there already.
        draw : callable
            Makes the charts; only called when they are to be shown.
        state : dict
            Of the incident: ``channel``, ``ts``, and ``charts``, names of what was shown.

        Returns
        -------
        dict
            The new state.
        """
        shown = list(state.get("charts", []))
        name = subject_of(notice)
        if name is None or name in shown or self._is_off or self._now_ms() < self._not_before_ms:
            return state
        if not self._show(notice, draw, state):
            return state
        return {**state, "charts": [*shown, name][-MOST_REMEMBERED:]}

    def _show(self, notice: Notice, draw: Draw, state: dict[str, Any]) -> bool:
        """Draw and upload; says whether that need not be tried again."""
        try:
            charts = draw(notice)
        except Exception as error:  # whatever it is, it must not hold back messages
            trace = "".join(traceback.format_tb(error.__traceback__))
            id_, kind = notice.alert.id, type(error).__name__
            logger.warning("no chart of incident %s: drawing failed with %s\n%s", id_, kind, trace)
            return False
        return not charts or self._uploaded(notice.alert.id, charts, state)

    def _uploaded(self, id_: str, charts: Sequence[Chart], state: dict[str, Any]) -> bool:
        files = [
            {"filename": one.filename, "content": one.png, "title": one.title, "alt_txt": one.alt_text}
            for one in charts
        ]
        try:
            self._api.call(
                self._api.client.files_upload_v2,
                file_uploads=files,
                channel=state["channel"],
                thread_ts=state["ts"],
            )
        except SharingUnknown as error:
            logger.warning("a chart of incident %s may be missing: %s", id_, error)
        except RetryLater as error:
            self._wait(error.after_s)
            logger.warning("no chart of incident %s yet: %s", id_, error)
            return False
        except Refused as refusal:
            self._note(id_, refusal)
            return False
        return True

    def _wait(self, after_s: float | None) -> None:
        with self._lock:
            until_ms = self._now_ms() + round(1_000 * (after_s or 0.0))
            self._not_before_ms = max(self._not_before_ms, until_ms)

    def _note(self, id_: str, refusal: Refused) -> None:
        """Log a refusal; one that lasts only once."""
        if refusal.code not in LASTING:
            logger.warning("no chart of incident %s: %s", id_, refusal)
            return
        with self._lock:
            is_news, self._is_off = not self._is_off, True
        if is_news:
            logger.warning("messages go without charts until the next start: %s", refusal)


def subject_of(notice: Notice) -> str | None:
    """Name what the charts of a notice show: the finding that speaks for the incident, open or over.

    Returns
    -------
    str or None
        None where no chart is called for: an incident that was taken back.
    """
    if notice.alert.state is State.RETRACTED:
        return None
    found = leading_finding(notice)
    stream = (str(notice.alert.kind), "", "") if found is None else tuple(found.stream)
    parts = (*stream, "open" if notice.alert.is_open else "over")
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
