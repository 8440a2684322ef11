"""A soak sees growth, slow commits and lost events, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.soak.readings import Reading, Readings
from tests.soak.verdict import held, promises, slope_mib_per_hour

BOOKS = {
    "fetched": 100, "counted": 98, "late": 2, "future": 0, "dead_lettered": 0, "duplicates": 0,
    "next_offset": 100,
}  # fmt: skip


def readings(growth: float = 0.0, slower: float = 1.0) -> Readings:
    """An hour of looks at one process: what it holds, what comes and goes beside it, noise, and spikes."""
    rng = np.random.default_rng(3)
    looks = [
        Reading(
            at_s,
            "ingest",
            500.0
            + growth * at_s / 3_600
            + rng.normal(0, 3)
            + 4.0 * (at_s % 30.0)
            + (300 if rng.random() < 0.05 else 0),
            0.1 * (slower if at_s > 2_500 else 1.0),
        )
        for at_s in np.arange(0.0, 3_600.0, 10.0).tolist()
    ]
    return Readings(looks, [], 100, dict(BOOKS))


def test_a_steady_service_keeps_all_promises() -> None:
    found = promises(readings())
    assert len(found) == 3
    assert [promise.is_kept for promise in found] == [True] * 3
    assert str(found[0]).startswith("kept  ")


@pytest.mark.parametrize("growth", [-20.0, 12.0, 60.0])
def test_growth_is_measured_in_spite_of_spikes(growth: float) -> None:
    slope, low, high = slope_mib_per_hour(held(readings(growth).looks))
    assert slope == pytest.approx(growth, abs=1.5)
    assert low < growth < high < low + 6
    assert promises(readings(growth))[0].is_kept == (growth < 8)


def test_slow_commits_and_lost_events_are_told() -> None:
    assert [one.is_kept for one in promises(readings(slower=2.0))] == [True, False, True]
    for name in ("fetched", "counted", "next_offset"):
        lost = replace(readings(), books={**BOOKS, name: 99})
        assert [one.is_kept for one in promises(lost)] == [True, True, False]
