"""How columns go together: evidence that products of their normal scores have left what the reference allows.

Two columns can keep their shares and still lose, or change, what ties them together. Each pair of columns is
watched through the product of its two normal scores, tilted as single columns are in `detectors.tilts`: e^θh
with h the product, centred and scaled by the reference. That only needs Σ zᵢzⱼ of a window, which its Gram
matrix holds. All pairs together are one stream with a ledger of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Variation, between_windows
from detectors.gram import UNIT, Gram, NormalScores
from detectors.ledger import Ledger, LedgerStep
from detectors.single_windows import SingleWindows
from detectors.streams import StreamStates
from detectors.tensor import FloatArray, IntArray
from detectors.tilts import TILTS
from schemas.column import CORRELATION
from schemas.decoding import msgpack_decoder
from schemas.errors import UnusableReference
from schemas.verdict import Decision, Lane, Verdict

MOST_COLUMNS = 32
FEWEST_ROWS = 200  # of a pair in the reference
# A product of two scores lies within ±9; a tilt beyond these strengths would be all about its extremes. With
# both signs there are as many as the ledger keeps.
STRENGTHS = np.array([0.03, 0.06, 0.12, 0.2, 0.3, 0.45])
_MOST_FITTED = 4_096  # rows that the tilts are measured on
_LEAST_VARIANCE = 1e-3
_NAMED = 3


class _State(msgspec.Struct, array_like=True):
    first: bytes
    second: bytes
    numbers: list[bytes]
    window_rows: float


@dataclass(frozen=True)
class Correlations:
    """What a reference knows of pairs of columns.

    Parameters
    ----------
    scores : NormalScores
    first, second : IntArray
        ``[P]``: places of the two columns of each pair among the columns with scores.
    rows : FloatArray
        ``[P]``: rows of the reference with both that the tilts were measured on.
    mean, deviation : FloatArray
        ``[P]``: of the product of the two scores.
    tilt_mean, tilt_deviation : FloatArray
        ``[12, P]``: of e^θh, h the centred and scaled product.
    between : FloatArray
        ``[P]``: variance of h's mean from window to window, beyond chance.
    window_rows : float
        Sampled rows of a window of the reference, on average.

    Notes
    -----
    For every distribution of rows within ε of the reference's in the χ² distance, the mean of e^θh is at most
    that of the reference plus ε times its standard deviation (Cauchy–Schwarz), so that
    ``exp(θ·Σh − n·ln(μ + ε·sd))`` is an e-value of a window of n independent rows, as in STATISTICS §2. The
    reference's own error counts as in `detectors.calibration.Variation`, and so does the dispersion D.
    """

    scores: NormalScores
    first: IntArray
    second: IntArray
    rows: FloatArray
    mean: FloatArray
    deviation: FloatArray
    tilt_mean: FloatArray
    tilt_deviation: FloatArray
    between: FloatArray
    window_rows: float

    @classmethod
    def learn(
        cls, whole: Gram, z: FloatArray, windows: Sequence[Gram], kept: IntArray
    ) -> Correlations | None:
        """Learn from the rows of a reference.

        Parameters
        ----------
        whole : Gram
            Of all sampled rows.
        z : FloatArray
            ``[d, n]``: their scores; nan where there is none.
        windows : sequence of Gram
            Of each of the reference's windows.
        kept : IntArray
            Places of the columns to watch; the first 32 count.

        Returns
        -------
        Correlations or None
            None without a pair of columns that vary together in at least 200 rows.
        """
        places = np.sort(kept[:MOST_COLUMNS])
        i, j = np.triu_indices(len(places), 1)
        first, second = places[i], places[j]
        width = whole.both.shape[1]
        block, a, b = first // width, first % width, second % width
        same = block == second // width
        block, a, b, first, second = block[same], a[same], b[same], first[same], second[same]
        n = whole.both[block, a, b].astype(np.float64)
        mean = whole.products[block, a, b] / np.maximum(n, 1) / UNIT**2
        variance = whole.squares[block, a, b] / np.maximum(n, 1) / UNIT**4 - mean**2
        use = (n >= FEWEST_ROWS) & (variance > _LEAST_VARIANCE)
        if not use.any():
            return None
        first, second, n, mean = first[use], second[use], np.minimum(n[use], _MOST_FITTED), mean[use]
        deviation = np.sqrt(variance[use])
        tilt_mean, tilt_deviation = _tilted(z[:, :_MOST_FITTED], first, second, mean, deviation)
        new = cls(
            whole.scores, first, second, n, mean, deviation, tilt_mean, tilt_deviation, np.zeros(len(n)), 0.0
        )
        seen = [new._sums(gram) for gram in windows]
        if not seen:
            return new
        sums, rows = (np.stack(part) for part in zip(*seen, strict=True))
        of_windows = rows.max(axis=1, initial=0.0)
        means = sums / np.maximum(rows, 1)
        between, _ = between_windows(means[:, None, :], of_windows[:, None])
        typical = float(np.median(between[0]))
        window_rows = float(of_windows[of_windows > 0].mean()) if of_windows.any() else 0.0
        return cls(
            whole.scores, first, second, n, mean, deviation, tilt_mean, tilt_deviation,
            _rounded(np.maximum(between[0], typical)), window_rows,
        )  # fmt: skip

    def _sums(self, gram: Gram) -> tuple[FloatArray, FloatArray]:
        """Σh and rows of every pair in a window."""
        width = gram.both.shape[1]
        at = (self.first // width, self.first % width, self.second % width)
        rows = gram.both[at].astype(np.float64)
        return (gram.products[at] / UNIT**2 - rows * self.mean) / self.deviation, rows

    def log_evalues(self, gram: Gram, tolerance: float, z_reference: float) -> FloatArray:
        """Logarithms of the e-values of all tilts of all pairs, ``[12, P]``."""
        sums, rows = self._sums(gram)
        nothing = SingleWindows.nothing(len(rows), 1)
        variation = Variation(self.between[:, None], np.full(len(rows), self.window_rows), nothing)
        radius = variation.radius(self.rows, np.full(len(rows), np.sqrt(tolerance)), z_reference)[:, 0]
        dispersion = variation.dispersion(rows)[:, 0]
        strengths = np.concatenate([STRENGTHS, -STRENGTHS])[:, None]
        limits = np.log(self.tilt_mean + radius * self.tilt_deviation)
        return np.asarray((strengths * sums - rows * limits) / dispersion)

    def correlation(self, gram: Gram) -> FloatArray:
        """Correlation of each pair, ``[P]``."""
        return gram.correlation[self.first, self.second]

    def raw(self) -> bytes:
        """Serialise as a part of something else."""
        numbers = (self.rows, self.mean, self.deviation, self.tilt_mean, self.tilt_deviation, self.between)
        parts = [part.astype("<f8").tobytes() for part in numbers]
        first, second = (part.astype("<i8").tobytes() for part in (self.first, self.second))
        return msgspec.msgpack.encode(_State(first, second, parts, self.window_rows))

    @classmethod
    def from_raw(cls, data: bytes, scores: NormalScores) -> Correlations:
        """Read what `raw` wrote.

        Raises
        ------
        UnusableReference
            If the bytes are damaged.
        """
        try:
            state = msgpack_decoder(_State).decode(data)
            first, second = (
                np.frombuffer(part, "<i8").astype(np.int64) for part in (state.first, state.second)
            )
            numbers = [np.frombuffer(part, "<f8").astype(np.float64) for part in state.numbers]
            rows, mean, deviation, tilt_mean, tilt_deviation, between = numbers
            tilts = (TILTS, len(first))
            return cls(
                scores, first, second, rows, mean, deviation, tilt_mean.reshape(tilts),
                tilt_deviation.reshape(tilts), between, state.window_rows,
            )  # fmt: skip
        except (msgspec.MsgspecError, ValueError) as problem:
            msg = f"damaged reference: {problem}"
            raise UnusableReference(msg) from problem


def judge_correlations(
    known: Correlations,
    reference: Gram,
    window: Gram,
    state: bytes,
    *,
    start_ms: int,
    end_ms: int,
    budget: float,
    tolerance: float,
    z_reference: float,
    detector: str,
) -> tuple[Verdict, bytes]:
    """Judge the next window of a series.

    Parameters
    ----------
    known : Correlations
    reference, window : Gram
        Of the same scores.
    state : bytes
        After the window before; empty for the first.
    start_ms, end_ms : int
        The window.
    budget : float
        Expected number of false alarms that it may cost.
    tolerance : float
        Population stability index of the rows' distribution that is worth nobody's time.
    z_reference : float
        Standard errors by which the reference itself may be wrong.
    detector : str
        Name that the verdict bears.

    Returns
    -------
    verdict : Verdict
        On the column ``multivariate.correlation``; it has evidence and no effects.
    state : bytes
    """
    pairs = len(known.first)
    states = StreamStates.from_bytes(state, 1, pairs, start_ms)
    given = np.where(states.is_open, 0.0, budget)
    states.rest(given)
    each = known.log_evalues(window, tolerance, z_reference)
    weights = np.full((pairs, 1), 1 / (TILTS * pairs))
    ledger = Ledger(states.mass)
    found: LedgerStep = ledger.step(each[:, :, None], given, weights, states.is_resting)
    onset = int(states.quiet_since[0])
    has_data = np.array([window.rows > 0])
    states.week.take(start_ms, end_ms, found.led_log, np.array([window.rows]), np.zeros(1))
    states.take(found.is_alarm, found.window_log < 0, has_data, found.evidence_log, given, end_ms)
    is_alarm, evidence = bool(found.is_alarm[0]), float(found.evidence_log[0])
    is_off = bool(states.is_open[0] and states.settled_for[0] == 0)
    verdict = Verdict(
        detector=detector,
        column=CORRELATION,
        segment="",
        lane=Lane.MULTIVARIATE,
        decision=_decision(window.rows, is_alarm=is_alarm, is_off=is_off),
        n=window.rows,
        m=reference.rows,
        statistic=max(evidence, -700.0),
        threshold=0.0,
        threshold_source="false-alarm budget; products of normal scores of sampled rows",
        evidence_log=evidence if np.isfinite(evidence) else None,
        explanation=_words(known, reference, window, each) if is_alarm else "",
        budget=float(given[0]),
        onset_ms=onset if is_alarm else None,
    )
    return verdict, states.to_bytes()


def _decision(rows: int, *, is_alarm: bool, is_off: bool) -> Decision:
    if is_alarm:
        return Decision.DRIFT
    if not rows:
        return Decision.NO_DATA
    return Decision.ONGOING if is_off else Decision.OK


def _words(known: Correlations, reference: Gram, window: Gram, each: FloatArray) -> str:
    """Name the pairs with the most evidence in this window."""
    before, after = known.correlation(reference), known.correlation(window)
    order = np.argsort(-each.max(axis=0), kind="stable")[:_NAMED]
    names = known.scores.columns
    told = [
        f"{names[known.first[at]]} and {names[known.second[at]]} {before[at]:.2f} → {after[at]:.2f}"
        for at in order.tolist()
        if each[:, at].max() > 0
    ]
    return (
        f"columns go together otherwise: correlation of {', of '.join(told)}"
        if told
        else ("columns go together otherwise than before")
    )


def _tilted(
    z: FloatArray, first: IntArray, second: IntArray, mean: FloatArray, deviation: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of e^θh over rows, ``[12, P]``."""
    tilt_mean, tilt_deviation = np.ones((TILTS, len(first))), np.zeros((TILTS, len(first)))
    strengths = np.concatenate([STRENGTHS, -STRENGTHS])
    for pair in range(len(first)):
        product = z[first[pair]] * z[second[pair]]
        h = (product[~np.isnan(product)] - mean[pair]) / deviation[pair]
        if not len(h):
            continue
        tilted = np.exp(strengths[:, None] * h)
        tilt_mean[:, pair], tilt_deviation[:, pair] = tilted.mean(axis=1), tilted.std(axis=1)
    return _rounded(tilt_mean), _rounded(tilt_deviation)


def _rounded(values: NDArray[np.float64]) -> FloatArray:
    """Eight digits: what rounding leaves in the last ones is none of the reference's."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 2**27) / 2**27, exponent))
