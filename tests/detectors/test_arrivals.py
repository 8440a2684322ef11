"""How events arrived: bins of lags, and counts that go round."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.arrivals import EDGES_MS, LAG_BINS, Arrivals, lag_bins, lag_labels
from schemas.errors import ProfileError


def test_every_lag_has_a_bin_and_every_bin_a_name() -> None:
    labels = lag_labels()
    assert len(labels) == len(set(labels)) == LAG_BINS
    assert (np.diff(EDGES_MS) > 0).all()
    day = 86_400_000
    for lag_ms, name in {
        0: "under 100 ms late",
        99: "under 100 ms late",
        100: "100 ms to 300 ms late",
        -1: "under 100 ms early",
        -100: "under 100 ms early",
        -101: "100 ms to 300 ms early",
        2_000: "1 s to 3 s late",
        30 * day - 1: "7 d to 30 d late",
        30 * day: "30 d or more late",
        -30 * day - 1: "30 d or more early",
    }.items():
        [found] = lag_bins(np.array([10**13 + lag_ms]), np.array([10**13]))
        assert labels[found] == name, lag_ms


def test_records_without_a_timestamp_have_no_lag() -> None:
    arrivals = Arrivals()
    arrivals.add(3, behind=0, bins=lag_bins(np.array([-1, 0, 5]), np.array([5, 5, 5])))
    assert (arrivals.told, int(arrivals.lags.sum())) == (3, 1)


def test_nothing_known_takes_no_room_and_anything_else_goes_round() -> None:
    assert Arrivals().state() == []
    arrivals = Arrivals()
    arrivals.repeat(2)
    arrivals.add(1, behind=1, bins=lag_bins(np.array([9]), np.array([5])))
    again = Arrivals.from_state(arrivals.state())
    assert (again.told, again.repeated, again.behind, again.lags.tolist()) == (
        1, 2, 1, arrivals.lags.tolist()
    )  # fmt: skip


def test_numbers_that_are_too_few_are_refused() -> None:
    with pytest.raises(ProfileError, match="arrivals"):
        Arrivals.from_state([1, 2, 3])
