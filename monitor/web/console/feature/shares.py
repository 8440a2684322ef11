"""Charts over time from counted slices: missing, invalid and unseen values, and quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray

from detectors.binning import CategoricalBins
from monitor.store.queries.judged import ENOUGH_ROWS
from monitor.web.charting.chart import Chart, Level, Look, Series, Value
from monitor.web.console.feature.history import History
from monitor.web.console.feature.subject import Subject
from schemas.policy import Limit

MOST_BUCKETS = 400
MOST_SKETCHED = 120  # buckets; each merges the sketches of its slices
QUANTILES = ((0.1, "p10", Look.DASHED), (0.5, "p50", Look.LINE), (0.9, "p90", Look.DASHED))


@dataclass(frozen=True)
class Buckets:
    """Slices put together.

    Parameters
    ----------
    starts : int64 array [buckets]
        Ascending; buckets without rows are left out.
    of : int64 array [slices]
        Number of the bucket of each slice.
    length_ms : int
    """

    starts: NDArray[np.int64]
    of: NDArray[np.int64]
    length_ms: int


def buckets(subject: Subject, history: History, most: int) -> Buckets:
    """Put slices together by windows that do not overlap, or by several of them, so that there are few."""
    length = subject.window.length_ms
    spread = int(history.starts.max() - history.starts.min()) if len(history.starts) else 0
    length *= max(1, -(-spread // (length * most)))
    starts, of = np.unique(history.starts // length * length, return_inverse=True)
    return Buckets(starts.astype(np.int64), of.astype(np.int64), length)


def share_chart(title: str, subject: Subject, history: History | None, column: str) -> Chart:
    """Draw the shares of missing, invalid and unseen values, with the limits of the contract."""
    if history is None or subject.reference is None or not len(history.starts):
        return Chart(title, "No rows are counted on the bins of a reference.", [], [])
    into = buckets(subject, history, MOST_BUCKETS)
    counts = np.zeros((len(into.starts), history.counts.shape[1]), np.int64)
    np.add.at(counts, into.of, history.counts)
    rows = counts.sum(axis=1)
    weak = (rows * history.chosen.stride < ENOUGH_ROWS).tolist()
    bins = subject.reference.binning.bins[subject.reference.binning.index[column]]
    series = [
        Series("missing", _shares(counts[:, -2], rows), Look.LINE, weak=weak),
        Series("invalid", _shares(counts[:, -1], rows), Look.DASHED, weak=weak),
    ]
    if isinstance(bins, CategoricalBins):
        series.append(Series("unseen", _shares(counts[:, len(bins.top) + 1], rows), Look.LINE, weak=weak))
    words = _share_words(series) + history.words
    axis = into.starts.tolist()
    return Chart(title, words, axis, series, unit="share", levels=_levels(subject, column), low=0.0)


def quantile_chart(title: str, subject: Subject, history: History | None) -> Chart:
    """Draw the 10th, 50th and 90th percentile of all rows."""
    if history is None or not any(sketch is not None for sketch in history.sketches):
        return Chart(title, "There are no numbers in the range.", [], [])
    into = buckets(subject, history, MOST_SKETCHED)
    merged: list[kll_floats_sketch | None] = [None] * len(into.starts)
    for bucket, sketch in zip(into.of.tolist(), history.sketches, strict=True):
        if sketch is None or sketch.is_empty():
            continue
        found = merged[bucket]
        if found is None:  # a new one: those that are kept must not change
            found = merged[bucket] = kll_floats_sketch(sketch.k)
        found.merge(sketch)
    values = [None if one is None else one.get_quantiles([q for q, *_ in QUANTILES]) for one in merged]
    weak = [one is not None and one.n * history.chosen.stride < ENOUGH_ROWS for one in merged]
    series = [
        Series(name, [None if row is None else float(row[i]) for row in values], look, weak=weak)
        for i, (_, name, look) in enumerate(QUANTILES)
    ]
    words = "Of all rows, about 2 % of rank uncertain." + history.words
    return Chart(title, words, into.starts.tolist(), series)


def _shares(part: NDArray[np.int64], rows: NDArray[np.int64]) -> Sequence[Value]:
    return [float(x) / n if n else None for x, n in zip(part.tolist(), rows.tolist(), strict=True)]


def _share_words(series: Sequence[Series]) -> str:
    highest = [f"{one.name} at most {100 * max(v or 0.0 for v in one.values):.3g} %" for one in series]
    said = f"{', '.join(highest)} of the rows of a window."
    return said[0].upper() + said[1:]


def _levels(subject: Subject, column: str) -> list[Level]:
    """Limits of the contract that are shares of rows."""
    rules = subject.settings.build_contract().of(column)
    if rules is None:
        return []
    limits: list[tuple[str, Limit]] = []
    if rules.counts_missing:
        limits.append(("missing", rules.policy_of("missing").limit))
    if rules.kind is not None:
        limits.append(("invalid", rules.policy_of("type").limit))
    return [Level(limit.share, f"contract: {name} {limit}") for name, limit in limits if limit.rows is None]
