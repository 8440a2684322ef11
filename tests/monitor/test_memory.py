"""Memory that is free goes back to the operating system."""

from __future__ import annotations

import subprocess
import sys
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


HOLES = """
import sys
import numpy as np
from monitor.memory import keep_large_apart
from tests.monitor.test_memory import MIB, resident

if sys.argv[1] == "apart":
    assert keep_large_apart()
np.ones(31 * MIB, np.uint8)  # freed at once: glibc learns from it
large, small = [], []
for _ in range(40):
    large.append(np.ones(5 * MIB, np.uint8))
    small.append(np.ones(100_000, np.uint8))
before = resident()
del large
print((before - resident()) // MIB)
"""


def test_large_arrays_leave_no_holes() -> None:
    given_back = {}
    for mode in ("apart", "as usual"):
        done = subprocess.run(
            [sys.executable, "-c", HOLES, mode],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        given_back[mode] = int(done.stdout)
    assert given_back["apart"] > 150
    assert given_back["as usual"] < 50  # else this shows nothing
