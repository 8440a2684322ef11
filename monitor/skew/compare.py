"""Compares the rows that both sides have, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.intervals import LEVEL, exact_proportion, measure
from detectors.mismatch import Difference, Mismatch, Tolerance, Values, mismatch
from detectors.mismatch.values import missing
from monitor.skew.batch import NO_TIME
from monitor.skew.keys import Key, shown
from monitor.skew.report import ColumnSkew, Example
from monitor.skew.served import Served
from monitor.skew.training import Training
from schemas.policy import Limit

_BY = ("value", "type", "missing_in_training", "missing_in_events")
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Terms:
    """How sides are compared.

    Parameters
    ----------
    key : Key
    tolerance : Tolerance
    fail_above : Limit
        Most rows of a column that may differ.
    examples : int
        Most rows that are shown of a column.
    personal : frozenset of str
        Columns whose values are not shown.
    """

    key: Key
    tolerance: Tolerance = field(default_factory=Tolerance)
    fail_above: Limit = field(default_factory=Limit)
    examples: int = 5
    personal: frozenset[str] = frozenset()

    @property
    def shows_keys(self) -> bool:
        """Whether no part of the key is personal."""
        return self.personal.isdisjoint((*self.key.training, *self.key.events))


def compare(training: Training, served: Served, names: Sequence[str], terms: Terms) -> tuple[ColumnSkew, ...]:
    """Compare columns.

    Parameters
    ----------
    training : Training
    served : Served
        With at least one row that can be compared.
    names : sequence of str
        Columns; one that a side does not have is missing in all its rows.
    terms : Terms

    Notes
    -----
    Intervals are Clopper and Pearson's, each at 1 − 5 %/number of columns, so that all of them hold together
    with at least 95 %, however columns depend on each other (Bonferroni).
    """
    rows, times, events = served.found()
    common = _Common(training.keys.take(pa.array(rows)), times, _previous(training.entities, rows, times))
    level = 1 - (1 - LEVEL) / max(len(names), 1)
    nothing = missing(len(rows))
    found = []
    for name in names:
        one = training.columns[name].take(rows) if name in training.columns else nothing
        other = events.get(name, nothing)
        found.append(_column(name, one, other, common, terms, level))
    return tuple(sorted(found, key=lambda column: (-column.share.value, column.name)))


@dataclass(frozen=True)
class _Common:
    """What all columns share: keys, times and the event before of each row. [m]."""

    keys: pa.Array
    times: NDArray[np.int64]
    previous: NDArray[np.int64] | None


def _column(
    name: str, training: Values, events: Values, common: _Common, terms: Terms, level: float
) -> ColumnSkew:
    result = mismatch(training, events, terms.tolerance, common.previous)
    share = exact_proportion(result.differ, result.compared, level) or measure(0.0, None, None, 0)
    is_personal = name in terms.personal
    at = np.flatnonzero(result.codes)
    times = common.times[at]
    times = times[times != NO_TIME]
    return ColumnSkew(
        name,
        share,
        {word: result.count(difference) for word, difference in zip(_BY, list(Difference)[1:], strict=True)},
        tuple(one.without_values() if is_personal else one for one in result.patterns),
        int(times.min()) if len(times) else None,
        int(times.max()) if len(times) else None,
        tuple(_examples(training, events, result, common, terms, is_personal)),
        is_above=_is_above(result, share.low, terms.fail_above),
        is_personal=is_personal,
    )


def _is_above(result: Mismatch, low: float | None, limit: Limit) -> bool:
    if limit.rows is not None:
        return result.differ > limit.rows
    return low is not None and low > limit.share


def _examples(
    training: Values, events: Values, result: Mismatch, common: _Common, terms: Terms, is_personal: bool
) -> Iterable[Example]:
    """Pick the first rows by time that differ."""
    at = np.flatnonzero(result.codes)
    at = at[np.argsort(common.times[at], kind="stable")][: terms.examples]
    keys = common.keys.take(pa.array(at)).to_pylist()
    one, other = (_labels(side.take(at)) for side in (training, events))
    for key, at_ms, value, served in zip(keys, common.times[at].tolist(), one, other, strict=True):
        yield Example(
            shown(key) if terms.shows_keys else None,
            None if at_ms == NO_TIME else at_ms,
            None if is_personal else value,
            None if is_personal else served,
        )


def _labels(values: Values) -> list[str | None]:
    """Values as short texts; texts in quotes, so that "1" is not 1."""
    labels = values.labels().to_pylist()
    is_text = values.texts.is_valid().to_pylist()
    return [
        label if label is None else _short(f'"{label}"' if quoted else label)
        for label, quoted in zip(labels, is_text, strict=True)
    ]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _previous(
    entities: pa.Array | None, rows: NDArray[np.int64], times: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Row of the event before, of the same entity; −1 where there is none, or none that is surely before."""
    if entities is None:
        return None
    codes = entities.take(pa.array(rows)).dictionary_encode().indices.fill_null(-1)
    who = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.lexsort((times, who))
    before, after = order[:-1], order[1:]
    is_sure = (who[before] == who[after]) & (who[after] >= 0)
    is_sure &= (times[before] != NO_TIME) & (times[before] < times[after])
    found = np.full(len(rows), -1, np.int64)
    found[after[is_sure]] = before[is_sure]
    return found
