"""When each flight landed: the data give only what the clock at the destination showed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

MINUTE_MS = 60_000
HOUR_MINUTES = 60
DAY_MINUTES = 1_440
NEVER = -1
# Puerto Rico and the Virgin Islands are missing in the package's table of airports.
ELSEWHERE = "America/Puerto_Rico"


def landed_ms(
    *,
    left_min: NDArray[np.int64],
    air_min: NDArray[np.float64],
    clock: NDArray[np.float64],
    dest_codes: NDArray[np.int64],
    zones: Sequence[str | None],
    has_arrived: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Instants of arrival, epoch milliseconds; -1 where a flight did not arrive as planned.

    A flight arrived when the clock at its destination first showed the given time after it had left and spent
    its time in the air.

    Parameters
    ----------
    left_min : int64 array
        Departure, minutes since the epoch.
    air_min : float64 array
        Minutes in the air.
    clock : float64 array
        Time of arrival as the local clock shows it: 1830 is half past six in the evening.
    dest_codes : int64 array
        Places in `zones`.
    zones : sequence of str
        Time zone of each destination; None where it is not known.
    has_arrived : bool array

    Examples
    --------
    >>> landed_ms(  # left at 10:17 UTC, 227 minutes in the air, 8:30 in Houston
    ...     left_min=np.array([617]), air_min=np.array([227.0]), clock=np.array([830.0]),
    ...     dest_codes=np.array([0]), zones=["America/Chicago"], has_arrived=np.array([True]),
    ... ) / MINUTE_MS / HOUR_MINUTES
    array([14.5])
    """
    result = np.full(len(left_min), NEVER, np.int64)
    rows = np.flatnonzero(has_arrived)
    down_min = left_min[rows] + air_min[rows].astype(np.int64)
    shown = clock[rows].astype(np.int64)
    shown_min = shown // 100 * HOUR_MINUTES + shown % 100
    ahead_min = _ahead_of_utc(down_min, dest_codes[rows], zones)
    result[rows] = (down_min + (shown_min - ahead_min - down_min) % DAY_MINUTES) * MINUTE_MS
    return result


def _ahead_of_utc(
    at_min: NDArray[np.int64], dest_codes: NDArray[np.int64], zones: Sequence[str | None]
) -> NDArray[np.int64]:
    """Minutes by which clocks are ahead of UTC; every hour of every zone is looked up once."""
    names = sorted({zone or ELSEWHERE for zone in zones})
    of_dest = np.array([names.index(zone or ELSEWHERE) for zone in zones], np.int64)
    first, last = int(at_min.min()) // HOUR_MINUTES, int(at_min.max()) // HOUR_MINUTES
    table = np.array([_hourly(ZoneInfo(name), first, last) for name in names])
    return np.asarray(table[of_dest[dest_codes], at_min // HOUR_MINUTES - first])


def _hourly(zone: ZoneInfo, first: int, last: int) -> list[int]:
    found = []
    for hour in range(first, last + 1):
        ahead = datetime.fromtimestamp(hour * 3_600, UTC).astimezone(zone).utcoffset()
        found.append(0 if ahead is None else int(ahead.total_seconds()) // 60)
    return found
