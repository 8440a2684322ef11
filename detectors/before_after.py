"""Whether a measure of performance differs between two stretches of windows, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEAST_WINDOWS = 5


class Change(StrEnum):
    """What came of a change of version."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class BeforeAfter:
    """Two stretches of windows.

    Parameters
    ----------
    before, after : float
        Mean of the windows.
    low, high : float
        Interval of the difference, after − before.
    windows_before, windows_after : int
    change : Change
        In favour of what the metric calls better; unclear while the interval contains zero.
    """

    before: float
    after: float
    low: float
    high: float
    windows_before: int
    windows_after: int
    change: Change


def before_after(
    before: ArrayLike, after: ArrayLike, *, higher_is_better: bool, level: float = 0.95
) -> BeforeAfter | None:
    """Compare the windows of two stretches of time by Welch's interval.

    Parameters
    ----------
    before, after : array_like of float, [k] and [m]
        The measure in each window; windows are taken as independent, which is why the interval comes from how
        they vary and not from the rows inside them.
    higher_is_better : bool
        What the metric calls better.
    level : float
        Confidence of the interval.

    Returns
    -------
    BeforeAfter or None
        None while there are fewer than five windows on either side.

    References
    ----------
    B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34, 1947.

    Examples
    --------
    >>> recall = [0.5, 0.52, 0.48, 0.51, 0.49], [0.6, 0.62, 0.58, 0.61, 0.59]
    >>> found = before_after(*recall, higher_is_better=True)
    >>> found.change.value, round(found.low, 3), round(found.high, 3)
    ('better', 0.077, 0.123)
    """
    first, second = np.asarray(before, float), np.asarray(after, float)
    if min(len(first), len(second)) < LEAST_WINDOWS:
        return None
    difference = float(second.mean() - first.mean())
    parts = [values.var(ddof=1) / len(values) for values in (first, second)]
    error = sqrt(sum(parts))
    if error > 0:
        freedom = sum(parts) ** 2 / sum(
            part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)
        )
        reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    else:
        reach = 0.0
    low, high = difference - reach, difference + reach
    change = Change.UNCLEAR
    if low > 0 or high < 0:
        change = Change.BETTER if (low > 0) == higher_is_better else Change.WORSE
    return BeforeAfter(float(first.mean()), float(second.mean()), low, high, len(first), len(second), change)
