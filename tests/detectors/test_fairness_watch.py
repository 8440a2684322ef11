"""Groups that are treated more differently than allowed are found; within the limit, hardly ever."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors.base import Moment
from detectors.catalog import build
from detectors.fairness_parts import MEASURES, MOST_GROUPS, FairnessRule, Stream, fairness_streams
from detectors.fairness_watch import watch_fairness
from detectors.outcome_reference import OutcomeReference
from detectors.outcome_windows import judge_outcomes, outcome_lanes
from detectors.outcomes import Records, joined
from schemas.errors import ProfileError
from schemas.verdict import Decision, Lane, Verdict
from tests.detectors.outcome_rows import NEGATIVE, POSITIVE, of_classes

HOUR_MS, WINDOWS = 3_600_000, 40
NAMES = {NEGATIVE: "0", POSITIVE: "1", 1: "sex=f", 2: "sex=m", 3: "sex=x", 7: "city=a"}
RULE = FairnessRule("sex", dict.fromkeys(MEASURES, 0.1))
MEANT = {
    "demographic_parity": "are predicted positive",
    "equal_opportunity": "of the positives are found",
    "equalised_odds": "of the positives are found",
    "calibration": "more are positive than the",
}


def rows(
    rng: np.random.Generator, n: int = 600, groups: int = 2, chosen: float = 0.0, surplus: float = 0.0
) -> Records:
    """Predictions by score; of the last group fewer are chosen, and more are positive than scores say."""
    group = rng.integers(1, groups + 1, n)
    is_last = group == groups
    score = rng.beta(2, 2, n)
    label = rng.random(n) < np.clip(score + np.where(is_last, surplus, 0), 0, 1)
    predicted = score > np.where(is_last, 0.5 + chosen, 0.5)
    made = of_classes(predicted, label, score, segments=group[:, None])
    return joined([made.predicted.tobytes(), made.labelled.tobytes()])


def reference(rng: np.random.Generator, **options: Any) -> OutcomeReference:
    windows = {at * HOUR_MS: rows(rng, **options) for at in range(WINDOWS)}
    return OutcomeReference.build(
        windows, NAMES, from_ms=0, to_ms=WINDOWS * HOUR_MS, window_ms=HOUR_MS, age=10, positive=(POSITIVE,)
    )


def follow(stream: Stream, known: OutcomeReference, windows: list[Records], budget: float) -> list[Verdict]:
    state, found = b"", []
    for at, one in enumerate(windows):
        verdict, state = watch_fairness(
            stream, known, one, state,
            start_ms=at * HOUR_MS, end_ms=(at + 1) * HOUR_MS, budget=budget, detector="edetector",
        )  # fmt: skip
        found.append(verdict)
    return found


def stream_of(known: OutcomeReference, measure: str, rule: FairnessRule = RULE) -> Stream:
    return next(one for one in fairness_streams((rule,), known) if one.measure == measure)


@pytest.mark.parametrize(
    ("measure", "change"),
    [
        ("demographic_parity", (0.2, 0.0)),
        ("equal_opportunity", (0.2, 0.0)),
        ("equalised_odds", (0.2, 0.0)),
        ("calibration", (0.0, 0.25)),
    ],
)
def test_a_group_that_is_treated_otherwise_is_found_and_named(
    measure: str, change: tuple[float, float]
) -> None:
    rng = np.random.default_rng(1)
    known = reference(rng)
    windows = [rows(rng) for _ in range(20)] + [rows(rng, 600, 2, *change) for _ in range(12)]
    found = follow(stream_of(known, measure), known, windows, 1e-5)
    drifted = [at for at, verdict in enumerate(found) if verdict.decision is Decision.DRIFT]
    assert len(drifted) == 1
    assert 20 <= drifted[0] <= 24
    alarm = found[drifted[0]]
    assert alarm.column == f"fairness.sex.{measure}"
    assert alarm.lane is Lane.PERFORMANCE
    assert MEANT[measure] in alarm.explanation
    assert "sex=f (" in alarm.explanation
    assert "sex=m (" in alarm.explanation
    assert "at most 10 points" in alarm.explanation
    assert alarm.onset_ms is not None
    assert alarm.onset_ms >= 17 * HOUR_MS
    assert alarm.evidence_log is not None
    assert alarm.evidence_log >= 0
    assert {verdict.decision for verdict in found[drifted[0] + 1 :]} == {Decision.ONGOING}
    assert all(verdict.budget == 0 for verdict in found[drifted[0] + 1 :])


def test_a_difference_that_was_there_from_the_beginning_is_found_too() -> None:
    """The limit is what people allow, not what the reference was like."""
    rng = np.random.default_rng(2)
    known = reference(rng, chosen=0.25)
    found = follow(
        stream_of(known, "demographic_parity"), known, [rows(rng, chosen=0.25) for _ in range(5)], 1e-5
    )
    assert [one.decision for one in found[:2]].count(Decision.DRIFT) == 1


def test_false_alarms_at_the_edge_of_what_is_allowed_stay_within_the_budget() -> None:
    """Rates differ by exactly the limit, in either direction, in every window."""
    rng = np.random.default_rng(3)
    known, budget, series, length = reference(rng), 0.02, 60, 20
    stream = stream_of(known, "demographic_parity")
    alarms = 0
    for at in range(series):
        apart = 0.1 if at % 2 else -0.1
        windows = []
        for _ in range(length):
            group = rng.integers(1, 3, 400)
            positive = rng.random(400) < 0.4 + np.where(group == 1, apart / 2, -apart / 2)
            windows.append(of_classes(positive, positive, segments=group[:, None]).predicted)
        found = follow(stream, known, windows, budget)
        alarms += sum(verdict.decision is Decision.DRIFT for verdict in found)
    allowed = series * length * budget
    assert alarms <= allowed + 3 * allowed**0.5


def test_it_is_over_after_three_windows_within_the_limit() -> None:
    rng = np.random.default_rng(4)
    known = reference(rng)
    windows = [rows(rng, chosen=0.3) for _ in range(4)] + [rows(rng, 2_000) for _ in range(6)]
    found = follow(stream_of(known, "demographic_parity"), known, windows, 1e-4)
    alarm = next(at for at, one in enumerate(found) if one.decision is Decision.DRIFT)
    assert alarm < 4
    assert [one.decision for one in found[4:]] == [Decision.OK] * 6
    assert [one.budget for one in found[4:]] == [0, 0, 0, 1e-4, 1e-4, 1e-4]


def test_small_groups_say_nothing() -> None:
    rng = np.random.default_rng(5)
    known = reference(rng)
    found = follow(
        stream_of(known, "equal_opportunity"), known, [rows(rng, 60, chosen=0.5) for _ in range(9)], 1e-3
    )
    assert {one.decision for one in found} <= {Decision.NO_DATA, Decision.OK}
    assert all(one.n == 0 or one.n >= 30 for one in found)


def test_nothing_is_watched_without_groups_scores_or_a_positive_class() -> None:
    rng = np.random.default_rng(6)
    known = reference(rng, groups=3)
    assert [set(one.groups) for one in fairness_streams((RULE,), known)] == [
        {(1, "f"), (2, "m"), (3, "x")}
    ] * 4
    assert fairness_streams((FairnessRule("city", RULE.limits),), known) == ()
    made = of_classes(np.arange(400) % 2, np.arange(400) % 2, segments=(np.arange(400) % 2 + 1)[:, None])
    records = joined([made.predicted.tobytes(), made.labelled.tobytes()])
    span: dict[str, Any] = {"from_ms": 0, "to_ms": HOUR_MS, "window_ms": HOUR_MS, "age": 10}
    without_scores = OutcomeReference.build({0: records}, NAMES, positive=(POSITIVE,), **span)
    assert [one.measure for one in fairness_streams((RULE,), without_scores)] == list(MEASURES[:3])
    assert fairness_streams((RULE,), OutcomeReference.build({0: records}, NAMES, **span)) == ()
    assert MOST_GROUPS == 8


def test_states_are_bytes_of_their_own_and_damage_is_told() -> None:
    rng = np.random.default_rng(7)
    known = reference(rng)
    stream = stream_of(known, "calibration")
    when: dict[str, Any] = {"start_ms": 0, "end_ms": HOUR_MS, "budget": 1e-4, "detector": "edetector"}
    one, two = rows(rng), rows(rng)
    _, state = watch_fairness(stream, known, one, b"", **when)
    assert watch_fairness(stream, known, two, state, **when) == watch_fairness(
        stream, OutcomeReference.from_bytes(known.to_bytes()), two, bytes(state), **when
    )
    with pytest.raises(ProfileError, match="state of a watch of fairness"):
        watch_fairness(stream, known, two, state[:-3] + b"abc", **when)


def test_rules_may_come_and_go_between_windows() -> None:
    """Evidence of what stays is kept; what is new begins without any."""
    rng = np.random.default_rng(8)
    known, detector = reference(rng), build("edetector", {})
    windows = [rows(rng) for _ in range(3)]

    def judged(rules: list[tuple[FairnessRule, ...]]) -> list[list[Verdict]]:
        state, found = b"", []
        for at, (one, active) in enumerate(zip(windows, rules, strict=True)):
            lanes = outcome_lanes(detector, known, active)
            budget = np.full((len(known.tensor.segments), len(lanes)), 1e-5)
            step = judge_outcomes(
                detector, known, one, state, Moment(at * HOUR_MS, (at + 1) * HOUR_MS, budget), (), active
            )
            state = step.state
            found.append(step.verdicts)
        return found

    without, between = judged([(), (), ()]), judged([(), (RULE,), ()])
    assert [v.column for v in between[1] if v.column.startswith("fairness.")] == [
        f"fairness.sex.{measure}" for measure in MEASURES
    ]
    assert without[2] == between[2]
    tighter = FairnessRule("sex", dict.fromkeys(MEASURES, 0.05))
    changed, fresh = judged([(RULE,), (RULE,), (tighter,)]), judged([(), (), (tighter,)])
    of = [
        [v for v in some if v.column == "fairness.sex.demographic_parity"] for some in (changed[2], fresh[2])
    ]
    assert of[0][0].evidence_log == of[1][0].evidence_log
