"""What is stored of the windows of one model version over a range: judgements, results, measures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from monitor.store.tables import judgement, model_column, model_version, performance_value, result

PORTION = 500  # windows that one statement names


@dataclass(frozen=True)
class Stretch:
    """Windows of one shape of a model version that start in ``[from_ms, to_ms)``.

    Parameters
    ----------
    model, version : str
    window : str
        Shape: ``1h``.
    from_ms, to_ms : int
    every_ms : int
        Distance between the starts of two windows of the shape.
    stride : int
        Only every n-th window, 1 or more.
    """

    model: str
    version: str
    window: str
    from_ms: int
    to_ms: int
    every_ms: int
    stride: int = 1


def judged_windows(connection: Connection, stretch: Stretch) -> list[Any]:
    """List windows as they were judged last: ``start_ms``, ``end_ms``, ``rows``, ``reference_hash``."""
    j = judgement.c
    query = (
        select(j.start_ms, j.end_ms, j.rows, j.reference_hash, j.revision)
        .where(*_within(stretch))
        .order_by(j.start_ms, j.revision)
    )
    newest = {row.start_ms: row for row in connection.execute(query)}
    return list(newest.values())


def window_results(connection: Connection, stretch: Stretch, columns: Collection[str]) -> list[Any]:
    """List what compares distributions of some columns, all rows, newest judgement of each window.

    Notes
    -----
    A descent of the unique index of ``result`` for each window and column. Sorted here: asked for an order,
    SQLite takes the index that has it, and reads every column and segment of each window.
    """
    r = result.c
    wanted = (
        r.start_ms, r.revision, r.column, r.detector, r.lane, r.decision, r.n, r.m, r.psi, r.psi_debiased,
        r.psi_low, r.psi_high, r.evidence_log,
    )  # fmt: skip
    newest = _newest(connection, stretch)
    found: list[Any] = []
    for starts in _portions(newest):
        query = select(*wanted).where(
            r.model == stretch.model, r.version == stretch.version, r.window == stretch.window,
            r.start_ms.in_(starts), r.column.in_(list(columns)), r.segment == "",
            ~r.detector.startswith("quality."), ~r.detector.startswith("contract."),
        )  # fmt: skip
        found += [row for row in connection.execute(query) if row.revision == newest[row.start_ms]]
    return sorted(found, key=lambda row: (row.start_ms, row.column, row.detector))


def attributions(connection: Connection, stretch: Stretch, columns: Collection[str], most: int) -> list[str]:
    """List where changes of the mean prediction came from, as JSON, the newest windows first."""
    r = result.c
    newest = _newest(connection, stretch)
    found: list[str] = []
    for starts in _portions(newest)[::-1]:
        query = select(r.attribution, r.start_ms, r.revision).where(
            r.model == stretch.model, r.version == stretch.version, r.window == stretch.window,
            r.start_ms.in_(starts), r.column.in_(list(columns)), r.segment == "",
            r.attribution.is_not(None),
        )  # fmt: skip
        rows = connection.execute(query.order_by(r.start_ms.desc(), r.id).limit(most - len(found)))
        found += [row.attribution for row in rows if row.revision == newest[row.start_ms]]
        if len(found) >= most:
            break
    return found


def measures(connection: Connection, stretch: Stretch, names: Collection[str]) -> list[Any]:
    """List estimated and realised measures of judged windows, all rows, by start.

    Notes
    -----
    A descent of the primary key for each window, kind and measure.
    """
    p = performance_value.c
    found: list[Any] = []
    for starts in _portions(_newest(connection, stretch)):
        query = select(p.start_ms, p.kind, p.metric, p.value, p.low, p.high, p.n, p.coverage).where(
            p.model == stretch.model, p.version == stretch.version, p.window == stretch.window,
            p.start_ms.in_(starts), p.segment == "", p.kind.in_(["estimated", "realised"]),
            p.metric.in_(list(names)),
        )  # fmt: skip
        found += connection.execute(query.order_by(p.start_ms))
    return found


def metric_names(connection: Connection, model: str, version: str, window: str) -> list[str]:
    """Names of the measures that the newest measured windows of a version have."""
    p = performance_value.c
    of_version = and_(p.model == model, p.version == version, p.window == window)
    newest = (select(p.start_ms).where(of_version).distinct().order_by(p.start_ms.desc()).limit(5)).subquery()
    query = (
        select(p.metric)
        .distinct()
        .join(newest, newest.c.start_ms == p.start_ms)
        .where(of_version, p.segment == "", or_(p.kind == "realised", p.kind == "estimated"))
    )
    return sorted(connection.execute(query).scalars())


def columns_of(connection: Connection, model: str, versions: Collection[str]) -> dict[str, tuple[str, str]]:
    """Kind and source of the registered columns of some versions, by name."""
    c = model_column.c
    query = select(c.name, c.kind, c.source).where(c.model == model, c.version.in_(list(versions)))
    return {row.name: (row.kind, row.source) for row in connection.execute(query.order_by(c.name))}


def version_rows(connection: Connection, model: str) -> list[Any]:
    """Versions of a model, by their first slice."""
    v = model_version.c
    query = select(model_version).where(v.model == model).order_by(v.first_slice_ms, v.version)
    return list(connection.execute(query))


def window_edges(
    connection: Connection, model: str, version: str, window: str
) -> tuple[int | None, int | None]:
    """Start of the first judged window of a version, and end of the newest one."""
    j = judgement.c
    of_version = and_(j.model == model, j.version == version, j.window == window)
    first = connection.execute(select(func.min(j.start_ms)).where(of_version)).scalar()
    newest = select(j.end_ms).where(of_version).order_by(j.start_ms.desc()).limit(1)
    return first, connection.execute(newest).scalar()


def _within(stretch: Stretch) -> list[Any]:
    j = judgement.c
    found = [
        j.model == stretch.model, j.version == stretch.version, j.window == stretch.window,
        j.start_ms >= stretch.from_ms, j.start_ms < stretch.to_ms,
    ]  # fmt: skip
    if stretch.stride > 1:
        found.append(j.start_ms // stretch.every_ms % stretch.stride == 0)
    return found


def _newest(connection: Connection, stretch: Stretch) -> dict[int, int]:
    """Latest revision of each window by its start; the unique index of ``judgement`` answers it alone."""
    j = judgement.c
    query = select(j.start_ms, func.max(j.revision)).where(*_within(stretch))
    return {row[0]: row[1] for row in connection.execute(query.group_by(j.start_ms).order_by(j.start_ms))}


def _portions(newest: dict[int, int]) -> list[list[int]]:
    """Starts of windows in portions that a statement can name."""
    starts = list(newest)
    return [starts[first : first + PORTION] for first in range(0, len(starts), PORTION)]
