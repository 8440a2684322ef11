"""How the rows of a reference are spread over the bins of a column, alone or beside another reference."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.reference import Reference
from monitor.web.charting.chart import Chart, Look, Series

MOST_BINS = 80
LEFT_OUT = "all other bins"


def bins_chart(reference: Reference, column: str, other: Reference | None = None) -> Chart:
    """Draw the share of rows in each bin of a column.

    Parameters
    ----------
    reference : Reference
    column : str
        One of its columns.
    other : Reference, optional
        A newer one to put beside it, if it counts the column on the same bins.
    """
    names, shares = _shares(reference, column)
    series = [Series("share of rows", shares, Look.BARS)]
    words = f"Share of the {reference.rows:,} rows in each bin of {column}."
    if other is not None and is_on_same_bins(reference, other, column):
        series = [
            Series("share before", shares, Look.BARS),
            Series("share after", _shares(other, column)[1], Look.BARS),
        ]
        words = f"Share of {reference.rows:,} rows before and {other.rows:,} after, in each bin of {column}."
    return Chart(f"Bins of {column}", words, names, series, unit="share")


def is_on_same_bins(one: Reference, other: Reference, column: str) -> bool:
    """Whether two references count a column on the same bins."""
    first, second = one.binning.index.get(column), other.binning.index.get(column)
    if first is None or second is None:
        return False
    return bool(one.binning.bins[first] == other.binning.bins[second])


def _shares(of: Reference, column: str) -> tuple[list[str], list[float | None]]:
    at = of.binning.index[column]
    begin, end = (int(offset) for offset in of.binning.offsets[at : at + 2])
    counts: Sequence[int] = of.counts[0, begin:end].tolist()
    names = list(of.binning.bins[at].labels())
    rows = max(of.rows, 1)
    if len(names) > MOST_BINS:
        kept = MOST_BINS - 3
        names = [*names[:kept], LEFT_OUT, *names[-2:]]
        counts = [*counts[:kept], sum(counts[kept:-2]), *counts[-2:]]
    return names, [count / rows for count in counts]
