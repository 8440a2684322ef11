"""Labels of a fetch, turned into columns that can be paired with predictions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.decode.batch import to_categories
from monitor.decode.envelope import LabelEnvelopes
from monitor.pairing import LabelRows, Status
from monitor.pending import Terms, id_of, keys_of


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
    index: dict[str, int] = {}
    of = np.array([index.setdefault(model, len(index)) for model in envelopes.model], np.int64)
    ids = np.array([model_id(model) for model in index], np.int64)[of]
    labels = to_categories(envelopes.label)
    names = labels.values.to_pylist()
    hashes = terms.add(names) if names else np.zeros(1, np.uint64)
    return LabelRows(
        key=keys_of(ids, envelopes.id_hash),
        label_ms=envelopes.label_ms,
        label=hashes[np.maximum(labels.codes, 0)],
        value=_numbers(envelopes.label),
        place=place,
        horizon_ms=np.array([horizons[model] for model in index], np.int64)[of],
        is_sampled=np.ones(n, bool),
        status=np.full(n, Status.WAITING),
        model=ids,
    )


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
