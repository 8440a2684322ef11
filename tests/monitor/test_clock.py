"""Both clocks keep the same promises."""

import time

import pytest

from monitor.clock import Clock, ManualClock, SystemClock


@pytest.fixture(params=[SystemClock, ManualClock])
def clock(request) -> Clock:
    return request.param()


def test_sleep_moves_both_clocks(clock):
    wall, monotonic = clock.now_ms(), clock.monotonic()
    clock.sleep(0.02)
    assert clock.now_ms() - wall >= 19
    assert clock.monotonic() - monotonic >= 0.019


def test_sleeping_for_no_time_returns(clock, monkeypatch):
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)
    before = clock.monotonic()
    clock.sleep(0)
    clock.sleep(-5)
    assert clock.monotonic() >= before
    assert [seconds for seconds in asked if seconds > 0] == []


def test_the_system_clock_is_the_system_clock():
    assert abs(SystemClock().now_ms() - time.time() * 1_000) < 1_000


def test_the_manual_clock_moves_only_when_told():
    clock = ManualClock(5)
    clock.advance(10)
    assert (clock.now_ms(), clock.monotonic()) == (15, 0.01)
    clock.set_wall(3)
    assert (clock.now_ms(), clock.monotonic()) == (3, 0.01)
    clock.advance(1)
    assert clock.now_ms() == 4
    with pytest.raises(ValueError, match="set_wall"):
        clock.advance(-1)
