"""When each flight landed: the data give only what the clock at the destination showed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MINUTE_MS = 60_000
HOUR_MINUTES = 60
DAY_MINUTES = 1_440
NEVER = -1
# Summer time in the United States in 2013, as clocks on standard time would show it; minutes since the epoch.
SUMMER_FROM_MIN = 22_714_680  # 10 March, 02:00
SUMMER_TO_MIN = 23_057_340  # 3 November, 01:00


class Zone(NamedTuple):
    """Time zone of a destination: hours that its clocks are ahead of UTC, and whether it has summer time."""

    ahead_h: int
    has_summer: bool


# Puerto Rico and the Virgin Islands are missing in the package's table of airports.
ELSEWHERE = Zone(-4, has_summer=False)


def landed_ms(
    *,
    left_min: NDArray[np.int64],
    air_min: NDArray[np.float64],
    clock: NDArray[np.float64],
    dest_codes: NDArray[np.int64],
    zones: Sequence[Zone],
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
    zones : sequence of Zone
        Of each destination.
    has_arrived : bool array

    Examples
    --------
    >>> landed_ms(  # left at 10:17 UTC, 227 minutes in the air, 8:30 in Houston
    ...     left_min=np.array([617]), air_min=np.array([227.0]), clock=np.array([830.0]),
    ...     dest_codes=np.array([0]), zones=[Zone(-6, True)], has_arrived=np.array([True]),
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
    at_min: NDArray[np.int64], dest_codes: NDArray[np.int64], zones: Sequence[Zone]
) -> NDArray[np.int64]:
    """Minutes by which the clocks at destinations are ahead of UTC."""
    standard = np.array([zone.ahead_h * HOUR_MINUTES for zone in zones], np.int64)[dest_codes]
    has_summer = np.array([zone.has_summer for zone in zones])[dest_codes]
    local_min = at_min + standard
    is_summer = has_summer & (local_min >= SUMMER_FROM_MIN) & (local_min < SUMMER_TO_MIN)
    return np.asarray(standard + is_summer * HOUR_MINUTES)
