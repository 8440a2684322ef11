"""How every side measures itself: readings of (time, events so far), and the rate over the steady part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Reading(NamedTuple):
    """State of a run at one instant; `at_s` on a monotonic clock, `cpu_s` all that the process has worked."""

    at_s: float
    events: int
    resident_bytes: int = 0
    cpu_s: float = 0.0


def rate(readings: Sequence[Reading], warm_up: int) -> dict[str, float]:
    """Events a second after the warm-up.

    Parameters
    ----------
    readings : sequence of Reading
        In order of time.
    warm_up : int
        Events that do not count: the clock starts at the first reading that has them.

    Raises
    ------
    RuntimeError
        If too little was read.
    """
    steady = [reading for reading in readings if reading.events >= warm_up]
    if len(steady) < 2 or steady[-1].at_s <= steady[0].at_s:
        msg = f"nothing was measured after the warm-up: {list(readings)[-3:]}"
        raise RuntimeError(msg)
    events, seconds = steady[-1].events - steady[0].events, steady[-1].at_s - steady[0].at_s
    cpu_s = steady[-1].cpu_s - steady[0].cpu_s
    return {
        "events": events,
        "seconds": seconds,
        "rate": events / seconds,
        "cpu_us": cpu_s / max(events, 1) * 1e6,
    }
