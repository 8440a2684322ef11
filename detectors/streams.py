"""What an e-detector carries from window to window for each stream, and its bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.tensor import BoolArray, FloatArray, IntArray
from detectors.tilts import TILTS
from schemas.errors import UsageError

RECOVERY_WINDOWS = 3
QUIET_BUDGETS = 5.0  # evidence of so many windows' budgets or less is what chance gives
_MAGIC = b"DLE1"
_HEADER = struct.Struct("<QQQ")  # streams, directions, bytes before compression


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
    """

    mass: NDArray[np.float32]
    is_open: BoolArray
    settled_for: NDArray[np.uint8]
    quiet_since: IntArray

    @classmethod
    def new(cls, streams: int, directions: int, start_ms: int) -> StreamStates:
        """Return the state before the first window."""
        return cls(
            np.zeros((TILTS, directions, streams), np.float32),
            np.zeros(streams, bool),
            np.zeros(streams, np.uint8),
            np.full(streams, start_ms, np.int64),
        )

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
        with np.errstate(divide="ignore"):
            quiet = evidence <= np.log(QUIET_BUDGETS * budget)
        self.quiet_since = np.where(quiet | self.is_open | recovered, end_ms, self.quiet_since)

    def to_bytes(self) -> bytes:
        """Serialise; versioned."""
        raw = b"".join(
            (
                self.mass.astype("<f4").tobytes(),
                self.is_open.astype("u1").tobytes(),
                self.settled_for.tobytes(),
                self.quiet_since.astype("<i8").tobytes(),
            )
        )
        _, directions, streams = self.mass.shape
        packed: bytes = pa.compress(raw, codec="zstd", asbytes=True)
        return _MAGIC + _HEADER.pack(streams, directions, len(raw)) + packed

    @classmethod
    def from_bytes(cls, data: bytes, streams: int, directions: int, start_ms: int) -> StreamStates:
        """Read what `to_bytes` wrote; no bytes give the state before the first window.

        Raises
        ------
        UsageError
            If the bytes are damaged, or belong to another number of streams.
        """
        if not data:
            return cls.new(streams, directions, start_ms)
        size = streams * (directions * TILTS * 4 + 1 + 1 + 8)
        header = data[: len(_MAGIC) + _HEADER.size]
        if header != _MAGIC + _HEADER.pack(streams, directions, size):
            msg = f"state of an e-detector: not that of {streams} streams with {directions} directions"
            raise UsageError(msg)
        try:
            raw = pa.decompress(data[len(header) :], size, codec="zstd", asbytes=True)
        except (OSError, pa.ArrowException) as error:
            msg = f"damaged state of an e-detector: {error}"
            raise UsageError(msg) from error
        masses = streams * directions * TILTS * 4
        mass = np.frombuffer(raw, "<f4", streams * directions * TILTS).astype(np.float32)
        rest = [
            np.frombuffer(raw, "u1", streams, masses),
            np.frombuffer(raw, "u1", streams, masses + streams),
            np.frombuffer(raw, "<i8", streams, masses + 2 * streams),
        ]
        return cls(
            mass.reshape(TILTS, directions, streams),
            rest[0].astype(bool),
            rest[1].copy(),
            rest[2].astype(np.int64),
        )
