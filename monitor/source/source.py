"""What the ingest loop needs of a source of messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.store.positions import Place


@dataclass
class Fetched:
    """Messages of one fetch, in columns; within a partition in the order of their offsets.

    Parameters
    ----------
    places : list of Place
        Partitions that the messages are from.
    place : int64 array [n]
        Index into `places`.
    offset : int64 array [n]
    timestamp_ms : int64 array [n]
        Of the record, as the broker keeps it.
    values : list of bytes
        Empty for a message without a value.
    raw : sequence
        The messages themselves; only `key_of` and `headers_of` of the source look inside.
    ended : set of Place
        Partitions whose end was reached.
    """

    places: list[Place] = field(default_factory=list)
    place: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    offset: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    timestamp_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    values: list[bytes] = field(default_factory=list)
    raw: Sequence[Any] = ()
    ended: set[Place] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.values)


class Listener(Protocol):
    """Told, inside `Source.fetch`, which partitions come and go."""

    def assigned(self, places: list[Place]) -> dict[Place, int | None]:
        """Take over partitions; returns where to begin with each, None for one that must not be read."""
        ...

    def revoked(self, places: list[Place]) -> None:
        """Finish work on partitions that are about to go to somebody else."""
        ...

    def lost(self, places: list[Place]) -> None:
        """Drop work on partitions that somebody else has already."""
        ...

    def unreadable(self, place: Place, reason: str) -> None:
        """Learn that the position in a partition is not in the source any more."""
        ...


class Source(Protocol):
    """A source of messages. All calls come from one thread."""

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """Ask for partitions of topics."""
        ...

    def fetch(self, limit: int, timeout_s: float) -> Fetched:
        """Messages that are there, at most `limit`; waits up to `timeout_s` for the first."""
        ...

    def range_of(self, place: Place) -> tuple[int, int]:
        """First offset that is kept, and the one after the last."""
        ...

    def topic_id(self, topic: str) -> str:
        """Identity of a topic; empty if the source cannot tell."""
        ...

    def seek(self, place: Place, offset: int) -> None:
        """Go on elsewhere in a partition that is assigned."""
        ...

    def pause(self, places: Sequence[Place]) -> None:
        """Fetch nothing of some partitions for a while."""
        ...

    def unpause(self, places: Sequence[Place]) -> None:
        """Fetch of them again."""
        ...

    def keep_alive(self, seconds: float) -> None:
        """Let time pass while everything is paused; partitions may come and go meanwhile."""
        ...

    def lag(self, place: Place, position: int) -> int | None:
        """Messages between a position and the end as far as known."""
        ...

    def show_position(self, offsets: dict[Place, int]) -> None:
        """Tell the outside how far reading has come; for display only."""
        ...

    def key_of(self, message: Any) -> bytes | None:
        """Key of a message."""
        ...

    def headers_of(self, message: Any) -> list[tuple[str, bytes | None]]:
        """Headers of a message."""
        ...

    def close(self) -> None:
        """Give everything back; `Listener.revoked` is called for what was assigned."""
        ...
