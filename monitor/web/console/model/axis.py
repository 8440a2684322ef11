"""The common time axis of the charts of a model: starts of windows, with a gap where there were none."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from monitor.web.charting.chart import Look, Series, Value


def with_gaps(starts: Collection[int], every_ms: int) -> list[int]:
    """Sort starts of windows, and add a place in each gap, so that no line is drawn across it.

    Examples
    --------
    >>> with_gaps([0, 10, 40], 10)
    [0, 10, 20, 40]
    """
    found: list[int] = []
    for start in sorted(starts):
        if found and start - found[-1] > every_ms:
            found.append(found[-1] + every_ms)
        found.append(start)
    return found


def line(
    name: str,
    axis: Sequence[int],
    values: Mapping[int, Value],
    *,
    look: Look = Look.LINE,
    low: Mapping[int, Value] | None = None,
    high: Mapping[int, Value] | None = None,
    weak: Collection[int] = (),
) -> Series:
    """Lay values by start along an axis; those that are not finite are left out.

    A band stands only where both of its ends are known.
    """

    def at(known: Mapping[int, Value]) -> list[Value]:
        return [finite(known.get(start)) for start in axis]

    lower, upper = ([], []) if low is None or high is None else (at(low), at(high))
    both = [
        (a, b) if a is not None and b is not None else (None, None) for a, b in zip(lower, upper, strict=True)
    ]
    is_banded = any(a is not None for a, _ in both)
    return Series(
        name,
        at(values),
        look,
        [a for a, _ in both] if is_banded else (),
        [b for _, b in both] if is_banded else (),
        [start in weak for start in axis] if weak else (),
    )


def finite(value: float | None) -> float | None:
    """Give a number that can be drawn, or None."""
    return value if value is not None and math.isfinite(value) else None
