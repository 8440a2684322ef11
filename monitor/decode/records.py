"""Records that came in columns, to the envelopes of events, without an object for each of them.

What is not as it mostly is - a value of another type, too long, or missing - is left to those who read
messages one by one, and who say what is wrong with it: columns only give what they would give as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.hashing import hash_strings
from monitor.decode.envelope import Envelopes
from monitor.decode.feature_block import Cells, FeatureBlock
from monitor.decode.json import EARLIEST_MS, LATEST_MS, LONGEST_ID, LONGEST_NAME, MODEL_ROLES, read_timestamps
from monitor.decode.message import Message
from monitor.decode.plain_columns import INTEGER, NUMBER, TEXT, plain_column
from monitor.decode.reading import Reading
from monitor.decode.values import ArrowValues, Repeated, Values, taken

_UNITS = ((1e11, 1_000), (1e14, 1), (1e17, 1e-3))  # those of `monitor.decode.flat.instant`
_OTHERWISE = ("scores", "tags")  # are read one by one
_PER_MS = {"s": (1_000, 1), "ms": (1, 1), "us": (1, 1_000), "ns": (1, 1_000_000)}


@dataclass(frozen=True)
class Records:
    """Records in columns, some or all of a message.

    Parameters
    ----------
    message : int64 array [n]
        Position of the message that each came in.
    fields : mapping of str to Arrow array
        By the role that they have in an event.
    features : mapping of str to Arrow array
    is_free : bool
        Whether ids may be numbers, and numbers for instants have any unit, as in records of one's own making.
    """

    message: NDArray[np.int64]
    fields: Mapping[str, pa.Array]
    features: Mapping[str, pa.Array]
    is_free: bool = False

    def __len__(self) -> int:
        return len(self.message)


@runtime_checkable
class InColumns(Protocol):
    """A format of which many messages can be read at once."""

    def records(self, messages: Mapping[int, Message], reading: Reading) -> list[Records]:
        """Read messages of which it is the format; those that are not simple enough are left out.

        Parameters
        ----------
        messages : mapping of int to Message
            By position.
        reading : Reading

        Returns
        -------
        list of Records
            Every message in one of them with all of its records, or in none.
        """
        ...


def envelopes_of(records: Records, reading: Reading, stamp_ms: NDArray[np.int64]) -> Envelopes | None:
    """Make events of all messages whose records are as they should be.

    Parameters
    ----------
    records : Records
    reading : Reading
    stamp_ms : int64 array [messages]
        Times of the messages, for records that have none.

    Returns
    -------
    Envelopes or None
        With the messages that could be read; None if a column is of no use.
    """
    made = _Columns.of(records, reading, stamp_ms)
    block = _block(records.features)
    if made is None or block is None:
        return None
    wrong = np.isin(records.message, records.message[~made.right]) if not made.right.all() else ~made.right
    keep = np.flatnonzero(~wrong)
    return made.envelopes(records.message, Cells(block, np.arange(len(records))), keep)


def joined(parts: Sequence[Envelopes]) -> Envelopes:
    """Put events of different messages together, in the order of the messages."""
    told = {
        name: sorted(chain.from_iterable(getattr(part, name) for part in parts), key=lambda one: one[0])
        for name in ("problems", "halves")
    }
    parts = [part for part in parts if len(part)] or [parts[0]]
    if len(parts) == 1:
        return replace(parts[0], problems=told["problems"], halves=told["halves"])
    row = np.concatenate([part.row for part in parts])
    order = np.argsort(row, kind="stable")
    at = order.tolist()
    columns: dict[str, Any] = dict(told)
    for name in (field.name for field in fields(Envelopes) if field.name not in told):
        several = [getattr(part, name) for part in parts]
        if isinstance(several[0], np.ndarray):
            columns[name] = np.concatenate(several)[order]
        else:
            together = list(chain.from_iterable(several))
            columns[name] = [together[place] for place in at]
    return Envelopes(**columns)


@dataclass
class _Columns:
    """What an event has beside its features, and which records are right."""

    right: NDArray[np.bool_]
    ids: pa.Array
    event_ms: NDArray[np.int64]
    names: dict[str, Values]

    @classmethod
    def of(cls, records: Records, reading: Reading, stamp_ms: NDArray[np.int64]) -> _Columns | None:
        n, given, free = len(records), records.fields, records.is_free
        if any(given[name].null_count < n for name in _OTHERWISE if name in given):
            return None
        plain = {name: plain_column(column) for name, column in given.items() if name != "timestamp"}
        if any(column is None for column in plain.values()):
            return None
        right = np.ones(n, bool)
        ids = _named(plain.get("event_id"), n, right, "", LONGEST_ID, is_free=free)
        model = _named(plain.get("model"), n, right, reading.model, LONGEST_NAME, is_free=free)
        version = _named(
            plain.get("version"), n, right, reading.version or "unversioned", LONGEST_NAME, is_free=True
        )
        event_ms = _instants(given.get("timestamp"), stamp_ms[records.message], is_free=free)
        role = _roles(plain.get("role"), n, right)
        if ids is None or model is None or version is None or event_ms is None or role is None:
            return None
        outputs = _outputs(plain, n, right)
        if outputs is None:
            return None
        right &= (event_ms >= EARLIEST_MS) & (event_ms < LATEST_MS)
        few = {"model": _few(model, right), "version": _few(version, right), "role": role}
        return cls(right, ids, event_ms, {**few, **outputs})

    def envelopes(self, message: NDArray[np.int64], features: Cells, keep: NDArray[np.intp]) -> Envelopes:
        """Events of the records to keep."""
        names: dict[str, Any] = self.names
        if len(keep) == len(message):
            ids, cells = self.ids, features
        else:
            at = keep.tolist()
            names = {name: taken(column, at) for name, column in names.items()}
            ids, cells = self.ids.take(pa.array(keep)), features.take(at)
        return Envelopes(
            row=message[keep],
            problems=[],
            event_ms=self.event_ms[keep],
            id_hash=hash_strings(ids),
            event_id=ArrowValues(ids),
            features=cells,
            scores=Repeated(None, len(keep)),
            tags=Repeated(None, len(keep)),
            **names,
        )


def _block(features: Mapping[str, pa.Array]) -> FeatureBlock | None:
    columns = {}
    for name, column in features.items():
        found = plain_column(column)
        if found is None:
            return None
        columns[name] = found
    return FeatureBlock(columns)


def _named(
    column: pa.Array | None, n: int, right: NDArray[np.bool_], otherwise: str, longest: int, *, is_free: bool
) -> pa.Array | None:
    """Texts of 1 to `longest` characters; what is wrong is noted in `right`. None if the type is no use."""
    if column is None or column.null_count == n:
        column = pa.repeat(pa.scalar(otherwise, TEXT), n)
    elif column.type == INTEGER and is_free:
        column = column.cast(TEXT)
    elif column.type != TEXT:
        return None
    column = column.fill_null(otherwise) if column.null_count else column
    length = pc.utf8_length(column).to_numpy()
    right &= (length > 0) & (length <= longest)
    return column


def _few(column: pa.Array, right: NDArray[np.bool_]) -> Values:
    """Names of which there are not many different ones; PostgreSQL could not keep a NUL character."""
    encoded = column.dictionary_encode()
    values, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    wrong = [code for code, value in enumerate(values) if "\0" in value]
    if wrong:
        right &= ~np.isin(codes, wrong)
    if len(values) == 1:
        return Repeated(values[0], len(codes))
    return [values[code] for code in codes.tolist()]


def _roles(column: pa.Array | None, n: int, right: NDArray[np.bool_]) -> Values | None:
    if column is None or column.null_count == n:
        return Repeated(MODEL_ROLES[0], n)
    if column.type != TEXT:
        return None
    column = column.fill_null(MODEL_ROLES[0])
    right &= pc.is_in(column, pa.array(MODEL_ROLES)).to_numpy(zero_copy_only=False)
    return _few(column, right)


def _instants(
    column: pa.Array | None, stamp_ms: NDArray[np.int64], *, is_free: bool
) -> NDArray[np.int64] | None:
    """Epoch milliseconds; -1 for those beyond what can be told."""
    if column is None or column.null_count == len(column):
        return stamp_ms
    if pa.types.is_timestamp(column.type):
        found = _scaled(column.cast(INTEGER).fill_null(0).to_numpy(), *_PER_MS[column.type.unit])
    else:
        plain = plain_column(column)
        if plain is None or plain.null_count > column.null_count:
            return None  # dates and the like; infinite, or no number
        if plain.type == TEXT and not is_free and not plain.null_count:
            found, wrong = read_timestamps(plain.to_pylist())
            found[[at for at, _ in wrong]] = -1
        elif plain.type == INTEGER or (plain.type == NUMBER and is_free):
            found = plain.fill_null(0).to_numpy()
            found = _in_ms(found) if is_free else found
        else:
            return None
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return np.where(missing, stamp_ms, found)


def _scaled(times: NDArray[np.int64], factor: int, per: int) -> NDArray[np.int64]:
    """Milliseconds of instants in a unit, -1 for those that are too early or too late."""
    fits = (times >= 0) & (times < LATEST_MS * per // factor)
    return np.where(fits, np.where(fits, times, 0) * factor // per, -1)


def _in_ms(values: NDArray[Any]) -> NDArray[np.int64]:
    """Milliseconds of numbers in the unit that their size tells."""
    size, found = np.abs(values.astype(np.float64)), values * 1e-6
    for limit, factor in reversed(_UNITS):
        with np.errstate(over="ignore"):
            found = np.where(size < limit, values * factor, found)
    return np.where(np.abs(found) < LATEST_MS, found, -1).astype(np.int64)


def _outputs(plain: Mapping[str, Any], n: int, right: NDArray[np.bool_]) -> dict[str, Values] | None:
    """Predictions, scores, latencies and errors; None if a type is no use."""
    found: dict[str, Values] = {}
    for name in ("score", "latency_ms"):
        column = plain.get(name)
        if column is not None and column.null_count < n and column.type not in (INTEGER, NUMBER):
            return None
        found[name] = _values(None if column is None else column.cast(NUMBER, safe=False), n)
    error, prediction = plain.get("error"), plain.get("prediction")
    if error is not None and error.null_count < n and error.type != TEXT:
        return None
    found["error"], found["prediction"] = _values(error, n), _values(prediction, n)
    if prediction is None or prediction.null_count:
        right &= _is_there(prediction, n) | _is_there(error, n)
    return found


def _is_there(column: pa.Array | None, n: int) -> NDArray[np.bool_]:
    if column is None:
        return np.zeros(n, bool)
    found: NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return found


def _values(column: pa.Array | None, n: int) -> Values:
    return Repeated(None, n) if column is None or column.null_count == n else ArrowValues(column)


def messages_of(parts: Iterable[Envelopes]) -> set[int]:
    """Messages that have been read."""
    return {row for part in parts for row in np.unique(part.row).tolist()}
