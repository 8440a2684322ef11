"""Stored results of judged windows, newest window first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, select, tuple_

from monitor.store.tables import judgement, result


@dataclass(frozen=True)
class Wanted:
    """Which results of a model are asked for; None: all.

    `from_ms` and `to_ms` are about the start of windows. With `latest_only`, a window that was judged again
    is shown as it was judged last.
    """

    model: str
    from_ms: int | None = None
    to_ms: int | None = None
    column: str | None = None
    segment: str | None = None
    detector: str | None = None
    version: str | None = None
    window: str | None = None
    latest_only: bool = True


def results(connection: Connection, wanted: Wanted, after: tuple[int, int] | None, limit: int) -> list[Any]:
    """List results with the judgement that they belong to.

    Parameters
    ----------
    after : (int, int) or None
        `start_ms` and `id` of the last result seen.
    limit : int
        Most results.

    Returns
    -------
    list of rows
        All columns of ``result``, and of its judgement ``end_ms``, ``reference_hash``,
        ``configuration_hash``, ``code_version``, ``judged_at_ms``.
    """
    j = judgement.c
    query = (
        select(result, j.end_ms, j.reference_hash, j.configuration_hash, j.code_version, j.judged_at_ms)
        .join(judgement, j.id == result.c.judgement_id)
        .where(*_conditions(wanted))
        .order_by(result.c.start_ms.desc(), result.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(result.c.start_ms, result.c.id) < tuple_(*after))
    return list(connection.execute(query))


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    columns = result.c
    found = [columns.model == wanted.model]
    for name in ("column", "segment", "detector", "version", "window"):
        value = getattr(wanted, name)
        if value is not None:
            found.append(columns[name] == value)
    if wanted.from_ms is not None:
        found.append(columns.start_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        found.append(columns.start_ms < wanted.to_ms)
    if wanted.latest_only:
        found.append(~_judged_again())
    return found


def _judged_again() -> ColumnElement[bool]:
    later = judgement.alias("later")
    return exists().where(
        later.c.model == result.c.model,
        later.c.version == result.c.version,
        later.c.window == result.c.window,
        later.c.start_ms == result.c.start_ms,
        later.c.revision > result.c.revision,
    )
