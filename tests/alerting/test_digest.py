"""A digest in words, as a document, and as rows of the outbox."""

import json

import pytest

from alerting.digest import CARRIED_STREAMS, document, headline, line, outbox_rows, promise
from alerting.finding import instant
from alerting.notifiers.webhook import MAX_BODY_BYTES, digest_body_of
from alerting.payload import decode
from alerting.slack.digest import SHOWN_STREAMS, digest_blocks, digest_text, streams_text
from alerting.slack.message import MAX_SECTION
from schemas.errors import StoreError
from tests.alerting.digests import digest, drifted, notice

AT = instant(1_767_571_200_000)


def test_it_says_how_many_drifted_and_how_many_of_them_may_be_false():
    found = digest(drifted(), drifted("score", "plan=basic"))
    assert headline(found) == "2 of 240 streams drifted in the week of 29 Dec 2025 – 4 Jan 2026 (UTC)"
    assert promise(found) == "At most 10 % of the listed streams are expected to be false."
    running = digest(streams=1, is_finished=False)
    assert headline(running).startswith("Nothing drifted so far in the week of 29 Dec 2025")
    assert headline(running).endswith("; 1 stream was watched")


def test_a_stream_without_words_is_named():
    said = line(drifted("score", "plan=basic", summary=""))
    assert said == "churn v1: score where plan=basic; PSI up to 0.21, evidence e^31.4"


def test_the_same_week_gives_the_same_rows():
    found = digest(*(drifted(f"c{i}") for i in range(80)))
    rows = list(outbox_rows(found, ["hook", "chat"], AT))
    assert rows == list(outbox_rows(found, ["hook", "chat"], AT))
    assert len({row.id for row in rows}) == 2
    assert {(row.alert_id, row.sequence) for row in rows} == {("digest-2025-12-29", 1)}
    told = decode(rows[0].payload)
    assert (told.id, told.type, told.at) == (rows[0].id, "driftline.digest", AT)
    assert (len(told.digest.listed), told.digest.listed_total) == (CARRIED_STREAMS, 80)


@pytest.mark.parametrize("payload", ['{"kind": "digest"}', '{"kind": "letter"}', "[]"])
def test_what_is_no_notice_is_refused(payload):
    with pytest.raises(StoreError, match=r"not a notice|of the kind .letter., which this version"):
        decode(payload)


def test_a_digest_of_a_later_version_is_refused():
    (row,) = outbox_rows(digest(), ["hook"], AT)
    with pytest.raises(StoreError, match="has format 2"):
        decode(row.payload.replace('"format":1', '"format":2'))


def test_the_document_is_plain():
    plain = document(digest(drifted(), drifted("b")), shown=1)
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["week"], plain["until"]) == ("2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z")
    assert ([one["column"] for one in plain["listed"]], plain["listed_total"]) == (["age"], 2)
    assert (plain["finished"], plain["level"], plain["false_share_at_most"]) == (True, 0.1, 0.1)


def test_slack_gets_one_line_when_nothing_drifted():
    (block,) = digest_blocks(notice())
    said = block["text"]["text"]
    assert said.startswith("Weekly digest: Nothing drifted in the week of 29 Dec 2025 – 4 Jan 2026 (UTC); ")
    assert said.endswith("; 240 streams were watched.")
    assert "\n" not in digest_text(notice())


def test_slack_gets_the_first_streams_within_its_limits():
    hostile = [drifted("<&>`" * 200, summary="<&>" * 300) for _ in range(80)]
    said = streams_text(notice(*hostile))
    assert len(said) <= MAX_SECTION
    assert said.endswith(f"… and {80 - SHOWN_STREAMS} more streams")
    header, first, listed, context = digest_blocks(notice(drifted(), drifted("b<c")))
    assert header["text"]["text"] == "Weekly digest"
    assert first["text"]["text"].startswith("2 of 240 streams drifted")
    assert (
        "• churn v1: age: 62 % of rows in [48.1, 61.0), reference 9.0 %; PSI up to 0.21"
        in listed["text"]["text"]
    )
    assert "b&lt;c" in listed["text"]["text"]
    assert context["elements"][0]["text"].startswith("At most 10 % of the listed streams are expected to be")


def test_a_webhook_body_keeps_its_limit():
    body = digest_body_of(notice(*(drifted(f"c{i}", summary="long " * 80) for i in range(80))))
    assert len(body) < MAX_BODY_BYTES
    data = json.loads(body)["data"]
    assert 0 < len(data["listed"]) < CARRIED_STREAMS
    assert data["listed_total"] == 80
