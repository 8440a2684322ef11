"""Measures of windows as they are stored: estimated, realised, and the parts of a change."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, tuple_

from monitor.store.tables import joined_version, outcome_window, performance_value

KINDS = ("estimated", "realised", "covariate", "concept")
Position = tuple[int, str, str, str, str]


@dataclass(frozen=True)
class ValuesWanted:
    """Which values; None or empty: all."""

    model: str
    from_ms: int | None = None
    to_ms: int | None = None
    version: str | None = None
    segment: str = ""
    metric: str | None = None
    kind: str | None = None


def values(connection: Connection, wanted: ValuesWanted, after: Position | None, limit: int) -> list[Any]:
    """List values by window, version, kind and metric; those after a position, at most `limit`."""
    p = performance_value.c
    order = (p.start_ms, p.version, p.window, p.kind, p.metric)
    query = select(performance_value).where(p.model == wanted.model, p.segment == wanted.segment)
    if wanted.from_ms is not None:
        query = query.where(p.start_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        query = query.where(p.start_ms < wanted.to_ms)
    for column, value in ((p.version, wanted.version), (p.metric, wanted.metric), (p.kind, wanted.kind)):
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    return list(connection.execute(query.order_by(*order).limit(limit)))


def latest_values(
    connection: Connection, shape_of: Callable[[str], str], limit: int, models: Collection[str] | None = None
) -> list[Any]:
    """Estimated and realised measures of the latest window of each model version, all rows.

    Parameters
    ----------
    shape_of : callable
        Shape of the window that counts for a model: ``1h``.
    limit : int
        Most model versions, by name.
    models : collection of str, optional
        Default: all.

    Returns
    -------
    list of rows
        Of ``performance_value``.

    Notes
    -----
    Some descents of primary keys for each version, however many windows there are.
    """
    v, w, p = joined_version.c, outcome_window.c, performance_value.c
    query = select(v.model, v.version).distinct().order_by(v.model, v.version).limit(limit)
    if models is not None:
        query = query.where(v.model.in_(list(models)))
    found: list[Any] = []
    for model, version in connection.execute(query).all():
        shape = shape_of(model)
        for kind, done in (("estimated", w.estimated), ("realised", w.judged)):
            latest = (
                select(w.start_ms)
                .where(w.model == model, w.version == version, w.window == shape, done != 0)
                .order_by(w.start_ms.desc())
                .limit(1)
            )
            start_ms = connection.execute(latest).scalar()
            if start_ms is not None:
                of_window = select(performance_value).where(
                    p.model == model, p.version == version, p.window == shape, p.start_ms == start_ms,
                    p.segment == "", p.kind == kind,
                )  # fmt: skip
                found += connection.execute(of_window.order_by(p.metric))
    return found
