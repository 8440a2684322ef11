"""A notice as people read it, whatever carries it: a title, a summary, sections of short lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from alerting.alert import ChangeKind, State
from alerting.digest import DigestNotice, headline, line, promise
from alerting.finding import shorten
from alerting.held import HeldNotice
from alerting.held import line as held_line
from alerting.messages.words import STATES, about, examples, lead_by_column, members, reasons, reply_of
from alerting.notice import Notice
from alerting.summary import WITH_FINDINGS, attribution_of, moved_text, psi_text, span

MAX_TITLE = 200
MAX_SUMMARY = 1_000
MAX_LINE = 300
SHOWN_COLUMNS = 10
SHOWN_STREAMS = 15
# Embeddings, overrides and isolates: they let text look like other text.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Tone(StrEnum):
    """How a message is coloured."""

    ALARM = "alarm"
    SEEN = "seen"
    OVER = "over"
    CALM = "calm"


_TONES = {State.FIRING: Tone.ALARM, State.ACKNOWLEDGED: Tone.SEEN, State.RESOLVED: Tone.OVER}


@dataclass(frozen=True)
class Section:
    """Lines under a heading, none of them escaped, and how many more there are."""

    heading: str
    lines: tuple[str, ...]
    left_out: int = 0

    @property
    def shown(self) -> tuple[str, ...]:
        """The lines, and the number of the others in words."""
        return (*self.lines, f"… and {self.left_out:,} more") if self.left_out else self.lines

    def with_fewer_lines(self, shown: int) -> Section:
        """Leave out what follows the first lines."""
        kept = self.lines[:shown]
        return Section(self.heading, kept, self.left_out + len(self.lines) - len(kept))


@dataclass(frozen=True)
class Message:
    """What a person is to read.

    Parameters
    ----------
    title : str
        The state, the model and the topic, at most 200 characters.
    about : str
        The title without the state.
    summary : str
        What happened, at most 1,000 characters.
    sections : tuple of Section
        Lines of at most 300 characters.
    facts : tuple of (str, str)
        Names and values: the small print.
    tone : Tone
        How it is coloured.
    url : str
        Where to read on; empty if nothing is configured.

    Guarantees
    ----------
    Every text is one line, without control characters and without marks that reverse the direction of text.
    """

    title: str
    about: str
    summary: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...]
    tone: Tone
    url: str = ""

    def with_fewer_lines(self, shown: int) -> Message:
        """Leave out what follows the first lines of each section; with none the sections as well."""
        kept = tuple(one.with_fewer_lines(shown) for one in self.sections) if shown else ()
        return replace(self, sections=kept)


def message_of(notice: Notice) -> Message:
    """Put a notice into words."""
    alert = notice.alert
    topic = one_line(about(notice), MAX_TITLE)
    return Message(
        one_line(f"{STATES[alert.state]} ({alert.severity}): {topic}", MAX_TITLE),
        topic,
        one_line(alert.summary, MAX_SUMMARY),
        tuple(_sections(notice)),
        tuple(_facts(notice)),
        _TONES.get(alert.state, Tone.CALM),
        notice.url,
    )


def held_message_of(notice: HeldNotice) -> Message:
    """Write what a limit held back."""
    lines = tuple(one_line(held_line(one), MAX_LINE) for one in notice.incidents[:SHOWN_STREAMS])
    listed = Section("Incidents", lines, notice.total - len(lines))
    held = one_line(notice.headline, MAX_TITLE)
    return Message("Held back", held, f"{held}.", (listed,), (("Limit", notice.limit),), Tone.CALM)


def digest_message_of(notice: DigestNotice) -> Message:
    """Put what drifted in a week into words."""
    digest = notice.digest
    lines = tuple(one_line(line(stream)) for stream in digest.listed[:SHOWN_STREAMS])
    listed = Section("Streams that drifted", lines, digest.listed_total - len(lines))
    sections = (listed,) if lines else ()
    watched = (("Watched", f"{digest.streams} streams"),)
    facts = (("Chance", promise(digest)), *watched) if lines else watched
    drifted = one_line(headline(digest), MAX_TITLE)
    return Message("Weekly digest", drifted, f"{drifted}.", sections, facts, Tone.CALM)


def plain_text(message: Message) -> str:
    """Write a message as text without any markup."""
    parts = [message.title, message.summary]
    parts += [
        "\n".join([f"{one.heading}:", *(f"- {line}" for line in one.shown)]) for one in message.sections
    ]
    parts.append("\n".join(f"{name}: {value}" for name, value in message.facts))
    parts.append(message.url)
    return "\n\n".join(part for part in parts if part)


def one_line(text: str, limit: int = MAX_LINE) -> str:
    r"""Make one line of any text: no control characters, nothing that reverses its direction, cut to length.

    Examples
    --------
    >>> one_line("a\r\nBcc: x\u202eb"), one_line("abcdef", 4), one_line("\u05d0\u05d1 \U0001f600")
    ('a Bcc: xb', 'abc…', 'אב 😀')
    """
    kept = "".join(_harmless(letter) for letter in text)
    return shorten(" ".join(kept.split()), limit)


def _harmless(letter: str) -> str:
    if letter in BIDI_CONTROLS:
        return ""
    return " " if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter


def _sections(notice: Notice) -> Iterator[Section]:
    alert = notice.alert
    if notice.change.kind is not ChangeKind.OPENED:
        yield _section("What changed", [reply_of(notice)])
    if alert.kind in WITH_FINDINGS and notice.findings_total > 1:
        columns = tuple(_columns(notice))
        yield Section("Columns", columns, notice.columns_total - len(columns))
    if (found := attribution_of(alert.findings)) is not None and found.parts:
        change, parts = reasons(found)
        yield _section("Where the change of the predictions comes from", [change, *parts])
    if notice.causes:
        causes = (f"{cause.name}: {cause.words}" for cause in notice.causes)
        yield _section("What may be behind it, the likeliest first", causes)
    if notice.members_total > 1:
        listed = _section(f"{notice.members_total:,} alerts with one cause", members(notice))
        yield replace(listed, left_out=notice.members_total - len(listed.lines))
    if notice.impact is not None:
        yield _section("Performance", [notice.impact.words])
    if shown := list(examples(notice)):
        yield _section("For example", shown)


def _section(heading: str, lines: Iterable[str]) -> Section:
    return Section(heading, tuple(one_line(line) for line in lines))


def _columns(notice: Notice) -> Iterator[str]:
    """Describe one finding per column, the first few."""
    for finding in lead_by_column(notice)[:SHOWN_COLUMNS]:
        details = ", ".join(text for text in (psi_text(finding), moved_text(finding)) if text)
        where = f" where {finding.segment}" if finding.segment else ""
        name = f"{finding.column or 'several columns'}{where}"
        yield one_line(f"{name}: {details}" if details else name)


def _facts(notice: Notice) -> Iterator[tuple[str, str]]:
    alert = notice.alert
    yield "Opened by the window", span(alert.window_start, alert.window_end)
    yield "Lane", str(alert.lane)
    if alert.onset_at is not None:
        yield "Began about", f"{alert.onset_at:%Y-%m-%d %H:%M} UTC"
    if alert.evidence_log is not None and alert.threshold_log is not None:
        yield "Log evidence", f"{alert.evidence_log:.1f} against {alert.threshold_log:.1f}"
    yield "Incident", alert.id
