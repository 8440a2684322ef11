"""The weekly digest: e-BH by its definition and its false discovery rate, and evidence of a week by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from detectors.digest import MOST_WINDOWS, WEEK_MS, WeeklyEvidence, e_bh, week_of
from detectors.tilts import TILTS, axis_directions, log_evalues, smoothed, tilt_weights
from schemas.errors import ProfileError, UsageError

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


WEIGHTS = np.array([[0.4, 0.5, 1.0], [0.3, 0.0, 0.0], [0.3, 0.25, 0.0], [0.0, 0.25, 0.0]]) / TILTS


def windows(count, seed=3, scale=2.0):
    return np.random.default_rng(seed).normal(0, scale, (count, TILTS, *WEIGHTS.shape))


def week(evidence, weights=WEIGHTS):
    one = WeeklyEvidence(MONDAY_MS, weights)
    for i, logs in enumerate(evidence):
        one.add(MONDAY_MS + i * 3_600_000, logs)
    return one


def test_products_are_mixed_over_tilts():
    evidence = windows(168)
    found = week(evidence).log_evalues()
    exact = special.logsumexp(evidence.sum(axis=0), b=WEIGHTS, axis=(0, 1))
    assert np.all(found <= exact + 1e-9)  # rounded down, never up
    assert found == pytest.approx(exact, abs=168 / 1024)


@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.randoms(use_true_random=False))
def test_any_order_and_any_parts_give_the_same_bytes(owners, order):
    evidence = list(windows(12, scale=60.0))
    parts = [WeeklyEvidence(MONDAY_MS, WEIGHTS) for _ in range(4)]
    places = list(range(12))
    order.shuffle(places)
    for i in places:
        parts[owners[i]].add(MONDAY_MS + i * 3_600_000, evidence[i])
    order.shuffle(parts)
    first = WeeklyEvidence.from_bytes(parts[0].to_bytes(), WEIGHTS)
    first.merge(*parts[1:])
    assert first.windows == 12
    assert first.to_bytes() == week(evidence).to_bytes()
    assert first.log_evalues().tolist() == week(evidence).log_evalues().tolist()


def test_huge_evidence_stays_finite_for_a_week_of_minutes():
    one = week([np.full((TILTS, *WEIGHTS.shape), 1e9)])
    for _ in range(13):
        one.merge(one)
    assert one.log_evalues() == pytest.approx(200.0 * 8192)
    with pytest.raises(UsageError, match=str(MOST_WINDOWS)):
        one.merge(one)


def test_impossible_evidence_counts_as_much_against_as_for():
    rows = np.full((TILTS, *WEIGHTS.shape), -np.inf)
    assert week([rows, -rows]).log_evalues() == pytest.approx(0.0)
    assert week([]).log_evalues() == pytest.approx(0.0)


def test_only_the_drifted_column_is_listed_and_its_week_costs_little_memory():
    generator = np.random.default_rng(11)
    streams, bins, hours, rows = 40, 8, 48, 300
    valid = np.ones((bins, streams), bool)
    p = smoothed(np.full((streams, bins), 5_000.0), valid.T).T
    axis = axis_directions(p, valid)
    weights = tilt_weights(valid, axis)
    moved = p.T.copy()
    moved[7, 0], moved[7, -1] = 0.05, 0.2
    epsilon, dispersion = np.full(weights.shape, 0.03), np.ones(weights.shape)
    one = WeeklyEvidence(MONDAY_MS, weights)
    for hour in range(hours):
        x = generator.multinomial(rows, moved).T.astype(float)
        one.add(MONDAY_MS + hour * 3_600_000, log_evalues(x, p, axis, epsilon, dispersion))
    assert np.flatnonzero(one.drifted()).tolist() == [7]
    assert one.size_bytes == 48 * streams * (3 + bins)


def test_other_weeks_shapes_and_streams_are_refused():
    one = week(windows(2))
    with pytest.raises(UsageError, match="in the week of"):
        one.add(MONDAY_MS + WEEK_MS, windows(1)[0])
    with pytest.raises(UsageError, match="shape"):
        one.add(MONDAY_MS, np.zeros((TILTS, 3, 3)))
    with pytest.raises(UsageError, match="start of a week"):
        WeeklyEvidence(MONDAY_MS + 1, WEIGHTS)
    with pytest.raises(ProfileError, match="another week"):
        one.merge(WeeklyEvidence(MONDAY_MS + WEEK_MS, WEIGHTS))
    with pytest.raises(ProfileError, match="other streams"):
        one.merge(WeeklyEvidence(MONDAY_MS, WEIGHTS[:, ::-1]))
    with pytest.raises(ProfileError, match="other streams"):
        WeeklyEvidence.from_bytes(one.to_bytes(), WEIGHTS[:, ::-1])


@pytest.mark.parametrize("damage", [b"", b"DLW1", b"DLX1" + bytes(20)])
def test_damaged_bytes_are_refused(damage):
    with pytest.raises(ProfileError):
        WeeklyEvidence.from_bytes(damage, WEIGHTS)
    whole = week(windows(2)).to_bytes()
    for at in range(4, len(whole), 97):
        broken = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
        with pytest.raises(ProfileError):
            WeeklyEvidence.from_bytes(broken, WEIGHTS)
