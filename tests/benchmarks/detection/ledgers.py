"""The product's detectors with many budgets at a time: their arithmetic without their verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors import EDetector, ReferenceCounts
from detectors.calibration import calibrate, overall_dispersion, rank_evalues, relative_distance
from detectors.correlation import Correlations
from detectors.edetector import SINGLE_SHARE
from detectors.gram import Gram
from detectors.ledger import Ledger, LedgerStep
from detectors.rate import RateEDetector, counting
from detectors.rate_evidence import RateLimit, RateVariation
from detectors.stability import stability_index
from detectors.streams import StreamStates
from detectors.surprise import log_surprise
from detectors.tensor import BoolArray, FloatArray, IntArray
from detectors.tilts import AXIS, TILTS, axis_directions, log_evalues, tilt_weights

DAY_MS = 86_400_000


class ManyBudgets:
    """Streams that are each judged with all of several budgets.

    Parameters
    ----------
    streams, directions : int
    budgets : float64 array [B]
        For every window.
    """

    def __init__(self, streams: int, directions: int, budgets: FloatArray) -> None:
        self._budgets = budgets
        self._shape = (streams, len(budgets))
        self._states = StreamStates.new(streams * len(budgets), directions, 0)

    def take(
        self,
        evidence: FloatArray,
        weights: FloatArray,
        surprise: FloatArray,
        share: FloatArray,
        is_calm: BoolArray,
        has_data: BoolArray,
        start_ms: int,
    ) -> tuple[BoolArray, FloatArray]:
        """Take in a window: alarms and logarithms of evidence ``[V, B]``.

        Parameters
        ----------
        evidence, weights
            ``[12, directions, V]`` and ``[directions, V]``, for the ledger.
        surprise, share : FloatArray
            ``[V]``: ln max w/P of the window alone, and the part of the budget that is for it.
        is_calm, has_data : BoolArray
            ``[V]``.
        """
        many = len(self._budgets)
        budget = np.where(self._states.is_open, 0.0, np.tile(self._budgets, self._shape[0]))
        single = np.repeat(share, many) * budget
        with np.errstate(divide="ignore"):
            jump = np.repeat(surprise, many) + np.log(single)
        ledger = Ledger(self._states.mass)
        found: LedgerStep = ledger.step(
            np.repeat(evidence, many, axis=2),
            budget - single,
            np.repeat(weights, many, axis=1),
            single_log=jump,
        )
        self._states.mass[:] = ledger.mass
        calm = np.repeat(is_calm, many) & (found.window_log < 0)
        self._states.take(
            found.is_alarm, calm, np.repeat(has_data, many), found.evidence_log, budget, start_ms + DAY_MS
        )
        return found.is_alarm.reshape(self._shape), found.evidence_log.reshape(self._shape)


class Ledgers(ManyBudgets):
    """`EDetector` with many budgets.

    Parameters
    ----------
    detector : EDetector
    reference : ReferenceCounts
    places : int64 array [V]
        Column of each stream.
    budgets : float64 array [B]
    """

    def __init__(
        self, detector: EDetector, reference: ReferenceCounts, places: IntArray, budgets: FloatArray
    ) -> None:
        self._detector, self._places = detector, places
        self._calibration = calibrate(reference)
        self._variation = self._calibration.variation.at(places)
        layout = reference.layout
        self._layout = replace(
            layout,
            columns=tuple(str(i) for i in range(len(places))),
            lanes=tuple(layout.lanes[i] for i in places),
            labels=tuple(layout.labels[i] for i in places),
            **{what: getattr(layout, what)[places] for what in ("valid", "ordered", "positions", "widths")},
        )
        super().__init__(len(places), AXIS + layout.shape[1], budgets)

    def step(self, x: IntArray, start_ms: int) -> tuple[BoolArray, FloatArray]:
        """Take in counts ``[V, K]`` of the next window; alarms and logarithms of evidence ``[V, B]``."""
        all_shares, all_counts = self._calibration.at(start_ms)
        shares, counts = all_shares[self._places], all_counts[self._places]
        rows = x.sum(axis=1).astype(np.float64)
        dispersion = self._variation.dispersion(rows)
        tolerance = np.full(len(x), self._detector.tolerance)
        epsilon = self._variation.radius(counts.sum(axis=1), np.sqrt(tolerance), self._detector.z_reference)
        p, window = shares.T.copy(), x.T.astype(np.float64)
        axis = axis_directions(p, self._layout.ordered.T.copy())
        evidence = log_evalues(window, p, axis, epsilon.T.copy(), dispersion.T.copy())
        evidence[:, :, rows == 0] = 0.0
        self._use_ranks(evidence, x.astype(np.float64), shares)
        weights = tilt_weights(self._layout.valid.T.copy(), axis)
        surprise = log_surprise(window, p, axis, weights, epsilon.T.copy(), self._variation.single)
        share = np.where(self._calibration.is_calibrated[self._places], SINGLE_SHARE, 0.0)
        overall = overall_dispersion(shares, dispersion)
        index = stability_index(counts, x, self._layout, 0.95, overall)
        is_calm = index.debiased <= tolerance / 2
        return self.take(evidence, weights, surprise, share, is_calm, rows > 0, start_ms)

    def _use_ranks(self, evidence: FloatArray, x: FloatArray, shares: FloatArray) -> None:
        known = self._calibration
        wild = ~known.is_calibrated[self._places] & (x.sum(axis=1) > 0)
        if wild.any():
            at = self._places[wild]
            far = relative_distance(x[wild], shares[wild], known.excess[at])
            evidence[:, :, wild] = rank_evalues(far, known.distances[:, at]) / known.lasting[at]


class RateLedgers(ManyBudgets):
    """`RateEDetector` with many budgets; parameters as of `Ledgers`."""

    def __init__(
        self, detector: RateEDetector, reference: ReferenceCounts, places: IntArray, budgets: FloatArray
    ) -> None:
        self._detector, self._places = detector, places
        self._counting = counting(reference, detector.counted)
        super().__init__(len(places), 1, budgets)

    def step(self, x: IntArray, start_ms: int) -> tuple[BoolArray, FloatArray]:
        """Take in counts ``[V, K]`` of the next window; alarms and logarithms of evidence ``[V, B]``."""
        ours, at = self._detector, self._places
        of_all = self._counting.limit(start_ms, ours.z_reference, ours.margin, ours.relative_margin)
        known = RateVariation(of_all.variation.between[at], of_all.variation.single.at(at))
        limit = RateLimit(of_all.rate[at], known, of_all.margin[at])
        n = x.sum(axis=1).astype(np.float64)
        hits = x[np.arange(len(x)), self._counting.places[at]].astype(np.float64)
        evidence = limit.log_evalues(hits, n)[:, None]
        weights = np.full((1, len(x)), 1 / TILTS)
        share = np.full(len(x), SINGLE_SHARE)
        is_calm = limit.is_usual(hits, n)
        return self.take(evidence, weights, -limit.log_tail(hits, n), share, is_calm, n > 0, start_ms)


class PairLedgers(ManyBudgets):
    """The watch of pairs of columns with many budgets.

    Parameters
    ----------
    detector : EDetector
        Its tolerance counts.
    known : Correlations
    streams : int
        Series that are judged side by side.
    budgets : float64 array [B]
    """

    def __init__(self, detector: EDetector, known: Correlations, streams: int, budgets: FloatArray) -> None:
        self._detector, self._known = detector, known
        super().__init__(streams, len(known.first), budgets)

    def step(self, grams: list[Gram], start_ms: int) -> tuple[BoolArray, FloatArray]:
        """Take in the next window of each series; alarms and logarithms of evidence ``[V, B]``."""
        ours, pairs = self._detector, len(self._known.first)
        each = [self._known.log_evalues(gram, ours.tolerance, ours.z_reference) for gram in grams]
        weights = np.full((pairs, len(grams)), 1 / (TILTS * pairs))
        nothing = np.zeros(len(grams))
        always = np.ones(len(grams), bool)
        evidence = np.stack(each, axis=-1)
        return self.take(evidence, weights, nothing - np.inf, nothing, always, always, start_ms)
