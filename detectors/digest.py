"""The weekly digest: which streams drifted in a week, with few false ones among those that are listed.

Unlike an alarm, which has to come early, the digest looks back on a fixed week. The e-values of its windows
are multiplied to one for each stream; e-BH then lists streams so that the expected share of false ones among
them stays below a level, however the streams hang together. docs/decisions/0012-weekly-digest.md says why the
windows are multiplied in this way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from detectors.tensor import BoolArray, FloatArray, IntArray
from schemas.errors import UsageError

LEVEL = 0.1
WEEK_MS = 604_800_000
_MONDAY_MS = 345_600_000  # the first Monday of the epoch
_CHANGES_A_WEEK = 3.0
_MOST_CHANGE = 0.25
_HEAD = struct.Struct("<qqqQ")  # start, first and last window, number of windows


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


@dataclass
class WeeklyEvidence:
    """Evidence of the windows of one week that N streams have drifted.

    Parameters
    ----------
    start_ms : int
        Start of the week; see `week_of`.
    first_ms, last_ms : int
        Starts of the first and of the latest window that were taken in.
    windows : int
        Number of windows; 0: there is no week yet.
    log_evalue : FloatArray
        ``[N]``: logarithm of the e-value of each stream; 0 without windows.
    belief : FloatArray
        ``[N]``: how far the windows until now, also of weeks before, speak for a drift right now; 0 to 1.
    rows : IntArray
        ``[N]``: rows of the windows.
    psi : FloatArray
        ``[N]``: largest de-biased population stability index of a window.
    psi_at_ms : IntArray
        ``[N]``: start of the window that had it.

    Notes
    -----
    Each window brings one e-value E for each stream, see `detectors.ledger.LedgerStep`. The digest's stake of
    1 is put on it in part::

        λ = π + (1 − 2π)·belief;  e ← e·(1 − λ + λ·E);  belief ← λE/(1 − λ + λE)

    As λ is known before the window is looked at, e keeps an expectation of at most 1 for a stream that stays
    within its tolerance, whatever π is. This is the likelihood ratio of drifts that begin and end with
    probability π in each window, averaged over all their courses: a calm Monday costs next to nothing, and a
    drift from Thursday to Friday counts in full. π amounts to three changes a week, and is at most a quarter.

    Guarantees
    ----------
    40 bytes a stream. The evidence of a stream does not depend on which others there are.

    References
    ----------
    .. [1] M. Herbster, M. K. Warmuth, "Tracking the best expert", Machine Learning 32 (1998): how to follow a
       change among predictions at a cost that is known beforehand.

    Examples
    --------
    >>> week = WeeklyEvidence.new(2)
    >>> for hour in range(24):
    ...     start_ms = week_of(0) + hour * 3_600_000
    ...     week.take(start_ms, start_ms + 3_600_000, np.array([-4.0, 2.0]), np.ones(2, int), np.zeros(2))
    >>> week.windows, week.log_evalue.round(1)
    (24, array([-0.4, 43.7]))
    """

    start_ms: int
    first_ms: int
    last_ms: int
    windows: int
    log_evalue: FloatArray
    belief: FloatArray
    rows: IntArray
    psi: FloatArray
    psi_at_ms: IntArray

    @classmethod
    def new(cls, streams: int) -> WeeklyEvidence:
        """Return the evidence before the first window."""
        numbers = [np.zeros(streams) for _ in range(3)]
        counts = [np.zeros(streams, np.int64) for _ in range(2)]
        return cls(0, 0, 0, 0, numbers[0], numbers[1], counts[0], numbers[2], counts[1])

    def take(self, start_ms: int, end_ms: int, logs: FloatArray, rows: IntArray, psi: FloatArray) -> None:
        """Take in a window; the first one of a week begins anew, and keeps only the belief.

        Parameters
        ----------
        start_ms, end_ms : int
            The window; it belongs to the week in which it starts. Later than the one before.
        logs : FloatArray
            ``[N]``: logarithm of its e-value.
        rows : IntArray
            ``[N]``.
        psi : FloatArray
            ``[N]``: its de-biased population stability index; 0 where there are no rows.
        """
        if not self.windows or week_of(start_ms) != self.start_ms:
            self._begin(start_ms)
        change = min(_MOST_CHANGE, _CHANGES_A_WEEK * (end_ms - start_ms) / WEEK_MS)
        stake = change + (1 - 2 * change) * self.belief
        factor = 1 + stake * np.expm1(logs)  # exactly 1 for a window without evidence
        self.log_evalue += np.log(factor)
        self.belief = stake * np.exp(logs) / factor
        self.rows += rows
        is_larger = psi > self.psi
        self.psi = np.where(is_larger, psi, self.psi)
        self.psi_at_ms = np.where(is_larger, start_ms, self.psi_at_ms)
        self.last_ms = start_ms
        self.windows += 1

    def _begin(self, start_ms: int) -> None:
        new = WeeklyEvidence.new(len(self.belief))
        self.start_ms, self.first_ms, self.windows = week_of(start_ms), start_ms, 0
        self.log_evalue, self.rows = new.log_evalue, new.rows
        self.psi, self.psi_at_ms = new.psi, np.full_like(new.psi_at_ms, start_ms)

    def to_bytes(self) -> bytes:
        """Serialise, without compression and without a version: part of the bytes of a detector's state."""
        head = _HEAD.pack(self.start_ms, self.first_ms, self.last_ms, self.windows)
        numbers = [array.astype("<f8") for array in (self.log_evalue, self.belief, self.psi)]
        counts = [array.astype("<i8") for array in (self.rows, self.psi_at_ms)]
        return b"".join((head, *(array.tobytes() for array in (*numbers, *counts))))

    @classmethod
    def size_of(cls, streams: int) -> int:
        """Length of the bytes for so many streams."""
        return _HEAD.size + 40 * streams

    @classmethod
    def from_bytes(cls, data: bytes, streams: int) -> WeeklyEvidence:
        """Read what `to_bytes` wrote, from the start of `data`."""
        numbers = np.frombuffer(data, "<f8", 3 * streams, _HEAD.size).astype(np.float64).reshape(3, streams)
        after = _HEAD.size + 24 * streams
        counts = np.frombuffer(data, "<i8", 2 * streams, after).astype(np.int64).reshape(2, streams)
        start_ms, first_ms, last_ms, windows = _HEAD.unpack_from(data)
        return cls(
            start_ms, first_ms, last_ms, windows, numbers[0], numbers[1], counts[0], numbers[2], counts[1]
        )
