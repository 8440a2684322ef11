"""What is kept of predictions until their labels come: a compact row each, and what its hashes stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.hashing import combine_hashes, hash_strings
from detectors.outcomes import Predictions, class_hash, join_key
from detectors.tensor import HashArray, IntArray
from monitor.config.settings import ModelSettings
from monitor.labels.pairing import PredictionRows
from schemas.batch import OK, Batch, Categories
from schemas.column import PREDICTION, SCORE

_BOOLEANS = {"true": "1", "false": "0"}  # so that a prediction of 1 and a label of true are the same


def hashes_of(names: Sequence[str]) -> HashArray:
    """Hashes of classes, or of anything else that is kept in the table of terms; never 0.

    Examples
    --------
    >>> hashes = hashes_of(["true", "1", "UA"])
    >>> bool(hashes[0] == hashes[1]), bool(hashes[1] == hashes[2])
    (True, False)
    """
    return class_hash(hash_strings(pa.array([_BOOLEANS.get(name, name) for name in names], pa.string())))


def id_of(*names: str) -> int:
    """Id of a model, of a model version or of a partition: 64 bits, the same everywhere."""
    parts = hash_strings(pa.array(names, pa.string()))
    found = parts[:1]
    for i in range(1, len(names)):
        found = combine_hashes(found, parts[i : i + 1])
    return int(found.view(np.int64)[0])


def keys_of(model_ids: IntArray, event_hashes: HashArray) -> IntArray:
    """Keys under which predictions and labels meet."""
    return join_key(model_ids.view(np.uint64), event_hashes)


@dataclass
class Terms:
    """What hashes stand for."""

    texts: dict[int, str] = field(default_factory=dict)

    def add(self, names: Sequence[str]) -> HashArray:
        """Remember names; returns their hashes."""
        hashes = hashes_of(names)
        for hash_, name in zip(hashes.view(np.int64).tolist(), names, strict=True):
            self.texts.setdefault(hash_, _BOOLEANS.get(name, name))
        return hashes


@dataclass
class Segments:
    """Values of segments that a model version is told apart by: the first that came, up to a limit."""

    most: int
    known: dict[str, set[str]] = field(default_factory=dict)

    def admitted(self, name: str, values: Sequence[str]) -> list[bool]:
        """Which values are told apart."""
        known = self.known.setdefault(name, set())
        for value in values:
            if len(known) >= self.most:
                break
            known.add(value)
        return [value in known for value in values]


def positive_name(settings: ModelSettings) -> str:
    """Name of the positive class; without a configured one, 1."""
    name = settings.positive_class or "1"
    return _BOOLEANS.get(name, name)


def version_id(model: str, version: str, slice_ms: int, positive: str) -> int:
    """Id of a model version as the join knows it: with what a label's effect can be taken back by later.

    Another slice or another positive class makes it another one, so that what was counted before the
    configuration changed is taken back where and as it was counted.
    """
    return id_of(model, version, str(slice_ms), positive)


def positive_hash(settings: ModelSettings) -> np.uint64:
    """Hash of the positive class; without a configured one, that of 1 and true."""
    return np.uint64(hashes_of([positive_name(settings)])[0])


def pending_rows(
    key: tuple[str, str], settings: ModelSettings, batch: Batch, segments: Segments, terms: Terms
) -> PredictionRows | None:
    """Compact rows of the predictions of a batch; None if it has none. See `prediction_rows`."""
    found = prediction_rows(key, settings, batch, segments, terms)
    if found is None:
        return None
    rows, is_known = found
    return rows if is_known.all() else rows.take(np.flatnonzero(is_known))


def prediction_rows(
    key: tuple[str, str], settings: ModelSettings, batch: Batch, segments: Segments, terms: Terms
) -> tuple[PredictionRows, NDArray[np.bool_]] | None:
    """Compact rows of all rows of a batch, and which of them predict anything.

    Parameters
    ----------
    key : (str, str)
        Model and version.
    settings : ModelSettings
    batch : Batch
    segments : Segments
    terms : Terms
        Gets the names of classes and segments.
    """
    n = len(batch)
    if batch.keys is None:
        return None
    predicted, value = np.zeros(n, np.uint64), np.full(n, np.nan)
    if (number := _numeric(batch, PREDICTION)) is not None:
        value = number
        is_known = np.isfinite(value)
    elif (categories := _categorical(batch, PREDICTION)) is not None:
        predicted = _hashed(categories, terms)
        is_known = predicted != 0
    else:
        return None
    positive = positive_hash(settings)
    score, classes, scores = _scores(batch, predicted, positive, terms)
    rows = Predictions(
        batch.event_ms, predicted, value, score, _segments(batch, segments, terms), classes, scores
    )
    found = PredictionRows(
        key=keys_of(np.full(n, id_of(key[0])), batch.keys),
        version=np.full(n, version_id(*key, settings.slice_ms, positive_name(settings))),
        slice_ms=batch.event_ms // settings.slice_ms * settings.slice_ms,
        until_ms=batch.event_ms + settings.labels.horizon_ms,
        positive=np.full(n, positive),
        rows=rows,
    )
    return found, is_known


def _numeric(batch: Batch, name: str) -> NDArray[np.float64] | None:
    for spec, numbers, status in zip(batch.numeric, batch.numbers, batch.status, strict=True):
        if spec.name == name:
            return np.where(status == OK, numbers, np.nan)
    return None


def _categorical(batch: Batch, name: str) -> Categories | None:
    for spec, categories in zip(batch.categorical, batch.categories, strict=True):
        if spec.name == name:
            return categories
    return None


def _hashed(categories: Categories, terms: Terms, keep: Sequence[bool] | None = None) -> HashArray:
    """Hash of each row's category; 0 where it is missing, invalid or not kept."""
    hashes = terms.add(categories.values.to_pylist()) if len(categories.values) else np.zeros(0, np.uint64)
    if keep is not None:
        hashes = np.where(np.array(keep, bool), hashes, np.uint64(0))
    codes = categories.codes
    if not len(hashes):
        return np.zeros(len(codes), np.uint64)
    return np.where(codes >= 0, hashes[np.maximum(codes, 0)], np.uint64(0))


def _scores(
    batch: Batch, predicted: HashArray, positive: np.uint64, terms: Terms
) -> tuple[NDArray[np.float64], HashArray, NDArray[np.float64]]:
    """Score of each row, and classes with scores of their own.

    The score is P(positive) of a binary classifier, however it was sent; of another that of the class that
    was predicted.
    """
    classes, scores = _class_scores(batch, terms)
    given = _numeric(batch, SCORE)
    score = np.full(len(batch), np.nan) if given is None else given
    if not scores.shape[1]:
        return score, classes, scores
    is_binary = scores.shape[1] == 2 and bool((classes == positive).any())
    wanted = np.full(len(batch), positive) if is_binary else predicted
    own = np.where((classes == wanted[:, None]) & (classes != 0), scores, -1.0).max(axis=1)
    score = np.where(np.isfinite(score) | (own < 0), score, own)
    if is_binary:
        return score, classes[:, :0], scores[:, :0]
    return score, classes, scores


def _class_scores(batch: Batch, terms: Terms) -> tuple[HashArray, NDArray[np.float64]]:
    """Classes with scores of their own, and their scores: ``[n, K]``; 0 and NaN where a row has none."""
    names = [spec.name for spec in batch.numeric if spec.name.startswith(f"{SCORE}.")]
    hashes = terms.add([name.removeprefix(f"{SCORE}.") for name in names]) if names else None
    classes = np.zeros((len(batch), len(names)), np.uint64)
    scores = np.full((len(batch), len(names)), np.nan)
    if hashes is not None:
        for k, name in enumerate(names):
            found = _numeric(batch, name)
            if found is not None:
                scores[:, k] = found
                classes[:, k] = np.where(np.isfinite(found), hashes[k], np.uint64(0))
    return classes, scores


def _segments(batch: Batch, segments: Segments, terms: Terms) -> HashArray:
    found = []
    for name, categories in (batch.segments or {}).items():
        values = categories.values.to_pylist()
        keep = segments.admitted(name, values)
        full = Categories(categories.codes, pa.array([f"{name}={value}" for value in values], pa.string()))
        named = Terms()
        found.append(_hashed(full, named, keep))
        wanted = {hash_ for hash_, use in zip(named.texts, keep, strict=True) if use}
        terms.texts.update({hash_: text for hash_, text in named.texts.items() if hash_ in wanted})
    return np.column_stack(found) if found else np.zeros((len(batch), 0), np.uint64)
