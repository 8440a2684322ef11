"""The weekly digest over everything watched: reading it, finishing weeks, and telling people.

Evidence of a week is written in parts (see `monitor.store.weeks`); which streams are listed is decided when
the digest is read, over the streams of all models together. A week is finished once no more of its windows
are to be expected, or a grace after its end in event time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from alerting.digest import Digest, DriftedStream, outbox_rows
from alerting.finding import instant
from detectors.digest import WEEK_MS, e_bh, week_of
from detectors.reference import Reference
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.judging.weeks import part_of
from monitor.references.lifecycle import ReferenceCache
from monitor.store import ledgers, outbox, weeks
from monitor.store.engine import immediate, reading
from monitor.store.queries.times import watermarks
from monitor.store.weeks import Head
from schemas.window import WindowSpec

logger = logging.getLogger(__name__)

References = Callable[[Connection, str], Reference]


def digest_of(week_ms: int, rows: Iterable[Mapping[str, Any]], level: float, *, is_finished: bool) -> Digest:
    """Choose what to list from the evidence of a week.

    Parameters
    ----------
    week_ms : int
        Start of the week.
    rows : iterable of mapping
        As in ``weekly_evidence``, of all models, in any order. The parts of a stream are multiplied: each is
        an e-value given all that went before it, so their product is one too.
    level : float
        Share of false ones among the listed streams that is expected at most.
    is_finished : bool
        No more windows are waited for.

    Returns
    -------
    Digest
        Does not depend on the order of the rows.
    """
    parts: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        parts.setdefault((row["model"], row["version"], row["column"], row["segment"]), []).append(row)
    streams = [_together(parts[stream]) for stream in sorted(parts)]
    chosen = e_bh(np.array([stream.log_evalue for stream in streams]), level)
    listed = sorted(
        (stream for stream, is_listed in zip(streams, chosen.tolist(), strict=True) if is_listed),
        key=lambda stream: -stream.log_evalue,
    )
    return Digest(
        week=instant(week_ms),
        until=instant(week_ms + WEEK_MS),
        is_finished=is_finished,
        level=level,
        streams=len(streams),
        listed=tuple(listed),
        listed_total=len(listed),
    )


def _together(parts: list[Mapping[str, Any]]) -> DriftedStream:
    """Multiply the parts of a stream; effect and words are those of the part with the largest."""
    most = max(parts, key=lambda part: (part["psi"], -part["from_ms"]))
    return DriftedStream(
        model=most["model"],
        version=most["version"],
        column=most["column"],
        segment=most["segment"],
        lane=most["lane"],
        log_evalue=math.fsum(part["log_evalue"] for part in parts),
        psi=most["psi"],
        rows=sum(part["rows"] for part in parts),
        windows=sum(part["windows"] for part in parts),
        summary=most["summary"],
    )


def read_digest(
    connection: Connection, configuration: Configuration, references: References, week_ms: int
) -> Digest:
    """Read the digest of any week, with what is known of it by now.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    references : callable
        Reads a reference by its hash.
    week_ms : int
        Start of the week.
    """
    found = {_place(row): row for row in (dict(row._mapping) for row in weeks.parts_of(connection, week_ms))}
    for head in weeks.heads(connection, week_ms, week_ms + WEEK_MS):
        for row in _open_part(connection, configuration, references, head):
            found[_place(row)] = row
    level = configuration.alerts.digest.level
    is_finished = weeks.is_finished(connection, week_ms)
    return digest_of(week_ms, found.values(), level, is_finished=is_finished)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "version", "from_ms", "column", "segment"))


def _open_part(
    connection: Connection, configuration: Configuration, references: References, head: Head
) -> list[dict[str, Any]]:
    """What the state after the latest window of a model version holds of its week."""
    entry = ledgers.at(connection, head.key, head.start_ms)
    if entry is None:
        return []
    window = str(configuration.for_model(head.key[0]).windows[0])
    reference = references(connection, entry.reference_hash)
    return part_of(connection, head.key, window, entry.state, reference.tensor)


@dataclass(frozen=True)
class _Times:
    """How far event time has come: of each model, and of the service."""

    marks: Mapping[str, int]

    @property
    def event_ms(self) -> int:
        """Event time of the service: that of the model which is furthest."""
        return max(self.marks.values())


class Digests:
    """Writes the evidence of weeks that nobody else writes, finishes weeks, and tells receivers.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock

    Guarantees
    ----------
    Any number of processes may sweep at the same time: each week is finished once, and each receiver gets one
    message about it in the outbox.
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._references = ReferenceCache()
        self._without_week: set[Head] = set()

    def sweep(self) -> list[int]:
        """Finish weeks that are over; returns those that this call has finished.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        with reading(self._engine) as connection:
            marks = watermarks(connection, self._configuration, self._clock.now_ms())
            if not marks:
                return []
            times = _Times(marks)
            left = weeks.unwritten_heads(connection, week_of(times.event_ms))
        for head in left:
            if head not in self._without_week:
                self._write_part(head, times)
        with reading(self._engine) as connection:
            over = [
                week_ms
                for week_ms in weeks.unfinished(connection, week_of(times.event_ms))
                if self._is_over(connection, week_ms, times)
            ]
        return [week_ms for week_ms in over if self._finish(week_ms)]

    def _write_part(self, head: Head, times: _Times) -> None:
        """Write the evidence of a model version that has no window in a later week, once it is over."""
        week_ms = week_of(head.start_ms)
        with reading(self._engine) as connection:
            waits = head.key in {(model, version) for model, version, _ in self._waiting(connection, week_ms)}
            is_over = self._has_passed(head.key[0], week_ms, times) and not waits
            if not is_over and not self._grace_is_over(week_ms, times):
                return
            rows = _open_part(connection, self._configuration, self._references.get, head)
        if not rows:  # the state is of a version that knew no digest
            self._without_week.add(head)
            return
        with immediate(self._engine) as connection:
            weeks.save_part(connection, rows)

    def _is_over(self, connection: Connection, week_ms: int, times: _Times) -> bool:
        if self._grace_is_over(week_ms, times):
            return True
        left = [
            head
            for head in weeks.unwritten_heads(connection, week_ms + WEEK_MS)
            if head.start_ms >= week_ms and head not in self._without_week
        ]
        watched = weeks.watched_models(connection)
        return (
            not left
            and not self._waiting(connection, week_ms)
            and all(self._has_passed(model, week_ms, times) for model in watched)
        )

    def _has_passed(self, model: str, week_ms: int, times: _Times) -> bool:
        """Whether a model's event time has come to the end of the last window that starts in a week."""
        spec = self._configuration.for_model(model).windows[0]
        last_ms = (week_ms + WEEK_MS - 1) // spec.every_ms * spec.every_ms
        return times.marks.get(model, times.event_ms) >= last_ms + spec.length_ms

    def _grace_is_over(self, week_ms: int, times: _Times) -> bool:
        return times.event_ms >= week_ms + WEEK_MS + self._configuration.alerts.digest.grace_ms

    def _waiting(self, connection: Connection, week_ms: int) -> set[tuple[str, str, str]]:
        """Base windows of a week that are still to be judged."""
        return {
            (model, version, window)
            for model, version, window in weeks.waiting(connection, week_ms)
            if WindowSpec.parse(window) == self._configuration.for_model(model).windows[0]
        }

    def _finish(self, week_ms: int) -> bool:
        """Finish a week and tell its receivers, in one transaction."""
        now_ms, options = self._clock.now_ms(), self._configuration.alerts.digest
        with immediate(self._engine) as connection:
            if not weeks.finish(connection, week_ms, now_ms):
                return False
            digest = read_digest(connection, self._configuration, self._references.get, week_ms)
            receivers = dict.fromkeys(options.to)
            outbox.add(connection, list(outbox_rows(digest, receivers, instant(now_ms))), now_ms)
        logger.info(
            "week of %s: %d of %d streams drifted",
            f"{digest.week:%Y-%m-%d}",
            digest.listed_total,
            digest.streams,
        )
        return True
