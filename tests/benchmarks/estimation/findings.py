"""What came out for a metric of a data set: errors of both sides, their difference, and bands that held."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from tests.benchmarks.estimation.side_driftline import Series

NORMAL_90 = float(special.ndtri(0.95))
RESAMPLES, SEED = 10_000, 1
HEAD = (
    "| Data set | Features | Metric | Chunks | Driftline | NannyML | Difference, 95 % bootstrap | Error "
    "| Held: Driftline | width | Held: NannyML ±3 s.e. | width | Held: NannyML 90 % |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)


class Findings:
    """Errors of both sides and how often bands held.

    Parameters
    ----------
    series : Series

    Notes
    -----
    Both sides estimate the same chunks, so that the difference of their mean absolute errors is the mean of
    differences by chunk. Chunks are drawn with replacement 10,000 times, and the interval holds 95 % of the
    means. It tells which differences may be due to the chunks that happened to come. It does not tell how the
    two would fare on another data set: the chunks of one share a change of meaning, which favours whoever is
    off in the other direction, by however little.
    """

    def __init__(self, series: Series) -> None:
        truth, value = np.array(series.realised), np.array([guess.value for guess in series.estimates])
        peer, error = np.array(series.peer), np.array(series.peer_error)
        self.chunks = len(truth)
        self.mine, self.peer = np.abs(value - truth).mean(), np.abs(peer - truth).mean()
        self.low, self.high = bootstrapped(np.abs(value - truth) - np.abs(peer - truth))
        low, high = np.array([(band.low, band.high) for band in series.bands]).T
        peer_low, peer_high = np.array(series.peer_low), np.array(series.peer_high)
        self.held = int(((low <= truth) & (truth <= high)).sum())
        self.peer_held = int(((peer_low <= truth) & (truth <= peer_high)).sum())
        self.peer_held_90 = int((np.abs(peer - truth) <= NORMAL_90 * error).sum())
        self.width, self.peer_width = np.median(high - low), np.median(peer_high - peer_low)
        everything = np.isinf(high) | ((low <= 0) & (high >= np.array([b.most for b in series.bands])))
        self.unbounded = int(everything.sum())

    @property
    def verdict(self) -> str:
        """What the interval says of Driftline's error."""
        if self.low <= 0 <= self.high:
            return "either"
        return "smaller" if self.high < 0 else "larger"

    def row(self, data: str, features: str, metric: str) -> str:
        """Format a line of the table."""
        digits = 2 if metric in ("mae", "rmse") else 5
        mine, peer, width, peer_width = (
            f"{x:.{digits}f}" for x in (self.mine, self.peer, self.width, self.peer_width)
        )
        difference, low, high = (f"{x:+.{digits}f}" for x in (self.mine - self.peer, self.low, self.high))
        return (
            f"| {data} | {features} | {metric} | {self.chunks} | {mine} | {peer} "
            f"| {difference} [{low}, {high}] | {self.verdict} | {self.held} | {width} | {self.peer_held} "
            f"| {peer_width} | {self.peer_held_90} |\n"
        )


def bootstrapped(differences: np.ndarray) -> tuple[float, float]:
    """Interval of the mean difference, 95 %, over chunks drawn with replacement."""
    drawn = np.random.default_rng(SEED).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.quantile(differences[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def summary(found: Sequence[Findings]) -> str:
    """Say what a table comes to."""
    chunks = sum(one.chunks for one in found)
    held, peer, peer_90, unbounded = (
        sum(getattr(one, name) for one in found) / chunks
        for name in ("held", "peer_held", "peer_held_90", "unbounded")
    )
    no_larger = sum(one.mine <= one.peer for one in found)
    smaller, larger, either = (
        sum(one.verdict == verdict for one in found) for verdict in ("smaller", "larger", "either")
    )
    ratio = np.exp(np.mean([np.log(one.mine / one.peer) for one in found]))
    worst = max(one.mine / one.peer for one in found)
    return (
        f"Mean absolute error no larger than NannyML's in {no_larger} of {len(found)} series. By bootstrap "
        f"smaller in {smaller}, larger in {larger}, either way in {either}. Geometric mean of the ratios "
        f"{ratio:.3f}, the largest {worst:.3f}. Of {chunks} bands {held:.1%} held ({unbounded:.1%} were "
        f"everything); of NannyML's {peer:.1%}, and {peer_90:.1%} at 90 %.\n"
    )
