"""Disparities of groups: the textbook's numbers, intervals that hold, and small groups left out."""

import numpy as np
import pytest
from scipy import stats

from detectors.fairness import Rate, _newcombe, _wilson, measure_fairness
from detectors.outcomes import RECORD
from tests.detectors.outcome_rows import POSITIVE, of_classes

NAMES = {"a": 1, "b": 2, "c": 3}


def rows_of(generator, n, rates, truth=(0.5, 0.5, 0.5), hits=(0.8, 0.8, 0.8)):
    """Three groups: rates of false positives, of positive labels, and of true positives."""
    group = generator.integers(0, 3, n)
    label = generator.random(n) < np.array(truth)[group]
    predicted = generator.random(n) < np.where(label, np.array(hits)[group], np.array(rates)[group])
    return of_classes(predicted, label, np.full(n, 0.5), segments=group[:, None] + 1)


def both(rows):
    return np.concatenate((rows.predicted, rows.labelled))


def fairness(rows, **options):
    return measure_fairness(both(rows), NAMES, (POSITIVE,), **options)


def test_disparities_are_those_of_the_rates():
    found = fairness(rows_of(np.random.default_rng(1), 30_000, (0.1, 0.2, 0.3), hits=(0.6, 0.8, 0.7)))
    values = {name: one.value for name, one in found.disparities.items()}
    assert values["equal_opportunity"] == pytest.approx(0.2, abs=0.02)
    assert values["equalised_odds"] == pytest.approx(0.2, abs=0.02)
    rates = [group.positive.share for group in found.groups]
    assert values["demographic_parity"] == max(rates) - min(rates)
    assert values["demographic_parity_ratio"] == min(rates) / max(rates)
    gap = found.disparities["equal_opportunity"]
    assert (gap.largest, gap.smallest) == ("b", "a")
    assert all(one.low <= one.value <= one.high for one in found.disparities.values())


def test_rates_of_predictions_count_those_without_labels():
    rows = rows_of(np.random.default_rng(2), 3_000, (0.1, 0.2, 0.3))
    some = measure_fairness(np.concatenate((rows.predicted, rows.labelled[::3])), NAMES, (POSITIVE,))
    assert sum(group.positive.n for group in some.groups) == 3_000
    assert sum(group.true_positive.n + group.false_positive.n for group in some.groups) < 3_000


@pytest.mark.parametrize("name", ["demographic_parity", "demographic_parity_ratio", "equalised_odds"])
@pytest.mark.parametrize("rates", [(0.2, 0.2, 0.2), (0.1, 0.2, 0.3)])
def test_intervals_hold_though_the_most_different_groups_are_picked(name, rates):
    generator, held = np.random.default_rng(3), []
    positive = 0.5 * np.array(rates) + 0.4
    truth = {
        "demographic_parity": np.ptp(positive),
        "demographic_parity_ratio": positive.min() / positive.max(),
        "equalised_odds": np.ptp(rates),
    }[name]
    for _ in range(200):
        one = fairness(rows_of(generator, 600, rates)).disparities[name]
        held.append(one.low - 1e-12 <= truth <= one.high + 1e-12)
    assert np.mean(held) >= 0.87


def test_equal_groups_are_rarely_called_different():
    generator = np.random.default_rng(4)
    lows = [
        fairness(rows_of(generator, 500, (0.2, 0.2, 0.2))).disparities["demographic_parity"].low
        for _ in range(300)
    ]
    assert np.mean(np.array(lows) > 0) <= 0.1


def scored(generator, n, shift):
    """Scores that are calibrated in two groups and off in the third."""
    group = generator.integers(0, 3, n)
    score = generator.beta(2, 2, n)
    label = generator.random(n) < np.clip(score + np.where(group == 2, shift, 0.0), 0, 1)
    return of_classes(score > 0.5, label, score, segments=group[:, None] + 1)


@pytest.mark.parametrize("n", [300, 3_000, 30_000])
def test_calibrated_groups_have_no_calibration_error_of_note_at_any_size(n):
    generator = np.random.default_rng(5)
    found = [fairness(scored(generator, n, 0.0)) for _ in range(60)]
    errors = [group.calibration.mean for one in found for group in one.groups]
    assert np.mean(errors) < 0.5 / n**0.5
    assert np.mean([one.disparities["calibration"].low > 0 for one in found]) <= 0.1


def test_a_group_whose_scores_are_off_is_named():
    gap = fairness(scored(np.random.default_rng(6), 30_000, -0.1)).disparities["calibration"]
    assert gap.largest == "c"
    assert gap.value == pytest.approx(0.1, abs=0.02)
    assert gap.low > 0.06


def test_small_groups_are_left_out():
    rows = of_classes(
        np.repeat([1, 0, 1], [50, 50, 5]),
        np.repeat([1, 0, 1], [50, 50, 5]),
        segments=np.repeat([1, 2, 3], [50, 50, 5])[:, None],
    )
    found = fairness(rows)
    assert {
        found.disparities["demographic_parity"].largest,
        found.disparities["demographic_parity"].smallest,
    } == {"a", "b"}
    assert found.disparities["equal_opportunity"] is None  # only one of them has positives
    assert found.disparities["equalised_odds"] is None
    assert found.disparities["calibration"] is None  # there are no scores
    assert fairness(rows, least_rows=1).disparities["equal_opportunity"].value == 0


def test_nothing_and_no_positive_predictions():
    assert set(measure_fairness(np.zeros(0, RECORD), NAMES, (POSITIVE,)).disparities.values()) == {None}
    assert measure_fairness(np.zeros(0, RECORD), {}, (POSITIVE,)).groups == ()
    none = fairness(of_classes(np.zeros(300), np.zeros(300), segments=np.tile([1, 2, 3], 100)[:, None]))
    assert none.disparities["demographic_parity_ratio"] is None
    parity = none.disparities["demographic_parity"]
    assert (parity.value, parity.low) == (0.0, 0.0)
    assert 0 < parity.high < 0.1


def test_limits_are_newcombes_and_wilsons():
    low, high = _newcombe(Rate(56, 70), Rate(48, 80), 1.959964)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # Newcombe 1998, table II, (a), method 10
    wilson = stats.binomtest(7, 50).proportion_ci(0.9, "wilson")
    assert _wilson(Rate(7, 50), stats.norm.isf(0.05)) == pytest.approx((wilson.low, wilson.high))
