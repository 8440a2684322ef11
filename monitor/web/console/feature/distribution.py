"""The distribution of a column beside its reference, bin by bin, and what each bin adds to the PSI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.effects import compare
from monitor.web.charting.chart import Chart, Look, Series
from monitor.web.console.feature.history import History
from monitor.web.console.feature.subject import Subject


@dataclass(frozen=True)
class Compared:
    """A column over a range, against its reference.

    Parameters
    ----------
    labels : tuple of str
        Names of the bins: edges, values, ``missing``, ``invalid``.
    reference, current : float64 array [bins]
        Shares of all rows.
    terms : float64 array [bins]
        What each bin adds to the PSI.
    psi : float
        Their sum.
    n, m : int
        Rows of the range and of the reference.
    note : str
        What of the range was not counted; see `History.words`.
    """

    labels: tuple[str, ...]
    reference: NDArray[np.float64]
    current: NDArray[np.float64]
    terms: NDArray[np.float64]
    psi: float
    n: int
    m: int
    note: str = ""


def compared(subject: Subject, history: History, column: str, segment: str) -> Compared | None:
    """Compare the rows of a history with the reference; None where one of the two has no rows.

    Notes
    -----
    As detectors do: PSI = Σ (q̂ − p̂) ln(q̂/p̂) over all bins, missing and invalid values too, with ½ added to
    each count; see `detectors.stability`.
    """
    if subject.reference is None:
        return None
    tensor, binning = subject.reference.tensor, subject.reference.binning
    at, group = binning.index[column], binning.groups.index(segment)
    width = binning.bins[at].size
    window = np.zeros_like(tensor.counts[group])
    window[at, :width] = history.counts.sum(axis=0)
    found = compare(tensor.counts[group], window, tensor.layout, tensor.sd)
    n, m = int(found.n[at]), int(found.m[at])
    if not n or not m:
        return None
    return Compared(
        binning.bins[at].labels(),
        found.reference_share[at, :width],
        found.share[at, :width],
        found.psi_terms[at, :width],
        float(found.psi[at]),
        n,
        m,
        history.words,
    )


def distribution_chart(title: str, found: Compared | None) -> Chart:
    """Draw both shares of every bin side by side."""
    if found is None:
        return Chart(title, "No rows, or no reference, to compare.", [], [])
    moved = int(np.argmax(np.abs(found.current - found.reference)))
    words = (
        f"{found.n:,} rows against {found.m:,} of the reference. Most changed: {found.labels[moved]}, "
        f"{100 * found.reference[moved]:.1f} % then, {100 * found.current[moved]:.1f} % now.{found.note}"
    )
    shares = [
        Series("reference", found.reference.tolist(), Look.BARS),
        Series("current", found.current.tolist(), Look.BARS),
    ]
    return Chart(title, words, list(found.labels), shares, unit="share", low=0.0)


def contribution_chart(title: str, found: Compared | None) -> Chart:
    """Draw what each bin adds to the PSI."""
    if found is None:
        return Chart(title, "No rows, or no reference, to compare.", [], [])
    most = int(np.argmax(found.terms))
    words = f"PSI {found.psi:.4f} as measured, the sum of all bins; {found.labels[most]} adds the most."
    words += found.note
    series = [Series(f"part of the PSI, {found.psi:.4g} in all", found.terms.tolist(), Look.BARS)]
    return Chart(title, words, list(found.labels), series, low=0.0)
