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


def printed(program: str, mode: str) -> list[str]:
    """Words that a program prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program, mode], capture_output=True, text=True, check=True)
    return done.stdout.split()


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
from monitor.memory import share_heaps
from tests.monitor.test_memory import MIB, resident

if sys.argv[1] == "apart":
    assert share_heaps()
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
        (given_back[mode],) = map(int, printed(HOLES, mode))
    assert given_back["apart"] > 150
    assert given_back["as usual"] < 50  # else this shows nothing


HEAPS = """
import ctypes, sys, tempfile, threading
from pathlib import Path
import pyarrow as pa
import pyarrow.compute as pc
from monitor.memory import share_heaps

if sys.argv[1] == "shared":
    assert share_heaps()
kept, together = [], threading.Barrier(8)

def work():
    together.wait()
    numbers = pa.array(range(10_000))
    kept.append((pc.add(numbers, 1), [ctypes.create_string_buffer(10_000) for _ in range(100)]))
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
with tempfile.NamedTemporaryFile() as told:
    stream = libc.fopen(told.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    heaps = Path(told.name).read_text().count("<heap nr=")
print(heaps, pa.mimalloc_memory_pool().bytes_allocated())
"""


def test_threads_and_arrow_share_heaps() -> None:
    found = {}
    for mode in ("shared", "as usual"):
        found[mode] = [int(number) for number in printed(HEAPS, mode)]
    heaps, of_arrow = found["shared"]
    assert (heaps, of_arrow) == (2, 0)
    heaps, of_arrow = found["as usual"]
    assert heaps > 2  # else this shows nothing
    assert of_arrow > 0


PAGES = """
import sys
from pathlib import Path
import numpy as np
from monitor.memory import small_pages

def said(path, name):
    return next(line.split()[1] for line in Path(path).read_text().splitlines() if line.startswith(name))

if sys.argv[1] == "small":
    assert small_pages()
array = np.ones(64 << 20, np.uint8)
print(said("/proc/self/status", "THP_enabled:"), said("/proc/self/smaps_rollup", "AnonHugePages:"))
"""


def test_arrays_get_small_pages() -> None:
    found = {}
    for mode in ("small", "as usual"):
        found[mode] = printed(PAGES, mode)
    assert found["small"] == ["0", "0"]
    assert found["as usual"][0] == "1"  # else this shows nothing; how many there are is the system's choice
