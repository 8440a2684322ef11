"""A notice in words: short lines, nothing left out in silence, nothing that can disguise itself."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from alerting.alert import State
from alerting.messages.plain import (
    BIDI_CONTROLS,
    MAX_LINE,
    MAX_SUMMARY,
    MAX_TITLE,
    SHOWN_COLUMNS,
    digest_message_of,
    message_of,
    one_line,
    plain_text,
)
from alerting.messages.words import SHOWN_MEMBERS, STATES
from schemas.attribution import Attribution, Part, PartKind
from schemas.examples import Example
from schemas.verdict import Lane
from tests.alerting import digests, stories
from tests.alerting.factory import finding, notices, window
from tests.alerting.stories import OPENED, RETRACTED, RISEN


def every_text(message):
    yield from (message.title, message.about, message.summary)
    for section in message.sections:
        yield from (section.heading, *section.shown)
    for fact in message.facts:
        yield from fact


@given(st.text(max_size=400), st.integers(1, 300))
def test_one_line_is_one_short_line(text, limit):
    line = one_line(text, limit)
    assert len(line) <= limit
    assert BIDI_CONTROLS.isdisjoint(line)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in line)
    assert one_line(line, limit) == line


def test_every_text_of_the_worst_notice_is_one_short_line():
    message = message_of(stories.enormous())
    assert len(message.title) <= MAX_TITLE
    assert len(message.summary) <= MAX_SUMMARY
    texts = list(every_text(message))
    assert all(len(text) <= max(MAX_LINE, len(message.summary)) for text in texts)
    assert not any("\n" in text or "\u202e" in text or "\x00" in text for text in texts)


def test_line_breaks_in_names_do_not_make_lines():
    message = message_of(stories.enormous(text="a\r\nb\u2028c\nd"))
    lines = {one.heading: one.lines for one in message.sections}
    assert len(lines["What may be behind it, the likeliest first"]) == 5
    assert len(lines["400 alerts with one cause"]) == SHOWN_MEMBERS
    assert all("a b c d" in line for line in lines["400 alerts with one cause"])


def test_it_says_why_and_shows_events():
    moved = (
        Part(PartKind.FEATURE, "age", 0.08, 0.05, 0.11, None, None, "more rows with values >= 72"),
        Part(PartKind.ROWS, "origin=EWR", 0.02, 0.01, 0.03, None, None, "more"),
    )
    why = Attribution("score", 900, 900, 0.3, 0.4, 0.1, 0.08, 0.12, moved, None, "moved")
    events = tuple(Example(1, 0, f"e{i}", "flights", 0, i, (("age", "130"),)) for i in range(5))
    (notice,) = notices(
        window(0, [finding("score", lane=Lane.PREDICTIONS, attribution=why, examples=events)])
    )
    lines = {one.heading: one.lines for one in message_of(notice).sections}
    assert lines["Where the change of the predictions comes from"] == (
        "score: 0.3 → 0.4. What goes with it, alone:",
        "age: +0.08 (+0.05 to +0.11), more rows with values >= 72",
        "rows origin=EWR: +0.02 (+0.01 to +0.03), more",
    )
    assert lines["For example"] == tuple(event.words for event in events[:3])


def test_what_is_left_out_is_counted():
    message = message_of(stories.enormous())
    sections = {one.heading: one for one in message.sections}
    assert len(sections["Columns"].lines) == SHOWN_COLUMNS
    assert sections["Columns"].shown[-1] == "… and 246 more"
    assert sections["400 alerts with one cause"].left_out == 390
    fewer = {one.heading: one for one in message.with_fewer_lines(3).sections}
    assert fewer["Columns"].shown[3:] == ("… and 253 more",)
    assert message.with_fewer_lines(0).sections == ()


def test_a_notice_in_plain_text():
    assert plain_text(message_of(RISEN)).split("\n\n")[:3] == [
        "Firing (page): churn v1, drift in score",
        "churn v1: score drifted (PSI 0.40, 0.37–0.44) in the window 10:10–10:20 UTC on 1 Jan 2026; "
        "also age. 62 % of rows in [48.1, 61.0), reference 9 %.",
        "What changed:\n- Update: severity rose from info to page: score",
    ]


def test_the_first_notice_does_not_say_what_changed():
    assert "What changed" not in plain_text(message_of(OPENED))


def test_a_retraction_says_so_in_words():
    assert message_of(RETRACTED).title.startswith("Retracted, no alarm after all")


def test_a_digest_in_plain_text():
    said = plain_text(digest_message_of(digests.notice(*(digests.drifted(f"c{i}") for i in range(20)))))
    assert "20 of 240 streams drifted in the week of 29 Dec 2025" in said
    assert "- churn v1: c0: 62 % of rows" in said
    assert "- … and 5 more" in said
    assert "At most 10 % of the listed streams are expected to be false." in said


def test_a_week_in_which_nothing_drifted_is_one_sentence():
    message = digest_message_of(digests.notice())
    assert message.summary.startswith("Nothing drifted in the week")
    assert message.sections == ()


def test_every_state_has_its_words():
    assert set(STATES) == set(State)
