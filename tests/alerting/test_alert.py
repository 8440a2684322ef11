"""The life of an incident: when it opens, grows, ends, and is taken back."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.alert import ChangeKind, State, acknowledge, alert_id, resolve
from alerting.codec import document, from_bytes, to_bytes
from alerting.finding import Finding, Kind, Severity, WindowObservation, instant
from alerting.policy import AlertPolicy
from schemas.errors import StoreError, UsageError
from schemas.verdict import Decision, Effects, Lane, MovedBin, Verdict
from tests.alerting.factory import START_MS, WINDOW_MS, finding, play, window

COLUMNS = ("score", "age", "plan", "nulls", "f1")


def kinds(changes):
    return [change.kind.value for change in changes]


def test_windows_without_findings_open_nothing():
    assert play(window(0), window(1)) == (None, [])


def test_the_first_finding_opens_the_incident_and_the_worst_speaks_for_it():
    alert, changes = play(window(0, ["age", "score"]))
    assert kinds(changes) == ["opened"]
    assert (alert.state, alert.column, alert.lane) == (State.FIRING, "score", Lane.PREDICTIONS)
    assert (alert.severity, alert.sequence) == (Severity.PAGE, 1)
    assert alert.summary == (
        "churn v1: score drifted (PSI 0.40, 0.37–0.44) in the window 10:00–10:10 UTC on 1 Jan 2026; "
        "also age. 62 % of rows in [48.1, 61.0), reference 9 %."
    )


def test_only_new_columns_or_more_severity_are_worth_a_message():
    alert, changes = play(
        window(0, ["age"]),
        window(1, ["age"]),
        window(2, ["age", finding("age", 2, segment="plan=a")]),
        window(3, ["age", "plan"]),
        window(4, ["score", "age", "plan"]),
        window(5, ["score", "age"]),
    )
    assert kinds(changes) == ["opened", "updated", "updated"]
    assert [change.at for change in changes] == [instant(START_MS + i * WINDOW_MS) for i in (1, 4, 5)]
    assert "plan" in changes[1].cause
    assert changes[2].cause == "severity rose from info to page: score"
    assert alert.severities == (Severity.INFO, Severity.PAGE)
    assert [change.sequence for change in changes] == [1, 2, 3]


def test_three_clean_windows_in_a_row_end_it():
    alert, changes = play(window(0, ["age"]), window(1), window(2), window(3, ["age"]), window(4), window(5))
    assert kinds(changes) == ["opened"]
    assert alert.clean_windows == 2
    alert, changes = play(window(6), alert=alert)
    assert kinds(changes) == ["resolved"]
    assert (alert.state, alert.closed_at) == (State.RESOLVED, window(6).end_at)


def test_a_window_is_not_clean_while_a_drifting_column_is_still_away():
    _, changes = play(
        window(0, ["age"]), window(1, unsettled=["age"]), window(2, unsettled=["plan"]), window(3), window(4)
    )
    assert kinds(changes) == ["opened", "resolved"], "columns of no incident do not matter"
    alert, changes = play(window(0, ["age"]), *(window(i, unsettled=["age"]) for i in range(1, 9)))
    assert kinds(changes) == ["opened"]
    assert alert.clean_windows == 0


def test_clean_windows_count_in_event_time_not_in_order_of_arrival():
    alert, changes = play(window(5, ["age"]), window(2), window(3), window(4))
    assert (alert.clean_windows, kinds(changes)) == (0, ["opened"])


def test_a_revision_opens_nothing_and_adds_nothing():
    assert play(window(0, ["age"], revision=2)) == (None, [])
    alert, changes = play(window(0, ["age"]), window(1), window(1, ["score", "plan"], revision=2))
    assert kinds(changes) == ["opened"]
    assert alert.columns == {"age"}
    assert alert.clean_windows == 0, "a window revised to drifting is no longer clean"


def test_a_revision_that_takes_the_only_finding_back_retracts():
    alert, changes = play(window(0, ["age"]), window(0, revision=2))
    assert kinds(changes) == ["opened", "retracted"]
    assert (alert.state, alert.closed_at) == (State.RETRACTED, window(0).end_at)
    assert play(window(0, revision=3), alert=alert) == (alert, [])


def test_support_of_other_windows_keeps_it():
    alert, changes = play(
        window(0, ["age", "plan"]), window(1, ["age"]), window(0, ["plan"], revision=2), window(1, revision=2)
    )
    assert kinds(changes) == ["opened"]
    assert alert.columns == {"plan"}
    assert alert.column == "plan"
    assert kinds(play(window(0, revision=3), alert=alert)[1]) == ["retracted"]


def test_a_revision_renews_the_figures():
    alert, _ = play(window(0, ["age"]), window(0, [finding("age", 0, psi=0.2)], revision=2))
    assert alert.effect.psi == 0.2
    assert "PSI 0.20" in alert.summary


def test_a_window_that_is_taken_back_no_longer_makes_a_pending_alert_fire():
    policy = AlertPolicy(min_windows=3)
    alert, changes = play(
        window(0, ["age"]), window(1, ["age"]), window(0, revision=2), window(2, ["age"]), policy=policy
    )
    assert (alert.state, alert.supported, kinds(changes)) == (State.PENDING, 2, ["pending"])
    _, changes = play(window(3, ["age"]), alert=alert, policy=policy)
    assert kinds(changes) == ["opened"]


def test_a_revision_to_clean_drops_a_pending_alert():
    policy = AlertPolicy(min_windows=3)
    alert, changes = play(window(0, ["age"]), window(1, ["age"]), window(1, revision=2), policy=policy)
    assert (alert.state, kinds(changes)) == (State.RESOLVED, ["pending", "resolved"])
    assert changes[-1].cause == "did not last: 1 of 3 windows"


def test_a_resolved_alert_can_still_be_retracted():
    alert, _ = play(window(0, ["age"]), window(1), window(2), window(3))
    closed_at = alert.closed_at
    alert, changes = play(window(0, revision=2), alert=alert)
    assert kinds(changes) == ["retracted"]
    assert alert.closed_at == closed_at


def test_a_revision_to_clean_can_end_it():
    _, changes = play(
        window(0, ["age"]), window(1), window(2, unsettled=["age"]), window(3), window(2, revision=2)
    )
    assert kinds(changes) == ["opened", "resolved"]


def test_after_the_end_a_finding_opens_another():
    first, _ = play(window(0, ["age"]), window(1), window(2), window(3))
    second, changes = play(window(4, ["age"]), alert=first)
    assert kinds(changes) == ["opened"]
    assert second.id != first.id
    assert play(window(5), alert=first) == (first, [])


def test_people_acknowledge_and_resolve():
    alert, _ = play(window(0, ["age"]))
    at = instant(START_MS)
    alert, changes = acknowledge(alert, "ann", at)
    assert (alert.state, kinds(changes), changes[0].actor) == (State.ACKNOWLEDGED, ["acknowledged"], "ann")
    assert acknowledge(alert, "bob", at) == (alert, [])
    louder, changes = play(window(1, ["score"]), alert=alert)
    assert (louder.state, kinds(changes)) == (State.FIRING, ["updated"]), "what was seen was less severe"
    closed, changes = resolve(alert, "ann", at, "a new release")
    assert (closed.state, changes[0].cause, changes[0].sequence) == (State.RESOLVED, "a new release", 3)
    with pytest.raises(UsageError, match="is resolved already"):
        resolve(closed, "ann", at)
    with pytest.raises(UsageError, match="is resolved already"):
        acknowledge(closed, "ann", at)


@pytest.mark.parametrize("kind", [Kind.NO_DATA, Kind.PARTITION_STOPPED])
def test_other_kinds_page(kind):
    silent = finding("flights/0", lane=Lane.QUALITY, psi=None)
    alert, _ = play(window(0, [silent], kind=kind))
    assert alert.severity is Severity.PAGE
    assert {Kind.NO_DATA: "no events arrived", Kind.PARTITION_STOPPED: "flights/0 was stopped"}[
        kind
    ] in alert.summary


def test_the_policy_can_change_severity_and_the_number_of_clean_windows():
    policy = AlertPolicy(severities={Lane.FEATURES: Severity.WARN}, clean_windows=1)
    alert, changes = play(window(0, ["age"]), window(1), policy=policy)
    assert (alert.severity, kinds(changes)) == (Severity.WARN, ["opened", "resolved"])


def test_identity_depends_on_the_opening_window_alone():
    assert alert_id(window(0, ["age"])) == alert_id(window(0, ["plan"]))
    others = [window(1), window(0, model="x"), window(0, version="2"), window(0, kind=Kind.NO_DATA)]
    assert len({alert_id(other) for other in [window(0), *others]}) == 5
    assert alert_id(window(0, model="a", version="bc")) != alert_id(window(0, model="ab", version="c"))


def test_what_an_alert_remembers_is_bounded_and_then_it_is_not_retracted():
    policy = AlertPolicy(max_findings=4)
    alert, _ = play(*(window(i, ["age", "plan"]) for i in range(5)), policy=policy)
    assert len(alert.findings) == 4
    assert alert.forgotten == 6
    alert, changes = play(*(window(i, revision=2) for i in range(5)), alert=alert, policy=policy)
    assert "retracted" not in kinds(changes)
    assert alert.findings == ()


def test_every_column_stays_known_when_findings_are_forgotten():
    policy = AlertPolicy(max_findings=3)
    many = [finding("age", segment=f"plan={letter}", psi=2.0) for letter in "abcdef"]
    alert, _ = play(window(0, [*many, finding("plan", psi=0.1), finding("score", psi=0.1)]), policy=policy)
    assert alert.columns == {"age", "plan", "score"}


def test_a_verdict_becomes_a_finding():
    effects = Effects(0.82, 0.8, 0.79, 0.86, *[float("inf")] * 7)
    moved = tuple(MovedBin(f"bin {i}" * 40, 0.1, 0.2, i / 10) for i in range(9))
    drift = Verdict(
        "e-detector",
        "score",
        "",
        Lane.PREDICTIONS,
        Decision.DRIFT,
        9,
        9,
        20.0,
        1.0,
        "ledger",
        effects,
        3.0,
        moved,
        onset_ms=30_000,
    )
    fine = Verdict("e-detector", "age", "", Lane.FEATURES, Decision.OK, 9, 9, 0.0, 1.0, "ledger")
    still_off = replace(fine, column="plan", segment="origin=EWR", decision=Decision.ONGOING)
    observation = WindowObservation.of("churn", "1", 0, 60_000, [drift, fine, still_off], reference_hash="r")
    (made,) = observation.findings
    assert observation.unsettled == {("plan", "origin=EWR", "e-detector")}
    assert (made.psi, made.threshold_log, made.evidence_log) == (0.82, 0.0, 3.0)
    assert made.onset_at == instant(30_000)
    assert [bin_.psi for bin_ in made.moved] == [0.8, 0.7, 0.6]
    assert max(len(bin_.label) for bin_ in made.moved) <= 80


def test_the_document_has_the_fields_of_the_interface():
    alert, _ = play(window(0, ["score", "age"]))
    shown = document(alert, limit=1)
    assert set(shown) >= {
        *(
            "id",
            "model",
            "version",
            "lane",
            "severity",
            "column",
            "segment",
            "state",
            "opened_at",
            "closed_at",
        ),
        *("window_start", "window_end", "onset_at", "evidence_log", "threshold_log", "effect", "summary"),
    }
    assert set(shown["effect"]) == {"psi", "psi_low", "psi_high"}
    assert shown["opened_at"] == "2026-01-01T10:10:00Z"
    assert (len(shown["findings"]), shown["findings_total"]) == (1, 2)
    msgspec.json.encode(shown)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"format":1,"alert":{}}', b"\x80", b'{"format":9,"alert":{}}']
)
def test_bytes_that_are_no_alert_are_refused(data):
    with pytest.raises(StoreError):
        from_bytes(data)


sets_of_columns = st.frozensets(st.sampled_from(COLUMNS))
judgements = st.lists(st.tuples(st.integers(0, 7), sets_of_columns, sets_of_columns), max_size=30)


def as_windows(judged):
    """First judgement or revision, whichever a window is due for; earlier revisions have lower numbers."""
    revisions: dict[int, int] = {}
    for index, found, unsettled in judged:
        revisions[index] = revisions.get(index, 0) + 1
        yield window(index, sorted(found), revision=revisions[index], unsettled=sorted(unsettled - found))


@settings(max_examples=200, deadline=None)
@given(judgements)
def test_any_history_survives_storage_and_is_deterministic(judged):
    straight = stored = None
    for observation in as_windows(judged):
        straight, changes = play(observation, alert=straight)
        stored, again = play(observation, alert=stored)
        assert (straight, changes) == (stored, again)
        if stored is not None:
            stored = from_bytes(to_bytes(stored))
            assert stored == straight


@settings(max_examples=300, deadline=None)
@given(judgements)
def test_support_is_exactly_what_the_windows_still_say(judged):
    """Against a plain model: what a window found when it was judged first, less what revisions took back."""
    alert = None
    support: dict[int, set[str]] = {}
    for observation in as_windows(judged):
        was_open = alert is not None and alert.is_open
        before = alert
        alert, changes = play(observation, alert=alert)
        found = {item.column for item in observation.findings}
        if observation.is_revision:
            assert all(change.kind in (ChangeKind.RETRACTED, ChangeKind.RESOLVED) for change in changes)
            if alert is None or (before is not None and before.state is State.RETRACTED):
                assert not changes
                continue
            if observation.start_ms in support:
                support[observation.start_ms] &= found
            is_supported = any(support.values())
            assert (alert.state is State.RETRACTED) == (not is_supported)
            if not is_supported:
                continue
        elif was_open:
            support[observation.start_ms] = found
        elif found:
            assert kinds(changes) == ["opened"]
            support = {observation.start_ms: found}
        else:
            assert not changes
            continue
        remembered = {(item.window_start, item.column) for item in alert.findings}
        assert remembered == {
            (instant(start), column) for start, columns in support.items() for column in columns
        }


@given(judgements)
def test_changes_are_counted_without_gaps(judged):
    sequences: dict[str, list[int]] = {}
    alert = None
    for observation in as_windows(judged):
        alert, changes = play(observation, alert=alert)
        for change in changes:
            sequences.setdefault(alert.id, []).append(change.sequence)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sequences.values())


def test_findings_are_ordered_by_what_matters():
    items: list[Finding] = [
        finding(column, lane=lane) for column, lane in zip("abcd", list(Lane)[:4], strict=True)
    ]
    alert, _ = play(window(0, reversed(items)))
    assert [item.column for item in alert.leading] == ["a", "b", "c", "d"]
