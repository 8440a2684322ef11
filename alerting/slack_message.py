"""A notice as Slack shows it: header, summary, columns and context, within Slack's limits.

References
----------
https://docs.slack.dev/reference/block-kit/blocks/ (limits) and
https://docs.slack.dev/messaging/formatting-message-text/ (escaping)
"""

from __future__ import annotations

from typing import Any

from alerting.alert import ChangeKind, State
from alerting.finding import SHOWN_EXAMPLES, Finding, Kind
from alerting.notice import Notice
from alerting.summary import WITH_FINDINGS, attribution_of, moved_text, psi_text, span, subject
from schemas.attribution import Attribution, PartKind

MAX_HEADER = 150
MAX_SECTION = 3_000
MAX_TEXT = 3_000
SHOWN_COLUMNS = 10
SHORTEST_LINE = 40

Block = dict[str, Any]

WORDS = {
    State.FIRING: ":red_circle: Firing",
    State.ACKNOWLEDGED: ":large_yellow_circle: Acknowledged",
    State.RESOLVED: ":large_green_circle: Resolved",
    State.RETRACTED: ":white_circle: Retracted, no alarm after all",
}
TOPICS = {
    Kind.DRIFT: "drift in {column}",
    Kind.NO_DATA: "no data",
    Kind.PERFORMANCE: "performance, {column}",
    Kind.SLO: "objective missed, {column}",
    Kind.ROLLBACK: "going back recommended, {column}",
    Kind.FAIRNESS: "fairness, {column}",
    Kind.QUALITY: "data quality, {column}",
    Kind.PARTITION_STOPPED: "a partition was stopped",
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
    topic = TOPICS[alert.kind].format(column=alert.column or "several columns")
    return f"{WORDS[alert.state]} ({alert.severity}): {subject(alert.model, alert.version)}, {topic}"


def text_of(notice: Notice) -> str:
    """Write the text for notifications and screen readers."""
    return escape(f"{title_of(notice)}. {notice.alert.summary}", MAX_TEXT)


def blocks_of(notice: Notice) -> list[Block]:
    """Lay out the message of an incident; seven blocks at most."""
    blocks: list[Block] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": escape(title_of(notice), MAX_HEADER), "emoji": True},
        },
        section(escape(notice.alert.summary, MAX_SECTION)),
    ]
    if notice.alert.kind in WITH_FINDINGS and notice.findings_total > 1:
        blocks.append(section(columns_text(notice)))
    if (found := attribution_of(notice.alert.findings)) is not None and found.parts:
        blocks.append(section(escape(reasons_text(found), MAX_SECTION)))
    if examples := examples_text(notice):
        blocks.append(section(escape(examples, MAX_SECTION)))
    if notice.alert.state is not State.FIRING:
        blocks.append(section(escape(reply_of(notice), MAX_SECTION)))
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context_of(notice)}]})
    return blocks


def columns_text(notice: Notice, limit: int = MAX_SECTION) -> str:
    """List one finding per column, the first few, and say how many columns are left out."""
    by_column: dict[str, Finding] = {}
    for finding in notice.alert.findings:
        by_column.setdefault(finding.column, finding)
    room = limit - SHORTEST_LINE  # for the last line
    lines: list[str] = []
    for finding in list(by_column.values())[:SHOWN_COLUMNS]:
        line = _line(finding, min(room, limit // SHOWN_COLUMNS))
        room -= len(line) + 1
        lines.append(line)
    left_out = notice.columns_total - len(lines)
    if left_out > 0:
        lines.append(f"… and {left_out} more column{'s' if left_out > 1 else ''}")
    return "\n".join(lines)


def reasons_text(found: Attribution) -> str:
    """List the parts of a change of the predictions; not escaped."""
    lines = [f"{found.outcome}: {found.reference_mean:.3g} → {found.mean:.3g}. What goes with it, alone:"]
    for part in found.parts:
        name = part.name if part.kind is not PartKind.ROWS else f"rows {part.name}"
        lines.append(f"• {name}: {part.part:+.2g} ({part.low:+.2g} to {part.high:+.2g}), {part.words}")
    return "\n".join(lines)


def examples_text(notice: Notice) -> str:
    """List events that broke rules, the first few; empty if none are known. Not escaped."""
    lines = [f"• {example.words}" for finding in notice.alert.leading for example in finding.examples]
    return "\n".join(["For example:", *lines[:SHOWN_EXAMPLES]]) if lines else ""


def reply_of(notice: Notice) -> str:
    """Say what changed, for the thread; not escaped."""
    change = notice.change
    by = "" if change.actor == "driftline" else f" by {change.actor}"
    word = {
        ChangeKind.OPENED: "Opened",
        ChangeKind.UPDATED: "Update",
        ChangeKind.ACKNOWLEDGED: "Acknowledged",
        ChangeKind.RESOLVED: "Resolved",
        ChangeKind.RETRACTED: "Retracted",
    }[change.kind]
    return f"{word}{by}: {change.cause}"


def context_of(notice: Notice) -> str:
    """Write the small print: window, lane, evidence, identity, link; escaped."""
    alert = notice.alert
    parts = [f"Opened by the window {span(alert.window_start, alert.window_end)}", f"lane {alert.lane}"]
    if alert.onset_at is not None:
        parts.append(f"began about {alert.onset_at:%Y-%m-%d %H:%M} UTC")
    if alert.evidence_log is not None and alert.threshold_log is not None:
        parts.append(f"log evidence {alert.evidence_log:.1f} against {alert.threshold_log:.1f}")
    parts.append(f"alert {alert.id}")
    text = escape(" · ".join(parts), MAX_SECTION // 2)
    return f"{text} · <{_link(notice.url)}|Open>" if notice.url else text


def section(text: str) -> Block:
    """Make a block of text that is escaped already."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _line(finding: Finding, limit: int) -> str:
    details = ", ".join(text for text in (psi_text(finding), moved_text(finding)) if text)
    where = f" where {finding.segment}" if finding.segment else ""
    name = f"`{(finding.column or 'several columns').replace('`', chr(39))}`"
    return "• " + escape(f"{name}{where}{': ' if details else ''}{details}", limit - 2)


def _link(url: str) -> str:
    """Keep an address from ending the link it stands in."""
    return escape(url.replace("|", "%7C").replace(">", "%3E").replace("<", "%3C"), MAX_SECTION // 2)
