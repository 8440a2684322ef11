"""Watches of data quality cost no more false alarms than they are given, and find what can be found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import special, stats

from detectors.arrivals import LAG_BINS, Arrivals
from detectors.profile import profile_batch
from detectors.quality.catalog import watches
from detectors.quality.facts import Facts
from detectors.quality.levels import Levels
from detectors.quality.stuck import log_all_alike
from detectors.quality.volume import FACTORS, MARGIN, log_evalues
from detectors.reference import Reference, build
from detectors.sample import Sample
from schemas.batch import MISSING, Batch
from schemas.column import ColumnSpec, Kind
from schemas.verdict import Decision
from tests.detectors.quality_streams import (
    HOUR_MS,
    alarms_and_budget,
    binning_of,
    judged,
    learned,
    reference_of,
)

WINDOWS = 40  # of a reference


def within(alarms: int, spent: float) -> bool:
    """Whether so many alarms are no surprise where that many are expected at most."""
    return alarms <= stats.poisson.ppf(0.999, spent)


# --- how events arrive -------------------------------------------------------------------------------------


def arriving(rng: np.random.Generator, spread: float) -> Arrivals:
    """An hour whose rates vary from hour to hour, by `spread` on the log scale."""
    wander = np.exp(rng.normal(0, spread, 2))
    found = Arrivals()
    found.told = int(rng.poisson(2_000))
    found.repeated = int(rng.binomial(found.told, 0.01 * wander[0]))
    found.behind = int(rng.binomial(found.told, 0.02 * wander[1]))
    shares = stats.norm.pdf(np.arange(LAG_BINS), 24 + rng.normal(0, spread), 1.5)
    found.lags = rng.multinomial(found.told, shares / shares.sum())
    return found


def of_arrivals(rng: np.random.Generator, spread: float) -> Reference:
    known = [arriving(rng, spread) for _ in range(WINDOWS)]
    binning = binning_of(1)
    counts = np.zeros((WINDOWS, 1, int(binning.offsets[-1])), np.int64)
    counts[:, 0, 0] = [each.told for each in known]
    numbers = np.array([[each.told, each.repeated, each.behind] for each in known], np.int64)
    return reference_of(binning, counts, learned(numbers, np.stack([each.lags for each in known])))


def hours(reference: Reference, rng: np.random.Generator, spread: float, windows: int) -> Iterator[Facts]:
    nothing = Facts.nothing(reference.binning)
    for _ in range(windows):
        yield Facts(nothing.counts, nothing.lowest, nothing.highest, arrivals=arriving(rng, spread))


@pytest.mark.parametrize("name", ["duplicates", "order", "skew"])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_arrivals_that_only_wander_stay_within_the_budget(name: str, spread: float) -> None:
    rng, alarms, spent = np.random.default_rng(11), 0, 0.0
    for _ in range(8):
        reference = of_arrivals(rng, spread)
        found = alarms_and_budget(watches()[name], reference, hours(reference, rng, spread, 80), 2e-2)
        alarms, spent = alarms + found[0], spent + found[1]
    assert spent > 8
    assert within(alarms, spent)


@pytest.mark.parametrize(("name", "at"), [("duplicates", 1), ("order", 2)])
def test_a_rise_is_an_alarm_as_soon_as_the_binomial_distribution_says_so(name: str, at: int) -> None:
    """Rates that do not vary: an alarm of a window alone at P(X ≥ x) < ¾b, with c of Clopper and Pearson."""
    numbers = np.tile(np.array([[10_000, 100, 100]], np.int64), (WINDOWS, 1))
    binning = binning_of(1)
    counts = np.zeros((WINDOWS, 1, int(binning.offsets[-1])), np.int64)
    counts[:, 0, 0] = 10_000
    reference = reference_of(binning, counts, learned(numbers, np.zeros((WINDOWS, LAG_BINS), np.int64)))
    rows, hits, known = 2_000, 100 * WINDOWS, 10_000 * WINDOWS
    others = known if name == "duplicates" else known - hits
    upper = float(special.betainccinv(hits + 1, others, special.ndtr(-4.0)))
    c = upper + max(0.002, 0.1 * upper)
    total = stats.binom(rows, c)
    most = int(total.isf(0.75e-4)) + 1  # the first count with P(X ≥ x) < ¾b
    while total.sf(most - 1) >= 0.75e-4:
        most += 1
    decided = []
    for x in (most - 1, most):
        arrivals = Arrivals()
        arrivals.told, arrivals.repeated = (rows - x, x) if at == 1 else (rows, 0)
        arrivals.behind = x if at == 2 else 0
        facts = Facts(counts[0], np.zeros(1), np.zeros(1), arrivals=arrivals)
        [[verdict]] = judged(watches()[name], reference, [facts], 1e-4)
        decided.append(verdict.decision)
    assert decided == [Decision.OK, Decision.DRIFT]


# --- rows --------------------------------------------------------------------------------------------------


def volumes(rng: np.random.Generator, level: float, phi: float, windows: int, groups: int) -> np.ndarray:
    """Rows of windows of many groups, negative binomial, on bins of one column."""
    shape = (windows, groups)
    means = rng.gamma(1 / phi, level * phi, shape) if phi else np.full(shape, level)
    counts = np.zeros((*shape, int(binning_of(1, groups=groups).offsets[-1])), np.int64)
    counts[:, :, 0] = rng.poisson(means)
    return counts


def of_volumes(counts: np.ndarray) -> Iterator[Facts]:
    for window in counts:
        yield Facts(window, np.zeros(1), np.zeros(1))


@pytest.mark.parametrize(
    ("level", "phi"),
    [(20, 0.0), (1_000, 0.0), (1_000, 0.0025), (1_000, 0.04), (50_000, 0.01), (200, 0.25), (500, 0.3)],
)
def test_rows_that_only_vary_stay_within_the_budget(level: int, phi: float) -> None:
    rng, groups = np.random.default_rng(5), 200
    reference = reference_of(binning_of(1, groups=groups), volumes(rng, level, phi, WINDOWS, groups))
    after = of_volumes(volumes(rng, level, phi, 200, groups))
    alarms, spent = alarms_and_budget(watches()["volume"], reference, after, 1e-3)
    assert spent > 20
    assert within(alarms, spent)


def test_rows_by_the_hour_are_compared_with_their_hour() -> None:
    rng, groups = np.random.default_rng(6), 60
    day = 1_000 + 800 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    counts = np.concatenate([volumes(rng, level, 0.01, 1, groups) for level in np.tile(day, 14)])
    reference = reference_of(binning_of(1, groups=groups), counts[: 7 * 24])
    assert Levels.learn(reference).slotting.name == "hour of day"
    alarms, spent = alarms_and_budget(watches()["volume"], reference, of_volumes(counts[7 * 24 :]), 1e-3)
    assert spent > 5
    assert within(alarms, spent)


def test_evidence_of_rows_is_the_likelihood_ratio_divided_by_its_largest_expectation() -> None:
    level, phi, x = 120.0, 0.03, np.array([40, 90, 119, 180, 400])
    found = log_evalues(x, np.full(5, level), np.full(5, phi))
    every = np.arange(20_000)
    for i, factor in enumerate(FACTORS):
        of_mean = {mean: stats.nbinom(1 / phi, 1 / (1 + phi * mean)) for mean in (level, factor * level)}
        ratio = of_mean[factor * level].logpmf(every) - of_mean[level].logpmf(every)
        edge = level * (1 + MARGIN + phi / 3 if factor > 1 else 1 - MARGIN)
        at_edge = stats.nbinom(1 / phi, 1 / (1 + phi * edge)).logpmf(every)
        expected = ratio[x] - special.logsumexp(ratio + at_edge)
        assert found[i] == pytest.approx(expected, abs=1e-6)
        for share in (
            0.95,
            1.0,
            1.05,
            1.06 if factor > 1 else 1.5,
        ):  # an e-value wherever the level is within the margin
            truth = stats.nbinom(1 / phi, 1 / (1 + phi * level * share)).logpmf(every)
            evalues = log_evalues(every, np.full(len(every), level), np.full(len(every), phi))[i]
            assert special.logsumexp(evalues + truth) <= 1e-9


@pytest.mark.parametrize(("factor", "windows"), [(0.3, 1), (0.5, 1), (2.0, 1), (0.7, 3), (1.5, 3)])
def test_too_few_and_too_many_rows_are_found(factor: float, windows: int) -> None:
    rng = np.random.default_rng(7)
    reference = reference_of(binning_of(1, groups=20), volumes(rng, 1_000, 0.0025, WINDOWS, 20))
    after = of_volumes(volumes(rng, 1_000 * factor, 0.0025, 6, 20))
    delays: dict[str, int] = {}
    for at, verdicts in enumerate(judged(watches()["volume"], reference, after, 1e-5)):
        for verdict in verdicts:
            if verdict.decision is Decision.DRIFT:
                delays.setdefault(verdict.segment, at + 1)
    assert len(delays) >= 16  # the level follows, so that what is not found soon is not found at all
    assert np.median(list(delays.values())) <= windows


def test_a_level_follows_slowly_and_stands_still_during_an_incident() -> None:
    steady = np.zeros((WINDOWS, 1, int(binning_of(1).offsets[-1])), np.int64)
    steady[:, :, 0] = 1_000 + np.arange(WINDOWS)[:, None] % 7
    reference = reference_of(binning_of(1), steady)
    halved, usual = steady[:12] // 2, steady[:12]
    decided = [
        verdicts[0].decision.value
        for verdicts in judged(
            watches()["volume"], reference, of_volumes(np.concatenate([halved, usual])), 1e-4
        )
    ]
    assert decided == ["drift", *["ongoing"] * 11, *["ok"] * 12]


def test_a_window_without_rows_is_left_to_those_who_watch_for_silence() -> None:
    steady = np.zeros((WINDOWS, 1, int(binning_of(1).offsets[-1])), np.int64)
    steady[:, :, 0] = 1_000
    reference = reference_of(binning_of(1), steady)
    after = of_volumes(np.zeros_like(steady[:3]))
    decided = [v[0].decision.value for v in judged(watches()["volume"], reference, after, 1e-4)]
    assert decided == ["no_data"] * 3


def test_the_last_window_of_a_table_that_is_cut_off_has_not_too_few_rows() -> None:
    steady = np.zeros((WINDOWS, 1, int(binning_of(1).offsets[-1])), np.int64)
    steady[:, :, 0] = 1_000
    reference = reference_of(binning_of(1), steady)
    cut = Facts(steady[0] // 10, np.zeros(1), np.zeros(1), is_whole=False)
    assert [v[0].decision for v in judged(watches()["volume"], reference, [cut], 1e-4)] == [Decision.NO_DATA]


# --- one window alone --------------------------------------------------------------------------------------


def classes(
    rng: np.random.Generator, shares: np.ndarray, rows: int, windows: int, columns: int
) -> np.ndarray:
    """Counts of columns with the same shares; the last two of four further bins are missing and invalid."""
    counts = np.zeros((windows, 1, columns, len(shares) + 4), np.int64)
    counts[..., : len(shares)] = rng.multinomial(rows, shares, (windows, 1, columns))
    return counts.reshape(windows, 1, -1)


@pytest.mark.parametrize(("share", "rows"), [(0.5, 5), (0.8, 25), (0.95, 100)])
def test_columns_are_stuck_by_chance_no_more_often_than_allowed(share: float, rows: int) -> None:
    rng, columns = np.random.default_rng(3), 150
    shares = np.array([share, 1 - share])
    reference = reference_of(binning_of(columns), classes(rng, shares, 500, WINDOWS, columns))
    after = classes(rng, shares, rows, 60, columns)
    nothing = np.zeros(columns)
    facts = (Facts(window, nothing, nothing) for window in after)
    budget = 1.5 * float((shares**rows).sum())  # so that all rows alike may be an alarm
    alarms, spent = alarms_and_budget(watches()["stuck"], reference, facts, budget)
    assert spent > 3
    assert within(alarms, spent)


def test_rows_that_resemble_each_other_in_windows_are_not_stuck() -> None:
    rng = np.random.default_rng(4)
    counts = np.zeros((WINDOWS, 1, 6), np.int64)
    counts[np.arange(WINDOWS), 0, rng.integers(0, 2, WINDOWS)] = 100  # as the hour of the day in each hour
    reference = reference_of(binning_of(1), counts)
    facts = (Facts(window, np.zeros(1), np.zeros(1)) for window in counts)
    assert alarms_and_budget(watches()["stuck"], reference, facts, 0.01)[0] == 0


def test_the_probability_of_all_alike_is_that_of_the_beta_binomial_distribution() -> None:
    p, n = np.array([0.7, 0.3]), 40
    assert log_all_alike(p, 0.0, n) == pytest.approx(np.log(0.7**n + 0.3**n))
    rho = 0.02
    a = (1 - rho) / rho
    expected = sum(stats.betabinom(n, a * each, a * (1 - each)).pmf(n) for each in p)
    assert log_all_alike(p, rho, n) == pytest.approx(np.log(expected))


def test_columns_vanish_by_chance_no_more_often_than_allowed_and_by_the_binomial_probability() -> None:
    rng, columns = np.random.default_rng(8), 300
    shares = np.array([0.995, 0.0, 0.0, 0.0, 0.005, 0.0])  # the last two are missing and invalid

    def windows(rows: int, number: int) -> np.ndarray:
        found = rng.multinomial(rows, shares, (number, 1, columns))
        return found.reshape(number, 1, -1)

    reference = reference_of(binning_of(columns), windows(400, WINDOWS))
    nothing = np.zeros(columns)
    facts = [Facts(window, nothing, nothing) for window in windows(1, 200)]
    alarms, spent = alarms_and_budget(watches()["schema"], reference, iter(facts), 0.02)
    assert spent > 20
    assert within(alarms, spent)
    assert alarms > 0  # with one row and a rate near the limit, the budget is used
    gone = np.zeros_like(facts[0].counts).reshape(1, columns, 6)
    gone[..., 4] = 40
    [verdicts] = judged(watches()["schema"], reference, [Facts(gone.reshape(1, -1), nothing, nothing)], 1e-4)
    hits, rows = int(reference.counts[0, 4]), 400 * WINDOWS
    upper = float(special.betainccinv(hits + 1, rows - hits, special.ndtr(-4.0)))
    c = upper + max(0.002, 0.1 * upper)
    assert verdicts[0].statistic <= np.log(1e-4) - 40 * np.log(c) + 1e-9
    assert verdicts[0].decision is Decision.DRIFT


# --- sampled rows ------------------------------------------------------------------------------------------


def sampled(rng: np.random.Generator, rows: int, columns: int, missing: float) -> Sample:
    numbers = rng.normal(50, 10, (columns, rows)).round(2)
    status = np.where(rng.random((columns, rows)) < missing, MISSING, 0).astype(np.uint8)
    sample = Sample(rows)
    sample.add(
        Batch(
            np.zeros(rows, np.int64),
            tuple(ColumnSpec(f"x{i}", Kind.NUMERIC) for i in range(columns)),
            np.where(status == 0, numbers, 0.0),
            status,
            keys=rng.integers(0, 2**64, rows, np.uint64),
        )
    )
    return sample


@pytest.mark.parametrize("name", ["completeness", "precision"])
def test_sampled_rows_that_are_as_ever_stay_within_the_budget(name: str) -> None:
    rng, columns, alarms, spent = np.random.default_rng(9), 5, 0, 0.0
    for _ in range(4):
        samples = {start: sampled(rng, 300, columns, 0.004) for start in range(0, WINDOWS * HOUR_MS, HOUR_MS)}
        slices = {
            start: profile_batch(sample.batch, HOUR_MS, sample_rows=300)[0]
            for start, sample in samples.items()
            if sample.batch is not None
        }
        reference = build(slices, slice_ms=HOUR_MS, window_ms=HOUR_MS)
        nothing = Facts.nothing(reference.binning)
        counts = nothing.counts.copy()
        counts[0, reference.binning.offsets[:-1]] = 300
        facts = (
            Facts(counts, nothing.lowest, nothing.highest, sample=sampled(rng, 300, columns, 0.004))
            for _ in range(100)
        )
        found = alarms_and_budget(watches()[name], reference, facts, 5e-3)
        alarms, spent = alarms + found[0], spent + found[1]
    assert spent > 1.5
    assert within(alarms, spent)
