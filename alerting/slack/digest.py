"""A digest as Slack shows it, within Slack's limits; see `alerting.slack.message`."""

from __future__ import annotations

from alerting.digest import DigestNotice, headline, line, promise
from alerting.held import HeldNotice
from alerting.held import line as held_line
from alerting.slack.buttons import Block
from alerting.slack.message import MAX_HEADER, MAX_SECTION, MAX_TEXT, SHORTEST_LINE, escape, link, section

SHOWN_STREAMS = 15
SHOWN_INCIDENTS = 10


def digest_text(notice: DigestNotice) -> str:
    """Write the text for notifications and screen readers."""
    digest = notice.digest
    statement = f". {promise(digest)}" if digest.listed_total else ""
    return escape(f"{headline(digest)}{statement}", MAX_TEXT)


def digest_blocks(notice: DigestNotice) -> list[Block]:
    """Lay out the message of a week; one line if nothing drifted."""
    digest = notice.digest
    if not digest.listed_total:
        return [section(escape(f"Weekly digest: {headline(digest)}.", MAX_SECTION))]
    title = {"type": "plain_text", "text": escape("Weekly digest", MAX_HEADER), "emoji": True}
    context = f"{promise(digest)} {digest.streams} streams were watched."
    return [
        {"type": "header", "text": title},
        section(escape(f"{headline(digest)}.", MAX_SECTION)),
        section(streams_text(notice)),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": escape(context, MAX_SECTION // 2)}]},
    ]


def list_text(notice: HeldNotice) -> str:
    """Write the text for notifications and screen readers."""
    return escape(notice.headline, MAX_TEXT)


def list_blocks(notice: HeldNotice, limit: int = MAX_SECTION) -> list[Block]:
    """Lay out what a receiver's limit held back; links that leave no room for words are left out."""
    lines = []
    for one in notice.incidents[:SHOWN_INCIDENTS]:
        room = (limit - SHORTEST_LINE) // SHOWN_INCIDENTS - len("•  \n")
        opened = link(one.url)
        opened = opened if len(opened) <= room - SHORTEST_LINE else ""
        lines.append(f"• {escape(held_line(one), room - len(opened))} {opened}".rstrip())
    left_out = notice.total - len(lines)
    more = [f"… and {left_out} more"] if left_out > 0 else []
    return [section(escape(f"{notice.headline}.", MAX_SECTION)), section("\n".join([*lines, *more]))]


def streams_text(notice: DigestNotice, limit: int = MAX_SECTION) -> str:
    """List the first streams, and say how many are left out."""
    room = limit - SHORTEST_LINE  # for the last line
    lines: list[str] = []
    for stream in notice.digest.listed[:SHOWN_STREAMS]:
        text = "• " + escape(line(stream), min(room, limit // SHOWN_STREAMS) - 3)
        room -= len(text) + 1
        lines.append(text)
    left_out = notice.digest.listed_total - len(lines)
    if left_out > 0:
        lines.append(f"… and {left_out} more stream{'s' if left_out > 1 else ''}")
    return "\n".join(lines)
