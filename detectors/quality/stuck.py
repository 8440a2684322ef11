"""All rows of a window have the same value in a column that usually has others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy import special

from detectors.base import Moment
from detectors.binning import CategoricalBins, NumericBins
from detectors.calibration import Z_REFERENCE
from detectors.quality.facts import Example, Facts
from detectors.quality.once import once
from detectors.quality.planted import planted_facts, planted_reference
from detectors.quality.surprises import Look, SurpriseWatch
from detectors.reference import Reference
from detectors.single_windows import FEWEST_WINDOWS
from detectors.tensor import FloatArray, IntArray
from schemas.batch import Batch

_Z_SAME = 2.0  # standard errors by which the windows' own sameness may be larger
_MOST_SAME = 0.999


class StuckWatch(SurpriseWatch):
    """Watches whether a column has more than one value.

    Notes
    -----
    With the shares p of a column's bins in the reference, n rows of a window all fall into the same bin with
    a probability of Σ pⁿ, and all have the same value with one of at most that. Where rows of a window
    resemble each other more than rows of different windows do, the shares vary from window to window like
    Dirichlet's distribution with the correlation ρ that the reference's windows show (at most, two standard
    errors): the probability is ``Σ Γ(A·p + n)·Γ(A)/(Γ(A·p)·Γ(A + n))``, A = (1 − ρ)/ρ. Each p is the upper
    limit (Clopper and Pearson, 4 standard errors) of the reference's.

    Columns that were the same throughout the reference are not watched, nor are classes among ``(other)`` and
    ``(unseen)``, which no count tells apart.
    """

    name: ClassVar[str] = "stuck"
    formula: ClassVar[str] = (
        "ln(b/P), b the budget and P the probability that all n values of a window are the same: Σ pⁿ over "
        "the bins of the reference, or more where rows of a window resemble each other; an alarm above 0"
    )

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """Columns of numbers or classes with different values in the reference."""
        return _known(reference).names

    def look(self, reference: Reference, facts: Facts, moment: Moment) -> Look:
        """Say how probable it is that all values are the same."""
        known, offsets = _known(reference), reference.binning.offsets
        rows, log_p = np.zeros(len(known.names), np.int64), np.zeros(len(known.names))
        is_normal = np.zeros(len(known.names), bool)
        for i, (at, shares) in enumerate(zip(known.places.tolist(), known.shares, strict=True)):
            counts = facts.counts[0, offsets[at] : offsets[at] + len(shares)]
            n = rows[i] = int(counts.sum())
            is_same = self._is_same(reference, facts, at, counts)
            is_normal[i] = n > 1 and not is_same
            if is_same and n > 1:
                log_p[i] = log_all_alike(shares, float(known.alike[i]), n)
        return Look(log_p, is_normal, rows)

    def words(self, reference: Reference, facts: Facts, column: str, rows: int) -> str:
        """Say which value it is."""
        at = reference.binning.index[column]
        if isinstance(reference.binning.bins[at], NumericBins):
            value = f"{facts.lowest[at]:g}"
        else:
            first = int(reference.binning.offsets[at])
            labels = reference.binning.bins[at].labels()
            value = labels[int(np.argmax(facts.counts[0, first : first + len(labels) - 2]))]
        return f"{column}: stuck, all {rows:,} values are {value}; they differ in the reference"

    def _is_same(self, reference: Reference, facts: Facts, at: int, counts: IntArray) -> bool:
        if isinstance(reference.binning.bins[at], NumericBins):
            return bool(facts.lowest[at] == facts.highest[at])
        named = counts[: len(counts) - 2]  # without other and unseen values
        return bool(named.any()) and int(named.max()) == int(counts.sum())

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A sensor that has broken sends its last value."""
        reference = planted_reference(seed=1)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=60),
                planted_facts(reference, seed=3, windows=4, fault=_fault),
                column="amount",
                delay=1,
            ),
        )


@dataclass(frozen=True)
class _Known:
    """Columns that are watched, the upper limits of their bins' shares, and the correlation ρ of rows."""

    names: tuple[str, ...]
    places: IntArray
    shares: tuple[FloatArray, ...]
    alike: FloatArray


@once
def _known(reference: Reference) -> _Known:
    binning = reference.binning
    names, places, shares, alike = [], [], [], []
    for at, (spec, bins) in enumerate(zip(binning.columns, binning.bins, strict=True)):
        if not isinstance(bins, NumericBins | CategoricalBins):
            continue
        values = slice(int(binning.offsets[at]), int(binning.offsets[at + 1]) - 2)
        counts, windows = reference.counts[0, values], reference.windows[:, 0, values]
        is_constant = bins.lowest == bins.highest if isinstance(bins, NumericBins) else False
        if is_constant or np.count_nonzero(counts) < 2:
            continue
        correlation = _alike(counts, windows)
        if correlation <= _MOST_SAME:
            names.append(spec.name)
            places.append(at)
            shares.append(_upper(counts))
            alike.append(correlation)
    return _Known(tuple(names), np.array(places, np.int64), tuple(shares), np.array(alike))


def _upper(counts: IntArray) -> FloatArray:
    """Upper limits of shares."""
    hits, rows = counts.astype(np.float64), float(counts.sum())
    upper = special.betainccinv(hits + 1, np.maximum(rows - hits, 1e-9), special.ndtr(-Z_REFERENCE))
    return np.asarray(np.minimum(upper, 1.0))


def _alike(counts: IntArray, windows: IntArray) -> float:
    """How much more rows of a window fall into the same bin than any two rows do, ρ from 0 to 1.

    ``ρ = (λ − Σp²)/(1 − Σp²)``, λ the mean over windows of ``Σ x(x − 1)/(n(n − 1))``. Fewer than four windows
    teach nothing, but that one of them was all the same.
    """
    n = windows.sum(axis=1)
    some = windows[n > 1].astype(np.float64)
    rows = n[n > 1].astype(np.float64)
    if not len(some):
        return 0.0
    same = (some * (some - 1)).sum(axis=1) / (rows * (rows - 1))
    if len(some) < FEWEST_WINDOWS:
        return 1.0 if bool((same >= 1).any()) else 0.0
    p = counts / counts.sum()
    by_chance = float((p * p).sum())
    upper = float(same.mean() + _Z_SAME * same.std(ddof=1) / np.sqrt(len(same)))
    return min(max((upper - by_chance) / max(1 - by_chance, 1e-12), 0.0), 1.0)


def log_all_alike(shares: FloatArray, alike: float, n: int) -> float:
    """Logarithm of the probability that n rows fall into the same bin, at most 0."""
    p = shares[shares > 0]
    if alike <= 1e-9:
        logs = n * np.log(p)
    else:
        a = (1 - alike) / alike
        logs = (
            special.gammaln(a * p + n) - special.gammaln(a * p) + special.gammaln(a) - special.gammaln(a + n)
        )
    return min(float(special.logsumexp(logs)), 0.0)


def _fault(batch: Batch) -> Batch:
    numbers = batch.numbers.copy()
    numbers[0] = 51.25
    return replace(batch, numbers=np.where(batch.status == 0, numbers, 0.0))
