"""Numbers that differ by a rule: another unit, a factor, a shift, rounding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.mismatch.differences import Tolerance, close
from detectors.mismatch.explained import Explained, Rows, has_several
from detectors.mismatch.values import Type
from detectors.tensor import FloatArray, IntArray
from detectors.units import conversions

_LEFT = 0.02
"""Part of a difference that a rule may leave unexplained: what is converted is often rounded as well."""
_SAME_FACTOR = 1e-3
_DECIMALS = range(-6, 10)
_HALVES = 1e-6
_EXACT = 2.0**53
_SPANS_MS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"))
_EPOCH_MS = 1e11  # numbers from here on may be instants


@dataclass(frozen=True)
class _Numbers:
    """Rows of which both values are numbers. [m] each."""

    rows: IntArray
    training: FloatArray
    events: FloatArray

    def explained(self, name: str, words: str, fits: NDArray[np.bool_]) -> Iterator[Explained]:
        if has_several(self.training, fits):
            yield Explained(name, words, self.rows[fits])

    def by_rule(self, name: str, words: str, expected: FloatArray) -> Iterator[Explained]:
        """Yield a rule with the rows of which it leaves next to nothing to explain."""
        left = np.abs(self.events - expected) / np.abs(self.events - self.training)
        fits = left <= _LEFT
        for one in self.explained(name, words, fits):
            yield replace(one, left=round(float(left[fits].mean()), 9))


def found(rows: Rows, left: IntArray) -> list[Explained]:
    """Find rules about numbers.

    Parameters
    ----------
    rows : Rows
    left : IntArray
        Rows to explain.

    Returns
    -------
    list of Explained
        Rules, and the rows among them that they explain; perhaps few.
    """
    both = (rows.training.type[left] == Type.NUMBER) & (rows.events.type[left] == Type.NUMBER)
    one, other = rows.training.numbers[left], rows.events.numbers[left]
    use = both & np.isfinite(one) & np.isfinite(other)
    numbers = _Numbers(left[use], one[use], other[use])
    if not len(numbers.rows):
        return []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return [*_rounding(numbers, rows), *_factor(numbers), *_shift(numbers), *_conversions(numbers)]


def _factor(numbers: _Numbers) -> Iterator[Explained]:
    there = (numbers.training != 0) & (numbers.events != 0)
    if not there.any():
        return
    for factor in _centres(numbers.events[there] / numbers.training[there]):
        words = f"events are {_written(factor)} × the table{_unit(factor)}"
        if factor == -1:
            words = "events have the other sign"
        yield from numbers.by_rule("factor", words, factor * numbers.training)


def _unit(factor: float) -> str:
    for conversion in conversions():
        if conversion.offset == 0 and abs(factor / conversion.factor - 1) <= _SAME_FACTOR:
            return f" ({conversion.name})"
    return ""


def _shift(numbers: _Numbers) -> Iterator[Explained]:
    for shift in _centres(numbers.events - numbers.training):
        sign = "+" if shift > 0 else "−"
        words = f"events are the table {sign} {_written(abs(shift))}{_hours(numbers, shift)}"
        yield from numbers.by_rule("shift", words, numbers.training + shift)


def _hours(numbers: _Numbers, shift: float) -> str:
    """How far instants are apart, if that is what the numbers are."""
    if np.median(numbers.training) < _EPOCH_MS or shift % _SPANS_MS[-1][0]:
        return ""
    length, unit = next(span for span in _SPANS_MS if shift % span[0] == 0)
    zone = ", as in another time zone" if unit == "h" else ""
    return f" ({abs(shift) / length:g} {unit}{zone})"


def _conversions(numbers: _Numbers) -> Iterator[Explained]:
    """Temperatures, which a factor alone does not convert."""
    for conversion in conversions():
        if conversion.offset:
            expected = conversion.factor * numbers.training + conversion.offset
            words = f"events look like {conversion.name}: {conversion.formula} of the table"
            yield from numbers.by_rule("conversion", words, expected)


def _rounding(numbers: _Numbers, rows: Rows) -> Iterator[Explained]:
    for whose, exact, rounded in (
        ("events", numbers.training, numbers.events),
        ("the table's values", numbers.events, numbers.training),
    ):
        for how, fits in _coarser(exact, rounded, rows.tolerance):
            if len(np.unique(rounded[fits])) > 1:
                yield from numbers.explained("rounding", f"{whose} are {how}", fits)


def _coarser(
    exact: FloatArray, rounded: FloatArray, tolerance: Tolerance
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Ways to round, and where one number is the other so rounded."""
    for digits in _DECIMALS:
        scale = 10.0**digits
        is_round = close(np.round(rounded * scale) / scale, rounded, tolerance)
        # Halves may go up, down, or to the even number.
        yield f"rounded {_to(digits)}", is_round & (np.abs(exact - rounded) * scale <= 0.5 + _HALVES)
        for how, rounding in (("cut off", np.trunc), ("rounded down", np.floor)):
            yield f"{how} {_to(digits)}", close(rounding(exact * scale) / scale, rounded, tolerance)
    for kind in (np.float16, np.float32):
        yield f"rounded to {kind.__name__}", exact.astype(kind) == rounded


def _to(digits: int) -> str:
    if digits <= 0:
        return "to whole numbers" if digits == 0 else f"to multiples of {10**-digits:,}"
    return f"to {digits} decimal{'s' if digits > 1 else ''}"


def _centres(values: FloatArray) -> list[float]:
    """Where most values lie: the one that is there most often, but for rounding, and the median."""
    coarse = _significant(values)
    distinct, numbers = np.unique(coarse, return_counts=True)
    often = values[coarse == distinct[numbers.argmax()]]
    return list(dict.fromkeys(_tidy(float(np.median(some))) for some in (often, values)))


def _written(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() and abs(value) < _EXACT else f"{value:.6g}"


def _tidy(value: float) -> float:
    """Undo what float32 has done to a number with few digits."""
    short = float(f"{value:.5g}")
    return short if abs(short - value) <= 1e-6 * abs(value) else value


def _significant(values: FloatArray) -> FloatArray:
    """Round to four significant digits."""
    sizes = np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values))))
    scale = 10.0 ** (3 - sizes)
    return np.asarray(np.round(values * scale) / scale)
