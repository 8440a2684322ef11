"""Puts sums in the place of stored slices, all or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select

from monitor.store.tables import outcome_commit, outcome_slice, slice_profile

AT_ONCE = 500


class Replaced(Exception):  # noqa: N818 - rolls a transaction back
    """Another process has replaced the same rows."""


@dataclass(frozen=True)
class ProfileSum:
    """Profiles added up, as a row of ``slice_profile``; `span_ms` is 0 for one slice."""

    model: str
    version: str
    slice_ms: int
    span_ms: int
    reference_hash: str | None
    rows: int
    sources: str
    bytes: bytes


@dataclass(frozen=True)
class OutcomeSum:
    """Outcomes added up, as a row of ``outcome_slice``; `span_ms` is 0 for one slice."""

    model: str
    version: str
    slice_ms: int
    span_ms: int
    format: int
    records: bytes


def replace_profiles(connection: Connection, ids: Sequence[int], sums: Sequence[ProfileSum]) -> None:
    """Put sums of profiles in the place of their parts.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that is rolled back when this raises.
    ids : sequence of int
        The parts of all sums.
    sums : sequence of ProfileSum

    Raises
    ------
    Replaced
        If any of the parts is gone.
    """
    _remove(connection, slice_profile, ids)
    connection.execute(insert(slice_profile), [vars(one) for one in sums])


def replace_outcomes(connection: Connection, ids: Sequence[int], sources: str, one: OutcomeSum) -> None:
    """Put a sum of outcomes in the place of its parts.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that is rolled back when this raises.
    ids : sequence of int
        The parts.
    sources : str
        Offsets that they come from, as JSON.
    one : OutcomeSum

    Raises
    ------
    Replaced
        If any of the parts is gone.
    """
    _remove(connection, outcome_slice, ids)
    new = insert(outcome_commit).values(sources=sources).returning(outcome_commit.c.id)
    commit_id = connection.execute(new).scalar_one()
    connection.execute(insert(outcome_slice).values(commit_id=commit_id, **vars(one)))


def sources_of(connection: Connection, commits: Sequence[int]) -> list[str]:
    """Offsets of commits of outcomes, as JSON."""
    texts: list[str] = []
    for first in range(0, len(commits), AT_ONCE):
        part = commits[first : first + AT_ONCE]
        query = select(outcome_commit.c.sources).where(outcome_commit.c.id.in_(part))
        texts += connection.execute(query.order_by(outcome_commit.c.id)).scalars()
    return texts


def _remove(connection: Connection, table: Table, ids: Sequence[int]) -> None:
    gone = 0
    for first in range(0, len(ids), AT_ONCE):
        part: Any = ids[first : first + AT_ONCE]
        gone += connection.execute(delete(table).where(table.c.id.in_(part))).rowcount
    if gone != len(ids):
        raise Replaced
