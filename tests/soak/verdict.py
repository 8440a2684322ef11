"""What a soak has to show.

Memory in use rises and falls all the time: events gather until a commit, after which what was freed goes back
to the operating system, and a process holds the partitions of another for a while. What a process holds for
good is what is left at the lowest: the least of each minute must not grow. Neither may all looks together,
whose slope is less certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scipy.stats import theilslopes

from tests.soak.readings import Reading, Readings

WARM_UP_S = 600.0
MOST_MIB_PER_HOUR = 8.0
SLOWER = 1.5  # times as long as at first, that commits may take in the end


@dataclass(frozen=True)
class Promise:
    """One thing that has to hold."""

    what: str
    found: str
    is_kept: bool

    def __str__(self) -> str:
        return f"{'kept  ' if self.is_kept else 'BROKEN'}  {self.what}: {self.found}"


def promises(readings: Readings) -> list[Promise]:
    """Judge a soak: memory of the processes that stayed, time of commits, and the books."""
    last_s = max(look.at_s for look in readings.looks)
    warm_s = min(WARM_UP_S, last_s / 3)
    found = [_memory(readings, name, warm_s) for name in readings.names if name != "ingest, restarted"]
    found.append(_commits(readings, warm_s, last_s))
    books = readings.books
    parts = sum(books[name] for name in ("counted", "late", "future", "dead_lettered", "duplicates"))
    found.append(
        Promise(
            "every event is in the books once",
            f"{readings.sent:,} sent, {books['fetched']:,} fetched, {parts:,} accounted for, "
            f"{books['counted']:,} counted, {len(readings.restarts_s)} restarts",
            readings.sent
            == books["fetched"]
            == parts
            == books["next_offset"]
            == books["counted"] + books["late"],
        )
    )
    return found


def held(looks: Sequence[Reading]) -> list[Reading]:
    """The look with the least memory of each minute."""
    least: dict[int, Reading] = {}
    for look in looks:
        minute = int(look.at_s // 60)
        if minute not in least or look.resident_mib < least[minute].resident_mib:
            least[minute] = look
    return list(least.values())


def slope_mib_per_hour(looks: Sequence[Reading]) -> tuple[float, float, float]:
    """Slope of memory over time and its interval of 95 %, by Theil and Sen, which spikes do not move."""
    found = theilslopes([look.resident_mib for look in looks], [look.at_s / 3_600 for look in looks])
    return float(found.slope), float(found.low_slope), float(found.high_slope)


def _memory(readings: Readings, name: str, warm_s: float) -> Promise:
    looks = readings.of(name, warm_s)
    least = held(looks)
    slope, low, high = slope_mib_per_hour(least)
    whole = slope_mib_per_hour(looks)[0]
    most = max(look.resident_mib for look in looks)
    return Promise(
        f"what {name} holds grows by at most {MOST_MIB_PER_HOUR:g} MiB an hour",
        f"{slope:+.1f} MiB an hour ({low:+.1f} to {high:+.1f}), {_middle(least):.0f} MiB in the middle; "
        f"with what comes and goes {_middle(looks):.0f}, at most {most:.0f}, "
        f"{whole:+.1f} MiB an hour",
        max(slope, whole) <= MOST_MIB_PER_HOUR,
    )


def _middle(looks: Sequence[Reading]) -> float:
    return median(look.resident_mib for look in looks)


def _commits(readings: Readings, warm_s: float, last_s: float) -> Promise:
    times = [
        (look.at_s, look.commit_s) for look in readings.of("ingest", warm_s) if look.commit_s is not None
    ]
    third = (last_s - warm_s) / 3
    first = median(took for at, took in times if at < warm_s + third)
    last = median(took for at, took in times if at >= last_s - third)
    return Promise(
        f"commits take at most {SLOWER:g} times as long in the last third as in the first",
        f"{first * 1e3:.0f} ms, then {last * 1e3:.0f} ms",
        last <= SLOWER * first,
    )
