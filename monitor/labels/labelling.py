"""Labels of a fetch, turned into columns that can be paired with predictions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.hashing import hash_numbers
from detectors.outcomes import class_hash
from detectors.tensor import HashArray
from monitor.decode.batch import to_categories
from monitor.decode.envelope import LabelEnvelopes
from monitor.labels.pairing import LabelRows, Status
from monitor.labels.pending import Terms, hashes_of, id_of, keys_of

MOST_NAMES = 1_000  # classes of one fetch that are named


@lru_cache(maxsize=65_536)
def place_id(topic: str, partition: int) -> int:
    """Id of a partition."""
    return id_of(topic, str(partition))


@lru_cache(maxsize=65_536)
def model_id(model: str) -> int:
    """Id of a model."""
    return id_of(model)


def label_rows(
    envelopes: LabelEnvelopes, place: NDArray[np.int64], horizons: Mapping[str, int], terms: Terms
) -> LabelRows:
    """Put labels into columns.

    Parameters
    ----------
    envelopes : LabelEnvelopes
    place : int64 array [events]
        Id of the partition of each.
    horizons : mapping of str to int
        How long labels of each model wait, in ms.
    terms : Terms
        Gets the names of classes.
    """
    n = len(envelopes)
    index = {model: at for at, model in enumerate(dict.fromkeys(envelopes.model))}
    of = np.zeros(n, np.int64)
    if len(index) > 1:
        of = np.fromiter(map(index.__getitem__, envelopes.model), np.int64, n)
    ids = np.array([model_id(model) for model in index], np.int64)[of]
    values = _numbers(envelopes.label)
    return LabelRows(
        key=keys_of(ids, envelopes.id_hash),
        label_ms=envelopes.label_ms,
        first_ms=envelopes.label_ms,
        label=_classes(envelopes.label, values, terms),
        value=values,
        place=place,
        horizon_ms=np.array([horizons[model] for model in index], np.int64)[of],
        is_sampled=np.ones(n, bool),
        status=np.full(n, Status.WAITING),
        model=ids,
    )


def _classes(labels: list[Any], values: NDArray[np.float64], terms: Terms) -> HashArray:
    """Labels as classes; numbers with a fraction are no class that anybody could have predicted."""
    with np.errstate(invalid="ignore"):
        is_fraction = np.isfinite(values) & (values != np.floor(values))
    if is_fraction.all():
        return class_hash(hash_numbers(values))
    if is_fraction.any():
        at = is_fraction.tolist()
        labels = [0 if fraction else label for fraction, label in zip(at, labels, strict=True)]
    found = to_categories(labels)
    names = found.values.to_pylist()
    # So many classes are numbers: their names would be kept for ever, and nobody would read them.
    hashes = terms.add(names) if len(names) <= MOST_NAMES else hashes_of(names)
    classes = hashes[np.maximum(found.codes, 0)]
    return np.where(is_fraction, class_hash(hash_numbers(values)), classes)


def _numbers(labels: list[Any]) -> NDArray[np.float64]:
    """Labels as numbers; NaN for texts and what is not finite."""
    kinds = set(map(type, labels))
    if str in kinds:
        labels = [None if isinstance(label, str) else label for label in labels]
    try:
        found = np.array(labels, np.float64)
    except OverflowError:
        found = np.array(
            [np.nan if isinstance(x, int) and abs(x) > 10**300 else x for x in labels], np.float64
        )
    return np.where(np.isfinite(found), found, np.nan)
