"""Which rows of two logs differ in a column, and how."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.mismatch.values import Type, Values
from detectors.tensor import FloatArray

RELATIVE = 1e-6
"""Twenty times what rounding to float32 costs."""


class Difference(IntEnum):
    """How a row differs."""

    NONE = 0
    VALUE = 1
    TYPE = 2  # the same value as another type: "1" and 1
    MISSING_IN_TRAINING = 3
    MISSING_IN_EVENTS = 4


@dataclass(frozen=True)
class Tolerance:
    """How far values may be apart and still count as equal.

    Parameters
    ----------
    relative : float
        Of the larger of two numbers, at least one of which has a fraction; whole numbers must be equal.
    absolute : float
        In the unit of the column; holds for all numbers.
    any_type : bool
        Whether ``"1"``, ``1`` and ``true`` are the same.
    """

    relative: float = RELATIVE
    absolute: float = 0.0
    any_type: bool = False


def differences(training: Values, events: Values, tolerance: Tolerance) -> NDArray[np.uint8]:
    """Compare a column row by row.

    Parameters
    ----------
    training, events : Values
        The same rows in the same order.
    tolerance : Tolerance

    Returns
    -------
    uint8 array [n]
        A `Difference` each. Two missing values are equal, and so are two lists: of these only counts whether
        there is one.

    Examples
    --------
    >>> from detectors.mismatch.values import of_numbers, of_texts
    >>> differences(of_numbers([1, 0.1, 3]), of_numbers([2, np.float32(0.1), np.nan]), Tolerance()).tolist()
    [1, 0, 4]
    >>> differences(of_texts(["1", "x"]), of_numbers([1, 1]), Tolerance()).tolist()
    [2, 1]
    """
    both = training.is_present & events.is_present
    same_type = training.type == events.type
    is_number = (training.type == Type.NUMBER) | (training.type == Type.TRUTH)
    same = is_number & close(training.numbers, events.numbers, tolerance)
    same_text = pc.equal(training.texts, events.texts).fill_null(False).to_numpy(zero_copy_only=False)
    equal = np.where(training.type == Type.TEXT, same_text, same | (training.type == Type.LIST))
    found = np.where(equal, Difference.NONE, Difference.VALUE).astype(np.uint8)
    crossed = np.flatnonzero(both & ~same_type)
    if len(crossed):
        one, other = (side.take(crossed).meaning() for side in (training, events))
        only_type = Difference.NONE if tolerance.any_type else Difference.TYPE
        found[crossed] = np.where(close(one, other, tolerance), only_type, Difference.VALUE)
    found[~both] = Difference.NONE
    found[events.is_present & ~training.is_present] = Difference.MISSING_IN_TRAINING
    found[training.is_present & ~events.is_present] = Difference.MISSING_IN_EVENTS
    return found


def close(one: FloatArray, other: FloatArray, tolerance: Tolerance) -> NDArray[np.bool_]:
    """Whether numbers [n] are equal within the tolerance; NaN equals nothing."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(one - other)
        # Counters and epoch milliseconds are exact: a millionth of one is half an hour.
        has_fraction = (one != np.floor(one)) | (other != np.floor(other))
        size = np.maximum(np.abs(one), np.abs(other))
        allowed = np.maximum(tolerance.absolute, np.where(has_fraction, tolerance.relative * size, 0.0))
        return np.asarray((one == other) | (np.isfinite(size) & (apart <= allowed)))
