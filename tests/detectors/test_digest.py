"""The weekly digest: e-BH by its definition and its false discovery rate, and evidence of a week by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.digest import WEEK_MS, WeeklyEvidence, e_bh, week_of
from schemas.errors import UsageError

MONDAY_MS = 1_699_833_600_000
LOGS = st.floats(-20, 20) | st.sampled_from([-np.inf, 0.0, np.inf, np.log(10), np.log(20)])


def by_definition(log_evalues, level):
    """Try every k, the largest first."""
    streams = len(log_evalues)
    for k in range(streams, 0, -1):
        threshold = np.log(streams / level) - np.log(k)
        if np.count_nonzero(log_evalues >= threshold) >= k:
            return log_evalues >= threshold
    return np.zeros(streams, bool)


@given(st.lists(LOGS, max_size=30), st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_e_bh_is_what_its_definition_says(logs, level):
    evidence = np.array(logs, dtype=float)
    assert e_bh(evidence, level).tolist() == by_definition(evidence, level).tolist()


@given(st.lists(LOGS, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_e_bh_does_not_depend_on_the_order_of_streams(logs, order):
    places = list(range(len(logs)))
    order.shuffle(places)
    evidence = np.array(logs)
    assert e_bh(evidence)[places].tolist() == e_bh(evidence[places]).tolist()


def discoveries(correlation, strength, seed, factor=1.0, null=160, drifted=40, repeats=2_000):
    """Share of false ones among those chosen, and share of drifted ones that are found, in each repeat."""
    generator = np.random.default_rng(seed)
    streams = null + drifted
    common = generator.normal(size=(repeats, 1))
    z = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * generator.normal(size=(repeats, streams))
    z[:, null:] += strength
    logs = strength * z - strength**2 / 2 + np.log(factor)
    chosen = np.array([e_bh(row) for row in logs])
    false = chosen[:, :null].sum(axis=1) / np.maximum(chosen.sum(axis=1), 1)
    return false, chosen[:, null:].sum(axis=1) / max(drifted, 1)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("strength", [3.0, 4.0])
def test_false_discovery_rate_holds_under_dependence(correlation, strength):
    false, found = discoveries(correlation, strength, seed=int(10 * correlation + strength))
    assert false.mean() <= 0.1 + 3 * false.std() / np.sqrt(len(false))
    assert found.mean() > 0.1


def test_without_any_drift_hardly_a_week_lists_something():
    false, _ = discoveries(0.0, 4.0, seed=7, null=200, drifted=0)
    assert 0 < (false > 0).mean() <= 0.1


def test_the_level_is_reached_by_the_worst_evalues_and_not_exceeded():
    """At most one stream has evidence at a time, just enough to be chosen: as bad as null streams can be."""
    streams, repeats = 50, 4_000
    hit = np.random.default_rng(5).integers(
        0, 10 * streams, repeats
    )  # e = S/level for one of 10 S draws each
    listed = 0
    for place in hit:
        logs = np.full(streams, -np.inf)
        logs[place : place + 1] = np.log(10 * streams) + 1e-12
        listed += bool(e_bh(logs).any())
    assert 0.1 - 0.015 < listed / repeats < 0.1 + 0.015


def test_numbers_that_are_no_evalues_would_be_noticed():
    """The rate above is no accident of the simulation: evidence 50 times too large breaks it."""
    false, _ = discoveries(0.0, 2.0, seed=7, factor=50.0, repeats=300)
    assert false.mean() > 0.2


@pytest.mark.parametrize("level", [0.0, -0.1, 1.1, np.nan])
def test_levels_that_cannot_be_meant_are_refused(level):
    with pytest.raises(UsageError, match="level"):
        e_bh(np.zeros(3), level)


def test_evidence_that_is_not_a_number_is_refused():
    with pytest.raises(UsageError, match="not a number"):
        e_bh(np.array([0.0, np.nan]))


def test_weeks_begin_on_monday():
    assert week_of(MONDAY_MS) == MONDAY_MS
    assert week_of(MONDAY_MS + WEEK_MS - 1) == MONDAY_MS
    assert week_of(MONDAY_MS - 1) == MONDAY_MS - WEEK_MS
    assert week_of(0) == -3 * 86_400_000  # 1 January 1970 was a Thursday


HOUR_MS = 3_600_000


def week(windows, length_ms=HOUR_MS, first_ms=MONDAY_MS):
    """Take in windows ``[T, N]`` of logarithms of e-values, each with 10 rows."""
    logs = np.asarray(windows, float)
    one = WeeklyEvidence.new(logs.shape[1])
    for number, row in enumerate(logs):
        start_ms = first_ms + number * length_ms
        one.take(start_ms, start_ms + length_ms, row, np.full(len(row), 10), np.full(len(row), number / 100))
    return one


def over_all_courses(logs, change):
    """Likelihood ratio of every way in which drift can come and go, weighted by its probability."""
    total = 0.0
    for course in product((False, True), repeat=len(logs)):
        weight, before = 1.0, False
        for is_drifting, log in zip(course, logs, strict=True):
            weight *= change if is_drifting != before else 1 - change
            weight *= np.exp(log) if is_drifting else 1.0
            before = is_drifting
        total += weight
    return np.log(total)


@given(
    st.lists(st.floats(-20, 30), min_size=1, max_size=8), st.sampled_from([HOUR_MS, 12 * HOUR_MS, WEEK_MS])
)
def test_evidence_is_that_of_all_courses_a_drift_can_take(logs, length_ms):
    change = min(0.25, 3 * length_ms / WEEK_MS)
    if len({week_of(MONDAY_MS + i * length_ms) for i in range(len(logs))}) > 1:
        return
    found = week(np.array(logs)[:, None], length_ms).log_evalue
    assert found == pytest.approx([over_all_courses(logs, change)], abs=1e-9)


def test_the_expectation_is_one_whatever_the_stakes():
    """Every window wins e^2 or loses nearly all, fairly: over all outcomes of ten windows, exactly 1."""
    good, bad = np.exp(2.0), 0.1
    chance = (1 - bad) / (good - bad)
    outcomes = np.array(list(product((0, 1), repeat=10)))
    probabilities = np.prod(np.where(outcomes, chance, 1 - chance), axis=1)
    one = week(np.where(outcomes, 2.0, np.log(bad)).T)
    assert (probabilities * np.exp(one.log_evalue)).sum() == pytest.approx(1.0, abs=1e-12)


def test_calm_days_cost_next_to_nothing_and_a_drift_between_them_counts():
    calm, drift = np.full(80, -4.0), np.full(8, 4.0)
    found = week(np.concatenate([calm, drift, calm])[:, None]).log_evalue[0]
    assert 32 - 20 < found < 32
    assert -4 < week(np.full((168, 1), -40.0)).log_evalue[0] < 0


def test_windows_without_evidence_change_nothing():
    assert week(np.zeros((168, 2))).log_evalue.tolist() == [0.0, 0.0]
    assert week(np.full((1, 1), 60.0)).log_evalue == pytest.approx([60.0 + np.log(3 / 168)], abs=1e-6)


def test_a_new_week_begins_at_nothing_and_keeps_what_is_believed():
    first = week(np.full((168, 1), 3.0))
    both = week(np.full((169, 1), 3.0))
    assert (first.start_ms, first.windows, first.rows.tolist()) == (MONDAY_MS, 168, [1_680])
    assert (first.psi[0], first.psi_at_ms[0]) == (1.67, MONDAY_MS + 167 * HOUR_MS)
    assert (both.start_ms, both.first_ms, both.windows) == (MONDAY_MS + WEEK_MS, MONDAY_MS + WEEK_MS, 1)
    assert both.rows.tolist() == [10]
    stake = 3 / 168 + (1 - 6 / 168) * first.belief
    assert both.log_evalue == pytest.approx(np.log(1 + stake * (np.exp(3.0) - 1)))
    assert both.log_evalue > 2.9  # a drift that lasts is believed from the first hour on


def test_bytes_come_back():
    one = week(np.random.default_rng(3).normal(0, 3, (50, 4)))
    data = one.to_bytes()
    assert len(data) == WeeklyEvidence.size_of(4)
    again = WeeklyEvidence.from_bytes(data + b"more", 4)
    assert again.to_bytes() == data
    again.take(MONDAY_MS + 50 * HOUR_MS, MONDAY_MS + 51 * HOUR_MS, np.ones(4), np.ones(4, int), np.ones(4))
    assert again.windows == 51
