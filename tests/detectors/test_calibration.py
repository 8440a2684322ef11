"""What is learned of a reference's windows: seasons, variation, and which streams keep to neither."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.base import Moment
from detectors.calibration import (
    DAY_MS,
    HOUR_MS,
    SLOTTINGS,
    Calibration,
    between_windows,
    calibrate,
    distance,
    overall_dispersion,
    rank_evalues,
    relative_distance,
)
from detectors.edetector import EDetector
from detectors.tensor import FloatArray, IntArray, ReferenceCounts
from schemas.verdict import Decision
from tests.benchmarks.bench_edetector import BINS, autoregressive, noisy_streams, normal_shares
from tests.detectors.layouts import numeric_layout

MONDAY_MS = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1e3)
DAYS, KNOWN, COLUMNS, ROWS = 120, 42, 6, 2_000
BY_NAME = {slotting.name: slotting for slotting in SLOTTINGS}


def reference_of(windows: IntArray, length_ms: int = DAY_MS, start_ms: int = MONDAY_MS) -> ReferenceCounts:
    """A reference of windows ``[W, S, C, K]``, one after the other."""
    segments = ("", *(f"place={number}" for number in range(1, windows.shape[1])))
    starts_ms = start_ms + length_ms * np.arange(len(windows))
    layout = numeric_layout(windows.shape[3], columns=windows.shape[2])
    sd = np.ones(windows.shape[2])
    return ReferenceCounts(layout, segments, windows.sum(axis=0), windows, sd, starts_ms, length_ms)


def daily_levels(kind: str, generator: np.random.Generator) -> FloatArray:
    """Mean of each column on each day, in its standard deviations."""
    if kind == "week":
        return 0.4 * np.sin(2 * np.pi * (np.arange(DAYS)[:, None] % 7) / 7 + np.arange(COLUMNS))
    if kind == "ar":
        return autoregressive(generator, DAYS, COLUMNS, 0.08 / np.sqrt(1 - 0.7**2), 0.7)
    return np.zeros((DAYS, COLUMNS))


def background(kind: str, seed: int) -> tuple[ReferenceCounts, IntArray]:
    """42 days of reference and 78 more days."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(ROWS, normal_shares(daily_levels(kind, generator)))[:, None]
    return reference_of(counts[:KNOWN]), counts[KNOWN:]


def alarms(reference: ReferenceCounts, days: IntArray, budget: float) -> int:
    """Alarms of the days after the reference."""
    detector, state, found = EDetector(), b"", 0
    for number, window in enumerate(days, len(reference.windows)):
        start_ms = MONDAY_MS + number * DAY_MS
        moment = Moment(start_ms, start_ms + DAY_MS, np.full(window.shape[:2], budget))
        verdicts, state = detector.step(reference, window, state, moment)
        found += sum(verdict.decision is Decision.DRIFT for verdict in verdicts)
    return found


def location_dispersion(calibration: Calibration) -> FloatArray:
    return calibration.variation.dispersion(np.full(COLUMNS, float(ROWS)))[:, 0]


@pytest.mark.parametrize(("kind", "slots"), [("iid", "always"), ("week", "day of week"), ("ar", "always")])
def test_backgrounds_get_the_slots_that_they_have(kind, slots):
    names = [name for seed in range(4) for name in calibrate(background(kind, seed)[0]).slot_names]
    assert names.count(slots) >= len(names) - 1


def test_dispersion_is_one_without_noise_and_that_of_the_noise_with_it():
    for kind in ("iid", "week"):
        found = [location_dispersion(calibrate(background(kind, seed)[0])) for seed in range(4)]
        assert np.median(found) < 1.3
    found = [location_dispersion(calibrate(background("ar", seed)[0])) for seed in range(8)]
    true = 1 + ROWS * 0.08**2 / (1 - 0.7**2) * (1 + 0.7) / (1 - 0.7)
    assert 0.6 < np.median(found) / true < 1.6


@pytest.mark.parametrize("kind", ["iid", "week", "ar"])
def test_backgrounds_keep_their_budget(kind):
    budget, streams = 1e-2, COLUMNS * (DAYS - KNOWN)
    total = sum(alarms(*background(kind, seed), budget) for seed in range(3))
    assert total <= 1.2 * budget * streams * 3


def test_what_was_learned_is_what_keeps_the_budget():
    for kind in ("week", "ar"):
        reference, days = background(kind, seed=1)
        untaught = replace(reference, windows=reference.windows[:0], starts_ms=reference.starts_ms[:0])
        assert alarms(untaught, days, 1e-4) > 20 * 1e-4 * COLUMNS * len(days)


@pytest.mark.parametrize("rho", [0.0, 0.7, 0.9])
def test_estimated_references_and_noise_keep_the_budget(rho):
    generator = np.random.default_rng(3)
    count, windows, budget = 200, 60, 5e-3
    levels = autoregressive(generator, 40 + windows, count, 0.1, rho)
    streams, counts = noisy_streams(generator, levels, rows=250, windows=40, columns=4)
    found = sum(int(streams.step(x, budget).sum()) for x in counts[40:])
    assert found <= 1.2 * budget * count * windows
    if rho < 0.9:
        return
    streams.dispersion[:] = 1.0  # and without what was learned it is not kept
    streams.epsilon[:] = 0.1 + 4 / np.sqrt(250 * 40)
    streams.ledger.mass[:] = 0
    found = sum(int(streams.step(x, budget).sum()) for x in counts[40:])
    assert found > 1.2 * budget * count * windows


def test_slots_of_known_instants():
    sunday = MONDAY_MS + 6 * DAY_MS + 23 * HOUR_MS
    instants = np.array([MONDAY_MS, MONDAY_MS + DAY_MS, sunday])
    assert BY_NAME["day of week"].of(instants).tolist() == [0, 1, 6]
    assert BY_NAME["hour of day"].of(instants + 5).tolist() == [0, 0, 23]
    assert BY_NAME["hour of week"].of(instants).tolist() == [0, 24, 167]


def hourly(hours: int, seed: int, level: FloatArray) -> IntArray:
    return np.random.default_rng(seed).multinomial(500, normal_shares(level))[:hours, None]


def test_a_week_seen_once_makes_no_weekdays():
    # 24 windows lie on each weekday, but they are one Monday, one Tuesday, …
    times = np.arange(240)
    level = 0.5 * np.sin(times // 24)[:, None] * np.ones((1, 2))
    names = calibrate(reference_of(hourly(240, 1, level), HOUR_MS)).slot_names
    assert not {"day of week", "hour of week"} & set(names)


def test_the_hour_of_the_day_is_found_in_hourly_windows():
    level = 0.5 * np.sin(2 * np.pi * np.arange(240) / 24)[:, None] * np.ones((1, 2))
    calibration = calibrate(reference_of(hourly(240, 2, level), HOUR_MS))
    assert calibration.slot_names == ("hour of day",) * 2
    shares, counts = calibration.at(MONDAY_MS + 300 * HOUR_MS + 7)
    true = normal_shares(np.array(0.5 * np.sin(2 * np.pi * 12 / 24)))
    assert shares[0] == pytest.approx(true, abs=0.012)
    assert counts.sum(axis=1) == pytest.approx(10 * 500, rel=0.3)


def test_days_that_never_occur_do_not_hinder_the_others():
    reference, _ = background("week", seed=1)
    weekdays = np.arange(KNOWN) % 7 < 5
    windows = reference.windows[weekdays]
    kept = replace(
        reference, windows=windows, counts=windows.sum(axis=0), starts_ms=reference.starts_ms[weekdays]
    )
    calibration = calibrate(kept)
    assert calibration.slot_names == ("day of week",) * COLUMNS
    shares, _ = calibration.at(MONDAY_MS + 5 * DAY_MS)  # a Saturday is compared with all days
    assert shares == pytest.approx((kept.counts[0] + 0.5) / (kept.counts[0] + 0.5).sum(axis=1)[:, None])
    assert shares.sum(axis=1) == pytest.approx(1)


def test_slots_that_hardly_differ_are_drawn_together():
    level = 0.5 * np.sin(2 * np.pi * np.arange(240) / 24)[:, None] * np.array([[1.0, 0.12]])
    calibration = calibrate(reference_of(hourly(240, 3, level), HOUR_MS))
    at = np.stack([calibration.at(MONDAY_MS + hour * HOUR_MS)[0] for hour in range(24)])
    true = normal_shares(level[:24])
    far, near = ((at - true) ** 2 / true).sum(axis=(0, 2))
    alone = 24 * (BINS - 1) / (10 * 500)
    assert near < 0.7 * alone
    assert far < 1.3 * alone


def test_between_is_nothing_for_counts_that_vary_by_chance_alone():
    generator = np.random.default_rng(4)
    n = np.full((40, 500), 300.0)
    between, enough = between_windows(generator.normal(0, 1 / np.sqrt(300), (40, 500, 1)), n)
    assert enough.all()
    assert (between == 0).mean() > 0.88
    assert np.quantile(1 + 300 * between, 0.99) < 4


@pytest.mark.parametrize(
    ("windows", "rho"), [(40, 0.0), (100, 0.0), (40, 0.7), (100, 0.7), (40, 0.9), (100, 0.9)]
)
def test_between_is_the_long_run_variance_of_the_noise(windows, rho):
    generator = np.random.default_rng(5)
    levels = autoregressive(generator, windows, 400, 0.1, rho)
    means = levels + generator.normal(0, 1 / np.sqrt(250), levels.shape)
    means -= means.mean(axis=0)
    between, _ = between_windows(means[..., None], np.full(levels.shape, 250.0))
    ratio = between[:, 0] / (0.01 * (1 + rho) / (1 - rho))
    assert 0.8 < np.median(ratio) < 2.2
    assert np.quantile(ratio, 0.1) > (0.05 if rho == 0.9 else 0.2)


def test_windows_without_rows_teach_nothing():
    generator = np.random.default_rng(6)
    means = generator.normal(0, 0.2, (30, 1, 3))
    n = np.full((30, 1), 400.0)
    gaps = np.insert(means, [30], np.zeros((7, 1, 3)), axis=0)
    with_gaps, enough = between_windows(gaps, np.vstack([n, np.zeros((7, 1))]))
    assert enough.all()
    assert with_gaps == pytest.approx(between_windows(means, n)[0])
    for count, expected in ((3, False), (4, True)):
        few = np.vstack([n[:count], np.zeros((9, 1))])
        found, enough = between_windows(np.zeros((count + 9, 1, 3)), few)
        assert enough.tolist() == [expected]
        assert not found.any()


def test_each_slot_costs_a_degree_of_freedom():
    generator = np.random.default_rng(7)
    level = generator.normal(0, 0.1, (28, 300))
    days = np.arange(28) % 7
    for day in range(7):
        level[days == day] -= level[days == day].mean(axis=0)
    n = np.full(level.shape, 1e6)
    between, _ = between_windows(level[..., None], n, slots=7)
    assert 1.0 < np.median(between) / 0.01 < 2.5
    assert not between_windows(level[:8, :, None], n[:8], slots=7)[1].any()


def test_segments_without_windows_vary_like_all_rows():
    generator = np.random.default_rng(8)
    levels = generator.normal(0, 0.2, (40, 2))
    windows = np.zeros((40, 2, 2, BINS), dtype=np.int64)
    windows[:, 0] = generator.multinomial(1_000, normal_shares(levels))
    windows[:2, 1] = windows[:2, 0] // 3
    between = calibrate(reference_of(windows)).variation.between.reshape(2, 2, -1)
    assert (between[0, :, 0] > 0.02).all()
    assert between[1] == pytest.approx(between[0], rel=0.1)


def test_the_reference_can_be_as_wrong_as_its_own_windows_let_it_be():
    reference, _ = background("ar", seed=1)
    variation = calibrate(reference).variation
    rows = np.full(COLUMNS, float(KNOWN * ROWS))
    radius = variation.radius(rows, np.full(COLUMNS, 0.1), 4.0)
    error = np.sqrt(1 / rows[:, None] + variation.between / KNOWN)  # whatever the size of a judged window
    assert radius == pytest.approx(0.1 + 4 * error)


def test_a_stream_that_breaks_its_own_rules_is_judged_by_ranks():
    generator = np.random.default_rng(9)
    levels = np.zeros((60, 2))
    levels[40:, 1] = np.where(np.arange(20) % 2, 2.0, -2.0)  # calm, then wild
    windows = generator.multinomial(1_000, normal_shares(levels))[:, None]
    reference = reference_of(windows)
    assert calibrate(reference).is_calibrated.tolist() == [True, False]
    window = generator.multinomial(1_000, normal_shares(np.array([0.0, 2.0])))[None]
    moment = Moment(MONDAY_MS, MONDAY_MS + DAY_MS, np.full((1, 2), 1e-4))
    calm, wild = EDetector().step(reference, window, b"", moment).verdicts
    assert calm.threshold_source == "false-alarm budget; reference by always"
    assert wild.threshold_source == (
        "false-alarm budget; uncalibrated: ranks among the reference's windows by always"
    )
    p = (windows.sum(axis=0)[0, 1] + 0.5) / (windows.sum(axis=0)[0, 1] + 0.5).sum()
    known = distance(windows[:, 0, 1].astype(float), p)
    above = int((known >= distance(window[0, 1].astype(float), p)).sum())
    lasting = calibrate(reference).lasting[1]
    assert lasting > 1.5  # the wild windows come in a row
    expected = np.log(1e-4) + (np.log(0.5) - 0.5 * np.log((1 + above) / 61)) / lasting
    assert wild.evidence_log == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("windows", [1, 12, 60, 1_000])
def test_rank_evalues_expect_at_most_one_of_exchangeable_windows(windows):
    known = np.arange(1.0, windows + 1)[:, None]
    places = np.arange(windows + 1) + 0.5  # every rank is equally likely
    evalues = np.exp(rank_evalues(places, np.repeat(known, windows + 1, axis=1)))
    assert 0.5 < evalues.mean() <= 1


def test_ranks_count_windows_with_rows_only():
    known = np.array([[1.0], [2.0], [np.inf], [np.inf]])
    assert rank_evalues(np.array([1.5]), known) == pytest.approx(np.log(0.5) - 0.5 * np.log(2 / 3))
    assert rank_evalues(np.array([9.0]), known[2:]) == pytest.approx(np.log(0.5))


def test_overall_dispersion_is_that_of_the_distance():
    generator = np.random.default_rng(10)
    p = np.array([[0.5, 0.3, 0.2, 0.0]])
    q = generator.dirichlet(200 * p[0, :3], 20_000)
    x = np.pad(generator.multinomial(400, q), ((0, 0), (0, 1))).astype(float)
    ratio = distance(x, p).mean() / (2 / 400)
    each = np.append(np.ones(3), (x / 400).var(axis=0)[:3] * 400 / (p * (1 - p))[0, :3])
    found = overall_dispersion(p, np.append(each, 1.0)[None])
    assert found[0] == pytest.approx(ratio, rel=0.02)
    assert overall_dispersion(np.array([[1.0, 0.0]]), np.full((1, 5), 7.0)).tolist() == [1.0]


@pytest.mark.parametrize("rows", [1_000, 300, 100])
def test_ranks_keep_the_budget_whatever_the_size_of_windows(rows):
    """Windows of fewer rows than the reference's lie farther off by chance alone."""
    generator = np.random.default_rng(11)
    p = np.array([0.4, 0.3, 0.2, 0.1])

    def drawn(count: int, n: int) -> np.ndarray:
        return generator.multinomial(n, generator.dirichlet(400 * p, count)).astype(np.float64)

    known = drawn(60, 1_000)
    chance = 3 / 1_000
    excess = np.array([max(0.0, float((distance(known, p) - chance).mean()))])
    relative = relative_distance(known[:, None], p[None], excess)
    windows = drawn(4_000, rows)
    evidence = np.concatenate(
        [
            rank_evalues(relative_distance(x[None], p[None], excess), np.sort(relative, axis=0))
            for x in windows
        ]
    )
    assert np.exp(evidence).mean() < 1.15
    assert np.exp(evidence).max() > 2


def test_noise_that_stays_for_days_is_seen_in_batches_of_hours():
    generator = np.random.default_rng(3)
    hours, n = 21 * 24, 5_000.0
    levels = np.repeat(generator.normal(0, 0.1, (hours // 72, 40)), 72, axis=0)
    means = levels + generator.normal(0, n**-0.5, levels.shape)
    between, enough = between_windows(means[:, :, None], np.full(levels.shape, n))
    assert enough.all()
    # 72 hours at one level of variance 0.01; the first autocorrelation alone gives 0.22 at most.
    assert 0.3 < np.median(between) < 2
