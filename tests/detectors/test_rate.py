"""The one-sided rate e-detector: its budget is kept, and first occurrences count."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from scipy import stats

from detectors.base import Moment
from detectors.ledger import Ledger
from detectors.planted import planted_reference, planted_windows
from detectors.planted_outcomes import planted_outcome_reference, planted_outcomes
from detectors.rate import RateEDetector
from detectors.rate_evidence import RateLimit, RateVariation, learn_rate
from detectors.tensor import FloatArray, IntArray
from detectors.tilts import TILTS
from schemas.errors import UsageError
from schemas.verdict import Decision

HOUR_MS = 3_600_000


def limit_of(rate: float, streams: int = 1) -> RateLimit:
    return RateLimit(np.full(streams, rate), RateVariation.nothing(streams), np.full(streams, 0.01))


def learned(x: IntArray, n: int, *, z: float, margin: float) -> RateLimit:
    """Limit after windows ``[W, N]`` of n rows each."""
    rows = np.full(x.shape, float(n))
    expected = (x.sum(axis=0) + 0.5) / (rows.sum(axis=0) + 1)
    slots = np.ones(x.shape[1], np.int64)
    variation = learn_rate(x.astype(float), rows, np.broadcast_to(expected, x.shape), slots)
    return RateLimit.of(x.sum(axis=0).astype(float), rows.sum(axis=0), variation, z, margin, 0.0)


def alarms_of(limit: RateLimit, windows: IntArray, n: int, budget: float) -> int:
    """Alarms of streams ``[T, N]``, the budget split as the detector does."""
    ledger, found = Ledger.empty(windows.shape[1], 1), 0
    rows = np.full(windows.shape[1], float(n))
    weights = np.full((1, windows.shape[1]), 1 / TILTS)
    for x in windows.astype(float):
        jump = np.log(0.75 * budget) - limit.log_tail(x, rows)
        evidence = limit.log_evalues(x, rows)[:, None]
        step = ledger.step(evidence, np.full(len(x), budget / 4), weights, single_log=jump)
        found += int(step.is_alarm.sum())
    return found


@pytest.mark.parametrize("rate", [0.0005, 0.02, 0.3])
@pytest.mark.parametrize("rows", [1, 50, 2_000])
def test_no_rate_that_is_allowed_gives_an_evalue_above_one(rows, rate):
    counts = np.arange(rows + 1.0)
    logs = limit_of(rate, rows + 1).log_evalues(counts, np.full(rows + 1, float(rows)))
    for truth in (rate, rate / 2, rate / 100):
        assert np.exp(stats.binom.logpmf(counts, rows, truth) + logs).sum(axis=1).max() <= 1 + 1e-9


@pytest.mark.parametrize("rate", [0.0005, 0.02, 0.3])
@pytest.mark.parametrize("rows", [1, 50, 2_000])
def test_probabilities_of_single_windows_are_exact(rows, rate):
    counts = np.arange(rows + 1.0)
    tail = limit_of(rate, rows + 1).log_tail(counts, np.full(rows + 1, float(rows)))
    above = counts > rate * rows
    assert np.exp(tail[above]) == pytest.approx(stats.binom.sf(counts[above] - 1, rows, rate), rel=1e-9)
    assert (tail[~above] == 0).all()


@pytest.mark.parametrize("kind", ["edge", "below", "hostile"])
def test_streams_within_the_limit_keep_the_budget(kind):
    generator = np.random.default_rng(1)
    streams, windows, budget = 2_000, 200, 2e-3
    limit, rows = limit_of(0.1, streams), np.full(streams, 200.0)
    ledger, weights, found = Ledger.empty(streams, 1), np.full((1, streams), 1 / TILTS), 0
    evidence = np.full(streams, -np.inf)
    for number in range(windows):
        # A hostile truth rests wherever there is evidence already, and is at the edge elsewhere.
        truth = {"edge": 0.1, "below": 0.1 * (number % 3) / 2}.get(kind, np.where(evidence > -3, 0.02, 0.1))
        x = generator.binomial(200, truth, streams).astype(float)
        jump = np.log(0.75 * budget) - limit.log_tail(x, rows)
        logs = limit.log_evalues(x, rows)[:, None]
        step = ledger.step(logs, np.full(streams, budget / 4), weights, single_log=jump)
        evidence, found = step.evidence_log, found + int(step.is_alarm.sum())
    expected = budget * streams * windows
    assert found <= expected + 3 * np.sqrt(expected)
    assert found > 0


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_rates_that_wander_keep_the_budget(rho):
    generator = np.random.default_rng(2)
    streams, known, judged = 400, 56, 100
    level = np.zeros((known + judged, streams))
    for now, before in zip(level[1:], level[:-1], strict=True):
        now[:] = rho * before + np.sqrt(1 - rho**2) * generator.normal(0, 0.2, streams)
    counts = generator.binomial(500, 0.1 * np.exp(level) / (0.9 + 0.1 * np.exp(level)))
    limit = learned(counts[:known], 500, z=2.0, margin=0.0)
    for budget in (1e-2, 1e-3):
        expected = budget * streams * judged
        assert alarms_of(limit, counts[known:], 500, budget) <= expected + 3 * np.sqrt(expected)


def test_first_occurrences_are_strong_evidence():
    never = np.zeros((56, 1), np.int64)
    limit = learned(never, 100, z=2.0, margin=0.0)
    assert limit.rate[0] < 0.001
    one, three = (np.exp(limit.log_tail(np.array([x]), np.array([100.0])))[0] for x in (1.0, 3.0))
    assert one < 0.07
    assert three < 1e-4
    assert limit.log_evalues(np.array([3.0]), np.array([100.0])).max() > 7


def test_extreme_windows_give_finite_evidence():
    limit = learned(np.array([[3, 0, 0, 50]] * 10), 50, z=4.0, margin=0.01)
    for n in (0.0, 1.0, 1e8):
        for x in (0.0, n / 2, n):
            counts, rows = np.full(4, x), np.full(4, n)
            assert np.isfinite(limit.log_evalues(counts, rows)).all()
            assert np.isfinite(limit.log_tail(counts, rows)).all()
    assert not limit.log_evalues(np.zeros(4), np.zeros(4)).any()


@given(
    known=some.lists(some.integers(0, 60), min_size=1, max_size=12),
    x=some.integers(0, 10**8),
    rest=some.integers(0, 10**8),
    margin=some.sampled_from([0.0, 0.01]),
)
@example(known=[1, 1, 0, 1, 60, 60, 42, 44, 0, 1, 0], x=1, rest=0, margin=0.0)  # a limit one rounding below 1
def test_any_counts_give_finite_evidence(known, x, rest, margin):
    limit = learned(np.array(known)[:, None], 60, z=2.0, margin=margin)
    counts, rows = np.array([float(x)]), np.array([float(x + rest)])
    assert np.isfinite(limit.log_evalues(counts, rows)).all()
    assert (limit.log_tail(counts, rows) <= 0).all()


def decisions(detector: RateEDetector, windows: IntArray, budget: float = 1e-4) -> list[str]:
    reference, state, found = planted_outcome_reference(seed=1), b"", []
    for number, window in enumerate(windows):
        moment = Moment(number * HOUR_MS, (number + 1) * HOUR_MS, np.full(window.shape[:2], budget))
        verdicts, state = detector.step(reference, window, state, moment)
        found.append(verdicts[0].decision.value)
    return found


def test_only_a_rise_is_drift_and_it_settles():
    worse, calm = planted_outcomes(2, 3, wrong_share=0.2), planted_outcomes(3, 5)
    found = decisions(RateEDetector(), np.concatenate([worse, calm]))
    assert found == ["drift", "ongoing", "ongoing", "ok", "ok", "ok", "ok", "ok"]
    assert set(decisions(RateEDetector(), planted_outcomes(4, 20, wrong_share=0.02))) == {"ok"}


def test_a_margin_is_what_may_be_lost():
    worse = planted_outcomes(5, 10, wrong_share=0.125, rows=4_000)
    assert "drift" in decisions(RateEDetector(margin=0.0), worse)
    assert "drift" not in decisions(RateEDetector(margin=0.03), worse)
    assert "drift" not in decisions(RateEDetector(margin=0.0, relative_margin=0.3), worse)


def test_columns_without_the_bin_are_not_watched():
    reference, window = planted_reference(seed=1), planted_windows(seed=2, windows=1)[0]
    found = RateEDetector(counted="wrong").judge(reference, window)
    assert {verdict.decision for verdict in found} == {Decision.OK}
    assert found[0].threshold_source == "nothing is watched: there is no bin 'wrong'"
    missing = window.copy()
    missing[0, 0, 12] += 300
    found = RateEDetector(counted="missing").judge(reference, missing)
    assert [verdict.decision.value for verdict in found[:2]] == ["drift", "ok"]


@pytest.mark.parametrize("parameters", [{"margin": -0.1}, {"z_reference": np.inf}, {"counted": ""}])
def test_parameters_that_cannot_be_meant_are_refused(parameters):
    with pytest.raises(UsageError, match=f"rate: {next(iter(parameters))}: "):
        RateEDetector(**parameters)


def test_the_upper_limit_is_that_of_clopper_and_pearson():
    known: FloatArray = np.array([0.0, 7.0, 100.0])
    found = RateLimit.of(known, np.full(3, 100.0), RateVariation.nothing(3), 2.0, 0.0, 0.0)
    expected = stats.beta.isf(stats.norm.sf(2.0), known[:2] + 1, 100.0 - known[:2])
    assert found.rate[:2] == pytest.approx(expected)
    assert found.rate[2] == 1.0


def test_what_is_rare_does_not_come_and_go():
    """Small windows without a single count do not end a fault; many of them do."""
    rng = np.random.default_rng(5)
    reference = planted_outcome_reference(seed=1)
    detector = RateEDetector(margin=0.002)
    pure = replace(
        reference,
        counts=moved_to_right(reference.counts),
        windows=moved_to_right(reference.windows),
    )
    state, decided = b"", []
    for at in range(240):
        wrong = rng.binomial(165, 0.008) if at < 200 else 0
        window = np.zeros_like(pure.counts)
        window[:, 0, :2] = (165 - wrong, wrong)
        moment = Moment(at * HOUR_MS, (at + 1) * HOUR_MS, np.full(window.shape[:2], 1e-3))
        found = detector.step(pure, window, state, moment)
        state = found.state
        decided.append(next(v.decision for v in found.verdicts if (v.column, v.segment) == ("outcome", "")))
    assert [at for at, one in enumerate(decided[:200]) if one is Decision.DRIFT] == [
        decided.index(Decision.DRIFT)
    ]
    assert decided.index(Decision.DRIFT) < 20
    assert set(decided[215:]) == {Decision.OK}


def moved_to_right(counts: IntArray) -> IntArray:
    """Counts of a model that is never wrong."""
    moved = np.zeros_like(counts)
    moved[..., 0] = counts.sum(axis=-1)
    return moved
