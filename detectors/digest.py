"""The weekly digest: which streams drifted in a week, with few false ones among those that are listed.

Unlike an alarm, which has to come early, the digest looks back on a fixed week. Evidence of its windows is
multiplied for each tilt (see `detectors.tilts`) and mixed over the tilts; e-BH then lists streams so that the
expected share of false ones among them stays below a level, however the streams hang together.
"""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import special

from detectors.sealed import seal, unseal
from detectors.tensor import BoolArray, FloatArray
from detectors.tilts import TILTS
from schemas.errors import ProfileError, UsageError

LEVEL = 0.1
WEEK_MS = 604_800_000
MOST_NATS = 200.0  # of one window
MOST_WINDOWS = 10_080  # a week of minutes; so many of the largest evidence still fit 32 bits
_MONDAY_MS = 345_600_000  # the first Monday of the epoch
_UNIT = 1_024  # evidence is kept in 1,024ths of a nat
_MAGIC = b"DLW1"


def week_of(instant_ms: int) -> int:
    """Start of the week, Monday 00:00 UTC, that an instant lies in.

    Examples
    --------
    >>> week_of(1_700_000_000_000)  # Tuesday, 14 November 2023
    1699833600000
    """
    return instant_ms - (instant_ms - _MONDAY_MS) % WEEK_MS


def e_bh(log_evalues: FloatArray, level: float = LEVEL) -> BoolArray:
    """Choose streams so that the expected share of false ones among the chosen is at most `level`.

    Parameters
    ----------
    log_evalues : FloatArray
        ``[S]``: logarithm of the e-value of each stream; -inf is allowed, nan is not.
    level : float
        False discovery rate, above 0 and at most 1.

    Returns
    -------
    BoolArray
        ``[S]``: the stream is chosen.

    Raises
    ------
    UsageError
        If the level is out of range or an e-value is nan.

    Notes
    -----
    The streams with the k largest e-values, k being the largest number with ``e_(k) ≥ S/(level·k)``. The rate
    holds under any dependence between the streams.

    References
    ----------
    .. [1] R. Wang, A. Ramdas, "False discovery rate control with e-values", Journal of the Royal Statistical
       Society B 84 (2022), definition 1 and theorem 2.

    Examples
    --------
    >>> e_bh(np.log([25.0, 3.0, 0.5, 21.0]))
    array([ True, False, False,  True])
    """
    if not 0 < level <= 1:
        msg = f"level: {level} (a number above 0 and at most 1 is allowed)"
        raise UsageError(msg)
    if np.isnan(log_evalues).any():
        msg = "log_evalues: one is not a number"
        raise UsageError(msg)
    streams = len(log_evalues)
    chosen = np.zeros(streams, bool)
    order = np.argsort(-log_evalues, kind="stable")
    needed = np.log(max(streams, 1) / level) - np.log(np.arange(1, streams + 1))
    enough = np.flatnonzero(log_evalues[order] >= needed)
    if len(enough):
        chosen[order[: enough[-1] + 1]] = True
    return chosen


class _State(msgspec.Struct, array_like=True):
    week_ms: int
    fingerprint: int
    windows: int
    evidence: bytes


class WeeklyEvidence:
    """Evidence of the windows of one week for every tilt of N streams.

    Parameters
    ----------
    week_ms : int
        Start of the week; see `week_of`.
    weights : FloatArray
        ``[directions, N]`` of `detectors.tilts.tilt_weights`; directions that weigh nothing take no room.

    Attributes
    ----------
    windows : int
        Windows that were added.

    Notes
    -----
    For each stream, ``log Σ_j w_j Π_t E_j(t)`` over its tilts j, whose weights w sum to 1, and its windows t.
    The evidence of a window is rounded down to 1,024ths of a nat and cut at ±200 nats. Rounding down and
    cutting above only lose evidence. Cutting below adds at most e⁻²⁰⁰ to the expectation of a window.

    Guarantees
    ----------
    Adding windows in any order and merging parts in any order gives the same bytes. Each window must be added
    once. Memory is 48 bytes for each direction of a stream that has weight.

    References
    ----------
    .. [1] R. Wang, A. Ramdas, "False discovery rate control with e-values", Journal of the Royal Statistical
       Society B 84 (2022).

    Examples
    --------
    >>> week = WeeklyEvidence(week_of(0), np.array([[0.5, 1.0], [0.5, 0.0]]) / TILTS)
    >>> for _ in range(3):
    ...     week.add(0, np.full((12, 2, 2), 2.0))
    >>> week.log_evalues()
    array([6., 6.])
    """

    def __init__(self, week_ms: int, weights: FloatArray) -> None:
        if week_of(week_ms) != week_ms:
            msg = f"week_ms: {week_ms} is not the start of a week ({week_of(week_ms)} is)"
            raise UsageError(msg)
        self.week_ms = week_ms
        self.windows = 0
        self._weights = weights
        self._used: BoolArray = weights > 0
        self._evidence: npt.NDArray[np.int32] = np.zeros((TILTS, np.count_nonzero(self._used)), np.int32)

    @property
    def size_bytes(self) -> int:
        """Memory that the evidence takes."""
        return self._evidence.nbytes

    def add(self, start_ms: int, log_evalues: FloatArray) -> None:
        """Take in one window.

        Parameters
        ----------
        start_ms : int
            Its first instant; it belongs to the week that this lies in.
        log_evalues : FloatArray
            ``[12, directions, N]`` of `detectors.tilts.log_evalues`.

        Raises
        ------
        UsageError
            If the window belongs to another week, its shape is wrong, or there are more than 10,080 of them.
        """
        expected = (TILTS, *self._weights.shape)
        if week_of(start_ms) != self.week_ms:
            msg = f"window: it starts in the week of {week_of(start_ms)} (that of {self.week_ms} is expected)"
            raise UsageError(msg)
        if log_evalues.shape != expected:
            msg = f"window: shape {log_evalues.shape} ({expected} is expected)"
            raise UsageError(msg)
        used = np.clip(log_evalues[:, self._used], -MOST_NATS, MOST_NATS)
        used *= _UNIT
        self._gather(np.floor(used, out=used).astype(np.int32), 1)

    def merge(self, *others: WeeklyEvidence) -> None:
        """Add the evidence of other windows of the same week.

        Raises
        ------
        ProfileError
            If they are of another week or other streams.
        """
        for other in others:
            if (other.week_ms, other._fingerprint) != (self.week_ms, self._fingerprint):
                msg = "weekly evidence of another week, or of other streams, cannot be added"
                raise ProfileError(msg)
            self._gather(other._evidence, other.windows)

    def _gather(self, evidence: npt.NDArray[np.int32], windows: int) -> None:
        if self.windows + windows > MOST_WINDOWS:
            msg = f"weekly evidence of {self.windows + windows} windows (at most {MOST_WINDOWS} are allowed)"
            raise UsageError(msg)
        self._evidence += evidence
        self.windows += windows

    def log_evalues(self) -> FloatArray:
        """Logarithm of the e-value of each stream, ``[N]``; 0 without windows."""
        mixed = np.full(self._weights.shape, -np.inf)
        of_directions = special.logsumexp(self._evidence / _UNIT, axis=0)
        mixed[self._used] = of_directions + np.log(self._weights[self._used])
        return np.asarray(special.logsumexp(mixed, axis=0))

    def drifted(self, level: float = LEVEL) -> BoolArray:
        """Streams ``[N]`` that the digest lists; see `e_bh`."""
        return e_bh(self.log_evalues(), level)

    @property
    def _fingerprint(self) -> int:
        return zlib.crc32(self._weights.astype("<f4").tobytes(), self._weights.shape[1])

    def to_bytes(self) -> bytes:
        """Serialise; versioned and compressed."""
        raw = self._evidence.astype("<i4").tobytes()
        return seal(_MAGIC, _State(self.week_ms, self._fingerprint, self.windows, raw))

    @classmethod
    def from_bytes(cls, data: bytes, weights: FloatArray) -> WeeklyEvidence:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are damaged, or of streams with other weights.
        """
        state = unseal(_MAGIC, data, _State, "week of evidence")
        new = cls(state.week_ms, weights)
        if state.fingerprint != new._fingerprint or len(state.evidence) != new._evidence.nbytes:
            msg = "the week of evidence is that of other streams"
            raise ProfileError(msg)
        new.windows = state.windows
        new._evidence = np.frombuffer(state.evidence, "<i4").reshape(TILTS, -1).astype(np.int32)
        return new
