"""A notice as Slack shows it: header, summary, columns and context, within Slack's limits.

References
----------
https://docs.slack.dev/reference/block-kit/blocks/ (limits) and
https://docs.slack.dev/messaging/formatting-message-text/ (escaping)
"""

from __future__ import annotations

from collections.abc import Sequence

from alerting.alert import State
from alerting.finding import Finding
from alerting.incidents.root_cause import causes_text
from alerting.messages.words import STATES, about, examples, lead_by_column, members, reasons, reply_of
from alerting.notice import Notice
from alerting.slack.buttons import Block, buttons_of
from alerting.summary import WITH_FINDINGS, attribution_of, moved_text, psi_text, span
from schemas.attribution import Attribution

MAX_HEADER = 150
MAX_SECTION = 3_000
MAX_TEXT = 3_000
# Slack refuses messages of more than some 13,000 characters; together with the buttons these stay below.
SUMMARY_ROOM, COLUMNS_ROOM, CAUSES_ROOM, PART_ROOM = 1_500, 2_500, 1_500, 1_200
CONTEXT_ROOM, LINK_ROOM = 600, 1_000
SHOWN_COLUMNS = 10
SHORTEST_LINE = 40

MARKS = {
    State.PENDING: ":white_circle:",
    State.FIRING: ":red_circle:",
    State.ACKNOWLEDGED: ":large_yellow_circle:",
    State.RESOLVED: ":large_green_circle:",
    State.RETRACTED: ":white_circle:",
}


def escape(text: str, limit: int) -> str:
    """Escape Slack's control characters and cut to a length that counts the escapes, never inside one.

    Examples
    --------
    >>> escape("a<b & c", 100), escape("<<<<", 9), escape("abcdef", 4)
    ('a&lt;b &amp; c', '&lt;&lt;…', 'abc…')
    """
    parts = [{"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(letter, letter) for letter in text]
    if sum(map(len, parts)) <= limit:
        return "".join(parts)
    kept, length = [], 0
    for part in parts:
        if length + len(part) > limit - 1:
            break
        kept.append(part)
        length += len(part)
    return "".join(kept) + "…"


def title_of(notice: Notice) -> str:
    """Say in one line what state the incident is in, of which model, and about what; not escaped."""
    alert = notice.alert
    return f"{MARKS[alert.state]} {STATES[alert.state]} ({alert.severity}): {about(notice)}"


def text_of(notice: Notice) -> str:
    """Write the text for notifications and screen readers."""
    return escape(f"{title_of(notice)}. {notice.alert.summary}", MAX_TEXT)


def blocks_of(notice: Notice, *, has_buttons: bool = False) -> list[Block]:
    """Lay out the message of an incident; 17 blocks at most, of which six ask about training.

    Parameters
    ----------
    notice : Notice
    has_buttons : bool
        Whether somebody listens for presses.
    """
    header = {"type": "plain_text", "text": escape(title_of(notice), MAX_HEADER), "emoji": True}
    blocks: list[Block] = [
        {"type": "header", "text": header},
        section(escape(notice.alert.summary, SUMMARY_ROOM)),
    ]
    if notice.alert.kind in WITH_FINDINGS and notice.findings_total > 1:
        blocks.append(section(columns_text(notice)))
    blocks += [section(escape(text, room)) for text, room in _parts(notice) if text]
    if has_buttons:
        blocks += buttons_of(notice)
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context_of(notice)}]})
    return blocks


def _parts(notice: Notice) -> list[tuple[str, int]]:
    """Texts below the columns, not escaped, each with its room in characters; empty ones are left out."""
    found = attribution_of(notice.alert.findings)
    performance = "" if notice.impact is None else f"Performance: {notice.impact.words}."
    return [
        (reasons_text(found) if found is not None and found.parts else "", PART_ROOM),
        (causes_text(notice.causes), CAUSES_ROOM),
        (members_text(notice), PART_ROOM),
        (performance, PART_ROOM // 4),
        (_listed("For example:", list(examples(notice))), PART_ROOM),
        ("" if notice.alert.state is State.FIRING else reply_of(notice), PART_ROOM),
    ]


def columns_text(notice: Notice, limit: int = COLUMNS_ROOM) -> str:
    """List one finding per column, the first few, and say how many columns are left out."""
    room = limit - SHORTEST_LINE  # for the last line
    lines: list[str] = []
    for finding in lead_by_column(notice)[:SHOWN_COLUMNS]:
        line = _line(finding, min(room, limit // SHOWN_COLUMNS))
        room -= len(line) + 1
        lines.append(line)
    left_out = notice.columns_total - len(lines)
    if left_out > 0:
        lines.append(f"… and {left_out} more column{'s' if left_out > 1 else ''}")
    return "\n".join(lines)


def reasons_text(found: Attribution) -> str:
    """List the parts of a change of the predictions; not escaped."""
    return _listed(*reasons(found))


def members_text(notice: Notice) -> str:
    """List the alerts of an incident that has several, each with its state; not escaped."""
    lines = members(notice)
    left_out = notice.members_total - len(lines)
    more = f"\n… and {left_out} more" if lines and left_out > 0 else ""
    return _listed(f"{notice.members_total} alerts with one cause:", lines) + more


def _listed(heading: str, lines: Sequence[str]) -> str:
    """Write lines under a heading; nothing where there are none."""
    return "\n".join([heading, *(f"• {line}" for line in lines)]) if lines else ""


def context_of(notice: Notice) -> str:
    """Write the small print: window, lane, evidence, identity, link; escaped."""
    alert = notice.alert
    parts = [f"Opened by the window {span(alert.window_start, alert.window_end)}", f"lane {alert.lane}"]
    if alert.onset_at is not None:
        parts.append(f"began about {alert.onset_at:%Y-%m-%d %H:%M} UTC")
    if alert.evidence_log is not None and alert.threshold_log is not None:
        parts.append(f"log evidence {alert.evidence_log:.1f} against {alert.threshold_log:.1f}")
    parts.append(f"alert {alert.id}")
    text, opened = escape(" · ".join(parts), CONTEXT_ROOM), link(notice.url)
    return f"{text} · {opened}" if opened else text


def section(text: str) -> Block:
    """Make a block of text that is escaped already."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _line(finding: Finding, limit: int) -> str:
    details = ", ".join(text for text in (psi_text(finding), moved_text(finding)) if text)
    where = f" where {finding.segment}" if finding.segment else ""
    name = f"`{(finding.column or 'several columns').replace('`', chr(39))}`"
    return "• " + escape(f"{name}{where}{': ' if details else ''}{details}", limit - 2)


def link(url: str) -> str:
    """Link to an address, which must not end its own link; nothing where it is too long to stay whole."""
    address = url.replace("|", "%7C").replace(">", "%3E").replace("<", "%3C").replace("&", "&amp;")
    return f"<{address}|Open>" if 0 < len(address) <= LINK_ROOM else ""
