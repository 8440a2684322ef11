"""Adds slices up to hours and days once they are old: the same counts on fewer rows.

Counts stay exact. What goes is the time within the hour or day, and the samples of whole rows. Ranges that an
alert rests on, and those with windows that are still to be judged, stay as they are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, select

from monitor.config import Configuration
from monitor.judging.merging import merge_slices
from monitor.judging.tidying import profile_sum
from monitor.performance.tidying import replace_by_sum
from monitor.profiling import Key, Pointer
from monitor.references.lifecycle import ReferenceCache
from monitor.registry import read_columns
from monitor.retention.ages import Aged, alerted_ranges, overlaps
from monitor.store.engine import immediate, reading
from monitor.store.queries.outcomes import check_format
from monitor.store.sums import Replaced, replace_profiles
from monitor.store.tables import outcome_slice, reference_pointer, slice_profile, window_state
from schemas.column import ColumnSpec

logger = logging.getLogger(__name__)

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PERIODS = 500  # found at a time


@dataclass(frozen=True)
class Stage:
    """What is older than `age_ms` is kept in sums of `span_ms`."""

    span_ms: int
    age_ms: int


class RollUp:
    """Adds up old profiles and outcomes.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    stop : threading.Event
        Nothing more is begun once it is set.
    """

    def __init__(self, configuration: Configuration, engine: Engine, stop: threading.Event) -> None:
        self._configuration, self._engine, self._stop = configuration, engine, stop
        kept = configuration.kept
        self._stages = (Stage(HOUR_MS, kept.slices_ms), Stage(DAY_MS, kept.hours_ms))
        self._references = ReferenceCache(8)
        self._done: dict[tuple[str, Key, int], int] = {}

    def forget(self) -> None:
        """Look at everything again: late events and alerts that are gone may have left something to do."""
        self._done.clear()

    def roll_up(self, aged: Aged) -> int:
        """Add up what has become old of a model version; returns how many rows fewer there are.

        Raises
        ------
        ProfileError
            If stored bytes are damaged.
        Unavailable
            If the database is away.
        """
        slice_ms = self._configuration.for_model(aged.key[0]).slice_ms
        fewer = 0
        for stage in self._stages:
            if slice_ms < stage.span_ms and stage.span_ms % slice_ms == 0:
                cut_ms = (aged.mark_ms - stage.age_ms) // stage.span_ms * stage.span_ms
                fewer += self._profiles(aged.key, stage.span_ms, cut_ms)
                fewer += self._outcomes(aged.key, stage.span_ms, cut_ms)
        return fewer

    def _profiles(self, key: Key, span_ms: int, cut_ms: int) -> int:
        with reading(self._engine) as connection:
            if not _has_reference(connection, key):
                return 0  # it is still to be learned from these slices
            staying = [*alerted_ranges(connection, key), *_to_be_judged(connection, key, cut_ms)]
            specs = read_columns(connection, [key[0]]).get(key, {})
        fewer = 0
        for start_ms in self._periods(slice_profile, key, span_ms, cut_ms):
            if not overlaps(staying, start_ms, start_ms + span_ms):
                fewer += self._add_up_profiles(key, start_ms, span_ms, specs)
        return fewer

    def _add_up_profiles(self, key: Key, start_ms: int, span_ms: int, specs: Mapping[str, ColumnSpec]) -> int:
        """Add up one hour or day: the slices on the bins of each reference, and those without bins."""
        with reading(self._engine) as connection:
            rows = _rows(connection, slice_profile, key, start_ms, span_ms)
            by_hash: dict[str | None, list[Any]] = {}
            for row in rows:
                by_hash.setdefault(row.reference_hash, []).append(row)
            pointers = {
                hash_: Pointer(0, hash_, self._references.get(connection, hash_).binning)
                for hash_ in by_hash
                if hash_ is not None
            }
        sums = [
            profile_sum(
                key, start_ms, merge_slices(part, specs, pointers.get(hash_ or ""), samples=False), span_ms
            )
            for hash_, part in by_hash.items()
        ]
        try:
            with immediate(self._engine) as connection:
                replace_profiles(connection, [row.id for row in rows], sums)
        except Replaced:
            logger.debug("slices of %s were added up by another process", key)
            return 0
        return len(rows) - len(sums)

    def _outcomes(self, key: Key, span_ms: int, cut_ms: int) -> int:
        with reading(self._engine) as connection:
            staying = alerted_ranges(connection, key)
        fewer = 0
        for start_ms in self._periods(outcome_slice, key, span_ms, cut_ms):
            if overlaps(staying, start_ms, start_ms + span_ms):
                continue
            with reading(self._engine) as connection:
                rows = _rows(connection, outcome_slice, key, start_ms, span_ms)
            for row in rows:
                check_format(row.format)
            try:
                replace_by_sum(self._engine, key, start_ms, rows, span_ms)
            except Replaced:
                logger.debug("outcomes of %s were added up by another process", key)
            else:
                fewer += len(rows) - 1
        return fewer

    def _periods(self, table: Table, key: Key, span_ms: int, cut_ms: int) -> Iterator[int]:
        """Starts of the hours or days before an instant that hold anything finer, oldest first."""
        c = table.c
        period = (c.slice_ms // span_ms * span_ms).label("period")
        place = (table.name, key, span_ms)
        from_ms = self._done.get(place)
        while not self._stop.is_set():
            finer = select(period).where(
                c.model == key[0], c.version == key[1], c.slice_ms < cut_ms, c.span_ms < span_ms
            )
            if from_ms is not None:
                finer = finer.where(c.slice_ms >= from_ms)
            with reading(self._engine) as connection:
                found = list(connection.execute(finer.distinct().order_by(period).limit(PERIODS)).scalars())
            for start_ms in found:
                if self._stop.is_set():
                    return
                yield start_ms
            if len(found) < PERIODS:
                self._done[place] = cut_ms
                return
            from_ms = found[-1] + span_ms


def _rows(connection: Connection, table: Table, key: Key, start_ms: int, span_ms: int) -> Sequence[Any]:
    c = table.c
    return connection.execute(
        select(table)
        .where(c.model == key[0], c.version == key[1])
        .where(c.slice_ms >= start_ms, c.slice_ms < start_ms + span_ms, c.span_ms <= span_ms)
        .order_by(c.id)
    ).all()


def _has_reference(connection: Connection, key: Key) -> bool:
    c = reference_pointer.c
    query = select(c.hash).where(c.model == key[0], c.version == key[1]).limit(1)
    return connection.execute(query).first() is not None


def _to_be_judged(connection: Connection, key: Key, cut_ms: int) -> list[tuple[int, int]]:
    """Windows that begin before an instant and have not been judged as they stand."""
    c = window_state.c
    query = select(c.start_ms, c.end_ms).where(
        c.model == key[0], c.version == key[1], c.start_ms < cut_ms, c.touched != c.judged
    )
    return [(row.start_ms, row.end_ms) for row in connection.execute(query)]
