"""Stored outcomes of a range of event time, added up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from detectors.outcomes import FORMAT, Records, joined
from monitor.store.tables import outcome_commit, outcome_slice, term
from schemas.errors import ProfileError

PORTION = 20_000  # rows read at once


@dataclass(frozen=True)
class OutcomeSpan:
    """Slices of model versions that start in ``[from_ms, to_ms)``."""

    model: str
    versions: tuple[str, ...]
    from_ms: int
    to_ms: int


def outcomes(connection: Connection, span: OutcomeSpan) -> dict[str, Records]:
    """Outcomes of each version, added up over the range; versions without any are left out.

    Raises
    ------
    ProfileError
        If stored bytes are damaged or of a newer format.
    """
    c = outcome_slice.c
    query = (
        select(c.version, c.format, c.records)
        .where(
            c.model == span.model,
            c.version.in_(span.versions),
            c.slice_ms >= span.from_ms,
            c.slice_ms < span.to_ms,
        )
        .order_by(c.id)
    )
    found: dict[str, Records] = {}
    for rows in connection.execute(query).partitions(PORTION):
        parts: dict[str, list[bytes]] = {}
        for row in rows:
            check_format(row.format)
            parts.setdefault(row.version, []).append(row.records)
        for version, data in parts.items():
            before = [found[version].tobytes()] if version in found else []
            found[version] = joined([*before, *data])
    return found


def windows_between(
    connection: Connection, key: tuple[str, str], from_ms: int, to_ms: int, window_ms: int
) -> dict[int, Records]:
    """Outcomes of a model version, added up by windows that follow each other."""
    c = outcome_slice.c
    query = select(c.slice_ms, c.format, c.records).where(
        c.model == key[0], c.version == key[1], c.slice_ms >= from_ms, c.slice_ms < to_ms
    )
    parts: dict[int, list[bytes]] = {}
    for row in connection.execute(query.order_by(c.id)):
        check_format(row.format)
        parts.setdefault(row.slice_ms // window_ms * window_ms, []).append(row.records)
    return {start: joined(data) for start, data in sorted(parts.items())}


def window_outcomes(connection: Connection, key: tuple[str, str], from_ms: int, to_ms: int) -> Records:
    """Outcomes of a model version over one range, added up."""
    length = max(to_ms - from_ms, 1)
    found = windows_between(connection, key, from_ms, to_ms, length)
    return joined([records.tobytes() for records in found.values()])


def sources_between(connection: Connection, key: tuple[str, str], from_ms: int, to_ms: int) -> list[str]:
    """Offsets of the commits that outcomes of a model version come from, as JSON, by commit."""
    c = outcome_slice.c
    ids = select(c.commit_id).where(
        c.model == key[0], c.version == key[1], c.slice_ms >= from_ms, c.slice_ms < to_ms
    )
    query = select(outcome_commit.c.sources).where(outcome_commit.c.id.in_(ids)).order_by(outcome_commit.c.id)
    return list(connection.execute(query).scalars())


def check_format(number: int) -> None:
    """Refuse outcomes of another format.

    Raises
    ------
    ProfileError
        If this version cannot read it.
    """
    if number != FORMAT:
        msg = f"outcomes of format {number} cannot be read (this version reads {FORMAT})"
        raise ProfileError(msg)


def newest_outcome(connection: Connection, model: str) -> int | None:
    """Start of the newest slice of a model that has outcomes."""
    c = outcome_slice.c
    newest: int | None = connection.execute(select(func.max(c.slice_ms)).where(c.model == model)).scalar()
    return newest


def texts_of(connection: Connection, hashes: Collection[int]) -> dict[int, str]:
    """Names that hashes stand for."""
    found: dict[int, str] = {}
    wanted = sorted(hashes)
    for first in range(0, len(wanted), 500):
        query = select(term).where(term.c.hash.in_(wanted[first : first + 500]))
        found |= {row.hash: row.text for row in connection.execute(query)}
    return found


def class_hashes(parts: Iterable[Records]) -> set[int]:
    """Hashes of the classes and segments in records."""
    found: set[int] = set()
    for records in parts:
        of_classes = records[records["family"] <= 1]
        found |= set(of_classes["a"].tolist()) | set(of_classes["b"].tolist())
        found |= set(records["segment"].view("<i8").tolist() if len(records) else [])
    return found - {0}
