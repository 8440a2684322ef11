"""Whether a measure differs between two stretches of windows, against scipy and in the long run."""

import numpy as np
import pytest
from scipy import stats

from detectors.before_after import Change, before_after


def test_its_interval_is_that_of_welch():
    rng = np.random.default_rng(3)
    old, new = rng.normal(0.6, 0.05, 30), rng.normal(0.66, 0.1, 12)
    found = before_after(old, new, higher_is_better=True, level=0.99)
    interval = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.99)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.windows_before, found.windows_after) == (30, 12)


@pytest.mark.parametrize(("shift", "higher", "change"), [
    (0.1, True, Change.BETTER), (0.1, False, Change.WORSE), (-0.1, True, Change.WORSE),
    (0.0, True, Change.UNCLEAR),
])  # fmt: skip
def test_it_knows_what_is_better(shift, higher, change):
    rng = np.random.default_rng(4)
    old = rng.normal(0.6, 0.02, 40)
    assert before_after(old, old[::-1] + shift, higher_is_better=higher).change is change


def test_few_windows_say_nothing_and_constant_ones_everything():
    assert before_after([0.5] * 4, [0.9] * 50, higher_is_better=True) is None
    assert before_after([0.5] * 5, [0.9] * 5, higher_is_better=True).change is Change.BETTER
    assert before_after([0.5] * 5, [0.5] * 5, higher_is_better=True).change is Change.UNCLEAR


def test_it_is_wrong_as_seldom_as_it_says():
    rng = np.random.default_rng(5)
    found = [
        before_after(rng.normal(0, 1, 20), rng.normal(0, 2, 8), higher_is_better=True) for _ in range(4_000)
    ]
    wrong = sum(one.change is not Change.UNCLEAR for one in found)
    assert 0.035 * 4_000 < wrong < 0.065 * 4_000
