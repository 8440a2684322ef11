"""Alerts with one cause are one incident, whose state follows from theirs."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.alert import Alert, ChangeKind, State, acknowledge
from alerting.finding import Kind, Severity, instant
from alerting.incidents.document import incident_document
from alerting.incidents.impact import Impact, Knowledge
from alerting.incidents.incident import belongs, change_of, gather
from alerting.incidents.root_cause import causes_text, rank_causes
from alerting.policy import AlertPolicy, Grouping
from schemas.attribution import Attribution, Part, PartKind
from schemas.verdict import Lane
from tests.alerting.factory import START_MS, WINDOW_MS, finding, play, window

TOGETHER = Grouping()
WINDOW = timedelta(milliseconds=WINDOW_MS)


def missing(column="age", index=0, **changes):
    words = "12 % missing, reference 0.1 %"
    return finding(
        column,
        index,
        Lane.QUALITY,
        psi=None,
        moved=(),
        explanation=words,
        detector="quality.missing",
        **changes,
    )


def alert(index=0, found=("age",), *, kind=Kind.DRIFT, model="churn"):
    made, _ = play(window(index, found, kind=kind, model=model))
    return made


def attributed(column, share, change=0.1):
    part = Part(PartKind.FEATURE, column, share * change, 0.5 * share * change, change, None, None, "more")
    return Attribution("score", 900, 900, 0.3, 0.3 + change, change, 0.08, 0.12, (part,), None, "moved")


# --- what belongs together ----------------------------------------------------------------------------------


def test_alerts_of_a_model_that_start_together_are_one_incident():
    first = alert()
    quality = alert(2, [missing(index=2)], kind=Kind.QUALITY)
    assert belongs(quality, [first], TOGETHER)
    assert belongs(first, [quality], TOGETHER)
    assert not belongs(alert(3, ["score"], kind=Kind.PERFORMANCE), [first], TOGETHER)
    assert belongs(alert(3, ["score"], kind=Kind.PERFORMANCE), [first], Grouping(within_ms=3 * WINDOW_MS))
    assert not belongs(alert(1), [first], Grouping(within_ms=0))


def test_where_a_change_was_located_counts_as_its_start():
    late = alert(9, [finding("score", 9, Lane.PREDICTIONS, onset_at=instant(START_MS))])
    assert belongs(late, [alert()], TOGETHER)


def test_models_that_are_fed_by_the_same_column_are_one_incident():
    mine, theirs = alert(), alert(found=["age", "wait"], model="fraud")
    assert belongs(theirs, [mine], TOGETHER)
    assert not belongs(theirs, [mine], Grouping(across_models=False))
    assert not belongs(alert(found=["wait"], model="fraud"), [mine], TOGETHER)
    scores = alert(found=["score"]), alert(found=["score"], model="fraud")
    assert not belongs(scores[0], [scores[1]], TOGETHER)  # what models say is their own
    objective = alert(found=["age"], kind=Kind.SLO, model="fraud")
    assert not belongs(objective, [mine], TOGETHER)


# --- one thing for people -----------------------------------------------------------------------------------


def test_an_incident_of_one_alert_is_that_alert():
    one = alert(found=["age", "score"])
    incident = gather(one.id, one.sequence, [one])
    assert incident.whole == one
    assert (incident.models, incident.segments, len(incident.members)) == (("churn",), (), 1)


def test_several_alerts_speak_as_one():
    drift, quality = alert(found=["age", "score"]), alert(1, [missing(index=1)], kind=Kind.QUALITY)
    incident = gather(drift.id, 2, [quality, drift])
    whole = incident.whole
    assert (whole.kind, whole.severity, whole.column) == (Kind.DRIFT, Severity.PAGE, "score")
    assert whole.window_start == drift.window_start
    assert len(whole.findings) == 3
    assert whole.lanes == (Lane.PREDICTIONS, Lane.FEATURES, Lane.QUALITY)
    assert whole.summary.startswith("churn v1: score drifted")
    assert whole.summary.endswith("Also data quality changed: age.")
    document = incident_document(incident)
    assert document["alerts_total"] == 2
    assert [one["kind"] for one in document["alerts"]] == ["drift", "quality"]
    assert document["causes"][0]["name"] == "age"


def test_other_models_are_named():
    several = [alert(found=["age"], model=name) for name in ("a", "b", "c", "d", "e")]
    incident = gather("x", 1, several)
    assert incident.models == ("a", "b", "c", "d", "e")
    assert incident.whole.summary.endswith("Other models with the same: b v1, c v1, d v1 and 1 more.")


def test_an_incident_is_over_with_its_last_alert():
    drift, quality = alert(), alert(found=[missing()], kind=Kind.QUALITY)
    over, _ = play(window(1), window(2), window(3), alert=drift)
    incident = gather(drift.id, 2, [over, quality])
    assert (incident.state, incident.whole.closed_at) == (State.FIRING, None)
    also, _ = play(*(window(index, kind=Kind.QUALITY) for index in (1, 2, 3)), alert=quality)
    ended = gather(drift.id, 3, [over, also])
    assert (ended.state, ended.whole.closed_at) == (State.RESOLVED, also.closed_at)


def test_what_was_taken_back_does_not_speak():
    drift, quality = alert(found=["score"]), alert(found=[missing()], kind=Kind.QUALITY)
    back, _ = play(window(0, revision=2), alert=drift)
    incident = gather(drift.id, 2, [back, quality])
    assert (incident.state, incident.whole.severity) == (State.FIRING, Severity.WARN)
    assert "score" not in incident.whole.summary
    both, _ = play(window(0, revision=2, kind=Kind.QUALITY), alert=quality)
    assert gather(drift.id, 3, [back, both]).state is State.RETRACTED


def test_changes_of_alerts_are_changes_of_the_incident():
    drift, quality = alert(), alert(found=[missing()], kind=Kind.QUALITY)
    opened = play(window(0, ["age"]))[1][0]
    first = gather(drift.id, 1, [drift])
    both = gather(drift.id, 2, [drift, quality])
    assert change_of(None, first, opened).kind is ChangeKind.OPENED
    joined = change_of(first, both, opened)
    assert (joined.kind, joined.sequence) == (ChangeKind.UPDATED, 2)
    over, (end,) = play(window(1), window(2), window(3), alert=drift)
    partly = change_of(both, gather(drift.id, 3, [over, quality]), end)
    assert (partly.kind, partly.cause) == (
        ChangeKind.UPDATED,
        "drift of churn v1 is over: 3 clean windows in a row",
    )
    seen, (change,) = acknowledge(drift, "ada", instant(START_MS))
    half = gather(drift.id, 3, [seen, quality])
    assert change_of(both, half, change).kind is ChangeKind.UPDATED
    also, (change,) = acknowledge(quality, "ada", instant(START_MS))
    assert change_of(half, gather(drift.id, 4, [seen, also]), change).kind is ChangeKind.ACKNOWLEDGED


def test_an_incident_that_has_fired_is_not_pending_again_because_an_alert_of_it_is():
    lasting = AlertPolicy(min_windows=3)
    drift = alert()
    waits, _ = play(window(0, [missing()], kind=Kind.QUALITY), policy=lasting)
    before = gather(drift.id, 2, [drift, waits])
    over, (end,) = play(window(1), window(2), window(3), alert=drift)
    after = gather(drift.id, 3, [over, waits])
    change = change_of(before, after, end)
    assert (change.kind, change.cause) == (
        ChangeKind.UPDATED,
        "drift of churn v1 is over: 3 clean windows in a row",
    )
    fired, changes = play(
        *(window(index, [missing(index=index)], kind=Kind.QUALITY) for index in (1, 2)),
        alert=waits,
        policy=lasting,
    )
    again = change_of(after, gather(drift.id, 4, [over, fired]), changes[-1])
    assert again.kind is ChangeKind.UPDATED


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([Kind.DRIFT, Kind.QUALITY]), st.sampled_from(["bad", "clean", "back", "seen"])
        ),
        max_size=14,
    )
)
def test_whatever_happens_an_incident_is_as_urgent_as_its_most_urgent_alert(steps):
    alerts: dict[Kind, Alert] = {}
    index = 0
    for kind, what in steps:
        index += 1
        known = alerts.get(kind)
        if what == "seen":
            if known is not None and known.is_open:
                alerts[kind], _ = acknowledge(known, "ada", instant(START_MS))
            continue
        if what == "back":
            observation = window(0, revision=index, kind=kind)
            made, _ = play(replace(observation, revision=2), alert=known)
        else:
            found = [missing("age", index) if kind is Kind.QUALITY else finding("age", index)]
            made, _ = play(window(index, found if what == "bad" else (), kind=kind), alert=known)
        if made is not None:
            alerts[kind] = made
    if not alerts:
        return
    members = list(alerts.values())
    incident = gather("i", index, members)
    assert incident == gather("i", index, members[::-1])
    states = {member.state for member in members}
    order = [State.FIRING, State.ACKNOWLEDGED, State.PENDING, State.RESOLVED, State.RETRACTED]
    assert incident.state is min(states, key=order.index)
    assert (incident.whole.closed_at is None) == any(member.is_open for member in members)
    assert {member.id for member in incident.members} == {member.id for member in members}


# --- why ----------------------------------------------------------------------------------------------------


def test_faults_of_the_data_come_before_drift_and_before_symptoms():
    drift = alert(found=["age", "wait", "score"])
    quality = alert(found=[missing("wait")], kind=Kind.QUALITY)
    slow = alert(found=[finding("performance.error", 0, Lane.PERFORMANCE)], kind=Kind.PERFORMANCE)
    causes = rank_causes([drift, quality, slow])
    assert [cause.name for cause in causes] == ["wait", "age"]
    assert causes[0].words == "12 % missing, reference 0.1 %"
    assert rank_causes([slow]) == ()
    assert causes_text(()) == ""


def test_what_comes_with_the_change_of_the_predictions_moves_up():
    score = finding("score", 0, Lane.PREDICTIONS, attribution=attributed("wait", 0.8))
    causes = rank_causes([alert(found=[score, finding("age"), finding("wait")])])
    assert [(cause.name, cause.explained) for cause in causes] == [
        ("wait", pytest.approx(0.8)),
        ("age", None),
    ]
    assert "80 % of the change of the mean prediction comes with it" in causes[0].words


def test_what_began_first_moves_up():
    early = finding("wait", onset_at=instant(START_MS - WINDOW_MS))
    causes = rank_causes([alert(found=[finding("age"), early])])
    assert [cause.name for cause in causes] == ["wait", "age"]
    assert causes[0].words.endswith("began first")
    assert "began first" not in causes[1].words


def test_a_silent_stream_explains_everything():
    silent = alert(found=[finding("", psi=None, lane=Lane.QUALITY, moved=())], kind=Kind.NO_DATA)
    causes = rank_causes([alert(found=["age"]), silent])
    assert [cause.name for cause in causes] == ["events", "age"]
    assert causes_text(causes).splitlines()[1] == "1. events: no events arrived"


def test_causes_say_how_many_models_see_them():
    causes = rank_causes([alert(found=["age"], model=name) for name in ("a", "b")])
    assert causes[0].models == ("a", "b")
    assert causes[0].words.endswith("seen by 2 models")


def test_an_impact_says_where_its_figure_comes_from():
    known = Impact("recall", 0.41, 0.37, 0.45, None, Knowledge.REALISED, 1_200, 0.46)
    assert known.words == "recall is 0.410 (0.370–0.450), from labels for 46 % of 1,200 rows"
