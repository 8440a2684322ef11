"""Which of many streams have an open alarm, and since when the others have been quiet; and its bytes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.latch import SETTLED_AFTER
from detectors.sealed import seal, unseal
from detectors.tensor import BoolArray, IntArray
from schemas.errors import ProfileError

_MAGIC = b"DLL1"


class _State(msgspec.Struct, array_like=True):
    is_open: bytes
    settled_for: bytes
    quiet_since: bytes
    rest: bytes


@dataclass
class Latches:
    """What `detectors.latch.Latch` says, of N streams; changed in place.

    Parameters
    ----------
    is_open : BoolArray
        ``[N]``.
    settled_for : IntArray
        ``[N]``: windows in a row that were back to normal while it was open.
    quiet_since : IntArray
        ``[N]``: end of the last window that spoke against a change.
    rest : bytes
        What a watch remembers besides.
    """

    is_open: BoolArray
    settled_for: NDArray[np.uint8]
    quiet_since: IntArray
    rest: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes, streams: int, start_ms: int) -> Latches:
        """Read what `to_bytes` wrote; no bytes give the state before the first window.

        Raises
        ------
        ProfileError
            If the bytes are damaged, or belong to another number of streams.
        """
        if not data:
            none = np.zeros(streams, np.uint8)
            return cls(np.zeros(streams, bool), none, np.full(streams, start_ms, np.int64))
        what = "state of a watch of data quality"
        state = unseal(_MAGIC, data, _State, what)
        sizes = len(state.is_open), len(state.settled_for), len(state.quiet_since)
        if sizes != (streams, streams, 8 * streams):
            msg = f"damaged {what}: not that of {streams} streams"
            raise ProfileError(msg)
        return cls(
            np.frombuffer(state.is_open, "u1") > 0,
            np.frombuffer(state.settled_for, "u1").copy(),
            np.frombuffer(state.quiet_since, "<i8").astype(np.int64),
            state.rest,
        )

    def to_bytes(self) -> bytes:
        """Serialise; versioned."""
        state = _State(
            self.is_open.astype("u1").tobytes(),
            self.settled_for.astype("u1").tobytes(),
            self.quiet_since.astype("<i8").tobytes(),
            self.rest,
        )
        return seal(_MAGIC, state)

    def take(self, is_alarm: BoolArray, is_normal: BoolArray, has_data: BoolArray, end_ms: int) -> None:
        """Take in what a window said; one without data neither settles a stream nor sets it back.

        Parameters
        ----------
        is_alarm : BoolArray
            ``[N]``: it raised an alarm; only streams that are not open can.
        is_normal : BoolArray
            ``[N]``: it is nothing unusual.
        has_data : BoolArray
            ``[N]``.
        end_ms : int
            Of the window.
        """
        counted = np.where(is_normal, np.minimum(self.settled_for + 1, SETTLED_AFTER), 0)
        counted = np.where(has_data, counted, self.settled_for)
        self.settled_for = np.where(self.is_open, counted, 0).astype(np.uint8)
        recovered = self.is_open & (self.settled_for >= SETTLED_AFTER)
        is_quiet = is_normal | self.is_open | is_alarm
        self.is_open = (self.is_open & ~recovered) | is_alarm
        self.settled_for[recovered | is_alarm] = 0
        self.quiet_since = np.where(is_quiet, end_ms, self.quiet_since)

    @property
    def is_off(self) -> BoolArray:
        """Whether streams are open and were not normal in the last window, ``[N]``."""
        return np.asarray(self.is_open & (self.settled_for == 0))
