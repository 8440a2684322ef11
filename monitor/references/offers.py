"""What a new version is compared with, and which references it could be compared with instead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from alerting.finding import instant
from monitor.config.settings import ModelSettings
from monitor.profiling import Key
from monitor.references.lifecycle import find, next_boundary, promote
from monitor.store.tables import reference, reference_pointer
from schemas.duration import format_duration

SHORT = 12
LOOKED_AT = 200
OFFERED = 5


@dataclass(frozen=True)
class Candidate:
    """A reference of the model that the version is not compared with.

    Parameters
    ----------
    hash : str
    source : str
        ``file NAME`` or ``events from … to …``.
    created_at_ms : int
    """

    hash: str
    source: str
    created_at_ms: int


@dataclass(frozen=True)
class Offer:
    """The reference of a version, and others that fit.

    Parameters
    ----------
    model, version : str
    in_force : Candidate or None
        What its windows are compared with; None while it learns.
    is_own : bool
        Whether that was made of the version's own events, or for this version alone.
    learns_for : str
        How long it learns from its own events, as ``7d``; empty if the configuration names a file.
    candidates : tuple of Candidate
        Made since the training began, the newest first.
    """

    model: str
    version: str
    in_force: Candidate | None
    is_own: bool
    learns_for: str
    candidates: tuple[Candidate, ...]

    @property
    def words(self) -> str:
        """Say what it is compared with, and what to do for another reference."""
        if self.in_force is None and self.learns_for:
            now = f"it is compared with its own events, once {self.learns_for} of them are in"
        elif self.in_force is None:
            now = "it has no reference yet"
        elif self.is_own:
            now = f"it is compared with its own {self.in_force.source}"
        else:
            now = f"it is compared with {self.in_force.source}, which the versions before it had"
        if self.candidates:
            one = self.candidates[0]
            return f"{now}; offered as its reference: {one.hash[:SHORT]}, of {one.source}"
        if self.in_force is not None and not self.is_own:
            key = f"--model {self.model} --version {self.version}"
            how = f"driftline reference build {key} --from TABLE --promote"
            return f"{now}; a new one of its training data: {how}"
        return now


def offer_of(connection: Connection, settings: ModelSettings, key: Key, since_ms: int) -> Offer:
    """Look what references there are for a new version.

    Parameters
    ----------
    connection : Connection
    settings : ModelSettings
        Of the model.
    key : tuple of str
        Model and new version.
    since_ms : int
        Wall clock when its training began: older references are not offered.
    """
    pointer, stored = reference_pointer.c, reference.c
    last = connection.execute(
        select(pointer.hash)
        .where(pointer.model == key[0], pointer.version == key[1])
        .order_by(pointer.revision.desc())
        .limit(1)
    ).scalar()
    columns = select(stored.hash, stored.metadata, stored.created_at_ms)
    row = connection.execute(columns.where(stored.hash == last)).one_or_none()
    newest = columns.where(stored.created_at_ms >= since_ms).order_by(stored.created_at_ms.desc())
    rows = connection.execute(newest.limit(LOOKED_AT)).all()
    made_for = [(found, json.loads(found.metadata)) for found in rows if found.hash != last]
    fitting = [_candidate(found, notes) for found, notes in made_for if _fits(notes, key)]
    notes = {} if row is None else json.loads(row.metadata)
    is_file = settings.reference.file is not None
    span_ms = settings.reference.span_ms
    return Offer(
        *key,
        in_force=None if row is None else _candidate(row, notes),
        is_own=notes.get("version") == key[1],
        learns_for="" if is_file or span_ms is None else format_duration(span_ms),
        candidates=tuple(fitting[:OFFERED]),
    )


def accept(
    connection: Connection, settings: ModelSettings, key: Key, prefix: str, *, by: str, now_ms: int
) -> tuple[str, int]:
    """Compare a version with a reference from its next window on.

    Parameters
    ----------
    prefix : str
        Beginning of the reference's hash.

    Returns
    -------
    hash : str
    from_ms : int
        First window that is compared with it.

    Raises
    ------
    UnusableReference
        If there is no such reference, or more than one.
    """
    hash_ = find(connection, prefix)
    from_ms = next_boundary(connection, key, settings)
    promote(connection, key, hash_, from_ms=from_ms, by=by, now_ms=now_ms)
    return hash_, from_ms


def _fits(notes: dict[str, Any], key: Key) -> bool:
    return notes.get("model") == key[0] and notes.get("version") in (None, key[1])


def _candidate(row: Any, notes: dict[str, Any]) -> Candidate:
    return Candidate(str(row.hash), _source(notes), int(row.created_at_ms))


def _source(notes: dict[str, Any]) -> str:
    if notes.get("source") == "file":
        return f"file {notes.get('file', '')}".rstrip()
    days = [f"{instant(int(notes[name])):%Y-%m-%d}" for name in ("from_ms", "to_ms") if name in notes]
    return f"events from {' to '.join(days)}" if len(days) == 2 else "events"
