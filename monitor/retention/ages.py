"""How old stored data is, and what of it stays because an alert rests on it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from alerting.codec import from_bytes
from alerting.finding import epoch_ms
from monitor.judging.merging import joined
from monitor.profiling import Key
from monitor.store.tables import alert, model_version, partition_model


@dataclass(frozen=True)
class Aged:
    """One model version.

    Parameters
    ----------
    key : tuple of str
        Model and version.
    mark_ms : int
        Event time that the model has come to; ages are counted from here.
    """

    key: Key
    mark_ms: int


def aged_versions(connection: Connection, now_ms: int, models: Collection[str] | None = None) -> list[Aged]:
    """Every model version that has had an event, by name.

    Notes
    -----
    Event time goes on at wall speed while a model is quiet: what is left of a model that is no longer there
    ages too, and a replay of old data is as fresh as it is to itself.
    """
    p, v = partition_model.c, model_version.c
    mark = func.max(p.max_event_ms + (now_ms - p.arrived_at_ms))
    marks = {row[0]: int(row[1]) for row in connection.execute(select(p.model, mark).group_by(p.model))}
    rows = connection.execute(select(v.model, v.version).order_by(v.model, v.version))
    return [
        Aged((row.model, row.version), marks[row.model])
        for row in rows
        if row.model in marks and (models is None or row.model in models)
    ]


def alerted_ranges(connection: Connection, key: Key) -> list[tuple[int, int]]:
    """Ranges of event time whose verdicts an alert rests on, sorted; they stay as long as it does."""
    a = alert.c
    rows = connection.execute(select(a.state_bytes).where(a.model == key[0], a.version == key[1])).scalars()
    found: set[tuple[int, int]] = set()
    for data in rows:
        known = from_bytes(bytes(data))
        found.add((epoch_ms(known.window_start), epoch_ms(known.window_end)))
        found.update((epoch_ms(one.window_start), epoch_ms(one.window_end)) for one in known.leading)
    return [(first, last) for first, last in joined(found)]


def overlaps(ranges: Collection[tuple[int, int]], from_ms: int, to_ms: int) -> bool:
    """Whether a range ``[from, to)`` shares an instant with any of others."""
    return any(first < to_ms and last > from_ms for first, last in ranges)
