"""Pairs labels with predictions: what a batch of both changes, given what is stored under the same keys.

Nothing here reads a clock or a database. What is counted is a function of what is stored: a prediction with
the label that is in force for its key, as old as its earliest label, provided that this came within the
horizon. A batch that changes any of it takes back what was counted before and counts anew, so any order and
any batches end alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.outcomes import (
    Labels,
    Predictions,
    Records,
    joint,
    labelled_records,
    negated,
    predicted_records,
    with_segments,
)
from detectors.tensor import HashArray, IntArray

FATES = ("matched", "waiting", "corrected", "duplicates", "orphaned", "expired", "sampled_out")
"""What becomes of a label event; at any time each is counted in exactly one place."""


class Status(IntEnum):
    """Of a stored label; its value is the index of the fate that its first event has."""

    WAITING = 1
    MATCHED = 0
    EXPIRED = 5


_FATE_INDEX = {name: at for at, name in enumerate(FATES)}


@dataclass(frozen=True)
class PredictionRows:
    """Predictions, stored or new.

    Parameters
    ----------
    key : int64 array [n]
        Of the model and the event id.
    version : int64 array [n]
        Id of the model version.
    slice_ms : int64 array [n]
        Start of the slice.
    until_ms : int64 array [n]
        Latest time of a label that counts.
    positive : uint64 array [n]
        Hash of the model's positive class.
    rows : Predictions
    """

    key: IntArray
    version: IntArray
    slice_ms: IntArray
    until_ms: IntArray
    positive: HashArray
    rows: Predictions

    def __len__(self) -> int:
        return len(self.key)

    def take(self, at: NDArray[np.intp]) -> PredictionRows:
        """Return some of the rows."""
        columns = {f.name: getattr(self, f.name)[at] for f in fields(self)[:-1]}
        return PredictionRows(**columns, rows=self.rows.take(at))

    def plus(self, *others: PredictionRows) -> PredictionRows:
        """Put other rows below."""
        parts = (self, *others)
        columns: dict[str, NDArray[Any]] = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(self)[:-1]
        }
        return PredictionRows(**columns, rows=joint(*(part.rows for part in parts)))


@dataclass(frozen=True)
class LabelRows:
    """Labels, stored or new; new ones in the order of their arrival.

    Parameters
    ----------
    key : int64 array [n]
    label_ms : int64 array [n]
        Of the label in force: the latest one.
    first_ms : int64 array [n]
        Of the earliest label of the key: how long the truth took to be known at all. Corrections, and labels
        that are sent again, do not make it older.
    label : uint64 array [n]
    value : float64 array [n]
    place : int64 array [n]
        Id of the partition that the (first) event of the key came in.
    horizon_ms : int64 array [n]
    is_sampled : bool array [n]
        Whether predictions with this key are kept at the current rate.
    status : int64 array [n]
        Of stored labels, see `Status`.
    model : int64 array [n]
        Id of the model.
    """

    key: IntArray
    label_ms: IntArray
    first_ms: IntArray
    label: HashArray
    value: NDArray[np.float64]
    place: IntArray
    horizon_ms: IntArray
    is_sampled: NDArray[np.bool_]
    status: IntArray
    model: IntArray

    def __len__(self) -> int:
        return len(self.key)

    def take(self, at: NDArray[np.intp]) -> LabelRows:
        """Return some of the rows."""
        return LabelRows(*(getattr(self, f.name)[at] for f in fields(self)))

    def plus(self, other: LabelRows) -> LabelRows:
        """Put other rows below."""
        return LabelRows(
            *(np.concatenate((getattr(self, f.name), getattr(other, f.name))) for f in fields(self))
        )


@dataclass(frozen=True)
class Pairing:
    """What a batch changes.

    Parameters
    ----------
    fresh : PredictionRows
        Predictions to store, sorted by key.
    labels : LabelRows
        Labels to store, or to store anew, sorted by key.
    until_ms : int64 array [labels]
        How long each has to be kept.
    is_stored : bool array [labels]
        Whether there is one in the database under the same key, which it takes the place of.
    version, slice_ms : int64 array [records]
    records : records
        What to add to the outcomes of the slices.
    fates : dict of int to int64 array [7]
        Changes of the counts of label events, by partition id, in the order of `FATES`.
    """

    fresh: PredictionRows
    labels: LabelRows
    until_ms: IntArray
    is_stored: NDArray[np.bool_]
    version: IntArray
    slice_ms: IntArray
    records: Records
    fates: dict[int, IntArray]


def pair(new: PredictionRows, labels: LabelRows, known: PredictionRows, stored: LabelRows) -> Pairing:
    """Pair a batch.

    Parameters
    ----------
    new : PredictionRows
        Predictions of the batch.
    labels : LabelRows
        Labels of the batch.
    known : PredictionRows
        Stored predictions under the keys of either.
    stored : LabelRows
        Stored labels under the keys of either, one a key.
    """
    # In the order of their keys, rows are found several times as fast.
    new, labels = new.take(_by_key(new.key)), labels.take(_by_key(labels.key))
    fresh = new.take(_first_of_each(new, known))
    every = known.plus(fresh)
    fates = _Fates()
    labels = _without_hopeless(labels, every, stored, fates)
    groups = _in_force(stored, labels, fates)
    if not len(groups.now):
        none = np.zeros(0, np.int64)
        return Pairing(fresh, groups.now, none, none > 0, *_predicted(fresh), fates.by_place)
    at, has_label = _found(every.key, groups.now.key)
    is_fresh = np.arange(len(every)) >= len(known)
    before, now = groups.before.take(at), groups.now.take(at)
    counted_before = has_label & ~is_fresh & groups.has_before[at] & (before.first_ms <= every.until_ms)
    counted_now = has_label & (now.first_ms <= every.until_ms)
    is_changed = is_fresh | groups.is_changed[at]
    parts = [_predicted(fresh)]
    for counts, source, sign in ((counted_before, before, -1), (counted_now, now, 1)):
        rows = np.flatnonzero(counts & is_changed)
        parts.append(_labelled(every.take(rows), source.take(rows), sign))
    version, slice_ms, records = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    status, until_ms = _status(groups, every, at, has_label, counted_now)
    fates.settle(groups, status)
    outlives = until_ms > groups.before.label_ms + groups.before.horizon_ms + 1
    is_news = groups.now.label_ms != groups.before.label_ms
    store = np.flatnonzero(
        groups.is_changed | is_news | (status != groups.before.status) | ~groups.has_before | outlives
    )
    kept = groups.now.take(store)
    kept = LabelRows(**{**vars(kept), "status": status[store]})
    is_stored = groups.has_before[store]
    return Pairing(fresh, kept, until_ms[store], is_stored, version, slice_ms, records, fates.by_place)


@dataclass(frozen=True)
class _Groups:
    """Labels by key: the one in force before, if any, and now; `is_changed`: outcomes are counted anew."""

    before: LabelRows
    now: LabelRows
    has_before: NDArray[np.bool_]
    is_changed: NDArray[np.bool_]


class _Fates:
    """Counts of label events by partition."""

    def __init__(self) -> None:
        self.by_place: dict[int, IntArray] = {}

    def add(self, place: IntArray, fate: str, number: int = 1) -> None:
        """Count one event for each entry of `place`."""
        self._add(place, np.full(len(place), _FATE_INDEX[fate]), number)

    def settle(self, groups: _Groups, status: IntArray) -> None:
        """Count the first event of each key by what has become of it, instead of what it was before."""
        changed = np.flatnonzero(status != groups.before.status)
        self._add(groups.now.place[changed], status[changed], 1)
        again = changed[groups.has_before[changed]]
        self._add(groups.now.place[again], groups.before.status[again], -1)

    def _add(self, place: IntArray, fate: IntArray, number: int) -> None:
        for one in np.unique(place[is_new(place)]).tolist():
            counts = self.by_place.setdefault(one, np.zeros(len(FATES), np.int64))
            counts += number * np.bincount(fate[place == one], minlength=len(FATES))


def _first_of_each(new: PredictionRows, known: PredictionRows) -> NDArray[np.intp]:
    """Rows of predictions that are not stored yet; of several in a batch the first."""
    key = np.concatenate((known.key, new.key))
    version = np.concatenate((known.version, new.version))
    order = np.lexsort((version, key))
    first = order[is_new(key[order]) | is_new(version[order])]
    return np.sort(first[first >= len(known)]) - len(known)


def _by_key(key: IntArray) -> NDArray[np.intp]:
    """Order by key; equal ones stay in the order of their arrival."""
    return np.argsort(key, kind="stable")


def is_new(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which values differ from the one before them."""
    found = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def _found(wanted: IntArray, among: IntArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Positions of keys among sorted distinct ones, and whether they are there; position 0 if not."""
    if not len(among):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    is_there = among[at] == wanted
    return np.where(is_there, at, 0), is_there


def _without_hopeless(
    labels: LabelRows, every: PredictionRows, stored: LabelRows, fates: _Fates
) -> LabelRows:
    """Leave out labels that come too late for their prediction, and those whose prediction is not kept."""
    order = _by_key(every.key)
    first = np.flatnonzero(is_new(every.key[order]))
    is_expired, has_prediction = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    if len(first):
        latest = np.maximum.reduceat(every.until_ms[order], first)
        at, has_prediction = _found(labels.key, every.key[order][first])
        is_expired = has_prediction & (labels.label_ms > latest[at])
    is_left_out = ~labels.is_sampled & ~has_prediction & ~np.isin(labels.key, stored.key)
    fates.add(labels.place[is_expired], "expired")
    fates.add(labels.place[is_left_out], "sampled_out")
    is_kept = ~is_expired & ~is_left_out
    return labels if is_kept.all() else labels.take(np.flatnonzero(is_kept))


def _in_force(stored: LabelRows, labels: LabelRows, fates: _Fates) -> _Groups:
    """Find the label in force for each key, before and now; later times win, then earlier arrivals."""
    both = stored.plus(labels)
    order = _by_key(both.key)  # stored ones come first
    both, is_stored = both.take(order), order < len(stored)
    is_first = is_new(both.key)
    group = np.cumsum(is_first) - 1
    is_newer = is_first if is_first.all() else _is_newer(is_first, group, both.label_ms)
    fates.add(both.place[is_newer & ~is_first], "corrected")
    fates.add(both.place[~is_newer], "duplicates")
    first = np.flatnonzero(is_first)
    last = np.zeros(len(first), np.intp)
    newer = np.flatnonzero(is_newer)
    last[group[newer]] = newer  # the last assignment wins
    now, before = both.take(last), both.take(first)
    has_before = is_stored[first]
    # The partition of the first event answers for the key, whichever label is in force.
    earliest = np.minimum.reduceat(both.first_ms, first) if len(first) else both.first_ms
    now = LabelRows(**{**vars(now), "place": before.place, "first_ms": earliest})
    before = LabelRows(**{**vars(before), "status": np.where(has_before, before.status, -1)})
    is_other = (now.label != before.label) | ~_same(now.value, before.value)
    return _Groups(before, now, has_before, ~has_before | is_other | (now.first_ms != before.first_ms))


def _is_newer(is_first: NDArray[np.bool_], group: IntArray, label_ms: IntArray) -> NDArray[np.bool_]:
    """Which labels are later than all that came before them in their group."""
    _, rank = np.unique(label_ms, return_inverse=True)
    height = group * (len(group) + 1) + rank
    found = is_first.copy()
    found[1:] |= height[1:] > np.maximum.accumulate(height)[:-1]
    return found


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


def _status(
    groups: _Groups,
    every: PredictionRows,
    at: NDArray[np.intp],
    has_label: NDArray[np.bool_],
    counted: NDArray[np.bool_],
) -> tuple[IntArray, IntArray]:
    """Status of the label of each key, and until when it has to be kept: longer than its predictions."""
    now = groups.now
    seen, matched = np.zeros(len(now), bool), groups.before.status == Status.MATCHED
    seen[at[has_label]] = True
    matched[at[counted]] = True
    seen |= groups.before.status == Status.EXPIRED
    status = np.where(matched, Status.MATCHED, np.where(seen, Status.EXPIRED, Status.WAITING))
    until = now.label_ms + now.horizon_ms
    np.maximum.at(until, at[has_label], every.until_ms[has_label])
    return status, until + 1


def _predicted(fresh: PredictionRows) -> tuple[IntArray, IntArray, Records]:
    records, row = with_segments(predicted_records(fresh.rows), np.arange(len(fresh)), fresh.rows.segments)
    return fresh.version[row], fresh.slice_ms[row], records


def _labelled(rows: PredictionRows, labels: LabelRows, sign: int) -> tuple[IntArray, IntArray, Records]:
    found = Labels(labels.first_ms, labels.label, labels.value)
    records, row = labelled_records(rows.rows, found, labels.label == rows.positive)
    records, row = with_segments(records, row, rows.rows.segments)
    return rows.version[row], rows.slice_ms[row], records if sign > 0 else negated(records)
