"""What the database holds that can be judged again: which model versions, windows and references."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from detectors.tensor import IntArray
from monitor.backtest.plan import window_starts
from monitor.config import Configuration
from monitor.config.settings import ModelSettings
from monitor.config.values import write_instant
from monitor.performance.objectives import ranges_of
from monitor.performance.outcomes import wait_ms
from monitor.profiling import Key
from monitor.retention.rollup import DAY_MS, HOUR_MS
from monitor.store.queries.times import watermarks
from monitor.store.tables import (
    model_version,
    outcome_reference,
    outcome_slice,
    outcome_window,
    reference_pointer,
    slice_profile,
    window_state,
)
from schemas.errors import UsageError
from schemas.window import WindowSpec

SUMS_MS = (HOUR_MS, DAY_MS)

EVER_MS = -(1 << 62)
FOREVER_MS = 1 << 62
Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is asked for: windows from an instant on and up to another, of one model or of all."""

    from_ms: int = EVER_MS
    to_ms: int = FOREVER_MS
    model: str | None = None


@dataclass(frozen=True)
class StoredVersion:
    """One model version.

    Parameters
    ----------
    key : tuple of str
    settings : ModelSettings
        As they are now.
    row : dict
        Of ``model_version``.
    pointers : tuple of dict
        Rows of ``reference_pointer``, the oldest first.
    starts, outcome_starts : IntArray
        First instants of the windows whose events, and outcomes, are judged.
    slices_from_ms, outcomes_from_ms : int
        First slices that are needed.
    to_ms : int
        End of the newest slice that is needed.
    """

    key: Key
    settings: ModelSettings
    row: Row
    pointers: tuple[Row, ...]
    starts: IntArray
    outcome_starts: IntArray
    slices_from_ms: int
    outcomes_from_ms: int
    to_ms: int

    @property
    def known_from_ms(self) -> int:
        """Event time from which the service knows of it: of its first reference, or of its first slice."""
        first = int(self.row["first_slice_ms"])
        return max(first, self.pointers[0]["from_ms"]) if self.pointers else first

    def moments(self) -> list[int]:
        """Instants of event time at which a window is to be judged."""
        length_ms = self.settings.windows[0].length_ms
        waited_ms = length_ms + wait_ms(self.settings)
        return [*(self.starts + length_ms).tolist(), *(self.outcome_starts + waited_ms).tolist()]


@dataclass(frozen=True)
class StoredContent:
    """Everything that is judged again.

    Parameters
    ----------
    versions : tuple of StoredVersion
    others : tuple of dict
        Rows of ``reference_pointer`` of models that are not judged, but share the budget.
    labelled : frozenset of str
        Models that labels have come for.
    """

    versions: tuple[StoredVersion, ...]
    others: tuple[Row, ...]
    labelled: frozenset[str]

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return sorted({one.key[0] for one in self.versions})


@dataclass(frozen=True)
class _Ends:
    """Event time up to which windows of events, and of outcomes with their wait, are complete."""

    events: Mapping[str, int]
    outcomes: Mapping[str, int]


def read_content(
    connection: Connection, configuration: Configuration, wanted: Wanted, now_ms: int
) -> StoredContent:
    """Find out what there is to judge.

    Parameters
    ----------
    connection : Connection
        To the real database, for reading.
    configuration : Configuration
    wanted : Wanted
    now_ms : int
        Wall clock: how far event time has come.

    Raises
    ------
    UsageError
        If the model is not known, or no complete window is stored in the range.
    """
    rows = [dict(row._mapping) for row in connection.execute(select(model_version))]
    models = sorted({row["model"] for row in rows if wanted.model in (None, row["model"])})
    if not models:
        there = ", ".join(sorted({row["model"] for row in rows})[:10]) or "none at all"
        what = "no model" if wanted.model is None else f"no model {wanted.model!r}"
        msg = f"--stored: the database has {what} (there are: {there})"
        raise UsageError(msg)
    pointers = _pointers(connection)
    ends = _ends(connection, configuration, models, now_ms)
    mine = sorted((row for row in rows if row["model"] in models), key=lambda row: row["version"])
    versions = [_version(connection, configuration, row, pointers, wanted, ends) for row in mine]
    if not any(len(one.starts) for one in versions):
        raise UsageError(_nothing(connection, models, wanted))
    others = [row for key, known in pointers.items() if key[0] not in models for row in known]
    return StoredContent(tuple(versions), tuple(others), frozenset(ends.outcomes))


def _pointers(connection: Connection) -> dict[Key, list[Row]]:
    p, found = reference_pointer.c, dict[Key, list[Row]]()
    for row in connection.execute(select(reference_pointer).order_by(p.revision)):
        found.setdefault((row.model, row.version), []).append(dict(row._mapping))
    return found


def _version(
    connection: Connection,
    configuration: Configuration,
    row: Row,
    pointers: Mapping[Key, Sequence[Row]],
    wanted: Wanted,
    ends: _Ends,
) -> StoredVersion:
    key = (row["model"], row["version"])
    settings, known = configuration.for_model(key[0]), tuple(pointers.get(key, ()))
    spec = settings.windows[0]
    end_ms = min(ends.events.get(key[0], EVER_MS), wanted.to_ms)
    waited_ms = spec.length_ms + wait_ms(settings)
    starts, outcome_starts = (
        window_starts(_slices(connection, table, key, wanted.from_ms, spec), spec, wanted.from_ms)
        for table in (slice_profile, outcome_slice)
    )
    outcome_end_ms = min(ends.outcomes.get(key[0], EVER_MS) - waited_ms, wanted.to_ms - spec.length_ms)
    is_learned = connection.execute(_outcome_references(key)).first() is not None
    long_ms = 0 if settings.performance is None else max(ranges_of(settings.performance, spec.length_ms))
    return StoredVersion(
        key,
        settings,
        row,
        known,
        starts[starts + spec.length_ms <= end_ms],
        outcome_starts[outcome_starts <= outcome_end_ms],
        # What has no reference yet learns it of its beginning, whatever is judged.
        wanted.from_ms if known else EVER_MS,
        wanted.from_ms - long_ms if is_learned else EVER_MS,
        wanted.to_ms,
    )


def _ends(
    connection: Connection, configuration: Configuration, models: Collection[str], now_ms: int
) -> _Ends:
    """How far event time has come; a window that was judged is complete, whatever the watermark is now."""
    events = watermarks(connection, configuration, now_ms, models)
    labels = watermarks(connection, configuration, now_ms, models, kind="labels")
    outcomes = {
        model: min(events[model], labels[model]) for model in models if {model} <= events.keys() & labels
    }
    for model, end_ms in _judged(connection, window_state, models):
        events[model] = max(events.get(model, end_ms), end_ms)
    for model, end_ms in _judged(connection, outcome_window, models):
        waited = end_ms + wait_ms(configuration.for_model(model))
        outcomes[model] = max(outcomes.get(model, waited), waited)
    return _Ends(events, outcomes)


def _judged(connection: Connection, table: Any, models: Collection[str]) -> list[tuple[str, int]]:
    query = select(table.c.model, func.max(table.c.end_ms)).where(table.c.revision > 0)
    rows = connection.execute(query.where(table.c.model.in_(list(models))).group_by(table.c.model))
    return [(row[0], int(row[1])) for row in rows]


def _slices(connection: Connection, table: Any, key: Key, from_ms: int, spec: WindowSpec) -> IntArray:
    """Starts of slices that windows can be made of; sums that a window would cut are left out."""
    c = table.c
    query = select(c.slice_ms).where(c.model == key[0], c.version == key[1], c.slice_ms >= from_ms)
    fitting = [span_ms for span_ms in SUMS_MS if spec.every_ms % span_ms == 0 == spec.length_ms % span_ms]
    query = query.where(c.span_ms.in_([0, *fitting]))
    return np.array(connection.execute(query.distinct().order_by(c.slice_ms)).scalars().all(), np.int64)


def _outcome_references(key: Key) -> Any:
    c = outcome_reference.c
    return select(c.hash).where(c.model == key[0], c.version == key[1]).limit(1)


def _nothing(connection: Connection, models: Collection[str], wanted: Wanted) -> str:
    """Why there is nothing to judge, and where there is something."""
    c = slice_profile.c
    query = select(func.min(c.slice_ms), func.max(c.slice_ms)).where(c.model.in_(list(models)))
    first, last = connection.execute(query).one()
    of = f" of model {wanted.model!r}" if wanted.model is not None else ""
    there = (
        "nothing is stored"
        if first is None
        else f"slices from {write_instant(first)} to {write_instant(last)}"
    )
    return f"--stored: no complete window{of} is stored in this range (there is: {there})"
