"""References of outcomes in the database: learned once the labels of the reference's time have come."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select

from detectors.outcome_reference import OutcomeReference
from detectors.outcomes import joined
from monitor.config.settings import ModelSettings
from monitor.frames.outcomes import outcome_reference_from_file
from monitor.performance.outcomes import age_of, positive_of, wait_ms
from monitor.profiling import Key
from monitor.registry import read_columns
from monitor.store.engine import immediate, reading
from monitor.store.queries.outcomes import class_hashes, texts_of, windows_between
from monitor.store.sql import insert_new
from monitor.store.tables import outcome_reference, outcome_slice, reference, reference_pointer
from schemas.errors import UnusableReference, UsageError

logger = logging.getLogger(__name__)

MOST = 256  # references in memory
DEFAULT_SPAN_MS = 7 * 86_400_000


class OutcomeReferences:
    """References of outcomes by model version, read or learned when they are asked for.

    Parameters
    ----------
    engine : Engine
    folder : Path
        Where relative paths of training files start.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._useless: set[tuple[Key, Path]] = set()
        self._refused: dict[Key, int | None] = {}  # newest row of a stretch that had too few labels
        self._kept: dict[str, OutcomeReference] = {}

    def of(self, connection: Connection, key: Key) -> tuple[OutcomeReference, ...]:
        """Every reference of a model version, the newest first."""
        p, o = reference_pointer.c, outcome_reference.c
        rows = connection.execute(
            select(o.hash)
            .join(
                reference_pointer,
                (p.model == o.model) & (p.version == o.version) & (p.hash == o.reference_hash),
            )
            .where(o.model == key[0], o.version == key[1])
            .order_by(p.revision.desc())
        )
        return tuple(self.get(connection, hash_) for hash_ in dict.fromkeys(rows.scalars()))

    def get(self, connection: Connection, hash_: str) -> OutcomeReference:
        """Return a reference by its hash.

        Raises
        ------
        UnusableReference
            If there is none.
        """
        if hash_ not in self._kept:
            query = select(outcome_reference.c.bytes).where(outcome_reference.c.hash == hash_).limit(1)
            data = connection.execute(query).scalar()
            if data is None:
                msg = f"there is no reference of outcomes {hash_}"
                raise UnusableReference(msg)
            while len(self._kept) >= MOST:
                self._kept.pop(next(iter(self._kept)))
            self._kept[hash_] = OutcomeReference.from_bytes(bytes(data))
        return self._kept[hash_]

    def learn(
        self, key: Key, settings: ModelSettings, mark_ms: int | None, now_ms: int
    ) -> OutcomeReference | None:
        """Learn the reference that belongs to the newest reference of events, if its labels have come.

        Parameters
        ----------
        key : tuple of str
        settings : ModelSettings
        mark_ms : int or None
            Event time up to which predictions and labels have come; None before the first label, when only a
            training file can tell.
        now_ms : int
            Wall clock.

        Returns
        -------
        OutcomeReference or None
            The new one; None if there is one already, or it is too early, or there are too few labels.
        """
        with reading(self._engine) as connection:
            hash_ = _newest_without(connection, key)
        if hash_ is None:
            return None
        new = self._of_file(key, settings) or self._of_stream(key, settings, hash_, mark_ms)
        if new is None:
            return None
        with immediate(self._engine) as connection:
            insert_new(
                connection,
                outcome_reference,
                [
                    {
                        "model": key[0], "version": key[1], "reference_hash": hash_, "hash": new.hash,
                        "bytes": new.to_bytes(), "labels": new.labels, "from_ms": new.from_ms,
                        "to_ms": new.to_ms, "created_at_ms": now_ms,
                    }
                ],
            )  # fmt: skip
        return new

    def _of_file(self, key: Key, settings: ModelSettings) -> OutcomeReference | None:
        """Reference of the labels in the configured training file; None if there are no such."""
        if settings.reference.file is None:
            return None
        path = self._folder / settings.reference.file
        if (key, path) in self._useless:
            return None
        with reading(self._engine) as connection:
            specs = read_columns(connection, [key[0]]).get(key, {})
        try:
            return outcome_reference_from_file(path, settings, specs, model=key[0])
        except (UsageError, UnusableReference) as error:
            logger.info("model %s version %s: %s; learning from the stream instead", *key, error)
            self._useless.add((key, path))
            return None

    def _of_stream(
        self, key: Key, settings: ModelSettings, hash_: str, mark_ms: int | None
    ) -> OutcomeReference | None:
        """Reference of a stretch of the stream; None if it is too early, or there are too few labels."""
        if mark_ms is None:
            return None
        with reading(self._engine) as connection:
            span = _span(connection, key, settings, hash_)
            if span is None or mark_ms < span[1] + wait_ms(settings):
                return None
            newest = _newest_row(connection, key, span)
            if newest == self._refused.get(key):
                return None  # nothing has come since there were too few
            try:
                return _build(connection, key, settings, span)
            except UnusableReference as error:
                logger.debug("model %s version %s has no reference of outcomes yet: %s", *key, error)
                self._refused[key] = newest
                return None


def in_force(references: Sequence[OutcomeReference], start_ms: int) -> OutcomeReference | None:
    """Return the reference that a window is judged against: the newest of those that are before it."""
    return next((one for one in references if one.judged_from_ms <= start_ms), None)


def _newest_without(connection: Connection, key: Key) -> str | None:
    """Hash of the newest reference of events, if none of outcomes belongs to it yet."""
    p = reference_pointer.c
    hash_: str | None = connection.execute(
        select(p.hash).where(p.model == key[0], p.version == key[1]).order_by(p.revision.desc()).limit(1)
    ).scalar()
    o = outcome_reference.c
    known = connection.execute(
        select(o.hash).where(o.model == key[0], o.version == key[1], o.reference_hash == hash_)
    ).first()
    return hash_ if known is None else None


def _span(connection: Connection, key: Key, settings: ModelSettings, hash_: str) -> tuple[int, int] | None:
    """Whole base windows: of the time that the reference was learned from, or the first with outcomes."""
    metadata: Mapping[str, object] = json.loads(
        connection.execute(select(reference.c.metadata).where(reference.c.hash == hash_)).scalar_one()
    )
    every = settings.windows[0].every_ms
    first = connection.execute(
        select(outcome_slice.c.slice_ms)
        .where(outcome_slice.c.model == key[0], outcome_slice.c.version == key[1])
        .order_by(outcome_slice.c.slice_ms)
        .limit(1)
    ).scalar()
    if first is None:
        return None
    begin, end = metadata.get("from_ms"), metadata.get("to_ms")
    same = metadata.get("model"), metadata.get("version")
    if isinstance(begin, int) and isinstance(end, int) and same == key and first < end:
        return begin // every * every, -(-end // every) * every
    begin = first // every * every
    length = settings.reference.span_ms or DEFAULT_SPAN_MS
    return begin, begin + -(-length // every) * every


def _newest_row(connection: Connection, key: Key, span: tuple[int, int]) -> int | None:
    c = outcome_slice.c
    query = select(func.max(c.id)).where(
        c.model == key[0], c.version == key[1], c.slice_ms >= span[0], c.slice_ms < span[1]
    )
    newest: int | None = connection.execute(query).scalar()
    return newest


def _build(
    connection: Connection, key: Key, settings: ModelSettings, span: tuple[int, int]
) -> OutcomeReference:
    window = settings.windows[0]
    windows = windows_between(connection, key, span[0], span[1], window.every_ms)
    names = texts_of(connection, class_hashes(windows.values()))
    return OutcomeReference.build(
        windows,
        names,
        from_ms=span[0],
        to_ms=span[1],
        window_ms=window.every_ms,
        age=age_of(settings),
        positive=positive_of(settings, joined([records.tobytes() for records in windows.values()])),
    )
