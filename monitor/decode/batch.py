"""From the envelopes of one model version, and their features, to a `Batch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.decode.envelope import Envelopes
from monitor.decode.feature_block import Cells, FeatureParts
from monitor.decode.features import Features, category_text, category_texts
from monitor.decode.values import (
    ArrowValues,
    Repeated,
    ValueParts,
    Values,
    are_all_missing,
    first_of,
    taken,
)
from schemas.arrived import Arrived
from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, OK, Batch, Categories
from schemas.column import ERROR, LATENCY, PREDICTION, SCORE, ColumnSpec, Kind, Source
from schemas.origins import Origins

MOST_CLASSES = 50
MOST_NUMERIC_SEGMENTS = 1_000
SCORE_SPEC = ColumnSpec(SCORE, Kind.NUMERIC, Source.SCORE)
LATENCY_SPEC = ColumnSpec(LATENCY, Kind.NUMERIC, Source.LATENCY)
ERROR_SPEC = ColumnSpec(ERROR, Kind.CATEGORICAL, Source.ERROR)


class ReadPlace(NamedTuple):
    """A partition that events came from; rows before `judged_from` never stop it."""

    topic: str
    partition: int
    judged_from: int = 0


@dataclass(frozen=True)
class Messages:
    """Messages of a fetch, in columns.

    Parameters
    ----------
    values : sequence of bytes
    raw : sequence
        The same, as the source has them.
    slot, offset, stamp_ms : int64 arrays [n]
        Partition by its number, offset, and time of the record.
    places : mapping of int to ReadPlace
        What slots stand for.
    """

    values: Sequence[bytes]
    raw: Sequence[Any]
    slot: NDArray[np.int64]
    offset: NDArray[np.int64]
    stamp_ms: NDArray[np.int64]
    places: Mapping[int, ReadPlace]


@dataclass
class Events:
    """Events of one model version waiting to be profiled, in columns; see `Envelopes` for the fields.

    `partition` and `offset` say where each came from, `message` which of the messages in `value` it was in,
    `raw` are the same as the source has them, `stamp_ms` says when it arrived; `keys` are the hashes of ids,
    `behind` says whether it came out of order, where that is known. `places` says which partitions the
    numbers in `partition` stand for, and `is_replay` whether they were dead letters. `repeated_ms` are the
    times of further events, which came once more.
    """

    partition: list[NDArray[np.int64]] = field(default_factory=list)
    offset: list[NDArray[np.int64]] = field(default_factory=list)
    event_ms: list[NDArray[np.int64]] = field(default_factory=list)
    message: list[NDArray[np.int64]] = field(default_factory=list)
    value: list[bytes] = field(default_factory=list)
    raw: list[Any] = field(default_factory=list)
    stamp_ms: list[NDArray[np.int64]] = field(default_factory=list)
    event_id: ValueParts = field(default_factory=ValueParts)
    features: FeatureParts = field(default_factory=FeatureParts)
    prediction: ValueParts = field(default_factory=ValueParts)
    score: ValueParts = field(default_factory=ValueParts)
    scores: ValueParts = field(default_factory=ValueParts)
    latency_ms: ValueParts = field(default_factory=ValueParts)
    error: ValueParts = field(default_factory=ValueParts)
    tags: ValueParts = field(default_factory=ValueParts)
    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    behind: list[NDArray[np.bool_]] = field(default_factory=list)
    repeated_ms: list[NDArray[np.int64]] = field(default_factory=list)
    places: dict[int, ReadPlace] = field(default_factory=dict)
    is_replay: bool = False

    def __len__(self) -> int:
        return len(self.features)

    def extend(
        self,
        envelopes: Envelopes,
        at: Sequence[int] | slice | None,
        messages: Messages,
        behind: NDArray[np.bool_] | None = None,
    ) -> None:
        """Append events.

        Parameters
        ----------
        envelopes : Envelopes
        at : sequence of int, slice or None
            Which of the envelopes; None for all.
        messages : Messages
            Those that the envelopes' `row` counts.
        behind : bool array, optional
            Which of the envelopes came out of order; default: nothing is known of how they arrived.
        """
        rows = envelopes.row if at is None else envelopes.row[at]
        self.partition.append(messages.slot[rows])
        self.offset.append(messages.offset[rows])
        self.stamp_ms.append(messages.stamp_ms[rows])
        self.places.update(messages.places)
        self.event_ms.append(envelopes.event_ms if at is None else envelopes.event_ms[at])
        self.keys.append(envelopes.id_hash if at is None else envelopes.id_hash[at])
        if behind is not None:
            self.behind.append(behind if at is None else behind[at])
        self._keep_messages(rows, messages)
        for name in ("event_id", "features", "prediction", "score", "scores", "latency_ms", "error", "tags"):
            column = getattr(envelopes, name)
            getattr(self, name).extend(column if at is None else _picked(column, at))

    def _keep_messages(self, rows: NDArray[np.int64], messages: Messages) -> None:
        """Keep the messages that events were in, each once, as events of a message stand together."""
        is_next = np.ones(len(rows), bool)
        np.not_equal(rows[1:], rows[:-1], out=is_next[1:])
        self.message.append(np.cumsum(is_next) + (len(self.value) - 1))
        at = rows[is_next].tolist()
        self.value += [messages.values[row] for row in at]
        self.raw += [messages.raw[row] for row in at]


def _picked(column: Any, at: Sequence[int] | slice) -> Any:
    if isinstance(at, slice):
        return column[at]
    return column.take(at) if isinstance(column, Cells) else taken(column, at)


@dataclass(frozen=True)
class Outputs:
    """How the outputs of a model version are read.

    Parameters
    ----------
    prediction : Kind
        Numeric for regression, categorical for classification.
    classes : tuple of str
        Classes with a score of their own.
    latency, error : bool
        Whether any event had one.
    """

    prediction: Kind | None = None
    score: bool = False
    classes: tuple[str, ...] = ()
    latency: bool = False
    error: bool = False

    def widened(self, events: Events) -> Outputs:
        """Take in what new events have."""
        kind = self.prediction
        if kind is None:
            known = first_of(events.prediction.whole())
            kind = None if known is None else Kind.NUMERIC if isinstance(known, float) else Kind.CATEGORICAL
        classes, every = self.classes, events.scores.whole()
        if not are_all_missing(every):
            new = {name for scores in every if scores for name in scores} - set(classes)
            classes = (*classes, *sorted(new)[: MOST_CLASSES - len(classes)])
        return Outputs(
            kind,
            self.score or not are_all_missing(events.score.whole()),
            classes,
            self.latency or not are_all_missing(events.latency_ms.whole()),
            self.error or not are_all_missing(events.error.whole()),
        )


def make_batch(
    events: Events, rows: NDArray[np.int64], features: Features, outputs: Outputs, segments: Sequence[str]
) -> Batch:
    """Put the columns of events together.

    Parameters
    ----------
    events : Events
    rows : int64 array [n]
        Events whose features could be read, in the order of `features`.
    features : Features
    outputs : Outputs
    segments : sequence of str
        Columns or tags to break down by.
    """
    every = len(rows) == len(events)

    def picked(column: ValueParts) -> Values:
        return column.whole() if every else taken(column.whole(), rows.tolist())

    numeric: list[tuple[ColumnSpec, Values]] = []
    values, status = [], []
    categorical, categories = [], []
    prediction = picked(events.prediction)
    if outputs.prediction is Kind.NUMERIC:
        numeric.append((ColumnSpec(PREDICTION, Kind.NUMERIC, Source.PREDICTION), prediction))
    elif outputs.prediction is Kind.CATEGORICAL:
        categorical.append(ColumnSpec(PREDICTION, Kind.CATEGORICAL, Source.PREDICTION))
        categories.append(to_categories(prediction))
    if outputs.score:
        numeric.append((SCORE_SPEC, picked(events.score)))
    for name in outputs.classes:
        of_class = [None if scores is None else scores.get(name) for scores in picked(events.scores)]
        numeric.append((ColumnSpec(f"{SCORE}.{name}", Kind.NUMERIC, Source.SCORE), of_class))
    if outputs.latency:
        numeric.append((LATENCY_SPEC, picked(events.latency_ms)))
    if outputs.error:
        categorical.append(ERROR_SPEC)
        categories.append(to_categories(picked(events.error)))
    for _, column in numeric:
        number, state = to_numbers(column)
        values.append(number)
        status.append(state)
    event_ms = events.event_ms[0] if len(events.event_ms) == 1 else np.concatenate(events.event_ms)
    keys = events.keys[0] if len(events.keys) == 1 else np.concatenate(events.keys)
    return Batch(
        event_ms=event_ms if every else event_ms[rows],
        keys=keys if every else keys[rows],
        origins=_origins(events, None if every else rows),
        arrived=_arrived(events, None if every else rows),
        numeric=features.numeric + tuple(spec for spec, _ in numeric),
        numbers=np.vstack([features.numbers, *values]) if values else features.numbers,
        status=np.vstack([features.status, *status]) if status else features.status,
        categorical=features.categorical + tuple(categorical),
        categories=features.categories + tuple(categories),
        vectors=features.vectors,
        lists=features.lists,
        segments={name: _segment(name, features, picked(events.tags)) for name in segments} or None,
    )


def _origins(events: Events, rows: NDArray[np.int64] | None) -> Origins | None:
    """Where events came from; None for rows of a table, which come from no message."""
    if not events.partition:
        return None
    places = {slot: (place.topic, place.partition) for slot, place in events.places.items()}
    slot, offset = (np.concatenate(column) for column in (events.partition, events.offset))
    return Origins(events.event_id.whole(), slot, offset, places, rows)


def _arrived(events: Events, rows: NDArray[np.int64] | None) -> Arrived | None:
    if not events.behind:
        return None
    arrived = Arrived(np.concatenate(events.stamp_ms), np.concatenate(events.behind))
    return arrived if rows is None else arrived.take(rows)


def to_numbers(values: Values) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Turn numbers, with None for missing, into an array and its status.

    Examples
    --------
    >>> to_numbers([1, None, 2.5, "x"])
    (array([1. , 0. , 2.5, 0. ]), array([0, 1, 0, 2], dtype=uint8))
    """
    if isinstance(values, Repeated):
        number, state = to_numbers([values.value])
        return np.repeat(number, len(values)), np.repeat(state, len(values))
    if isinstance(values, ArrowValues):
        return _numbers_of(values.column)
    if set(map(type, values)) <= {float, int, type(None)}:
        try:
            numbers = np.array(values, np.float64)
        except OverflowError:
            numbers = np.array(
                [np.inf if isinstance(v, int) and abs(v) > 1e308 else v for v in values], np.float64
            )
        finite = np.isfinite(numbers)
        status = np.zeros(len(values), np.uint8)
        if not finite.all():
            missing = np.array([value is None for value in values])
            status[~finite] = np.where(missing[~finite], MISSING, INVALID)
            numbers[~finite] = 0.0
        return numbers, status
    wrong = [
        value is not None and (isinstance(value, bool) or not isinstance(value, int | float))
        for value in values
    ]
    numbers, status = to_numbers([None if bad else value for bad, value in zip(wrong, values, strict=True)])
    status[np.array(wrong)] = INVALID
    return numbers, status


def _numbers_of(column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    missing = column.is_null().to_numpy(zero_copy_only=False)
    if column.type not in (pa.int64(), pa.float64()):
        return np.zeros(len(column)), np.where(missing, MISSING, INVALID).astype(np.uint8)
    numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    finite = np.isfinite(numbers)
    if finite.all():
        return numbers, np.zeros(len(numbers), np.uint8)
    status = np.where(missing, MISSING, np.where(finite, OK, INVALID)).astype(np.uint8)
    return np.where(finite, numbers, 0.0), status


def to_categories(values: Values) -> Categories:
    """Turn scalars, with None for missing, into codes.

    Examples
    --------
    >>> found = to_categories([1, None, True, "1"])
    >>> found.codes.tolist(), found.values.to_pylist()
    ([0, -1, 1, 0], ['1', 'true'])
    """
    if isinstance(values, Repeated):
        one = to_categories([values.value])
        return Categories(np.repeat(one.codes, len(values)), one.values)
    if isinstance(values, ArrowValues):
        return _categories_of(values.column)
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {str} or kinds <= {int}:
        try:
            encoded = pa.array(values, pa.string() if kinds <= {str} else pa.int64()).dictionary_encode()
        except (OverflowError, pa.ArrowInvalid, UnicodeEncodeError):
            pass  # integers beyond 64 bits, or lone surrogates: taken one by one below
        else:
            names = encoded.dictionary.cast(pa.string())
            if category_texts(names) is names:  # otherwise two names may have become one
                codes = encoded.indices.fill_null(CODE_MISSING).to_numpy(zero_copy_only=False)
                return Categories(codes, names)
    texts: dict[str, int] = {}
    codes = np.full(len(values), CODE_MISSING, np.int32)
    for i, value in enumerate(values):
        text = category_text(value)
        if text is not None:
            codes[i] = texts.setdefault(text.encode("utf-8", "replace").decode(), len(texts))
        elif value is not None:
            codes[i] = CODE_INVALID
    return Categories(codes, pa.array(list(texts), pa.string()))


def _categories_of(column: pa.Array) -> Categories:
    encoded = column.dictionary_encode()
    codes = encoded.indices.fill_null(CODE_MISSING).to_numpy(zero_copy_only=False).astype(np.int32)
    distinct = encoded.dictionary
    plain = distinct.cast(pa.string()) if distinct.type == pa.int64() else distinct
    names = category_texts(plain)
    if names is plain:
        return Categories(codes, names)
    # Names that several values have, such as 0.0 and -0.0, become one; what has no name is invalid.
    named = names.dictionary_encode()
    of_value = named.indices.fill_null(CODE_INVALID).to_numpy(zero_copy_only=False)
    return Categories(np.append(of_value, CODE_MISSING).astype(np.int32)[codes], named.dictionary)


def _segment(name: str, features: Features, tags: Values) -> Categories:
    for spec, categories in zip(features.categorical, features.categories, strict=True):
        if spec.name == name:
            return categories
    for spec, numbers, status in zip(features.numeric, features.numbers, features.status, strict=True):
        if spec.name == name:
            return _numbers_as_categories(numbers, status)
    if not are_all_missing(tags):
        return to_categories([None if tag is None else tag.get(name) for tag in tags])
    return Categories(np.full(len(tags), CODE_MISSING, np.int32), pa.array([], pa.string()))


def _numbers_as_categories(numbers: NDArray[np.float64], status: NDArray[np.uint8]) -> Categories:
    distinct, codes = np.unique(numbers, return_inverse=True)
    names = [category_text(float(value)) for value in distinct[:MOST_NUMERIC_SEGMENTS].tolist()]
    codes = np.where(codes >= len(names), CODE_INVALID, codes)
    codes = np.where(status == OK, codes, np.where(status == MISSING, CODE_MISSING, CODE_INVALID))
    return Categories(codes.astype(np.int32), pa.array(names, pa.string()))
