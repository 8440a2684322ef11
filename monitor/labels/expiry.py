"""Forgets predictions whose labels are not waited for any more, and labels whose prediction never came."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Table, delete, exists, select, update

from detectors.tensor import IntArray
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.labels.packing import labels_in
from monitor.labels.pairing import Status
from monitor.labels.pending import id_of
from monitor.store.engine import immediate, reading
from monitor.store.joining import lock_models
from monitor.store.queries.times import watermarks
from monitor.store.tables import joined_version, label_account, partition_state, pending, truth

ROWS = 100_000  # looked at together; a large table is gone through bit by bit
ROUNDS = 10  # in one sweep
DELETED_AT_ONCE = 500
EVERY_S = 10.0
FIRST_KEY = -(2**63)


class Expiry:
    """Goes round the tables of the join, forgetting what is too old.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    stop : threading.Event, optional
        A sweep ends between two looks once it is set.
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        clock: Clock,
        stop: threading.Event | None = None,
    ) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._stop = stop or threading.Event()
        self._hands = {"pending": FIRST_KEY, "truth": FIRST_KEY}
        self._at = 0.0
        self._has_labels = any(stream.kind == "labels" for stream in configuration.streams)

    def sweep(self, *, at_once: bool = False) -> int:
        """Look at the next rows of both tables; returns how many were forgotten.

        Parameters
        ----------
        at_once : bool
            Also if the last look was only just now.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        if not self._has_labels or (self._clock.monotonic() < self._at and not at_once):
            return 0
        self._at = self._clock.monotonic() + EVERY_S
        number = 0
        for _ in range(ROUNDS):
            if self._stop.is_set():
                break
            number += self._look()
            if set(self._hands.values()) == {FIRST_KEY}:
                break  # gone through both tables
        return number

    def _look(self) -> int:
        with reading(self._engine) as connection:
            marks = self._marks(connection)
            versions = {row.id: row.model_id for row in connection.execute(select(joined_version))}
            predictions = self._next(connection, pending, pending.c.version_id)
            labels = self._next(connection, truth, truth.c.payload)
        number = 0
        for row_keys, model_id in _old(predictions, _models_of(predictions, versions), marks):
            number += self._forget_predictions(model_id, row_keys, marks[model_id])
        for row_keys, model_id in _old(labels, labels_in([row.owner for row in labels])["model"], marks):
            number += self._forget_labels(model_id, row_keys, marks[model_id])
        return number

    def _marks(self, connection: Connection) -> dict[int, int]:
        """Event time up to which predictions and labels of each model have come, by the model's id."""
        now_ms = self._clock.now_ms()
        events = watermarks(connection, self._configuration, now_ms)
        labels = watermarks(connection, self._configuration, now_ms, kind="labels")
        p = partition_state.c
        behind = select(p.kind).where(p.reached_end.is_(False)).distinct()
        are_behind = set(connection.execute(behind).scalars())
        marks = {}
        for model in events.keys() | labels.keys():
            # Without any event of one side so far, what has not been read may still be about old ones.
            one = events.get(model, 0 if "predictions" in are_behind else labels.get(model, 0))
            other = labels.get(model, 0 if "labels" in are_behind else events.get(model, 0))
            marks[id_of(model)] = min(one, other)
        return marks

    def _next(self, connection: Connection, table: Table, owner: Any) -> list[Any]:
        """The next rows of a table in the order of their keys; after the last, the first again."""
        c = table.c
        query = select(c.key, owner.label("owner"), c.until_ms).where(c.key >= self._hands[table.name])
        rows = list(connection.execute(query.order_by(c.key).limit(ROWS)))
        self._hands[table.name] = rows[-1].key if len(rows) == ROWS else FIRST_KEY
        return rows

    def _forget_predictions(self, model_id: int, keys: list[int], mark_ms: int) -> int:
        c = pending.c
        with immediate(self._engine) as connection:
            lock_models(connection, [model_id])
            return connection.execute(delete(pending).where(c.key.in_(keys), c.until_ms < mark_ms)).rowcount

    def _forget_labels(self, model_id: int, keys: list[int], mark_ms: int) -> int:
        c = truth.c
        with immediate(self._engine) as connection:
            lock_models(connection, [model_id])
            # The hand goes through predictions at another pace: no label goes before its prediction.
            has_prediction = exists().where(pending.c.key == c.key)
            old = delete(truth).where(c.key.in_(keys), c.until_ms < mark_ms, ~has_prediction)
            gone = list(connection.execute(old.returning(c.payload, c.status)))
            waiting = [row.payload for row in gone if row.status == Status.WAITING]
            _count_orphans(connection, labels_in(waiting)["place"].tolist())
        return len(gone)


def _models_of(rows: list[Any], model_of: Mapping[int, int]) -> IntArray:
    """Ids of the models of predictions."""
    ids, at = np.unique(np.array([row.owner for row in rows], np.int64), return_inverse=True)
    return np.array([model_of.get(id_, 0) for id_ in ids.tolist()], np.int64)[at]


def _old(rows: list[Any], models: IntArray, marks: Mapping[int, int]) -> Iterator[tuple[list[int], int]]:
    """Keys of rows that are too old, some at a time, and their model: a key is of one model only."""
    keys = np.array([row.key for row in rows], np.int64)
    until = np.array([row.until_ms for row in rows], np.int64)
    for model_id in np.unique(models).tolist():
        old = keys[(models == model_id) & (until < marks.get(model_id, 0))].tolist()
        for first in range(0, len(old), DELETED_AT_ONCE):
            yield old[first : first + DELETED_AT_ONCE], model_id


def _count_orphans(connection: Connection, places: list[int]) -> None:
    """Labels that waited, of these partitions, have waited in vain."""
    a = label_account.c
    for place in sorted(set(places)):
        number = places.count(place)
        connection.execute(
            update(label_account)
            .where(a.place == place)
            .values(waiting=a.waiting - number, orphaned=a.orphaned + number)
        )
