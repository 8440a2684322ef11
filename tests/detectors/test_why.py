"""What a change of the predictions is put down to: planted causes are found, and none where none is."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from detectors.binning import NumericBins
from detectors.reference import Reference
from detectors.relations import Relations, Together
from detectors.why import FEWEST_ROWS, attribute, outcome_name, with_reasons
from schemas.attribution import Attribution, Part, PartKind
from schemas.verdict import Decision, Lane, Verdict
from tests.detectors.test_relations import Columns, everything, known, learned, rows_of

ROWS, WINDOW_ROWS, REPLICATIONS = 4_000, 2_000, 100
A, B, SHIFT = 0.3, 0.2, 0.4  # score = 0.3 a + 0.2 b; a moves by 0.4


def linear(rows: int, seed: int, *, shift: float = 0.0) -> Columns:
    """A linear score of two independent features."""
    a, b = np.random.default_rng(seed).normal(size=(2, rows))
    a = a + shift
    return {"b": b, "a": a, "score": A * a + B * b}


def why(before: Columns, after: Columns, seed: int = 0, **segments: np.ndarray) -> Attribution:
    """What a window of all rows is put down to."""
    found = attribute(*both(before, after, seed, **segments))
    assert found is not None
    return found


def both(
    before: Columns,
    after: Columns,
    seed: int = 0,
    *,
    was: np.ndarray | None = None,
    now: np.ndarray | None = None,
) -> tuple[Relations, Together]:
    relations = known(learned(rows_of(before, seed, segment=was)))
    return relations, relations.of(everything(rows_of(after, seed + 1_000, segment=now)))


def of_kind(found: Attribution, kind: PartKind) -> list[Part]:
    return [part for part in found.parts if part.kind is kind]


def mixed(reference: Reference, column: str, slope: float, shift: float) -> float:
    """What comes with other shares of the bins of a standard normal column, ŷ being linear in it."""
    bins = reference.binning.bins[reference.binning.index[column]]
    assert isinstance(bins, NumericBins)
    edges = np.array([-np.inf, *bins.edges, np.inf])

    def of(mean: float) -> tuple[np.ndarray, np.ndarray]:
        share = np.diff(stats.norm.cdf(edges - mean))
        return share, mean - np.diff(stats.norm.pdf(edges - mean)) / np.maximum(share, 1e-300)

    (p, before), (q, after) = of(0.0), of(shift)
    return slope * float(((q - p) * (before + after)).sum()) / 2


# --- one feature of two -------------------------------------------------------------------------------------


def test_a_feature_that_moved_is_given_its_part_and_the_interval_holds_the_truth() -> None:
    found, covers, covers_change = [], 0, 0
    for seed in range(REPLICATIONS):
        reference = learned(rows_of(linear(ROWS, seed), seed))
        window = rows_of(linear(WINDOW_ROWS, seed + 1_000, shift=SHIFT), seed + 1_000)
        one = attribute(known(reference), known(reference).of(everything(window)))
        assert one is not None
        first = one.parts[0]
        assert (first.kind, first.name) == (PartKind.FEATURE, "a")
        assert first.words.startswith(("more rows", "fewer rows"))
        assert one.is_beyond_chance
        assert " the rise of the mean score (" in one.summary
        assert " comes with a: " in one.summary
        found.append((one.change, first.part, first.part + (first.rate or 0.0)))
        covers += first.low <= mixed(reference, "a", A, SHIFT) <= first.high
        covers_change += one.low <= A * SHIFT <= one.high
    change, part, whole = np.array(found).T
    assert part.mean() / change.mean() >= 0.9
    assert abs(change.mean() - A * SHIFT) < 0.002
    np.testing.assert_allclose(whole, change, atol=1e-9)
    assert covers >= 90
    assert covers_change >= 90


def test_beside_the_other_features_it_is_the_same_part() -> None:
    found = why(linear(ROWS, 1), linear(WINDOW_ROWS, 2, shift=SHIFT))
    first = found.parts[0]
    assert first.beside == pytest.approx(A * SHIFT, rel=0.15)
    assert found.remainder == pytest.approx(0.0, abs=0.02)
    assert (found.outcome, found.rows, found.reference_rows) == ("mean score", WINDOW_ROWS, ROWS)
    assert found.mean - found.reference_mean == pytest.approx(found.change)
    assert found.mean == pytest.approx(linear(WINDOW_ROWS, 2, shift=SHIFT)["score"].mean(), abs=1e-4)


def test_a_fall_is_told_as_a_fall() -> None:
    found = why(linear(ROWS, 1), linear(WINDOW_ROWS, 2, shift=-SHIFT))
    assert found.change < 0
    assert found.parts[0].name == "a"
    assert found.parts[0].part < 0
    assert "the fall of the mean score (-0.1" in found.summary


def test_features_that_pull_in_opposite_ways_are_both_named() -> None:
    after = linear(WINDOW_ROWS, 2)
    after["a"], after["b"] = after["a"] + 0.5, after["b"] - 0.3
    after["score"] = A * after["a"] + B * after["b"]
    found = why(linear(ROWS, 1), after)
    features = {part.name: part for part in of_kind(found, PartKind.FEATURE)}
    assert features["a"].part > 0 > features["b"].part
    assert features["a"].words != features["b"].words
    assert found.summary.startswith("more than all of the rise of the mean score")


# --- features that go together ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_of_features_that_go_together_the_one_that_counts_is_named_first(seed: int) -> None:
    def collinear(rows: int, seed: int, shift: float = 0.0) -> Columns:
        cause, noise, other = np.random.default_rng(seed).normal(size=(3, rows))
        cause = cause + shift
        # It moves further, so that taken alone it carries more.
        companion = 0.95 * cause + 0.31 * noise + 0.2 * shift
        return {"companion": companion, "cause": cause, "other": other, "score": 0.3 * cause + 0.05 * other}

    found = why(collinear(ROWS, seed), collinear(WINDOW_ROWS, seed + 1_000, 0.5), seed)
    first, second = of_kind(found, PartKind.FEATURE)[:2]
    assert (first.name, second.name) == ("cause", "companion")
    assert first.beside is not None
    assert second.beside is not None
    assert first.beside > 5 * abs(second.beside)
    assert "comes with cause: " in found.summary


# --- segments and rows --------------------------------------------------------------------------------------


def by_origin(rows: int, seed: int, share: float, *, lift: float = 0.0) -> tuple[Columns, np.ndarray]:
    """A score that depends on where from alone."""
    rng = np.random.default_rng(seed)
    origin = np.where(rng.random(rows) < share, "EWR", "JFK")
    level = np.where(origin == "EWR", 0.6 + lift, 0.3)
    return {"a": rng.normal(size=rows), "score": level + rng.normal(0, 0.05, rows)}, origin


def test_more_rows_of_a_segment_are_named_as_its_part() -> None:
    (before, was), (after, now) = by_origin(ROWS, 1, 0.3), by_origin(WINDOW_ROWS, 2, 0.6)
    found = why(before, after, was=was, now=now)
    assert not of_kind(found, PartKind.FEATURE)
    (segment,) = of_kind(found, PartKind.SEGMENT)
    assert segment.name == "origin"
    assert segment.part == pytest.approx(0.3 * 0.3, rel=0.1)
    assert segment.part >= 0.9 * found.change
    assert segment.low <= 0.3 * 0.3 <= segment.high
    assert segment.words == "more rows with EWR and fewer rows with JFK"
    assert segment.beside is None


def test_other_predictions_for_the_same_rows_are_found_in_them() -> None:
    covers = 0
    for seed in range(40):
        (before, was), (after, now) = (
            by_origin(ROWS, seed, 0.3),
            by_origin(WINDOW_ROWS, seed + 1_000, 0.3, lift=0.2),
        )
        found = why(before, after, seed, was=was, now=now)
        (first, *_) = of_kind(found, PartKind.ROWS)
        assert first.name == "origin=EWR"
        assert (first.rate, first.beside) == (None, None)
        assert first.words.startswith(("0.59", "0.6"))
        assert first.words.endswith(" sampled rows")
        covers += first.low <= 0.3 * 0.2 <= first.high
    assert covers >= 34


# --- nothing ------------------------------------------------------------------------------------------------


def test_where_nothing_changed_it_says_so() -> None:
    said, features = 0, []
    for seed in range(REPLICATIONS):
        rng = np.random.default_rng([seed, 9])
        found = why(
            linear(ROWS, seed),
            linear(WINDOW_ROWS, seed + 1_000),
            seed,
            was=rng.choice(["EWR", "JFK"], ROWS),
            now=rng.choice(["EWR", "JFK"], WINDOW_ROWS),
        )
        said += found.summary.startswith("the mean score has not changed beyond chance (95 % interval ")
        assert ("not changed" in found.summary) is not found.is_beyond_chance
        features.append(sum(part.kind is not PartKind.ROWS for part in found.parts))
    assert said >= 88
    assert features.count(0) >= 80


# --- what stands for the prediction -------------------------------------------------------------------------


def classes(rows: int, seed: int, shift: float = 0.0) -> Columns:
    """Class 1 is predicted where a feature is high; no scores."""
    a, b = np.random.default_rng(seed).normal(size=(2, rows))
    return {"b": b, "a": a + shift, "prediction": np.where(a + shift > 1.28, "1", "0")}


def test_without_a_score_it_is_the_share_of_a_class() -> None:
    found = why(classes(ROWS, 1), classes(WINDOW_ROWS, 2, 0.5))
    assert found.outcome == "share of prediction 1"
    assert found.reference_mean == (classes(ROWS, 1)["prediction"] == "1").mean()
    assert found.mean == (classes(WINDOW_ROWS, 2, 0.5)["prediction"] == "1").mean()
    assert found.parts[0].name == "a"
    assert found.parts[0].part >= 0.9 * found.change
    assert "the rise of the share of prediction 1 (" in found.summary


def test_a_predicted_number_stands_for_itself() -> None:
    columns = [linear(ROWS, 1), linear(WINDOW_ROWS, 2, shift=SHIFT)]
    before, after = ({"a": one["a"], "prediction": 100 * one["score"]} for one in columns)
    found = why(before, after)
    assert found.outcome == "mean prediction"
    assert found.change == pytest.approx(100 * A * SHIFT, rel=0.25)


def test_nothing_is_said_where_nothing_stands_for_the_prediction() -> None:
    columns = linear(ROWS, 1)
    del columns["score"]
    assert attribute(*both(columns, columns)) is None
    three = columns | {"prediction": np.random.default_rng(1).choice(["x", "y", "z"], ROWS)}
    assert attribute(*both(three, three)) is None


@pytest.mark.parametrize(("rows", "is_enough"), [(FEWEST_ROWS - 1, False), (FEWEST_ROWS, True)])
def test_nothing_is_said_of_few_rows(rows: int, is_enough: bool) -> None:
    found = attribute(*both(linear(ROWS, 1), linear(rows, 2)))
    assert (found is not None) is is_enough
    unscored = linear(ROWS, 2)
    unscored["score"] = np.where(np.arange(ROWS) < rows, unscored["score"], np.nan)
    relations = known(learned(rows_of(linear(ROWS, 1), 1)))
    batch = rows_of(unscored, 2)
    batch.status[[spec.name for spec in batch.numeric].index("score")] = np.isnan(unscored["score"])
    np.nan_to_num(batch.numbers, copy=False)
    again = attribute(relations, relations.of(everything(batch)))
    assert (again is not None) is is_enough
    if again is not None:
        assert (again.rows, again.reference_rows) == (rows, ROWS)


# --- attached to a verdict ----------------------------------------------------------------------------------


def verdicts() -> list[Verdict]:
    places: list[Any] = [("score", ""), ("score", "origin=EWR"), ("a", ""), ("b", "")]
    return [
        Verdict("psi", column, segment, Lane.PREDICTIONS, Decision.OK, 1, 1, 0.0, 0.1, "set by hand")
        for column, segment in places
    ]


def test_the_verdict_on_the_predictions_of_all_rows_tells_why() -> None:
    relations, together = both(linear(ROWS, 1), linear(WINDOW_ROWS, 2, shift=SHIFT))
    found = with_reasons(relations, together, verdicts())
    assert [verdict.attribution is not None for verdict in found] == [True, False, False, False]
    assert found[0].attribution == attribute(relations, together)
    assert found[1:] == verdicts()[1:]


def test_without_relations_or_a_sample_verdicts_stay_as_they_are() -> None:
    relations, together = both(linear(ROWS, 1), linear(WINDOW_ROWS, 2))
    assert with_reasons(None, together, verdicts()) == verdicts()
    assert with_reasons(relations, None, verdicts()) == verdicts()
    empty = relations.of(everything(rows_of(linear(5, 3), 3), 0))
    assert with_reasons(relations, empty, verdicts()) == verdicts()


def test_the_outcome_has_a_name() -> None:
    relations = known(learned(rows_of(classes(ROWS, 1), 1)))
    assert relations.outcome is not None
    assert outcome_name(relations.outcome) == "share of prediction 1"
