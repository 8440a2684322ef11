"""A Slack message on the terminal: the same header, sections and small print."""

from __future__ import annotations

import html
import re
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from monitor.demo.slack_server import Posted

SHOWN_LINES = 4
WIDTH = 110
EMOJI = {
    ":red_circle:": "🔴",
    ":large_yellow_circle:": "🟡",
    ":large_green_circle:": "🟢",
    ":white_circle:": "⚪",
}
_LINK = re.compile(r"<([^|>]+)\|([^>]+)>")


def plain(text: str) -> str:
    """Write Slack's markup as people see it.

    Examples
    --------
    >>> plain(":red_circle: a &lt; b · <http://127.0.0.1/x|Open>")
    '🔴 a < b · Open: http://127.0.0.1/x'
    """
    for name, sign in EMOJI.items():
        text = text.replace(name, sign)
    return html.unescape(_LINK.sub(r"\2: \1", text))


def lines_of(posted: Posted) -> list[str]:
    """Write a message as lines, for a log without colours: the header, or the reply."""
    if posted.is_reply:
        return [f"  ↳ {plain(posted.text)}"]
    return [plain(_text(block)) for block in posted.blocks if block["type"] in ("header", "section")][:2]


def rendered(posted: Posted, channel: str) -> RenderableType:
    """Lay a message out for the terminal.

    Parameters
    ----------
    posted : Posted
        A message, or a reply in its thread.
    channel : str
        Name of the channel.
    """
    if posted.is_reply:
        return Text(f"  ↳ thread of message {posted.ts.split('.')[0]} · {plain(posted.text)}", style="dim")
    parts = [part for block in posted.blocks if (part := _block(block)) is not None]
    title = Text.assemble(("driftline ", "bold"), ("APP ", "dim"), (channel, "cyan"))
    number = Text(f"message {posted.ts.split('.')[0]}", style="dim")
    return Panel(
        Group(*parts), title=title, title_align="left", subtitle=number, subtitle_align="right", width=WIDTH
    )


def _block(block: dict[str, Any]) -> Text | None:
    if block["type"] == "header":
        return Text(plain(_text(block)), style="bold")
    if block["type"] == "section":
        lines = plain(_text(block)).replace("`", "").splitlines()
        more = [f"… {len(lines) - SHOWN_LINES} more"] if len(lines) > SHOWN_LINES else []
        return Text("\n".join(lines[:SHOWN_LINES] + more))
    if block["type"] == "context":
        return Text(" ".join(plain(element["text"]) for element in block["elements"]), style="dim")
    return None


def _text(block: dict[str, Any]) -> str:
    return str(block["text"]["text"])
