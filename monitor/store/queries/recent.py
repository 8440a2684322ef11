"""What happened lately to some models, read in a fixed number of statements for all of them together.

Guarantees
----------
Every statement descends by (model, version) to the stretch of time that is asked for, so that what is older
costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, Connection, Select, and_, cast, exists, func, select, union_all
from sqlalchemy.types import BigInteger

from monitor.store.tables import (
    alert,
    incident,
    judgement,
    ledger,
    model_version,
    outcome_ledger,
    outcome_window,
    performance_value,
)
from schemas.window import WindowSpec

DAY_MS = 86_400_000
Shapes = Mapping[WindowSpec, Collection[str] | None]
"""Models whose judged windows have a shape; None: all models."""


@dataclass(frozen=True)
class Rate:
    """Rows of the judged windows that end at `end_ms` and together are `span_ms` long."""

    rows: int
    span_ms: int
    end_ms: int

    @property
    def per_hour(self) -> float:
        """Events in an hour of event time."""
        return self.rows * 3_600_000 / self.span_ms


def _versions(names: Collection[str] | None, *more: Any) -> CTE:
    """Versions of some models; distinct, so that the database reads them first, then what they lead to."""
    v = model_version.c
    query = select(v.model, v.version, *more).distinct()
    return (query if names is None else query.where(v.model.in_(list(names)))).cte("versions")


def rates(connection: Connection, shapes: Shapes, at_least_ms: int = DAY_MS) -> dict[str, Rate]:
    """Events of all versions of each model in its latest judged windows.

    Parameters
    ----------
    connection : Connection
    shapes : mapping of WindowSpec to names or None
    at_least_ms : int
        Length of the span that is looked at, unless a window is longer or less was judged so far.

    Returns
    -------
    dict of str to Rate
        Models of which no window was judged are left out.

    Notes
    -----
    Of sliding windows only those count that do not overlap. A window that was judged again counts as it was
    judged last; one without events has none.
    """
    found = {}
    for spec, names in shapes.items():
        span_ms = -(-at_least_ms // spec.length_ms) * spec.length_ms
        for row in connection.execute(_rows_of(spec, names, span_ms)):
            end_ms = int(row.newest_ms) + spec.length_ms
            found[row.model] = Rate(int(row.rows), min(span_ms, end_ms - row.first_ms), end_ms)
    return found


def _rows_of(spec: WindowSpec, names: Collection[str] | None, span_ms: int) -> Select[Any]:
    v, j, later = model_version.c, judgement.c, judgement.alias("later").c
    of = judgement.alias("of_version").c
    judged = (
        select(of.start_ms)
        .where(of.model == v.model, of.version == v.version, of.window == str(spec))
        .where(of.start_ms % spec.length_ms == 0)
        .limit(1)
        .correlate(model_version)
    )
    newest = judged.order_by(of.start_ms.desc()).scalar_subquery().label("at_ms")
    first = judged.order_by(of.start_ms).scalar_subquery().label("first_ms")
    known = _versions(names, newest, first)
    # Windowed, so that the database keeps it apart and then looks up the windows of each version.
    spans = select(
        known.c.model,
        known.c.version,
        func.max(known.c.at_ms).over(partition_by=known.c.model).label("newest_ms"),
        func.min(known.c.first_ms).over(partition_by=known.c.model).label("first_ms"),
    ).cte("spans")
    judged_again = exists().where(
        later.model == j.model, later.version == j.version, later.window == j.window,
        later.start_ms == j.start_ms, later.revision > j.revision,
    )  # fmt: skip
    return (
        select(spans.c.model, spans.c.newest_ms, spans.c.first_ms, func.sum(j.rows).label("rows"))
        .select_from(spans)
        .join(
            judgement,
            and_(
                j.model == spans.c.model,
                j.version == spans.c.version,
                j.window == str(spec),
                j.start_ms > spans.c.newest_ms - span_ms,
                j.start_ms % spec.length_ms == 0,
            ),
        )
        .where(~judged_again)
        .group_by(spans.c.model, spans.c.newest_ms, spans.c.first_ms)
    )


def days_judged(connection: Connection, shapes: Shapes, from_ms: int) -> dict[str, set[int]]:
    """Days (numbers from 1970 on, UTC) of which a window of each model was judged, from an instant on."""
    j = judgement.c
    found: dict[str, set[int]] = {}
    for spec, names in shapes.items():
        v = _versions(names).c
        day = cast(j.start_ms // DAY_MS, BigInteger).label("day")
        of_version = and_(j.model == v.model, j.version == v.version, j.window == str(spec))
        query = select(v.model, day).join(judgement, and_(of_version, j.start_ms > from_ms - spec.length_ms))
        query = query.distinct()
        more = max(0, (spec.length_ms - 1) // DAY_MS)
        for model, first in connection.execute(query):
            found.setdefault(model, set()).update(range(first, first + more + 1))
    return found


def alerts_since(connection: Connection, names: Collection[str], from_ms: int) -> list[Any]:
    """Alerts of some models that were open at an instant or later, and were not taken back.

    Returns
    -------
    list of rows
        ``model``, ``severity``, ``window_start_ms`` of the first finding, ``closed_at_ms`` or None.
    """
    a = alert.c
    query = select(a.model, a.severity, a.window_start_ms, a.closed_at_ms).where(
        a.model.in_(list(names)),
        a.state != "retracted",
        (a.closed_at_ms.is_(None)) | (a.closed_at_ms > from_ms),
    )
    return list(connection.execute(query))


def spent_by_model(
    connection: Connection, names: Collection[str], from_ms: int, to_ms: int, longest_ms: int
) -> dict[str, float]:
    """False alarms that windows of some models could cost.

    Parameters
    ----------
    names : collection of str
    from_ms, to_ms : int
        Windows that ended after the first, and not after the second.
    longest_ms : int
        No window is longer.
    """
    v = _versions(names).c
    # Not by an index on the end of windows, which leads to those of all models.
    parts = [
        select(v.model, t.c.spent)
        .join(t, and_(t.c.model == v.model, t.c.version == v.version, t.c.start_ms > from_ms - longest_ms))
        .where(t.c.end_ms + 0 > from_ms, t.c.end_ms + 0 <= to_ms)
        for t in (ledger, outcome_ledger)
    ]
    both = union_all(*parts).subquery().c
    query = select(both.model, func.sum(both.spent)).group_by(both.model)
    return {row[0]: float(row[1]) for row in connection.execute(query)}


def latest_measures(connection: Connection, shapes: Shapes) -> list[Any]:
    """Estimated and realised measures of the latest window of each version of some models, all rows.

    Returns
    -------
    list of rows
        ``model``, ``version``, ``kind``, ``metric``, ``value``, ``coverage``, ``start_ms``, ``n``.

    Notes
    -----
    As `monitor.store.queries.performance.latest_values`, for many models at a time.
    """
    v, w, p = model_version.c, outcome_window.c, performance_value.c
    found: list[Any] = []
    for spec, names in shapes.items():
        for kind, done in (("estimated", w.estimated), ("realised", w.judged)):
            latest = (
                select(w.start_ms)
                .where(w.model == v.model, w.version == v.version, w.window == str(spec), done != 0)
                .order_by(w.start_ms.desc())
                .limit(1)
                .correlate(model_version)
                .scalar_subquery()
            )
            known = _versions(names, latest.label("at_ms")).c
            of_window = and_(
                p.model == known.model, p.version == known.version, p.window == str(spec),
                p.start_ms == known.at_ms, p.segment == "", p.kind == kind,
            )  # fmt: skip
            wanted = (p.model, p.version, p.kind, p.metric, p.value, p.coverage, p.start_ms, p.n)
            query = select(*wanted).select_from(known.model.table).join(performance_value, of_window)
            found += connection.execute(query)
    return found


def summaries(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """What some incidents are about, in words."""
    query = select(incident.c.id, incident.c.summary).where(incident.c.id.in_(list(ids)))
    return {row.id: row.summary for row in connection.execute(query)}
