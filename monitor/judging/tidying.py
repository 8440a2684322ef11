"""Fewer, larger rows: the partial profiles that a slice was stored in are replaced by their sum.

Results do not depend on it; windows over the same slices are read faster afterwards.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.judging.merging import Merged, merge_slices
from monitor.profiling import Key, Pointer
from monitor.references.lifecycle import ReferenceCache, pointer_at, pointers_of
from monitor.registry import read_columns
from monitor.store.engine import immediate, reading
from monitor.store.queries.slices import slices_between
from monitor.store.queries.times import watermarks
from monitor.store.sums import ProfileSum, Replaced, replace_profiles
from monitor.store.tables import slice_profile, window_state
from schemas.column import ColumnSpec

logger = logging.getLogger(__name__)

MOST_PARTS = 3_000  # of a model version, added up at a time: some twenty MiB
MANY_PARTS = 24  # of one slice, from which on they are not left until the window is judged
EVERY_S = 30.0


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
    references : ReferenceCache
    """

    def __init__(
        self, configuration: Configuration, engine: Engine, clock: Clock, references: ReferenceCache
    ) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._references = references
        self._judged: list[JudgedSpan] = []
        self._learning: dict[Key, tuple[int, Mapping[str, ColumnSpec]]] = {}
        self._next_s: dict[str | Key, float] = {}  # models whose windows are open, and versions that learn
        self._left: dict[Key, set[int]] = {}  # slices of open windows whose parts do not add up exactly

    def note_judged(self, span: JudgedSpan) -> None:
        """Remember slices of which no more parts are to be expected."""
        self._judged.append(span)

    def note_learning(self, key: Key, watermark_ms: int, specs: Mapping[str, ColumnSpec]) -> None:
        """Remember a model version that has no reference yet."""
        self._learning[key] = (watermark_ms, specs)

    def tidy(self, models: Collection[str] = ()) -> None:
        """Replace the parts of the slices noted since the last call by their sums.

        Parameters
        ----------
        models : collection of str, optional
            Models of which no other evaluator takes care. Where many processes read the events of one, its
            slices are added up already before their window is judged.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        self._tidy_learning()
        for model in models:
            if self._is_time(model):
                self._tidy_open(model)
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
            if not self._is_time(key):
                continue
            last = mark - self._configuration.for_model(key[0]).slice_ms
            with reading(self._engine) as connection:
                parts = _in_parts(connection, key, 0, last, fewest=2)
            sums = [(slice_ms, merge_slices(rows, specs, None)) for slice_ms, rows in parts.items()]
            self._replace(key, [(slice_ms, merged) for slice_ms, merged in sums if not merged.excluded_rows])

    def _tidy_open(self, model: str) -> None:
        """Add up complete slices of a model whose windows are not judged yet, if in very many parts."""
        now_ms, slice_ms = self._clock.now_ms(), self._configuration.for_model(model).slice_ms
        w = window_state.c
        open_ = select(w.version, func.min(w.start_ms).label("from_ms")).where(
            w.model == model, w.touched != w.judged
        )
        found: list[tuple[Key, tuple[Pointer, ...], dict[int, list[Any]]]] = []
        with reading(self._engine) as connection:
            mark = watermarks(connection, self._configuration, now_ms, [model]).get(model)
            if mark is None:
                return
            for version, from_ms in connection.execute(open_.group_by(w.version)).all():
                key = (model, version)
                pointers = pointers_of(connection, self._references, key)
                if not pointers:
                    continue  # it is learning
                left = self._left[key] = {at for at in self._left.get(key, ()) if at >= from_ms}
                last = mark - slice_ms
                parts = _in_parts(connection, key, from_ms, last, fewest=MANY_PARTS, without=left)
                if parts:
                    found.append((key, pointers, parts))
            specs = read_columns(connection, {model}) if found else {}
        for key, pointers, parts in found:
            sums = []
            for start_ms, rows in parts.items():
                pointer = pointer_at(pointers, start_ms)
                mine = [row for row in rows if pointer and row.reference_hash in (None, pointer.hash)]
                merged = merge_slices(mine, specs.get(key, {}), pointer) if len(mine) > 1 else None
                if merged is None or merged.straddling:
                    self._left[key].add(start_ms)  # until its window is judged; others shall not wait for it
                else:
                    sums.append((start_ms, merged))
            self._replace(key, sums)

    def _is_time(self, what: str | Key) -> bool:
        """Whether something was not looked at for a while; it then counts as looked at now."""
        now_s = self._clock.monotonic()
        if now_s < self._next_s.get(what, 0.0):
            return False
        self._next_s[what] = now_s + EVERY_S
        return True

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


def _in_parts(
    connection: Connection,
    key: Key,
    from_ms: int,
    last_ms: int,
    *,
    fewest: int,
    without: Collection[int] = (),
) -> dict[int, list[Any]]:
    """Stored rows of slices from a start to another that are in so many rows or more; some at a time."""
    c = slice_profile.c
    mine = (
        c.model == key[0], c.version == key[1], c.slice_ms >= from_ms, c.slice_ms <= last_ms, c.span_ms == 0
    )  # fmt: skip
    several = select(c.slice_ms, func.count().label("parts")).where(*mine).group_by(c.slice_ms)
    chosen, total = list[int](), 0
    for slice_ms, parts in connection.execute(several.having(func.count() >= fewest).order_by(c.slice_ms)):
        if slice_ms in without:
            continue
        if chosen and total + parts > MOST_PARTS:
            break
        chosen.append(slice_ms)
        total += parts
    found: dict[int, list[Any]] = {}
    if chosen:
        rows = select(slice_profile).where(*mine, c.slice_ms.in_(chosen)).order_by(c.id)
        for row in connection.execute(rows):
            found.setdefault(row.slice_ms, []).append(row)
    return found
