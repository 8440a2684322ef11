"""The join in the database: what is stored under the keys of a batch, and what the batch changes there.

Called inside the transaction that moves the positions of the partitions that the batch came from. Joins of
the same model are done one after the other: SQLite has one writer, and on PostgreSQL a lock for each model is
held to the end of the transaction, so that a prediction and its label cannot miss each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert, select, text

from detectors.outcomes import FORMAT, by_group, summed
from detectors.tensor import IntArray
from monitor.config.settings import ModelSettings
from monitor.labels.packing import packed, packed_labels, unpacked, unpacked_labels
from monitor.labels.pairing import FATES, LabelRows, Pairing, PredictionRows, is_new, pair
from monitor.labels.pending import hashes_of, id_of, positive_name, version_id
from monitor.store.bulk import Rows, look_up, put
from monitor.store.shares import Shares, adapt, is_kept, shares_of
from monitor.store.sql import insert_new, inserting
from monitor.store.tables import (
    joined_version,
    label_account,
    outcome_commit,
    outcome_slice,
    pending,
    term,
    truth,
)

LOOK_BACK_MS = 3_600_000  # labels keep the share that held so long before them


@dataclass(frozen=True)
class JoinedVersion:
    """What the join has to know of a model version."""

    model: str
    version: str
    slice_ms: int
    positive_name: str
    positive: np.uint64
    most_per_s: float


class JoinedVersions:
    """Model versions by id, read from the database where other processes registered them.

    Parameters
    ----------
    settings_of : callable
        Settings in effect for a model.
    """

    def __init__(self, settings_of: Callable[[str], ModelSettings]) -> None:
        self._settings_of = settings_of
        self._known: dict[int, JoinedVersion] = {}

    def add(self, model: str, version: str) -> int:
        """Remember a model version as it is configured now; returns its id."""
        settings = self._settings_of(model)
        return self._keep(model, version, settings.slice_ms, positive_name(settings))

    def _keep(self, model: str, version: str, slice_ms: int, positive: str) -> int:
        id_ = version_id(model, version, slice_ms, positive)
        if id_ not in self._known:
            hash_ = np.uint64(hashes_of([positive])[0])
            most = self._settings_of(model).labels.sample_per_s
            self._known[id_] = JoinedVersion(model, version, slice_ms, positive, hash_, most)
        return id_

    def of(self, connection: Connection, ids: IntArray) -> list[JoinedVersion]:
        """Model versions with these ids."""
        if any(id_ not in self._known for id_ in ids.tolist()):
            for row in connection.execute(select(joined_version)):
                self._keep(row.model, row.version, row.slice_ms, row.positive)
        return [self._known[id_] for id_ in ids.tolist()]


@dataclass
class JoinWork:
    """Predictions and labels of a commit.

    Parameters
    ----------
    predictions : list of PredictionRows
    labels : list of LabelRows
        In the order of their arrival.
    versions : JoinedVersions
    places : dict of int to (str, int)
        Topic and partition by id.
    terms : dict of int to str
        What hashes stand for that may be new.
    models : dict of int to str
        Models that have predictions or labels here, by id.
    """

    versions: JoinedVersions
    predictions: list[PredictionRows] = field(default_factory=list)
    labels: list[LabelRows] = field(default_factory=list)
    places: dict[int, tuple[str, int]] = field(default_factory=dict)
    terms: dict[int, str] = field(default_factory=dict)
    models: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JoinDone:
    """Slices whose outcomes have changed, as (model, version, start), and the fates of labels."""

    slices: list[tuple[str, str, int]]
    fates: dict[int, IntArray]


def join(connection: Connection, work: JoinWork, sources: str) -> JoinDone:
    """Pair what came with what is stored, and store what follows.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction.
    work : JoinWork
    sources : str
        Offsets that the commit takes in, as JSON.
    """
    if not work.predictions and not work.labels:
        return JoinDone([], {})
    lock_models(connection, work.models)
    shares = shares_of(connection, work.models.values())
    new = _sampled(connection, _all_predictions(work.predictions), work.versions, shares)
    labels = _marked(_all_labels(work.labels), work.models, shares)
    keys = _distinct(np.concatenate((new.key, labels.key)))
    known = _known_predictions(connection, keys, work.versions)
    pairing = pair(new, labels, known, _known_truths(connection, keys))
    # In one order: joins of other models may add the same terms, and wait for each other.
    terms = sorted(work.terms.items())
    insert_new(connection, term, [{"hash": hash_, "text": name} for hash_, name in terms])
    _register(connection, work.versions, np.unique(new.version))
    _insert_pending(connection, pairing.fresh)
    _upsert_truth(connection, pairing)
    slices = _insert_outcomes(connection, pairing, work.versions, sources)
    _upsert_fates(connection, pairing.fates, work.places)
    return JoinDone(slices, pairing.fates)


def lock_models(connection: Connection, model_ids: Iterable[int]) -> None:
    """Let others who join these models wait until this transaction ends."""
    if connection.dialect.name == "postgresql":
        for id_ in sorted(model_ids):  # in one order, so that nobody waits in a circle
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": id_})


def _distinct(keys: IntArray) -> IntArray:
    """Sorted distinct keys; where most are distinct, this is faster than `numpy.unique`."""
    keys = np.sort(keys)
    return keys[is_new(keys)]


def _all_predictions(parts: Sequence[PredictionRows]) -> PredictionRows:
    if not parts:
        return _no_predictions()
    return parts[0].plus(*parts[1:])


def _no_predictions() -> PredictionRows:
    none = np.zeros(0, np.int64)
    return PredictionRows(
        none, none, none, none, np.zeros(0, np.uint64), unpacked(np.zeros((0, 2), np.uint8))
    )


def _sampled(
    connection: Connection, rows: PredictionRows, versions: JoinedVersions, shares: Mapping[str, Shares]
) -> PredictionRows:
    """Predictions that are kept; also looks whether other shares are needed."""
    if not len(rows):
        return rows
    ids, at = np.unique(rows.version, return_inverse=True)
    known = versions.of(connection, ids)
    share = np.ones(len(rows))
    for model in {version.model for version in known}:
        mine = np.isin(at, [i for i, version in enumerate(known) if version.model == model])
        share[mine] = shares[model].at(rows.slice_ms[mine])
        settings = next(version for version in known if version.model == model)
        slices, numbers = np.unique(rows.slice_ms[mine], return_counts=True)
        came = dict(zip(slices.tolist(), numbers.tolist(), strict=True))
        adapt(
            connection,
            model,
            shares[model],
            came,
            slice_ms=settings.slice_ms,
            most_per_s=settings.most_per_s,
        )
    if share.min() >= 1:
        return rows
    return rows.take(np.flatnonzero(is_kept(rows.key, share)))


def _marked(labels: LabelRows, models: Mapping[int, str], shares: Mapping[str, Shares]) -> LabelRows:
    """Labels, with those marked whose predictions are kept at the share in force at the labels' time."""
    share = np.ones(len(labels))
    for id_ in np.unique(labels.model).tolist():
        mine = labels.model == id_
        known = shares[models[id_]]
        # A prediction may be from before the share fell; how long before, nobody can know.
        earlier = known.at(labels.label_ms[mine] - LOOK_BACK_MS)
        share[mine] = np.maximum(known.at(labels.label_ms[mine]), earlier)
    return LabelRows(**{**vars(labels), "is_sampled": is_kept(labels.key, share)})


def _all_labels(parts: Sequence[LabelRows]) -> LabelRows:
    if not parts:
        none = np.zeros(0, np.int64)
        return LabelRows(
            none, none, none, np.zeros(0, np.uint64), np.zeros(0), none, none, np.zeros(0, bool), none, none
        )
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return LabelRows(*(np.concatenate(column) for column in columns))


# --- what is stored -----------------------------------------------------------------------------------------


def _known_predictions(connection: Connection, keys: IntArray, versions: JoinedVersions) -> PredictionRows:
    found = look_up(connection, pending, keys)
    return _all_predictions([_predictions_of(connection, rows, versions) for rows in found])


def _predictions_of(connection: Connection, stored: Rows, versions: JoinedVersions) -> PredictionRows:
    columns, rows = stored.columns, unpacked(stored.payload)
    version_ids, at = np.unique(columns["version_id"], return_inverse=True)
    known = versions.of(connection, version_ids)
    slice_ms = np.array([v.slice_ms for v in known], np.int64)[at]
    return PredictionRows(
        key=columns["key"],
        version=columns["version_id"],
        slice_ms=rows.event_ms // slice_ms * slice_ms,
        until_ms=columns["until_ms"],
        positive=np.array([v.positive for v in known], np.uint64)[at],
        rows=rows,
    )


def _known_truths(connection: Connection, keys: IntArray) -> LabelRows:
    found = look_up(connection, truth, keys)
    return _all_labels([unpacked_labels(rows.payload, **rows.columns) for rows in found])


# --- what is written ----------------------------------------------------------------------------------------


def _register(connection: Connection, versions: JoinedVersions, ids: IntArray) -> None:
    rows = [
        {
            "id": id_,
            "model_id": id_of(known.model),
            "model": known.model,
            "version": known.version,
            "slice_ms": known.slice_ms,
            "positive": known.positive_name,
        }
        for id_, known in zip(ids.tolist(), versions.of(connection, ids), strict=True)
    ]
    insert_new(connection, joined_version, rows)


def _insert_pending(connection: Connection, fresh: PredictionRows) -> None:
    columns = {"key": fresh.key, "version_id": fresh.version, "until_ms": fresh.until_ms}
    put(connection, pending, columns, packed(fresh.rows))


def _upsert_truth(connection: Connection, pairing: Pairing) -> None:
    labels = pairing.labels
    columns = {"key": labels.key, "until_ms": pairing.until_ms, "status": labels.status}
    put(connection, truth, columns, packed_labels(labels), pairing.is_stored)


def _insert_outcomes(
    connection: Connection, pairing: Pairing, versions: JoinedVersions, sources: str
) -> list[tuple[str, str, int]]:
    if not len(pairing.records):
        return []
    commit_id = connection.execute(
        insert(outcome_commit).values(sources=sources).returning(outcome_commit.c.id)
    ).scalar_one()
    touched: list[tuple[str, str, int]] = []
    rows: list[dict[str, Any]] = []
    ids = np.unique(pairing.version)
    for id_, known in zip(ids.tolist(), versions.of(connection, ids), strict=True):
        mine = pairing.version == id_
        for slice_ms, data in by_group(*summed(pairing.slice_ms[mine], pairing.records[mine])):
            touched.append((known.model, known.version, slice_ms))
            rows.append(
                {"model": known.model, "version": known.version, "slice_ms": slice_ms, "format": FORMAT,
                 "commit_id": commit_id, "records": data}
            )  # fmt: skip
    if rows:
        connection.execute(insert(outcome_slice), rows)
    return touched


def _upsert_fates(
    connection: Connection, fates: dict[int, IntArray], places: dict[int, tuple[str, int]]
) -> None:
    """Add to the counts of label events; partitions that are not ours are known to the table already."""
    rows = []
    for place, counts in sorted(fates.items()):
        if counts.any():
            topic, partition = places.get(place, ("", -1))
            numbers = dict(zip(FATES, counts.tolist(), strict=True))
            rows.append({"place": place, "topic": topic, "partition": partition, **numbers})
    if not rows:
        return
    statement = inserting(connection, label_account)
    changed = {name: label_account.c[name] + statement.excluded[name] for name in FATES}
    connection.execute(statement.on_conflict_do_update(index_elements=["place"], set_=changed), rows)
