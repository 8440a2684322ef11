"""What an e-detector carries from window to window for each stream, and its bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.digest import WeeklyEvidence
from detectors.tensor import BoolArray, FloatArray, IntArray
from detectors.tilts import TILTS
from schemas.errors import UsageError

RECOVERY_WINDOWS = 3
QUIET_BUDGETS = 5.0  # evidence of so many windows' budgets or less is what chance gives
_MAGIC, _WITHOUT_WEEK = b"DLE2", b"DLE1"
_HEADER = struct.Struct("<QQQ")  # streams, directions, bytes before compression
_LENGTH = struct.Struct("<Q")  # of the compressed week
_IS_OPEN, _IS_RESTING = 1, 2


@dataclass
class StreamStates:
    """State of N streams.

    Parameters
    ----------
    mass : float32 array [12, directions, N]
        See `detectors.ledger.Ledger`.
    is_open : BoolArray
        ``[N]``: an alarm was raised and the stream is not back to normal.
    settled_for : uint8 array [N]
        Windows with data, in a row, in which an open stream looked normal.
    quiet_since : IntArray
        ``[N]``: end of the latest window after which there was no more evidence than chance gives.
    is_resting : BoolArray
        ``[N]``: the masses only say which tilts have fitted lately; see `detectors.ledger.Ledger`.
    week : WeeklyEvidence
        For the digest.
    """

    mass: NDArray[np.float32]
    is_open: BoolArray
    settled_for: NDArray[np.uint8]
    quiet_since: IntArray
    is_resting: BoolArray
    week: WeeklyEvidence

    @classmethod
    def new(cls, streams: int, directions: int, start_ms: int) -> StreamStates:
        """Return the state before the first window."""
        return cls(
            np.zeros((TILTS, directions, streams), np.float32),
            np.zeros(streams, bool),
            np.zeros(streams, np.uint8),
            np.full(streams, start_ms, np.int64),
            np.zeros(streams, bool),
            WeeklyEvidence.new(streams),
        )

    def rest(self, budget: FloatArray) -> None:
        """Let streams without a budget rest in the next window, and have those that get one begin at 0.

        A stream that is not open and has collected evidence goes on without a budget as it would with one.
        """
        may_rest = ~self.is_open & ~self.is_resting & (budget == 0)
        is_bare = np.zeros(len(budget), bool)
        is_bare[may_rest] = ~self.mass[..., may_rest].any(axis=(0, 1))
        woken = self.is_resting & ~self.is_open & (budget > 0)
        self.mass[..., woken] = 0.0
        self.is_resting = (self.is_resting | self.is_open | is_bare) & ~woken

    def take(
        self,
        is_alarm: BoolArray,
        is_normal: BoolArray,
        has_data: BoolArray,
        evidence: FloatArray,
        budget: FloatArray,
        end_ms: int,
    ) -> None:
        """Take in what a window said; one without data neither settles a stream nor sets it back."""
        counted = np.where(is_normal, np.minimum(self.settled_for + 1, RECOVERY_WINDOWS), 0)
        counted = np.where(has_data, counted, self.settled_for)
        self.settled_for = np.where(self.is_open, counted, 0).astype(np.uint8)
        recovered = self.is_open & (self.settled_for >= RECOVERY_WINDOWS)
        self.is_open = (self.is_open & ~recovered) | is_alarm
        self.settled_for[recovered | is_alarm] = 0
        self.is_resting = self.is_resting | is_alarm
        with np.errstate(divide="ignore"):
            quiet = evidence <= np.log(QUIET_BUDGETS * budget)
        self.quiet_since = np.where(quiet | self.is_open | recovered, end_ms, self.quiet_since)

    def to_bytes(self) -> bytes:
        """Serialise; versioned. The week comes first, so that it can be read alone."""
        flags = self.is_open * _IS_OPEN + self.is_resting * _IS_RESTING
        raw = b"".join(
            (
                self.mass.astype("<f4").tobytes(),
                flags.astype("u1").tobytes(),
                self.settled_for.tobytes(),
                self.quiet_since.astype("<i8").tobytes(),
            )
        )
        _, directions, streams = self.mass.shape
        week: bytes = pa.compress(self.week.to_bytes(), codec="zstd", asbytes=True)
        packed: bytes = pa.compress(raw, codec="zstd", asbytes=True)
        header = _HEADER.pack(streams, directions, len(raw))
        return b"".join((_MAGIC, header, _LENGTH.pack(len(week)), week, packed))

    @classmethod
    def from_bytes(cls, data: bytes, streams: int, directions: int, start_ms: int) -> StreamStates:
        """Read what `to_bytes` wrote; no bytes give the state before the first window.

        States of versions that knew no digest are read as well; their week begins with the next window.

        Raises
        ------
        UsageError
            If the bytes are damaged, or belong to another number of streams.
        """
        if not data:
            return cls.new(streams, directions, start_ms)
        size = streams * (directions * TILTS * 4 + 1 + 1 + 8)
        begin = len(_MAGIC) + _HEADER.size
        if data[:4] not in (_MAGIC, _WITHOUT_WEEK) or data[4:begin] != _HEADER.pack(
            streams, directions, size
        ):
            msg = f"state of an e-detector: not that of {streams} streams with {directions} directions"
            raise UsageError(msg)
        week, begin = _week_of(data, streams)
        raw = _decompressed(data[begin:], size)
        masses = streams * directions * TILTS * 4
        mass = np.frombuffer(raw, "<f4", streams * directions * TILTS).astype(np.float32)
        flags = np.frombuffer(raw, "u1", streams, masses)
        settled_for = np.frombuffer(raw, "u1", streams, masses + streams)
        quiet_since = np.frombuffer(raw, "<i8", streams, masses + 2 * streams)
        return cls(
            mass.reshape(TILTS, directions, streams),
            (flags & _IS_OPEN) > 0,
            settled_for.copy(),
            quiet_since.astype(np.int64),
            (flags & _IS_RESTING) > 0,
            week,
        )


def week_in(state: bytes) -> WeeklyEvidence | None:
    """Read the evidence of the week alone.

    Parameters
    ----------
    state : bytes
        Of any detector.

    Returns
    -------
    WeeklyEvidence or None
        None if the state holds none.

    Raises
    ------
    UsageError
        If the bytes are damaged.
    """
    if state[:4] != _MAGIC:
        return None
    try:
        streams = int(_HEADER.unpack_from(state, len(_MAGIC))[0])
    except struct.error as error:
        msg = f"damaged state of an e-detector: {error}"
        raise UsageError(msg) from error
    week, _ = _week_of(state, streams)
    return week if week.windows else None


def _week_of(state: bytes, streams: int) -> tuple[WeeklyEvidence, int]:
    """Evidence of the week, and where the rest of the state begins."""
    begin = len(_MAGIC) + _HEADER.size
    if state[:4] == _WITHOUT_WEEK:
        return WeeklyEvidence.new(streams), begin
    try:
        (length,) = _LENGTH.unpack_from(state, begin)
    except struct.error as error:
        msg = f"damaged state of an e-detector: {error}"
        raise UsageError(msg) from error
    begin += _LENGTH.size
    raw = _decompressed(state[begin : begin + length], WeeklyEvidence.size_of(streams))
    return WeeklyEvidence.from_bytes(raw, streams), begin + length


def _decompressed(packed: bytes, size: int) -> bytes:
    try:
        raw: bytes = pa.decompress(packed, size, codec="zstd", asbytes=True)
    except (OSError, pa.ArrowException) as error:
        msg = f"damaged state of an e-detector: {error}"
        raise UsageError(msg) from error
    return raw
