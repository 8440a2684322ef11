"""References in the database: learned from the stream, built from tables, promoted, never overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, func, insert, select, update

from detectors.binning import Binning
from detectors.profile import Profile
from detectors.reference import Reference, build
from monitor.config.settings import ModelSettings
from monitor.profiling import Key, Pointer
from monitor.store.engine import immediate, reading
from monitor.store.positions import REFERENCES
from monitor.store.queries.slices import DAY_MS
from monitor.store.sql import insert_new, inserting
from monitor.store.tables import counter, reference, reference_pointer, slice_profile, window_state
from schemas.column import ColumnSpec
from schemas.errors import UnusableReference

Metadata = Mapping[str, Any]


class ReferenceCache:
    """References by hash, read once.

    Parameters
    ----------
    most : int
        References that are kept in memory.
    """

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._kept: dict[str, Reference] = {}

    def get(self, connection: Connection, hash_: str) -> Reference:
        """Return a reference.

        Raises
        ------
        UnusableReference
            If there is none of that hash.
        """
        found = self._kept.get(hash_)
        if found is None:
            found = load(connection, hash_)
            while len(self._kept) >= self._most:
                self._kept.pop(next(iter(self._kept)))
            self._kept[hash_] = found
        return found


@dataclass(frozen=True)
class Span:
    """Stretch of event time that a reference is learned from; `to_ms` is not included."""

    from_ms: int
    to_ms: int


def load(connection: Connection, hash_: str) -> Reference:
    """Read a reference.

    Raises
    ------
    UnusableReference
        If there is none of that hash.
    """
    data = connection.execute(select(reference.c.bytes).where(reference.c.hash == hash_)).scalar()
    if data is None:
        msg = f"there is no reference {hash_}"
        raise UnusableReference(msg)
    return Reference.from_bytes(data)


def pointers_of(connection: Connection, cache: ReferenceCache, key: Key) -> tuple[Pointer, ...]:
    """References that a model version was and is judged against, oldest first."""
    rows = connection.execute(
        select(reference_pointer)
        .where(reference_pointer.c.model == key[0], reference_pointer.c.version == key[1])
        .order_by(reference_pointer.c.revision)
    ).all()
    return tuple(Pointer(row.from_ms, row.hash, cache.get(connection, row.hash).binning) for row in rows)


def pointer_at(pointers: Iterable[Pointer], at_ms: int) -> Pointer | None:
    """Return the one in force at an instant of event time; None before the first."""
    found = None
    for pointer in pointers:
        if pointer.from_ms <= at_ms:
            found = pointer
    return found


def keep(connection: Connection, new: Reference, metadata: Metadata, now_ms: int) -> None:
    """Store a reference; the same bytes are stored once, with the metadata they first came with."""
    insert_new(
        connection,
        reference,
        [
            {
                "hash": new.hash, "bytes": new.to_bytes(), "rows": new.rows, "created_at_ms": now_ms,
                "metadata": json.dumps(dict(metadata), sort_keys=True),
            }
        ],
    )  # fmt: skip


def promote(
    connection: Connection,
    key: Key,
    hash_: str,
    *,
    from_ms: int,
    by: str,
    now_ms: int,
    only_first: bool = False,
) -> bool:
    """Judge a model version against a reference from an instant of event time on.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction.
    key : tuple of str
        Model and version.
    hash_ : str
        A stored reference.
    from_ms : int
        First slice that is counted on its bins; not before that of the reference in force.
    by : str
        Who says so.
    only_first : bool
        Do nothing if the version has a reference already.

    Returns
    -------
    bool
        Whether anything changed.

    Raises
    ------
    UnusableReference
        If there is no such reference, or `from_ms` lies before that of the one in force.
    """
    # Commits read this row too, so that none of them mixes profiles from before and after.
    statement = inserting(connection, counter).values(name=REFERENCES, value=1)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"value": counter.c.value + 1})
    )
    load(connection, hash_)
    mine = (reference_pointer.c.model == key[0], reference_pointer.c.version == key[1])
    last = connection.execute(
        select(reference_pointer).where(*mine).order_by(reference_pointer.c.revision.desc()).limit(1)
    ).one_or_none()
    if last is not None and (only_first or (last.hash == hash_ and last.from_ms == from_ms)):
        return False
    if last is not None and from_ms < last.from_ms:
        msg = f"a reference is in force from {last.from_ms} ms on; a new one cannot begin before that"
        raise UnusableReference(msg)
    connection.execute(
        insert(reference_pointer).values(
            model=key[0], version=key[1], revision=1 if last is None else last.revision + 1, hash=hash_,
            from_ms=from_ms, promoted_at_ms=now_ms, promoted_by=by,
        )
    )  # fmt: skip
    if last is None:
        # Windows that begin before the first reference cannot be judged.
        connection.execute(
            update(window_state)
            .where(
                window_state.c.model == key[0],
                window_state.c.version == key[1],
                window_state.c.start_ms < from_ms,
            )
            .values(judged=window_state.c.touched)
        )
    return True


def next_boundary(connection: Connection, key: Key, settings: ModelSettings) -> int:
    """First window after everything that a model version has delivered; 0 before any event."""
    newest = connection.execute(
        select(func.max(slice_profile.c.slice_ms)).where(
            slice_profile.c.model == key[0], slice_profile.c.version == key[1]
        )
    ).scalar()
    if newest is None:
        return 0
    every = settings.windows[0].every_ms
    return int((newest // every + 1) * every)


def next_slice(connection: Connection, key: Key, settings: ModelSettings) -> int:
    """First slice after everything that a model version has delivered; 0 before any event."""
    newest = connection.execute(
        select(func.max(slice_profile.c.slice_ms)).where(
            slice_profile.c.model == key[0], slice_profile.c.version == key[1]
        )
    ).scalar()
    return 0 if newest is None else int(newest) + settings.slice_ms


def find(connection: Connection, prefix: str) -> str:
    """Hash of the one reference whose hash begins like that.

    Raises
    ------
    UnusableReference
        If there is none, or more than one.
    """
    escaped = prefix.lower()
    if not escaped or set(escaped) - set("0123456789abcdef"):
        msg = f"{prefix!r} is no beginning of a reference's hash (use digits and the letters a to f)"
        raise UnusableReference(msg)
    query = select(reference.c.hash).where(reference.c.hash.like(f"{escaped}%")).order_by(reference.c.hash)
    found = list(connection.execute(query.limit(3)).scalars())
    if len(found) == 1:
        return str(found[0])
    if not found:
        msg = f"there is no reference {prefix} (driftline reference list shows those that there are)"
        raise UnusableReference(msg)
    several = ", ".join(hash_[: len(prefix) + 4] for hash_ in found)
    msg = f"more than one reference begins with {prefix} ({several}; give more digits)"
    raise UnusableReference(msg)


# --- learning from the stream ------------------------------------------------------------------------------


def learnable(connection: Connection, key: Key, settings: ModelSettings, watermark_ms: int) -> Span | None:
    """Stretch that a first reference can be learned from; None if event time has not come far enough."""
    if settings.reference.file is not None:
        return None
    rows = connection.execute(
        select(slice_profile.c.slice_ms, func.sum(slice_profile.c.rows))
        .where(slice_profile.c.model == key[0], slice_profile.c.version == key[1])
        .group_by(slice_profile.c.slice_ms)
        .order_by(slice_profile.c.slice_ms)
    ).all()
    starts, counts = (np.array([int(row[i]) for row in rows], np.int64) for i in (0, 1))
    span = first_stretch(starts, counts, settings)
    return span if span is not None and watermark_ms >= span.to_ms else None


def first_stretch(starts: NDArray[np.int64], rows: NDArray[np.int64], settings: ModelSettings) -> Span | None:
    """Stretch that a reference is learned from: what the settings name, longer until there are rows enough.

    Parameters
    ----------
    starts, rows : int64 array [slices]
        First instant and number of rows of each slice with rows, in order of time.
    settings : ModelSettings
        Whose reference is not a file.

    Returns
    -------
    Span or None
        None if there are fewer rows than ``settings.reference.min_rows``.
    """
    wanted, every = settings.reference, settings.slice_ms
    if not len(starts):
        return None
    if wanted.from_ms is not None and wanted.to_ms is not None:
        start, end = wanted.from_ms // every * every, -(-wanted.to_ms // every) * every
    else:
        start = int(starts[0])
        end = start - (-(wanted.span_ms or 0) // every) * every
    later = starts >= start
    enough = np.flatnonzero(np.cumsum(rows[later]) >= wanted.min_rows)
    if not len(enough):
        return None
    return Span(start, max(end, int(starts[later][enough[0]]) + every))


def learn(
    connection: Connection, key: Key, settings: ModelSettings, span: Span, specs: Mapping[str, ColumnSpec]
) -> Reference:
    """Make a reference of a stretch of the stream."""
    rows = connection.execute(
        select(slice_profile.c.slice_ms, slice_profile.c.bytes, slice_profile.c.reference_hash)
        .where(
            slice_profile.c.model == key[0],
            slice_profile.c.version == key[1],
            slice_profile.c.slice_ms >= span.from_ms,
            slice_profile.c.slice_ms < span.to_ms,
        )
        .order_by(slice_profile.c.id)
    )
    parts: dict[int, list[Profile]] = {}
    for row in rows:
        if row.reference_hash is None:
            parts.setdefault(row.slice_ms, []).append(Profile.from_bytes(row.bytes))
    slices: dict[int, Profile] = {}
    for slice_ms, profiles in parts.items():
        slices[slice_ms] = Profile(sample_rows=min(profile.sample.most for profile in profiles))
        slices[slice_ms].declare(specs.values())
        slices[slice_ms].merge(*profiles)
    return build(
        slices,
        slice_ms=settings.slice_ms,
        window_ms=settings.windows[0].length_ms,
        segments=settings.segments,
        max_segment_values=settings.max_segment_values,
        span_ms=(span.from_ms, span.to_ms),
        positive=settings.positive_class,
    )


def learn_stretch(
    connection: Connection, key: Key, settings: ModelSettings, span: Span, specs: Mapping[str, ColumnSpec]
) -> Reference:
    """Make a reference of a stretch of the stream that somebody chose.

    Raises
    ------
    UnusableReference
        If it holds too few rows, or rows that are counted on the bins of a reference already: their values
        are not known any more, so no other bins can be made of them.
    """
    rows = connection.execute(
        select(slice_profile.c.reference_hash, func.sum(slice_profile.c.rows))
        .where(
            slice_profile.c.model == key[0],
            slice_profile.c.version == key[1],
            slice_profile.c.slice_ms >= span.from_ms,
            slice_profile.c.slice_ms < span.to_ms,
        )
        .group_by(slice_profile.c.reference_hash)
    ).all()
    binned = sum(int(number) for hash_, number in rows if hash_ is not None)
    added_up = connection.execute(
        select(func.count())
        .select_from(slice_profile)
        .where(
            slice_profile.c.model == key[0],
            slice_profile.c.version == key[1],
            slice_profile.c.slice_ms > span.from_ms - DAY_MS,
            slice_profile.c.slice_ms < span.to_ms,
            slice_profile.c.span_ms > 0,
        )
    ).scalar_one()
    total = sum(int(number) for _, number in rows)
    of = f"model {key[0]!r} version {key[1]!r}"
    if binned:
        msg = (
            f"{of}: {binned} of {total} rows of this stretch are counted on the bins of a reference already "
            "(use a stretch from before the first reference, or a table)"
        )
        raise UnusableReference(msg)
    if added_up:
        msg = (
            f"{of}: the slices of this stretch were added up to hours or days, as keep.slices says "
            "(use a later stretch, or a table)"
        )
        raise UnusableReference(msg)
    if total < settings.reference.min_rows:
        needed = f"a reference needs at least {settings.reference.min_rows}: reference.min_rows"
        msg = f"{of}: {total} rows in this stretch of the stream ({needed})"
        raise UnusableReference(msg)
    return learn(connection, key, settings, span, specs)


def learn_and_promote(
    engine: Engine,
    key: Key,
    settings: ModelSettings,
    watermark_ms: int,
    specs: Mapping[str, ColumnSpec],
    now_ms: int,
) -> Reference | None:
    """Learn the first reference of a model version if it is time.

    Returns
    -------
    Reference or None
        The reference now in force, if this call made it.
    """
    with reading(engine) as connection:
        span = learnable(connection, key, settings, watermark_ms)
        if span is None:
            return None
        new = learn(connection, key, settings, span, specs)
    metadata = {
        "source": "stream",
        "model": key[0],
        "version": key[1],
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
    }
    with immediate(engine) as connection:
        keep(connection, new, metadata, now_ms)
        first = _first_window(span, settings)
        if not promote(
            connection, key, new.hash, from_ms=first, by="driftline", now_ms=now_ms, only_first=True
        ):
            return None
    return new


def first_boundary(
    connection: Connection, key: Key, settings: ModelSettings, watermark_ms: int
) -> int | None:
    """First window that a reference learned now would judge; None if it is not time to learn one."""
    span = learnable(connection, key, settings, watermark_ms)
    return None if span is None else _first_window(span, settings)


def _first_window(span: Span, settings: ModelSettings) -> int:
    every = settings.windows[0].every_ms
    return -(-span.to_ms // every) * every


def describe(binning: Binning) -> dict[str, int]:
    """Number of bins of each column."""
    return {spec.name: bins.size for spec, bins in zip(binning.columns, binning.bins, strict=True)}
