"""Conversions of units: known ones are recognised with noise on them, mere shifts are not taken for any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Moment
from detectors.edetector import EDetector
from detectors.events import EventBudget, judge_events
from detectors.joint import lanes_of
from detectors.quality.planted import planted_facts, planted_reference
from detectors.units import conversions, fitting
from schemas.batch import Batch
from schemas.verdict import Decision

SHARES = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


@pytest.mark.parametrize("conversion", list(conversions()), ids=lambda c: c.name)
def test_every_conversion_is_recognised(conversion):
    rng = np.random.default_rng(1)
    before = np.quantile(rng.gamma(4, 12, 20_000), SHARES)
    after = np.quantile(rng.gamma(4, 12, 2_000) * conversion.factor + conversion.offset, SHARES)
    found = fitting(before, after)
    assert found is not None
    best, off = found
    assert (best.factor, best.offset) == pytest.approx((conversion.factor, conversion.offset), rel=0.05)
    assert off < 0.03


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_shifts_and_spreads_are_no_conversions(shift, scale):
    rng = np.random.default_rng(2)
    before = np.quantile(rng.normal(50, 10, 20_000), SHARES)
    after = np.quantile(50 + 10 * shift + 10 * scale * rng.normal(0, 1, 2_000), SHARES)
    assert fitting(before, after) is None


def test_a_column_of_one_value_has_no_unit():
    assert fitting(np.full(5, 3.0), np.full(5, 6.0)) is None


def in_another_unit(batch: Batch) -> Batch:
    numbers = batch.numbers.copy()
    numbers[0] = (numbers[0] - 32) / 1.8
    return replace(batch, numbers=np.where(batch.status == 0, numbers, 0.0))


def test_the_finding_on_a_drifted_column_says_which_unit_it_looks_like():
    reference = planted_reference(seed=1)
    [facts] = planted_facts(reference, seed=3, windows=1, fault=in_another_unit)
    detector = EDetector()
    shape = (len(reference.binning.groups), len(lanes_of(reference, detector)))
    moment = Moment(reference.to_ms, reference.to_ms + 3_600_000, np.full(shape, 1e-4))
    found = judge_events(
        detector, reference, facts, facts.sample, b"",
        start_ms=moment.start_ms, end_ms=moment.end_ms, budget=EventBudget(moment.budget, 1e-4),
    )  # fmt: skip
    [amount] = [v for v in found.verdicts if v.stream == ("amount", "", "edetector")]
    assert amount.decision is Decision.DRIFT
    assert "; looks like °F → °C: the quantiles fit (x − 32)/1.8 within " in amount.explanation
    others = [v for v in found.verdicts if v.column != "amount" or v.segment]
    assert not any("looks like" in verdict.explanation for verdict in others)
