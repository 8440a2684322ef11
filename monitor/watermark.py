"""How far event time has come, for each model, as the database tells it.

A model's watermark is the smallest over the partitions that may still bring earlier events of it. A partition
holds a model back by the newest event of that model it has delivered; if it has delivered none, by its newest
event of any model. It holds nothing back once it is *idle* for the model: at its end, and without an event of
the model for a while. When every partition is idle, event time goes on at wall speed from the newest event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PartitionTime:
    """State of one partition, in epoch milliseconds; `at_end_since_ms` is None while events wait in it.

    `reached_end` says that it has been at its end at least once.
    """

    max_event_ms: int | None
    at_end_since_ms: int | None
    reached_end: bool
    stopped: bool = False


@dataclass(frozen=True)
class ModelTime:
    """Newest event of a model in one partition, and when (wall clock) it arrived."""

    max_event_ms: int
    arrived_at_ms: int


def watermark_ms(
    partitions: Iterable[tuple[PartitionTime, ModelTime | None]],
    *,
    lateness_ms: int,
    idle_after_ms: int,
    now_ms: int,
) -> int | None:
    """Event time before which no more events of a model are waited for.

    Parameters
    ----------
    partitions : iterable of (PartitionTime, ModelTime or None)
        Every partition of the streams, with what it has delivered of the model.
    lateness_ms : int
        How long late events are waited for.
    idle_after_ms : int
        How long a partition has to be at its end, without an event of the model, before it counts as idle.
    now_ms : int
        Wall clock.

    Returns
    -------
    int or None
        Epoch milliseconds; None before the first event.

    Examples
    --------
    >>> busy = PartitionTime(max_event_ms=5_000, at_end_since_ms=None, reached_end=True)
    >>> behind = PartitionTime(max_event_ms=3_000, at_end_since_ms=None, reached_end=False)
    >>> seen = ModelTime(max_event_ms=5_000, arrived_at_ms=90_000)
    >>> watermark_ms([(busy, seen), (behind, None)], lateness_ms=1_000, idle_after_ms=10_000, now_ms=100_000)
    2000
    """
    holding: list[int] = []
    newest: ModelTime | None = None
    for partition, model in partitions:
        if model is not None and (newest is None or model.max_event_ms > newest.max_event_ms):
            newest = model
        if partition.stopped:
            continue
        if model is None:
            if not partition.reached_end:
                holding.append(-1 if partition.max_event_ms is None else partition.max_event_ms)
            continue
        at_end = partition.at_end_since_ms is not None and now_ms - partition.at_end_since_ms >= idle_after_ms
        if not (at_end and now_ms - model.arrived_at_ms >= idle_after_ms):
            holding.append(model.max_event_ms)
    if newest is None:
        return None
    if holding:
        return min(holding) - lateness_ms
    return newest.max_event_ms + max(0, now_ms - newest.arrived_at_ms) - lateness_ms
