"""Whether a column has drifted because it comes in another unit: known conversions that fit its quantiles.

This decides nothing. It explains a shift for which there is evidence already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from detectors.binning import Binning, NumericBins
from detectors.quality.rows import values_of
from detectors.reference import Reference
from detectors.sample import Sample
from detectors.tensor import FloatArray, IntArray
from schemas.verdict import Decision, Verdict

FEWEST_ROWS = 50
_FEWEST_POINTS = 4
_FROM, _TO = 0.03, 0.97  # shares of the quantiles that are compared
_MOST_OFF = 0.03  # of the spread between them
_WORSE = 4.0  # times as far off is the column without a conversion


@dataclass(frozen=True)
class Conversion:
    """From one unit to another: ``factor·x + offset``."""

    name: str
    formula: str
    factor: float
    offset: float = 0.0


_FACTORS = (
    ("thousands → ones", "1,000", 1_000.0),
    ("millions → ones", "1,000,000", 1_000_000.0),
    ("share → percent", "100", 100.0),
    ("tens → ones", "10", 10.0),
    ("minutes → seconds", "60", 60.0),
    ("hours → seconds", "3,600", 3_600.0),
    ("days → hours", "24", 24.0),
    ("days → seconds", "86,400", 86_400.0),
    ("inches → centimetres", "2.54", 2.54),
    ("feet → metres", "0.3048", 0.3048),
    ("miles → kilometres", "1.609", 1.609344),
    ("nautical miles → kilometres", "1.852", 1.852),
    ("metres a second → kilometres an hour", "3.6", 3.6),
    ("pounds → kilograms", "0.4536", 0.45359237),
    ("ounces → grams", "28.35", 28.349523125),
    ("gallons → litres", "3.785", 3.785411784),
    ("calories → joules", "4.184", 4.184),
)
_TEMPERATURES = (
    Conversion("°F → °C", "(x − 32)/1.8", 1 / 1.8, -32 / 1.8),
    Conversion("°C → °F", "1.8·x + 32", 1.8, 32.0),
    Conversion("°C → K", "x + 273.15", 1.0, 273.15),
    Conversion("K → °C", "x − 273.15", 1.0, -273.15),
    Conversion("°F → K", "(x + 459.67)/1.8", 1 / 1.8, 459.67 / 1.8),
    Conversion("K → °F", "1.8·x − 459.67", 1.8, -459.67),
)


def conversions() -> Iterator[Conversion]:
    """Every conversion that is tried, in a fixed order."""
    yield from _TEMPERATURES
    for name, text, factor in _FACTORS:
        before, after = name.split(" → ")
        yield Conversion(name, f"{text}·x", factor)
        yield Conversion(f"{after} → {before}", f"x/{text}", 1 / factor)


def with_units(reference: Reference, sample: Sample, verdicts: list[Verdict]) -> list[Verdict]:
    """Add to the explanation of drifted columns which conversion of units they look like, if any.

    Parameters
    ----------
    reference : Reference
    sample : Sample
        Of the rows of the window.
    verdicts : list of Verdict
    """
    binning = reference.binning
    return [
        replace(verdict, explanation=verdict.explanation + _told(reference, binning, sample, verdict.column))
        if verdict.decision is Decision.DRIFT and not verdict.segment and verdict.column in binning.index
        else verdict
        for verdict in verdicts
    ]


def fitting(before: FloatArray, after: FloatArray) -> tuple[Conversion, float] | None:
    """Find the conversion that brings some quantiles to others.

    Parameters
    ----------
    before, after : FloatArray
        The same quantiles of the reference and of a window, ascending.

    Returns
    -------
    Conversion, float or None
        And how far off the quantiles are: the root of the mean square, as a part of their spread. None if
        none fits within 3 %, or if the quantiles are hardly further off without any.

    Examples
    --------
    >>> fahrenheit = np.array([14.0, 32.0, 50.0, 68.0, 86.0])
    >>> fitting(fahrenheit, (fahrenheit - 32) / 1.8 + 0.1)[0].name
    '°F → °C'
    >>> fitting(fahrenheit, fahrenheit + 5) is None
    True
    """
    found = [(_off(before * c.factor + c.offset, after), c) for c in conversions()]
    off, best = min(found, key=lambda one: one[0])
    if off > _MOST_OFF or _off(before, after) < _WORSE * max(off, _MOST_OFF / 2):
        return None
    return best, off


def _told(reference: Reference, binning: Binning, sample: Sample, column: str) -> str:
    at = binning.index[column]
    bins = binning.bins[at]
    values = values_of(column, binning, sample)
    if not isinstance(bins, NumericBins) or len(values) < FEWEST_ROWS:
        return ""
    first = int(binning.offsets[at])
    edges, shares = _quantiles(bins, reference.counts[0, first : first + bins.size - 2])
    if len(edges) < _FEWEST_POINTS:
        return ""
    found = fitting(edges, np.quantile(values, shares))
    if found is None:
        return ""
    conversion, off = found
    within = max(ceil(100 * off), 1)
    return f"; looks like {conversion.name}: the quantiles fit {conversion.formula} within {within} %"


def _quantiles(bins: NumericBins, counts: IntArray) -> tuple[FloatArray, FloatArray]:
    """Edges of bins that are quantiles of the reference, and which."""
    total = max(int(counts.sum()), 1)
    shares = np.cumsum(counts)[:-1] / total
    edges = np.array(bins.edges)
    inside = (shares >= _FROM) & (shares <= _TO)
    inside[1:] &= np.diff(shares) > 0
    return edges[inside], shares[inside]


def _off(before: FloatArray, after: FloatArray) -> float:
    """How far quantiles are from others, as a part of the spread of the first."""
    spread = float(before[-1] - before[0])
    if not spread > 0:
        return np.inf
    return float(np.sqrt(np.mean(((after - before) / spread) ** 2)))
