"""Who is told of what, when, and why not."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alerting.alert import ChangeKind, State, acknowledge
from alerting.finding import Kind, Severity, instant
from alerting.incidents.incident import gather
from alerting.notice import CARRIED_FINDINGS, decode, encode, notice_of
from alerting.pipeline import Surroundings, next_look_ms, outbox_rows, receivers_of
from alerting.policy import AlertPolicy, Escalation, Grouping, Inhibition, Match, Route
from alerting.quiet import QuietHours
from alerting.record import Record, from_bytes, to_bytes
from alerting.silences import Silence
from alerting.telling import tell_change, tell_due
from schemas.errors import StoreError
from schemas.verdict import Lane
from tests.alerting.factory import START_MS, finding, play, window

NOW_MS = START_MS + 3_600_000
HOUR_MS = 3_600_000


def matching(**keys):
    return Match.model_validate(keys)


def route(*to, match=None, **options):
    return Route(match=match or Match(), to=to, **options)


def around(*routes, now_ms=NOW_MS, **options):
    return Surroundings(now_ms, routes, Grouping(wait_ms=0), **options)


def told(alert, changes, surroundings, record=None, before=()):
    """Pass the changes of the only alert of an incident; the passages and what is remembered."""
    record, passages, known = record or Record(alert.id), [], before
    for change in changes:
        passages.append(tell_change(record, known, (alert,), change, surroundings))
        record, known = passages[-1].record, (alert,)
    return passages, record


def names(passage):
    return [one.receiver for one in passage.to]


def silence(until_ms=NOW_MS + HOUR_MS, **options):
    return Silence("s1", matching(**options.pop("match", {})), 0, until_ms, "ada", "known", **options)


def test_every_matching_route_adds_its_receivers_once():
    alert, _ = play(window(0, ["score", finding("age", segment="plan=a")]))
    routes = [
        route("oncall", "log", match=matching(severity="page")),
        route("retrain", match=matching(lane="performance")),
        route("digest", "oncall"),
        route("flights", match=matching(model="flight-*")),
        route("churn", match=matching(model=["ch*", "x"], version="1", kind="drift", lane=["predictions"])),
        route("ages", match=matching(column="a?e", segment="plan=*")),
        route("team", match=matching(owner="team-*")),
        route("nobody", match=matching(owner="others")),
    ]
    surroundings = around(*routes, owners={"churn": "team-a"})
    assert receivers_of([alert], surroundings) == ["oncall", "log", "digest", "churn", "ages", "team"]


def test_whoever_was_told_of_an_incident_is_told_how_it_ends():
    surroundings = around(
        route("digest", match=matching(severity="info")), route("oncall", match=matching(severity="page"))
    )
    opened, changes = play(window(0, ["age"]))
    (first,), record = told(opened, changes, surroundings)
    assert names(first) == ["digest"]
    louder, more = play(window(1, ["score"]), alert=opened)
    (second,), record = told(louder, more, surroundings, record, (opened,))
    assert louder.severities == (Severity.INFO, Severity.PAGE)
    assert louder.lanes == (Lane.FEATURES, Lane.PREDICTIONS)
    assert names(second) == ["digest", "oncall"]
    over, end = play(window(2), window(3), window(4), alert=louder)
    (third,), _ = told(over, end, around(), record, (louder,))  # even without any route by now
    assert sorted(names(third)) == ["digest", "oncall"]


def test_rows_are_the_same_every_time_and_differ_by_change_and_receiver():
    surroundings = around(route("a", "b"))
    alert, changes = play(window(0, ["age"]))
    louder, more = play(window(1, ["score"]), alert=alert)

    def rows():
        (first,), record = told(alert, changes, surroundings)
        (second,), _ = told(louder, more, surroundings, record, (alert,))
        return outbox_rows(first) + outbox_rows(second)

    assert rows() == rows()
    assert len({row.id for row in rows()}) == 4
    assert [(row.sequence, row.alert_id) for row in rows()] == [
        (sequence, alert.id) for sequence in (1, 1, 2, 2)
    ]


def test_a_notice_survives_the_outbox():
    alert, changes = play(window(0, ["age", "score"]))
    (passage,), _ = told(alert, changes, around(route("oncall")))
    (row,) = outbox_rows(passage, "http://127.0.0.1:8420/")
    notice = decode(row.payload)
    assert (notice.id, notice.type) == (row.id, "driftline.alert.opened")
    assert (notice.change, notice.alert) == (changes[0], alert)
    assert notice.url == f"http://127.0.0.1:8420/incidents/{alert.id}"
    assert (notice.members, notice.causes) == (passage.incident.members, passage.incident.causes)
    assert encode(notice) == row.payload


def test_a_notice_is_bounded():
    alert, changes = play(window(0, [finding(f"column {i}") for i in range(200)]))
    notice = notice_of("n", changes[0], gather(alert.id, 1, [alert]))
    assert len(notice.alert.findings) == CARRIED_FINDINGS
    assert (notice.findings_total, notice.columns_total) == (200, 200)
    assert len(encode(notice)) < 100_000


@pytest.mark.parametrize("payload", ["", "{}", '{"id":"x"}'])
def test_what_is_no_notice_is_refused(payload):
    with pytest.raises(StoreError):
        decode(payload)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format":2,"record":{}}', b'{"format":1,"record":{}}'])
def test_what_is_no_record_is_refused(data):
    with pytest.raises(StoreError):
        from_bytes(data)


def test_a_record_survives_the_database():
    record = Record("a", 3, {"x": 2}, 5, 6, ("boss",), "silenced by ada", 9)
    assert from_bytes(to_bytes(record)) == record


@pytest.mark.parametrize("bad", [{"severity": "loud"}, {"lane": "fast"}, {"colour": "red"}, {"kind": "odd"}])
def test_a_route_that_cannot_match_is_refused(bad):
    with pytest.raises(ValidationError):
        Route.model_validate({"match": bad, "to": ["a"]})
    with pytest.raises(ValidationError):
        Route.model_validate({"match": {}, "to": []})


def test_nobody_is_told_of_what_has_not_fired():
    policy = AlertPolicy(min_windows=2)
    pending, changes = play(window(0, ["age"]), policy=policy)
    assert (pending.state, [change.kind for change in changes]) == (State.PENDING, [ChangeKind.PENDING])
    (first,), record = told(pending, changes, around(route("oncall")))
    assert (names(first), first.change.kind) == ([], ChangeKind.PENDING)
    fired, more = play(window(1, ["age"]), alert=pending, policy=policy)
    (second,), _ = told(fired, more, around(route("oncall")), record, (pending,))
    assert (names(second), second.change.kind) == (["oncall"], ChangeKind.OPENED)
    dropped, end = play(window(1), alert=pending, policy=policy)
    (third,), _ = told(dropped, end, around(route("oncall")), record, (pending,))
    assert (names(third), third.change.kind, dropped.state) == ([], ChangeKind.RESOLVED, State.RESOLVED)


# --- holding back -------------------------------------------------------------------------------------------


def test_a_silence_holds_back_and_what_is_still_open_is_told_when_it_ends():
    alert, changes = play(window(0, ["age"]))
    muted = around(route("oncall"), silences=[silence(match={"model": "churn"})])
    (passage,), record = told(alert, changes, muted)
    assert names(passage) == []
    assert (record.held, record.told) == ("silenced by ada: known", {})
    assert next_look_ms(passage, muted) == NOW_MS + HOUR_MS
    assert tell_due(record, [alert], muted).passage is None
    later = around(route("oncall"), now_ms=NOW_MS + HOUR_MS)
    look = tell_due(record, [alert], later)
    assert (names(look.passage), look.passage.change.kind) == (["oncall"], ChangeKind.OPENED)
    assert look.passage.change.cause == "no longer silenced by ada: known"
    assert (look.again_at_ms, look.record.held) == (None, "")


def test_a_silence_that_was_made_longer_goes_on():
    alert, changes = play(window(0, ["age"]))
    _, record = told(alert, changes, around(route("oncall"), silences=[silence()]))
    longer = around(
        route("oncall"), now_ms=NOW_MS + HOUR_MS, silences=[silence(until_ms=NOW_MS + 2 * HOUR_MS)]
    )
    look = tell_due(record, [alert], longer)
    assert (look.passage, look.again_at_ms, look.record.sequence) == (None, NOW_MS + 2 * HOUR_MS, 1)


def test_who_knows_of_an_incident_is_told_its_end_in_silence():
    alert, changes = play(window(0, ["age"]))
    _, record = told(alert, changes, around(route("oncall")))
    over, end = play(window(1), window(2), window(3), alert=alert)
    muted = around(route("oncall", "late"), silences=[silence()])
    (passage,), record = told(over, end, muted, record, (alert,))
    assert (names(passage), record.held) == (["oncall"], "")


def test_an_incident_that_ends_in_silence_is_never_told():
    alert, changes = play(window(0, ["age"]))
    muted = around(route("oncall"), silences=[silence()])
    _, record = told(alert, changes, muted)
    over, end = play(window(1), window(2), window(3), alert=alert)
    (passage,), record = told(over, end, muted, record, (alert,))
    assert (names(passage), record.held, next_look_ms(passage, muted)) == ([], "", None)


def test_in_an_incident_of_several_models_each_alert_has_the_owner_of_its_model():
    ours, changes = play(window(0, ["age"]))
    theirs = replace(ours, id="theirs", model="fraud")
    owners = {"churn": "growth", "fraud": "risk"}
    silences = [silence(match={"owner": "growth"})]
    for alerts, to in (((ours, theirs), ["oncall"]), ((theirs, ours), ["oncall"]), ((ours,), [])):
        surroundings = around(route("oncall"), silences=silences, owners=owners)
        passage = tell_change(Record(ours.id), (), alerts, changes[0], surroundings)
        assert names(passage) == to
    silences.append(silence(match={"owner": "risk"}))
    surroundings = around(route("oncall"), silences=silences, owners=owners)
    assert names(tell_change(Record(ours.id), (), (ours, theirs), changes[0], surroundings)) == []


def test_a_silence_has_to_cover_every_open_alert():
    drift, changes = play(window(0, ["age"]))
    quality, _ = play(window(0, ["nulls"], kind=Kind.QUALITY))
    only_drift = around(route("oncall"), silences=[silence(match={"kind": "drift"})])
    passage = tell_change(Record(drift.id), (), (drift, quality), changes[0], only_drift)
    assert names(passage) == ["oncall"]
    of_incident = around(route("oncall"), silences=[silence(incident_id=drift.id)])
    passage = tell_change(Record(drift.id), (), (drift, quality), changes[0], of_incident)
    assert names(passage) == []
    of_other = around(route("oncall"), silences=[silence(incident_id="other")])
    assert names(tell_change(Record(drift.id), (), (drift, quality), changes[0], of_other)) == ["oncall"]


def test_a_larger_trouble_explains_smaller_ones_of_the_same_model():
    rule = Inhibition(by=matching(kind="no_data"), of=matching(severity=["info", "warn"]))
    silent, _ = play(window(0, [finding("", psi=None, lane=Lane.QUALITY)], kind=Kind.NO_DATA))
    other, _ = play(window(0, [finding("", psi=None, lane=Lane.QUALITY)], kind=Kind.NO_DATA, model="flights"))
    small, changes = play(window(40, ["age"]))
    large, more = play(window(40, ["score"]))
    held = around(route("oncall"), inhibitions=[rule], open_alerts=[silent, small])
    (passage,), record = told(small, changes, held)
    assert (names(passage), record.held) == ([], "held back while churn v1 has an open alert (no_data)")
    assert next_look_ms(passage, held) == NOW_MS + 60_000
    for_others = around(route("oncall"), inhibitions=[rule], open_alerts=[other])
    assert names(told(small, changes, for_others)[0][0]) == ["oncall"]
    assert names(told(large, more, held)[0][0]) == ["oncall"]
    gone = around(route("oncall"), now_ms=NOW_MS + 60_000, inhibitions=[rule])
    released = tell_due(record, [small], gone).passage
    assert (names(released), released.change.cause) == (
        ["oncall"],
        "was held back while churn v1 has an open alert (no_data)",
    )


def test_a_trouble_of_one_model_does_not_explain_what_befell_another_too():
    rule = Inhibition(by=matching(kind="no_data"), of=matching(severity=["info", "warn"]))
    silent, _ = play(window(0, [finding("", psi=None, lane=Lane.QUALITY)], kind=Kind.NO_DATA))
    small, changes = play(window(40, ["age"]))
    for model, to in (("flights", ["oncall"]), ("churn", [])):
        alerts = (small, replace(small, id="second", model=model))
        held = around(route("oncall"), inhibitions=[rule], open_alerts=[silent, *alerts])
        assert names(tell_change(Record(small.id), (), alerts, changes[0], held)) == to


def test_quiet_hours_delay_and_the_loudest_route_counts():
    night = QuietHours.model_validate({"from": "10:30", "until": "12:00"})
    alert, changes = play(window(0, ["age", "score"]))
    quiet = around(
        route("team", quiet=night),
        route("oncall", quiet=night),
        route("oncall", match=matching(severity="page")),
    )
    (passage,), _ = told(alert, changes, quiet)
    noon_ms = START_MS + 2 * HOUR_MS
    assert {one.receiver: one.not_before_ms for one in passage.to} == {"team": noon_ms, "oncall": NOW_MS}


def test_the_first_message_waits_for_more_of_the_same():
    alert, changes = play(window(0, ["age"]))
    waiting = Surroundings(NOW_MS, [route("oncall")], Grouping(wait_ms=5_000))
    (first,), record = told(alert, changes, waiting)
    assert [row.not_before_ms for row in outbox_rows(first)] == [NOW_MS + 5_000]
    louder, more = play(window(1, ["score"]), alert=alert)
    (second,), after = told(louder, more, waiting, record, (alert,))
    assert [row.not_before_ms for row in outbox_rows(second)] == [NOW_MS + 5_000]
    later = replace(waiting, now_ms=NOW_MS + 5_000)
    loudest, most = play(window(2, ["plan"]), alert=louder)
    (third,), _ = told(loudest, most, later, after, (louder,))
    assert [row.not_before_ms for row in outbox_rows(third)] == [NOW_MS + 5_000]
    assert third.record.waits_until_ms == {}


# --- what time brings ---------------------------------------------------------------------------------------


def test_nobody_acknowledges_so_others_are_told_once_and_everybody_again():
    rules = [
        route("oncall", repeat_ms=4 * HOUR_MS, escalate=Escalation(after_ms=HOUR_MS, to=("boss", "oncall")))
    ]
    alert, changes = play(window(0, ["score"]))
    (passage,), record = told(alert, changes, around(*rules))
    assert next_look_ms(passage, around(*rules)) == NOW_MS + HOUR_MS
    early = tell_due(record, [alert], around(*rules, now_ms=NOW_MS + HOUR_MS - 1))
    assert (early.passage, early.again_at_ms) == (None, NOW_MS + HOUR_MS)
    hour = around(*rules, now_ms=NOW_MS + HOUR_MS)
    escalated = tell_due(record, [alert], hour).passage
    assert escalated is not None
    assert (escalated.change.kind, names(escalated)) == (ChangeKind.ESCALATED, ["oncall", "boss"])
    assert escalated.change.cause == "nobody has acknowledged it for 1h; also tells boss, oncall"
    assert next_look_ms(escalated, hour) == NOW_MS + 5 * HOUR_MS
    assert tell_due(escalated.record, [alert], around(*rules, now_ms=NOW_MS + 2 * HOUR_MS)).passage is None
    again = tell_due(escalated.record, [alert], around(*rules, now_ms=NOW_MS + 5 * HOUR_MS)).passage
    assert (again.change.kind, names(again)) == (ChangeKind.REMINDED, ["oncall", "boss"])
    seen, acknowledged = acknowledge(alert, "ada", instant(NOW_MS))
    (after,), record = told(seen, acknowledged, around(*rules), again.record, (alert,))
    assert names(after) == ["oncall", "boss"]
    assert next_look_ms(after, around(*rules)) is None
    over = tell_due(record, [seen], around(*rules, now_ms=NOW_MS + 50 * HOUR_MS))
    assert (over.passage, over.again_at_ms) == (None, None)


@given(
    start=st.integers(0, 23),
    length=st.integers(1, 24),
    days=st.sets(st.sampled_from(["mon", "wed", "sat", "sun"])),
    at_minutes=st.integers(0, 30 * 1440),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"]),
)
def test_quiet_hours_end_where_they_say(start, length, days, at_minutes, zone):
    """Whoever is told at their end is outside of them, and every minute before is inside."""
    hours = QuietHours.model_validate(
        {
            "from": f"{start:02}:00",
            "until": f"{(start + length) % 24:02}:00",
            "days": sorted(days),
            "zone": zone,
        }
    )
    at_ms = 1_772_323_200_000 + at_minutes * 60_000  # March 2026, when clocks change
    end_ms = hours.end_ms(at_ms)
    if length == 24 and not days:
        assert end_ms - at_ms >= timedelta(days=14) / timedelta(milliseconds=1)
        return
    assert hours.end_ms(end_ms) == end_ms
    inside = (end_ms - 60_000 * minutes for minutes in range(1, (end_ms - at_ms) // 60_000, 97))
    assert all(hours.end_ms(one) == end_ms for one in inside)


@pytest.mark.parametrize(
    "bad",
    [{"from": "7:00"}, {"until": "24:00"}, {"zone": "Mars/Base"}, {"days": ["funday"]}, {"to": "07:00"}],
)
def test_quiet_hours_that_cannot_be_are_refused(bad):
    with pytest.raises(ValidationError):
        QuietHours.model_validate({"from": "22:00", "until": "07:00", **bad})


# --- patience -----------------------------------------------------------------------------------------------


def test_patience_begins_anew_once_somebody_has_acknowledged():
    alert, changes = play(window(0, ["age"]))
    routes = [route("oncall", escalate=Escalation(after_ms=HOUR_MS, to=("boss",)))]
    _, record = told(alert, changes, around(*routes))
    seen, steps = acknowledge(alert, "ada", instant(NOW_MS), "mine")
    (passage,), record = told(seen, steps, around(*routes), record, (alert,))
    assert (record.fired_at_ms, next_look_ms(passage, around(*routes))) == (0, None)
    later = around(*routes, now_ms=NOW_MS + 3 * HOUR_MS)
    louder, more = play(window(1, ["score"]), alert=seen)
    assert louder.state is State.FIRING
    passages, record = told(louder, more, later, record, (seen,))
    assert record.fired_at_ms == NOW_MS + 3 * HOUR_MS
    assert next_look_ms(passages[-1], later) == NOW_MS + 4 * HOUR_MS
    assert tell_due(record, [louder], later).passage is None
    due = tell_due(record, [louder], around(*routes, now_ms=NOW_MS + 4 * HOUR_MS))
    assert (due.passage.change.kind, due.passage.change.cause) == (
        ChangeKind.ESCALATED,
        "nobody has acknowledged it for 1h; also tells boss",
    )


def test_what_is_over_reaches_only_those_who_know_of_it():
    alert, changes = play(window(0, ["age"]))
    muted = around(route("oncall"), silences=[silence()])
    _, record = told(alert, changes, muted)
    over, end = play(window(1), window(2), window(3), alert=alert)
    _, record = told(over, end, muted, record, (alert,))
    later = around(route("oncall"), now_ms=NOW_MS + 2 * HOUR_MS)
    change = replace(end[-1], kind=ChangeKind.UPDATED, sequence=end[-1].sequence + 1)
    passage = tell_change(record, (over,), (over,), change, later)
    assert names(passage) == []


def test_an_alert_that_waits_beside_one_that_fires_concerns_nobody():
    firing, changes = play(window(0, ["age"]))
    _, record = told(firing, changes, around(route("oncall")))
    waits, begun = play(window(0, ["nulls"], kind=Kind.QUALITY), policy=AlertPolicy(min_windows=3))
    assert waits.state is State.PENDING
    passage = tell_change(record, (firing,), (firing, waits), begun[0], around(route("oncall")))
    assert (names(passage), passage.record.sequence) == ([], record.sequence + 1)
    dropped, end = play(window(1), alert=waits, policy=AlertPolicy(min_windows=3))
    assert dropped.state is State.RESOLVED
    passage = tell_change(passage.record, (firing, waits), (firing, dropped), end[0], around(route("oncall")))
    assert (names(passage), passage.incident.state) == ([], State.FIRING)


def test_there_is_one_reminder_after_quiet_hours_not_one_for_each_that_passed():
    start_h = instant(NOW_MS).hour
    night = QuietHours.model_validate({"from": f"{start_h:02}:30", "until": f"{(start_h + 5) % 24:02}:00"})
    rule = route("oncall", quiet=night, repeat_ms=HOUR_MS)
    alert, changes = play(window(0, ["age"]))
    _, record = told(alert, changes, around(rule))
    end_ms = night.end_ms(NOW_MS + HOUR_MS)
    look = tell_due(record, [alert], around(rule, now_ms=NOW_MS + HOUR_MS))
    assert (look.passage, look.record, look.again_at_ms) == (None, record, end_ms)
    due = tell_due(look.record, [alert], around(rule, now_ms=end_ms))
    assert (due.passage.change.kind, names(due.passage)) == (ChangeKind.REMINDED, ["oncall"])
    assert due.again_at_ms == end_ms + HOUR_MS


def test_who_is_told_after_quiet_hours_is_reminded_from_then_on():
    start_h = instant(NOW_MS).hour
    night = QuietHours.model_validate({"from": f"{start_h:02}:00", "until": f"{(start_h + 5) % 24:02}:00"})
    rule = route("oncall", quiet=night, repeat_ms=HOUR_MS)
    alert, changes = play(window(0, ["age"]))
    (passage,), record = told(alert, changes, around(rule))
    end_ms = night.end_ms(NOW_MS)
    assert [row.not_before_ms for row in outbox_rows(passage)] == [end_ms]
    assert (record.told_at_ms, next_look_ms(passage, around(rule))) == (end_ms, end_ms + HOUR_MS)


def test_a_message_that_waits_into_quiet_hours_waits_for_their_end():
    start_h = instant(NOW_MS).hour
    night = QuietHours.model_validate({"from": f"{start_h:02}:10", "until": f"{(start_h + 5) % 24:02}:00"})
    waiting = replace(around(route("oncall", quiet=night)), grouping=Grouping(wait_ms=900_000))
    alert, changes = play(window(0, ["age"]))
    (passage,), _ = told(alert, changes, waiting)
    assert [row.not_before_ms for row in outbox_rows(passage)] == [night.end_ms(NOW_MS + 900_000)]
