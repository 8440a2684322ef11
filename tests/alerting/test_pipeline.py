"""Who is told of what."""

import pytest
from pydantic import ValidationError

from alerting.finding import Severity
from alerting.notice import CARRIED_FINDINGS, decode, encode, notice_of
from alerting.pipeline import outbox_rows, receivers_of
from alerting.policy import Match, Route
from schemas.errors import StoreError
from schemas.verdict import Lane
from tests.alerting.factory import finding, play, window


def route(*to, **match):
    return Route(match=Match(**match), to=to)


def test_every_matching_route_adds_its_receivers_once():
    alert, _ = play(window(0, ["score"]))
    routes = [
        route("oncall", "log", severity="page"),
        route("retrain", lane="performance"),
        route("digest", "oncall"),
        route("flights", model="flight-*"),
        route("churn", model=["ch*", "x"], version="1", kind="drift", lane=["predictions", "quality"]),
    ]
    assert receivers_of(alert, routes) == ["oncall", "log", "digest", "churn"]


def test_whoever_was_told_of_an_incident_is_told_how_it_ends():
    routes = [route("digest", severity="info"), route("oncall", severity="page")]
    opened, changes = play(window(0, ["age"]))
    assert [row.receiver for row in outbox_rows(opened, changes, routes)] == ["digest"]
    alert, _ = play(window(1, ["score"]), alert=opened)
    alert, changes = play(window(2), window(3), window(4), alert=alert)
    assert alert.severities == (Severity.INFO, Severity.PAGE)
    assert alert.lanes == (Lane.FEATURES, Lane.PREDICTIONS)
    assert [row.receiver for row in outbox_rows(alert, changes, routes)] == ["digest", "oncall"]


def test_rows_are_the_same_every_time_and_differ_by_change_and_receiver():
    routes = [route("a", "b")]
    alert, changes = play(window(0, ["age"]))
    louder, more = play(window(1, ["score"]), alert=alert)
    rows = outbox_rows(alert, changes, routes) + outbox_rows(louder, more, routes)
    again = outbox_rows(alert, changes, routes) + outbox_rows(louder, more, routes)
    assert rows == again
    assert len({row.id for row in rows}) == 4
    assert outbox_rows(alert, [], routes) == []


def test_a_notice_survives_the_outbox():
    alert, changes = play(window(0, ["age", "score"]))
    (row,) = outbox_rows(alert, changes, [route("oncall")], "http://127.0.0.1:8420/")
    notice = decode(row.payload)
    assert (notice.id, notice.type) == (row.id, "driftline.alert.opened")
    assert (notice.change, notice.alert) == (changes[0], alert)
    assert notice.url == f"http://127.0.0.1:8420/alerts/{alert.id}"
    assert encode(notice) == row.payload


def test_a_notice_is_bounded():
    alert, changes = play(window(0, [finding(f"column {i}") for i in range(200)]))
    notice = notice_of("n", changes[0], alert)
    assert len(notice.alert.findings) == CARRIED_FINDINGS
    assert (notice.findings_total, notice.columns_total) == (200, 200)


@pytest.mark.parametrize("payload", ["", "{}", '{"id":"x"}'])
def test_what_is_no_notice_is_refused(payload):
    with pytest.raises(StoreError):
        decode(payload)


@pytest.mark.parametrize("bad", [{"severity": "loud"}, {"lane": "fast"}, {"colour": "red"}, {"kind": "odd"}])
def test_a_route_that_cannot_match_is_refused(bad):
    with pytest.raises(ValidationError):
        Route.model_validate({"match": bad, "to": ["a"]})
    with pytest.raises(ValidationError):
        Route.model_validate({"match": {}, "to": []})
