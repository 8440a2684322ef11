"""What the ingest loop writes into the log: partitions that come and go, how far they are read."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from monitor.clock import Clock
from monitor.store.committing import Commit, PartitionDelta
from monitor.store.positions import Claim, Place

logger = logging.getLogger("monitor.ingest")

EVERY_S = 60.0


@dataclass
class _Minute:
    """What was taken in of a partition since it was last told of."""

    from_offset: int
    to_offset: int
    outcomes: Counter[str] = field(default_factory=Counter)
    commits: int = 0


class Diary:
    """Writes one line an event, and of commits one line a minute and partition (each of them at level debug).

    Parameters
    ----------
    clock : Clock
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minutes: dict[Place, _Minute] = {}
        self._letters: Counter[tuple[str, str]] = Counter()
        self._told_at = clock.monotonic()
        self._away_since: float | None = None

    def claimed(self, claim: Claim) -> None:
        """A partition is ours, and read from its position on."""
        about = {**whereabouts(claim.place), "offset": claim.next_offset, "epoch": claim.epoch}
        logger.info("partition claimed", extra=about)

    def released(self, place: Place, offset: int) -> None:
        """A partition goes to another process, or is given back."""
        logger.info("partition given back", extra={**whereabouts(place), "offset": offset})

    def stopped(self, place: Place, offset: int, reason: str) -> None:
        """A partition is not read any more until somebody has decided."""
        logger.error("partition stopped: %s", reason, extra={**whereabouts(place), "offset": offset})

    def fenced(self, work: Commit, error: Exception) -> None:
        """A commit was refused: of what was counted nothing is kept, and everything is read again."""
        for delta in work.partitions:
            logger.warning("%s; reading on from the database", error, extra=_span(delta))

    def waits(self, error: Exception) -> None:
        """The database is away; nothing is fetched meanwhile."""
        if self._away_since is None:
            self._away_since = self._clock.monotonic()
        logger.warning("commit waits: %s", error)

    def committed(self, work: Commit, seconds: float) -> None:
        """Everything since the last commit is in the database."""
        duration_ms = round(seconds * 1_000)
        if self._away_since is not None:
            away_s = self._clock.monotonic() - self._away_since
            self._away_since = None
            logger.info("the database is back", extra={"duration_ms": round(away_s * 1_000)})
        for delta in work.partitions:
            about = {**_span(delta), "rows": delta.outcomes["counted"], "duration_ms": duration_ms}
            logger.debug("committed", extra=about)
            self._add(delta)
        self._letters.update((str(one["topic"]), str(one["kind"])) for one in work.dead_letters)
        if self._clock.monotonic() - self._told_at >= EVERY_S:
            self._tell()

    def _add(self, delta: PartitionDelta) -> None:
        minute = self._minutes.setdefault(delta.claim.place, _Minute(delta.from_offset, delta.next_offset))
        minute.to_offset = delta.next_offset
        minute.outcomes.update(delta.outcomes)
        minute.commits += 1

    def _tell(self) -> None:
        for place, minute in self._minutes.items():
            if minute.to_offset > minute.from_offset:
                logger.info("events taken in", extra={**whereabouts(place), **_summed(minute)})
        for (topic, kind), number in self._letters.items():
            about = {"topic": topic, "kind": kind, "dead_letters": number}
            logger.warning("messages could not be taken in", extra=about)
        self._minutes.clear()
        self._letters.clear()
        self._told_at = self._clock.monotonic()


def whereabouts(place: Place) -> dict[str, Any]:
    """Fields of a log line that is about a partition."""
    return {"topic": place.topic, "partition": place.partition}


def _span(delta: PartitionDelta) -> dict[str, Any]:
    """Which offsets of which partition: from the first to the last of them."""
    offsets = {"from_offset": delta.from_offset, "to_offset": delta.next_offset}
    return {**whereabouts(delta.claim.place), **offsets}


def _summed(minute: _Minute) -> dict[str, Any]:
    told = {"from_offset": minute.from_offset, "to_offset": minute.to_offset}
    others = {name: number for name, number in minute.outcomes.items() if number and name != "counted"}
    return {**told, "rows": minute.outcomes["counted"], **others, "commits": minute.commits}
