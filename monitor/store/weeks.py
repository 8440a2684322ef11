"""SQL of the weekly digest: evidence of finished parts of weeks, and which weeks are finished.

A *part* is what one reference saw of a week of one model version; normally a week has one. Parts are written
with the first window after them, or by the sweep when no more windows come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, func, select, update

from detectors.digest import WEEK_MS
from monitor.store.ledgers import Key
from monitor.store.sql import insert_new, inserting
from monitor.store.tables import digest, ledger_head, reference_pointer, result, weekly_evidence, window_state
from schemas.contract import DETECTOR_PREFIX
from schemas.verdict import QUALITY_PREFIX


@dataclass(frozen=True)
class Head:
    """Latest window in the ledger of a model version."""

    key: Key
    start_ms: int


def save_part(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write the streams of a part, or bring them up to date.

    Guarantees
    ----------
    Whoever writes, in whatever order, the evidence of the latest window stays.
    """
    if not rows:
        return
    insert_new(connection, digest, [{"week_ms": rows[0]["week_ms"]}])
    statement = inserting(connection, weekly_evidence)
    keys = [column.name for column in weekly_evidence.primary_key]
    newer = {c.name: statement.excluded[c.name] for c in weekly_evidence.columns if c.name not in keys}
    is_later = statement.excluded.last_ms > weekly_evidence.c.last_ms
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=newer, where=is_later), rows)


def parts_of(connection: Connection, week_ms: int) -> list[Any]:
    """Rows of ``weekly_evidence`` of a week, of all models."""
    return list(connection.execute(select(weekly_evidence).where(weekly_evidence.c.week_ms == week_ms)))


def moved_in(connection: Connection, key: Key, window: str, start_ms: int) -> dict[tuple[str, str], str]:
    """What moved in a window when it was judged first: JSON for each (column, segment)."""
    r = result.c
    rows = connection.execute(
        select(r.column, r.segment, r.moved).where(
            r.model == key[0],
            r.version == key[1],
            r.window == window,
            r.start_ms == start_ms,
            r.revision == 1,
            ~r.detector.startswith(DETECTOR_PREFIX, autoescape=True),
            ~r.detector.startswith(QUALITY_PREFIX, autoescape=True),
        )
    )
    return {(row.column, row.segment): row.moved for row in rows}


def heads(connection: Connection, from_ms: int, to_ms: int) -> list[Head]:
    """Heads of ledgers that start in ``[from_ms, to_ms)``, by model and version."""
    h = ledger_head.c
    query = select(ledger_head).where(h.start_ms >= from_ms, h.start_ms < to_ms)
    rows = connection.execute(query.order_by(h.model, h.version))
    return [Head((row.model, row.version), row.start_ms) for row in rows]


def unwritten_heads(connection: Connection, before_ms: int) -> list[Head]:
    """Heads of ledgers that start before an instant and whose evidence is not in any part yet."""
    h, e = ledger_head.c, weekly_evidence.c
    written = exists().where(
        e.model == h.model, e.version == h.version, e.week_ms > h.start_ms - WEEK_MS, e.last_ms == h.start_ms
    )
    rows = connection.execute(
        select(ledger_head).where(h.start_ms < before_ms, ~written).order_by(h.model, h.version)
    )
    return [Head((row.model, row.version), row.start_ms) for row in rows]


def watched_models(connection: Connection) -> set[str]:
    """Models that have a ledger."""
    return set(connection.execute(select(ledger_head.c.model).distinct()).scalars())


def waiting(connection: Connection, week_ms: int) -> set[tuple[str, str, str]]:
    """Model, version and shape of windows that start in a week and are still to be judged first."""
    w, p = window_state.c, reference_pointer.c
    referenced = exists().where(p.model == w.model, p.version == w.version, p.from_ms <= w.start_ms)
    rows = connection.execute(
        select(w.model, w.version, w.window)
        .where(
            w.touched != w.judged, w.end_ms > week_ms, w.revision == 0,
            w.start_ms >= week_ms, w.start_ms < week_ms + WEEK_MS, referenced,
        )
        .distinct()
    )  # fmt: skip
    return {(row.model, row.version, row.window) for row in rows}


def unfinished(connection: Connection, before_ms: int) -> list[int]:
    """Weeks with evidence that start before an instant and are not finished, oldest first."""
    query = select(digest.c.week_ms).where(digest.c.finished_at_ms.is_(None), digest.c.week_ms < before_ms)
    return list(connection.execute(query.order_by(digest.c.week_ms)).scalars())


def finish(connection: Connection, week_ms: int, now_ms: int) -> bool:
    """Declare a week finished; False if somebody else has done so already."""
    mine = update(digest).where(digest.c.week_ms == week_ms, digest.c.finished_at_ms.is_(None))
    return connection.execute(mine.values(finished_at_ms=now_ms)).rowcount == 1


def is_finished(connection: Connection, week_ms: int) -> bool:
    """Whether a week was declared finished."""
    query = select(digest.c.week_ms).where(digest.c.week_ms == week_ms, digest.c.finished_at_ms.is_not(None))
    return connection.execute(query).first() is not None


def latest_finished(connection: Connection) -> int | None:
    """Latest week that is finished."""
    query = select(func.max(digest.c.week_ms)).where(digest.c.finished_at_ms.is_not(None))
    return connection.execute(query).scalar()
