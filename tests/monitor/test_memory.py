"""Memory that is free goes back to the operating system."""

from __future__ import annotations

from pathlib import Path

from monitor.clock import ManualClock
from monitor.memory import EVERY_S, Memory

MIB = 2**20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def test_it_is_given_back_now_and_then() -> None:
    clock = ManualClock()
    memory = Memory(clock)
    assert not memory.give_back()
    clock.sleep(EVERY_S)
    assert memory.give_back()
    assert not memory.give_back()
    clock.sleep(EVERY_S)
    assert memory.give_back()


def test_pieces_between_others_that_are_kept_are_given_back_too() -> None:
    clock = ManualClock()
    memory = Memory(clock)
    many = [bytes(2_000) for _ in range(100_000)]
    held = resident()
    kept = many[::50]
    del many
    clock.sleep(EVERY_S)
    assert memory.give_back()
    assert held - resident() > 100 * MIB
    assert all(len(one) == 2_000 for one in kept)
