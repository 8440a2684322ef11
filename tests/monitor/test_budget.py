"""The budget of a window adds up, and goes where the shares of the lanes say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.alerts import PERIODS_MS, Alerts
from monitor.judging.budget import window_budget
from schemas.errors import UsageError
from schemas.verdict import Lane

DAY_MS, WEEK_MS = 86_400_000, 604_800_000
NONE = dict.fromkeys(map(str, Lane), 0.0)
OF_COLUMNS = [Lane.PERFORMANCE, Lane.PREDICTIONS, Lane.QUALITY, Lane.FEATURES]

lanes_of_columns = st.lists(st.sampled_from(OF_COLUMNS), min_size=1, max_size=20)
parts = st.integers(0, 10)


@st.composite
def alert_options(draw):
    """Draw a budget, and shares that add up to 1 at most, some of them 0."""
    weights = draw(st.lists(parts, min_size=len(Lane), max_size=len(Lane)))
    whole = draw(st.floats(0.01, 1)) / max(sum(weights), 1)
    shares = {str(lane): weight * whole for lane, weight in zip(Lane, weights, strict=True)}
    count = draw(st.integers(1, 1_000))
    per = draw(st.sampled_from(sorted(PERIODS_MS)))
    return Alerts.model_validate({"budget": f"{count} per {per}", "lanes": shares})


def alerts_of(**shares):
    return Alerts.model_validate({"budget": "1 per week", "lanes": NONE | shares})


def lanes_of_streams(lanes, segments):
    return np.array([list(lanes)] + [[Lane.SEGMENTS] * len(lanes)] * (segments - 1), dtype=object)


def test_lanes_share_by_their_shares_and_streams_of_a_lane_equally():
    alerts = alerts_of(predictions=0.6, features=0.3, segments=0.1)
    budget = window_budget(alerts, WEEK_MS, 2, [Lane.FEATURES, Lane.PREDICTIONS, Lane.FEATURES], 3)
    assert np.allclose(budget[0], [0.5 * 0.15, 0.5 * 0.6, 0.5 * 0.15])
    assert np.allclose(budget[1:], 0.5 * 0.1 / 6)


def test_shares_of_lanes_without_a_stream_go_to_the_others_in_proportion():
    alerts = alerts_of(performance=0.4, predictions=0.2, features=0.1)
    budget = window_budget(alerts, WEEK_MS, 1, [Lane.PREDICTIONS, Lane.FEATURES], 1)
    assert np.allclose(budget, [[0.7 * 2 / 3, 0.7 / 3]])


def test_what_the_lanes_leave_over_is_not_given_out():
    assert window_budget(alerts_of(features=0.25), WEEK_MS, 1, [Lane.FEATURES], 1).sum() == 0.25


def test_nothing_is_given_out_where_no_lane_that_is_there_has_a_share():
    assert not window_budget(alerts_of(performance=0.9), DAY_MS, 1, [Lane.FEATURES] * 3, 2).any()


def test_segments_cost_single_columns_nothing_more_than_their_share():
    alone = window_budget(Alerts(), DAY_MS, 1, [Lane.FEATURES], 1)
    among = window_budget(Alerts(), DAY_MS, 1, [Lane.FEATURES], 50)
    assert among[0, 0] == pytest.approx(alone[0, 0] * 0.2 / 0.25)


@given(alert_options(), st.integers(1, 10**10), st.integers(1, 1_000), lanes_of_columns, st.integers(1, 60))
def test_the_parts_add_up_and_none_is_negative(alerts, window_ms, models, lanes, segments):
    budget = window_budget(alerts, window_ms, models, lanes, segments)
    shares = alerts.lanes.model_dump()
    there = {lane for lane in lanes_of_streams(lanes, segments).ravel() if shares[lane] > 0}
    total = alerts.budget.expected_in(window_ms) / models
    assert budget.shape == (segments, len(lanes))
    assert (budget >= 0).all()
    assert math.fsum(budget.ravel()) == pytest.approx(total * math.fsum(shares.values()) if there else 0.0)


@given(alert_options(), lanes_of_columns, st.integers(1, 8))
def test_each_lane_gets_its_part_and_a_share_of_nothing_is_nothing(alerts, lanes, segments):
    budget = window_budget(alerts, DAY_MS, 3, lanes, segments)
    shares = alerts.lanes.model_dump()
    of_streams = lanes_of_streams(lanes, segments)
    there = set(of_streams.ravel())
    present = math.fsum(shares[lane] for lane in there)
    for lane in there:
        mine = budget[of_streams == lane]
        assert (mine == mine[0]).all()
        assert (mine[0] > 0) == (shares[lane] > 0)
        if present:
            assert mine.sum() / budget.sum() == pytest.approx(shares[lane] / present)


@given(alert_options(), st.integers(1, 10**8), lanes_of_columns)
def test_twice_the_time_is_twice_the_budget_and_twice_the_models_half_of_it(alerts, window_ms, lanes):
    budget = window_budget(alerts, window_ms, 1, lanes, 2)
    assert np.allclose(window_budget(alerts, 2 * window_ms, 1, lanes, 2), 2 * budget)
    assert np.allclose(window_budget(alerts, window_ms, 2, lanes, 2), budget / 2)


@pytest.mark.parametrize(
    ("window_ms", "models", "segments", "named"),
    [(0, 1, 1, "window_ms: 0"), (1, 0, 1, "models: 0"), (1, 1, 0, "segments: 0")],
)
def test_numbers_that_cannot_be_meant(window_ms, models, segments, named):
    with pytest.raises(UsageError, match=named):
        window_budget(Alerts(), window_ms, models, [Lane.FEATURES], segments)
