"""Estimates without labels: right where scores keep their meaning, with intervals that hold."""

import doctest
from pathlib import Path

import numpy as np
import pytest

from detectors.calibrator import Calibrator
from detectors.conformal import held_out, least_off
from detectors.estimation import estimate, judge_classes, realised
from detectors.outcomes import RECORD, Family
from tests.detectors.outcome_rows import POSITIVE, of_classes

METRICS = ["accuracy", "precision", "recall", "f1", "roc_auc", "brier", "log_loss"]


def rows_of(generator, n, *, shift=0.0, worth=1.5, segments=None, offset=0.0):
    """Scores σ(z) that are worth σ(worth·z), so not calibrated; with a shift of z."""
    z = generator.normal(shift, 1.2, n)
    label = generator.random(n) < 1 / (1 + np.exp(-(worth * z + offset)))
    score = 1 / (1 + np.exp(-z))
    return of_classes(score > 0.5, label, score, segments=segments)


def errors(reference_rows, shift, rounds=250, n=600):
    """(realised − estimated)/√variance and whether intervals held, with a new reference each round."""
    generator = np.random.default_rng(5)
    found = []
    for _ in range(rounds):
        calibrator = Calibrator.fit(rows_of(generator, reference_rows).labelled, (POSITIVE,))
        window = rows_of(generator, n, shift=shift)
        guess = estimate(calibrator, window.predicted)
        truth = np.array(list(realised(window.labelled, (POSITIVE,)).values()))
        value, variance, low, high = np.array(
            [(g.value, g.variance, g.low, g.high) for g in map(guess.get, METRICS)]
        ).T
        found.append(((truth - value) / variance**0.5, (low <= truth) & (truth <= high)))
    return np.array(found)


@pytest.mark.parametrize(("reference_rows", "shift"), [(1_000, 0.0), (3_000, 0.7)])
def test_intervals_hold_though_scores_are_not_calibrated_and_inputs_shift(reference_rows, shift):
    z, covered = np.moveaxis(errors(reference_rows, shift), 1, 0)
    assert covered.mean(axis=0) == pytest.approx(np.full(7, 0.9), abs=0.055)
    assert z.mean(axis=0) == pytest.approx(np.zeros(7), abs=0.45)


def test_a_shift_of_the_inputs_is_seen_and_a_change_of_meaning_is_not():
    generator = np.random.default_rng(6)
    calibrator = Calibrator.fit(rows_of(generator, 40_000).labelled, (POSITIVE,))
    shifted, changed = rows_of(generator, 40_000, shift=1.0), rows_of(generator, 40_000, worth=0.3)
    for window, is_seen in ((shifted, True), (changed, False)):
        truth = realised(window.labelled, (POSITIVE,))["accuracy"]
        found = estimate(calibrator, window.predicted)["accuracy"].value
        assert (found == pytest.approx(truth, abs=0.01)) == is_seen


def test_estimates_of_labelled_rows_do_not_look_at_the_labels():
    window = rows_of(np.random.default_rng(7), 500)
    calibrator = Calibrator.fit(window.labelled, (POSITIVE,))
    without, labelled = (
        estimate(calibrator, records, family=family)
        for records, family in ((window.predicted, Family.PREDICTED), (window.labelled, Family.LABELLED))
    )
    for name in METRICS:
        assert without[name].value == pytest.approx(labelled[name].value)
        assert without[name].variance == pytest.approx(labelled[name].variance)


def test_the_order_of_records_and_labels_of_different_ages_do_not_matter():
    generator = np.random.default_rng(8)
    window = rows_of(generator, 500)
    mixed = generator.permutation(np.concatenate((window.labelled, window.labelled)))
    mixed["age"][::3] = 4
    once, again = (Calibrator.fit(x, (POSITIVE,)) for x in (np.repeat(window.labelled, 2), mixed))
    assert estimate(once, window.predicted) == estimate(again, generator.permutation(window.predicted))


def test_without_scores_the_rates_of_predicted_classes_are_used():
    predicted, label = np.repeat([0, 0, 1, 1], [60, 40, 20, 80]), np.repeat([0, 1, 0, 1], [60, 40, 20, 80])
    calibrator = Calibrator.fit(of_classes(predicted, label).labelled, (POSITIVE,))
    found = estimate(calibrator, of_classes(np.repeat([0, 1], [100, 300]), np.zeros(400)).predicted)
    assert found["accuracy"].value == pytest.approx((100 * 0.6 + 300 * 0.8) / 400, abs=0.005)
    assert found["precision"].value == pytest.approx(0.8, abs=0.005)
    assert found["roc_auc"] is None


def test_classes_of_many_have_curves_of_their_own():
    generator = np.random.default_rng(9)
    predicted, score = generator.integers(0, 3, 30_000), generator.uniform(0.4, 1, 30_000)
    right = generator.random(30_000) < score * np.array([1.0, 0.9, 0.6])[predicted]
    reference = of_classes(predicted, np.where(right, predicted, (predicted + 1) % 3), score).labelled
    calibrator = Calibrator.fit(reference)
    for k, share in enumerate([1.0, 0.9, 0.6]):
        window = of_classes(np.full(5_000, k), np.zeros(5_000), np.full(5_000, 0.7)).predicted
        assert estimate(calibrator, window)["accuracy"].value == pytest.approx(0.7 * share, abs=0.03)
    assert list(estimate(calibrator, window)) == ["accuracy"]


def segmented(generator, n, share):
    """Two segments of a column, in which scores are worth different things."""
    segment = np.where(generator.random(n) < share, 1, 2)
    z = generator.normal(0, 1.2, n)
    label = generator.random(n) < 1 / (1 + np.exp(-z - np.where(segment == 1, 1.0, -1.0)))
    return of_classes(z > 0, label, 1 / (1 + np.exp(-z)), segments=segment[:, None])


def test_segments_have_curves_of_their_own_and_tell_of_a_changed_mix():
    generator = np.random.default_rng(10)
    reference, window = segmented(generator, 40_000, 0.5), segmented(generator, 40_000, 0.9)
    calibrator = Calibrator.fit(reference.labelled, (POSITIVE,), columns=[[1, 2]])
    for segment in (1, 2):
        of_segment = realised(window.labelled, (POSITIVE,), segment=segment)["recall"]
        guess = estimate(calibrator, window.predicted, segment=segment)["recall"]
        assert guess.value == pytest.approx(of_segment, abs=0.02)
    truth = realised(window.labelled, (POSITIVE,))["recall"] or 0.0
    plain, told = (
        estimate(calibrator, window.predicted, with_columns=with_columns)["recall"]
        for with_columns in (False, True)
    )
    assert plain.value > truth + 0.03
    assert told.value == pytest.approx(truth, abs=0.01)
    assert told.variance < 3 * plain.variance


def test_columns_that_say_nothing_change_nothing():
    generator = np.random.default_rng(11)
    rows = rows_of(generator, 20_000, segments=generator.integers(1, 4, (20_000, 1)))
    calibrator = Calibrator.fit(rows.labelled, (POSITIVE,), columns=[[1, 2, 3]])
    plain, told = (estimate(calibrator, rows.predicted, with_columns=x)["f1"] for x in (False, True))
    assert told.value == pytest.approx(plain.value, abs=0.003)
    assert told.variance == pytest.approx(plain.variance, rel=0.05)


def test_columns_do_not_move_the_estimate_of_the_reference_itself():
    """Though curves of few rows are drawn to the common one, and put in order again."""
    generator = np.random.default_rng(14)
    segment = generator.choice([1, 2, 3, 4], 3_000, p=[0.9, 0.06, 0.03, 0.01])
    z = generator.normal(0, 1.2, 3_000)
    label = generator.random(3_000) < 1 / (1 + np.exp(-z - np.array([0, 2, -2, 3])[segment - 1]))
    rows = of_classes(z > 0, label, 1 / (1 + np.exp(-z)), segments=segment[:, None])
    calibrator = Calibrator.fit(rows.labelled, (POSITIVE,), columns=[[1, 2, 3, 4]])
    plain, told = (estimate(calibrator, rows.predicted, with_columns=x) for x in (False, True))
    for name in METRICS:
        assert abs(told[name].value - plain[name].value) < 0.01 * plain[name].variance ** 0.5


def test_columns_tell_nothing_about_the_rows_of_a_segment():
    generator = np.random.default_rng(15)
    rows = segmented(generator, 4_000, 0.5)
    calibrator = Calibrator.fit(rows.labelled, (POSITIVE,), columns=[[1, 2]])
    found = (estimate(calibrator, rows.predicted, segment=1, with_columns=x) for x in (False, True))
    assert next(found) == next(found)


def test_columns_are_chosen_by_what_windows_of_the_reference_say():
    generator = np.random.default_rng(16)
    judges = [judge_classes((POSITIVE,), columns) for columns in ([], [[1, 2]])]
    mixed = [segmented(generator, 1_000, share).labelled for share in generator.random(20)]
    assert least_off(mixed, judges) == 1


def test_segments_unknown_to_the_reference_are_judged_as_everything():
    rows = rows_of(np.random.default_rng(12), 500, segments=np.full((500, 1), 2**64 - 5, np.uint64))
    whole = rows.labelled[rows.labelled["segment"] == 0]
    calibrator = Calibrator.fit(whole, (POSITIVE,))
    of_segment = estimate(calibrator, rows.predicted, segment=2**64 - 5)
    assert of_segment == estimate(calibrator, rows.predicted)


@pytest.mark.parametrize("positive", [(), (POSITIVE,)])
def test_nothing_gives_none_and_no_reference_takes_scores_at_their_word(positive):
    nothing = np.zeros(0, RECORD)
    assert set(estimate(Calibrator.fit(nothing, positive), nothing).values()) == {None}
    assert set(realised(nothing, positive).values()) == {None}
    window = of_classes([1, 1], [1, 1], [0.75, 0.75]).predicted
    found = estimate(Calibrator.fit(nothing, positive), window)
    assert found["accuracy"].value == pytest.approx(0.75, abs=0.02)
    assert (found["accuracy"].low, found["accuracy"].high, found["accuracy"].n) == (0.0, 1.0, 2)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_in_one_cell_is_finite(label):
    rows = of_classes(np.full(50, label), np.full(50, label), np.full(50, float(label)))
    for one in estimate(Calibrator.fit(rows.labelled, (POSITIVE,)), rows.predicted).values():
        assert one is None or np.isfinite([one.value, one.variance, one.low, one.high]).all()


def test_realised_losses_are_those_of_the_rows():
    rows = of_classes([0, 1], [1, 1], [0.25, 0.8])
    found = realised(rows.labelled, (POSITIVE,))
    assert found["brier"] == pytest.approx((0.75**2 + 0.2**2) / 2)
    assert found["log_loss"] == pytest.approx(-np.log([0.25, 0.8]).mean())


def test_each_window_of_a_reference_is_judged_by_the_others():
    generator = np.random.default_rng(13)
    windows = [rows_of(generator, 1_000).labelled for _ in range(40)]
    scores = held_out(windows, judge_classes((POSITIVE,)))
    assert list(scores) == METRICS
    assert all(len(x) == 40 and 0.6 < x.std() < 1.4 for x in scores.values())


def test_examples_of_the_page_about_estimation():
    page = Path(__file__).parents[2] / "docs" / "estimation.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 8
    assert result.failed == 0
