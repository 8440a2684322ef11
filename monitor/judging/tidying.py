"""Fewer, larger rows: the partial profiles that a slice was stored in are replaced by their sum.

Results do not depend on it; windows over the same slices are read faster afterwards.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.judging.merging import Merged, merge_slices
from monitor.profiling import Key, Pointer
from monitor.store.engine import immediate, reading
from monitor.store.queries.slices import slices_between
from monitor.store.sums import ProfileSum, Replaced, replace_profiles
from monitor.store.tables import slice_profile
from schemas.column import ColumnSpec

logger = logging.getLogger(__name__)

MOST_SLICES = 100  # of a learning model version, added up at a time
LEARNING_EVERY_S = 30.0


@dataclass(frozen=True)
class JudgedSpan:
    """Slices of a model version that a judged window was made of, and what they were compared with."""

    key: Key
    start_ms: int
    end_ms: int
    pointer: Pointer
    specs: Mapping[str, ColumnSpec]


class Tidier:
    """Adds up the parts of slices.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._judged: list[JudgedSpan] = []
        self._learning: dict[Key, tuple[int, Mapping[str, ColumnSpec]]] = {}
        self._tidied_at: dict[Key, float] = {}

    def note_judged(self, span: JudgedSpan) -> None:
        """Remember slices of which no more parts are to be expected."""
        self._judged.append(span)

    def note_learning(self, key: Key, watermark_ms: int, specs: Mapping[str, ColumnSpec]) -> None:
        """Remember a model version that has no reference yet."""
        self._learning[key] = (watermark_ms, specs)

    def tidy(self) -> None:
        """Replace the parts of the slices noted since the last call by their sums.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        self._tidy_learning()
        judged, self._judged = self._judged, []
        for span in judged:
            with reading(self._engine) as connection:
                rows = slices_between(connection, span.key, span.start_ms, span.end_ms)
            by_slice: dict[int, list[Any]] = {}
            for row in rows:
                if row.span_ms == 0 and row.reference_hash in (None, span.pointer.hash):
                    by_slice.setdefault(row.slice_ms, []).append(row)
            sums = [
                (slice_ms, merge_slices(parts, span.specs, span.pointer))
                for slice_ms, parts in by_slice.items()
                if len(parts) > 1
            ]
            # Where moving rows onto the bins would not be exact they stay as they are.
            exact = [(slice_ms, merged) for slice_ms, merged in sums if not merged.straddling]
            self._replace(span.key, exact)

    def _tidy_learning(self) -> None:
        """Add up the complete slices of model versions that have no reference yet, now and then."""
        learning, self._learning = self._learning, {}
        for key, (mark, specs) in learning.items():
            if self._clock.monotonic() < self._tidied_at.get(key, 0.0):
                continue
            self._tidied_at[key] = self._clock.monotonic() + LEARNING_EVERY_S
            last = mark - self._configuration.for_model(key[0]).slice_ms
            with reading(self._engine) as connection:
                parts = _in_parts(connection, key, last)
            sums = [(slice_ms, merge_slices(rows, specs, None)) for slice_ms, rows in parts.items()]
            self._replace(key, [(slice_ms, merged) for slice_ms, merged in sums if not merged.excluded_rows])

    def _replace(self, key: Key, sums: list[tuple[int, Merged]]) -> None:
        """Put sums in the place of their parts, all or none."""
        if not sums:
            return
        old = [id_ for _, merged in sums for id_ in merged.slice_ids]
        try:
            with immediate(self._engine) as connection:
                replace_profiles(connection, old, [profile_sum(key, slice_ms, one) for slice_ms, one in sums])
        except Replaced:
            logger.debug("slices of %s were added up by another process", key)


def profile_sum(key: Key, slice_ms: int, merged: Merged, span_ms: int = 0) -> ProfileSum:
    """Write merged slices as one row; `span_ms` is the length of what they fill, 0 for one slice."""
    return ProfileSum(
        *key,
        slice_ms,
        span_ms,
        merged.profile.reference_hash or None,
        merged.rows,
        json.dumps(merged.sources, separators=(",", ":")),
        merged.profile.to_bytes(),
    )


def _in_parts(connection: Connection, key: Key, last_ms: int) -> dict[int, list[Any]]:
    """Stored rows of slices up to a start that are in more than one row; some slices at a time."""
    c = slice_profile.c
    mine = (c.model == key[0], c.version == key[1], c.slice_ms <= last_ms, c.span_ms == 0)
    several = select(c.slice_ms).where(*mine).group_by(c.slice_ms).having(func.count() > 1)
    found: dict[int, list[Any]] = {}
    rows = connection.execute(
        select(slice_profile).where(*mine, c.slice_ms.in_(several.limit(MOST_SLICES))).order_by(c.id)
    )
    for row in rows:
        found.setdefault(row.slice_ms, []).append(row)
    return found
