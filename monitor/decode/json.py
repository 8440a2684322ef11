"""Driftline's own format: one JSON object a message (see INTERFACES, "Events")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.hashing import hash_strings
from monitor.decode.envelope import Envelopes, LabelEnvelopes, Scalar
from monitor.decode.message import About, reason_of
from schemas.decoding import json_decoder

LONGEST_ID, LONGEST_NAME = 1_024, 256
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
ModelRole = Literal["champion", "challenger", "shadow"]
MODEL_ROLES: tuple[str, ...] = get_args(ModelRole)
LONGEST_VERSION = 256
LONGEST_LABEL = 1_024
EARLIEST_MS, LATEST_MS = 0, 253_402_300_800_000  # 1970 to 9999


_NO_FEATURES = msgspec.Raw(b"{}")


class _Event(msgspec.Struct, gc=False):
    event_id: EventId
    model: Name
    timestamp: str | int
    version: Name | int = "unversioned"
    features: msgspec.Raw = _NO_FEATURES
    prediction: Scalar = None
    score: float | None = None
    scores: dict[str, float] | None = None
    latency_ms: float | None = None
    error: str | None = None
    tags: dict[str, Scalar] | None = None
    role: ModelRole = "champion"


class _Label(msgspec.Struct, gc=False):
    event_id: EventId
    model: Name
    timestamp: str | int
    label: bool | int | float | str


class Json:
    """Decoder of native JSON events."""

    name: ClassVar[str] = "json"

    def __init__(self) -> None:
        self._decode = json_decoder(_Event).decode
        self._decode_label = json_decoder(_Label).decode

    def decode(self, values: Sequence[bytes], _about: About | None = None) -> Envelopes:
        """Read messages; whatever is in them, this does not raise."""
        events, rows, problems = _objects(self._decode, values)
        event_ms, wrong_times = read_timestamps([event.timestamp for event in events])
        wrong_features, without = _features([event.features for event in events])
        for at in without:
            events[at].features = _NO_FEATURES
        wrong = {**dict(wrong_features), **dict(wrong_times)}
        if None in (predictions := [event.prediction for event in events]):
            for at, prediction in enumerate(predictions):
                if prediction is None and events[at].error is None:
                    wrong.setdefault(at, "prediction: required, unless error is given")
        versions = [v if isinstance(v, str) else str(v) for v in [event.version for event in events]]
        for at, reason in unstorable_names([event.model for event in events], versions):
            wrong.setdefault(at, reason)
        row = np.array(rows, np.int64)
        if wrong:
            problems += [(rows[at], reason) for at, reason in wrong.items()]
            keep = [at for at in range(len(events)) if at not in wrong]
            event_ms, row, events = event_ms[keep], row[keep], [events[at] for at in keep]
            versions = [versions[at] for at in keep]
        ids = [event.event_id for event in events]
        return Envelopes(
            row=row,
            problems=problems,
            event_ms=event_ms,
            id_hash=hash_strings(pa.array(ids, pa.string())),
            event_id=ids,
            model=[event.model for event in events],
            version=versions,
            features=[event.features for event in events],
            prediction=[event.prediction for event in events],
            score=[event.score for event in events],
            scores=[event.scores for event in events],
            latency_ms=[event.latency_ms for event in events],
            error=[event.error for event in events],
            tags=[event.tags for event in events],
            role=[event.role for event in events],
        )

    def decode_labels(self, values: Sequence[bytes], _about: About | None = None) -> LabelEnvelopes:
        """Read messages with labels; whatever is in them, this does not raise."""
        events, rows, problems = _objects(self._decode_label, values)
        label_ms, wrong_times = read_timestamps([event.timestamp for event in events])
        wrong = dict(wrong_times)
        for at, reason in unstorable_names([event.model for event in events], []):
            wrong.setdefault(at, reason)
        for at, reason in _wrong_labels([event.label for event in events]):
            wrong.setdefault(at, reason)
        row = np.array(rows, np.int64)
        if wrong:
            problems += [(rows[at], reason) for at, reason in wrong.items()]
            keep = [at for at in range(len(events)) if at not in wrong]
            label_ms, row, events = label_ms[keep], row[keep], [events[at] for at in keep]
        return LabelEnvelopes(
            row=row,
            problems=problems,
            label_ms=label_ms,
            id_hash=hash_strings(pa.array([event.event_id for event in events], pa.string())),
            model=[event.model for event in events],
            label=[event.label for event in events],
        )


def _objects(
    decode: Callable[[bytes], Any], values: Sequence[bytes]
) -> tuple[list[Any], list[int], list[tuple[int, str]]]:
    """Messages that can be read, where they stand, and why the others cannot."""
    try:
        return [decode(value) for value in values], list(range(len(values))), []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
        pass  # one of them at least: now one by one
    events: list[Any] = []
    problems: list[tuple[int, str]] = []
    append = events.append
    for row, value in enumerate(values):
        try:
            append(decode(value))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError) as error:
            problems.append((row, reason_of(value, error)))
    failed = {row for row, _ in problems}
    return events, [row for row in range(len(values)) if row not in failed], problems


def _wrong_labels(labels: Sequence[Scalar]) -> list[tuple[int, str]]:
    """Find labels that are too long, or integers too large, to be kept."""
    kinds = set(map(type, labels))
    if kinds <= {int, bool} and (not labels or max(map(abs, labels)) < 10**15):  # type: ignore[arg-type]
        return []
    found = []
    for at, label in enumerate(labels):
        if isinstance(label, str) and (len(label) > LONGEST_LABEL or "\0" in label):
            found.append((at, f"label: has a NUL character or more than {LONGEST_LABEL} characters"))
        elif isinstance(label, int) and abs(label) >= 10**40:
            found.append((at, "label: an integer of more than 40 digits"))
    return found


def unstorable_names(models: Sequence[str], versions: Sequence[str]) -> list[tuple[int, str]]:
    """Find models and versions whose names PostgreSQL could not keep."""
    wrong: dict[int, str] = {}
    for field, names in (("model", models), ("version", versions)):
        reasons = {name: reason for name in set(names) if (reason := _unstorable(name)) is not None}
        if reasons:
            wrong |= {at: f"{field}: has {reasons[name]}" for at, name in enumerate(names) if name in reasons}
    return sorted(wrong.items())


def _unstorable(name: str) -> str | None:
    if "\0" in name:
        return "a NUL character"
    return f"more than {LONGEST_VERSION} digits" if len(name) > LONGEST_VERSION else None


def _features(features: Sequence[msgspec.Raw]) -> tuple[list[tuple[int, str]], list[int]]:
    """Find features that are not a JSON object in UTF-8, and those that are null, looking at all at once."""
    if not features:
        return [], []
    joined = b"".join(features)
    starts = np.cumsum(np.fromiter(map(len, features), np.int64, len(features)))
    first = np.frombuffer(joined, np.uint8)[np.concatenate(([0], starts[:-1]))]
    without = np.flatnonzero(first == ord("n")).tolist()
    wrong = [
        (int(at), "features: not an object")
        for at in np.flatnonzero((first != ord("{")) & (first != ord("n")))
    ]
    if not joined.isascii():
        wrong += [(at, "features: not UTF-8") for at, raw in enumerate(features) if not _is_utf8(bytes(raw))]
    return wrong, without


def read_timestamps(timestamps: Sequence[str | int]) -> tuple[NDArray[np.int64], list[tuple[int, str]]]:
    """Read RFC 3339 texts or epoch milliseconds.

    Returns
    -------
    event_ms : int64 array [n]
        0 where a timestamp cannot be read.
    problems : list of (int, str)

    Examples
    --------
    >>> read_timestamps(["2013-03-01T10:00:00Z", 1362132000000, "yesterday"])[0].tolist()
    [1362132000000, 1362132000000, 0]
    """
    kinds = set(map(type, timestamps))
    if kinds == {int}:
        try:
            event_ms = np.array(timestamps, np.int64)
        except OverflowError:
            return _one_by_one(timestamps)
    elif kinds == {str}:
        try:
            parsed = pa.array(timestamps, pa.string()).cast(pa.timestamp("ns", tz="UTC"))
        except pa.ArrowInvalid:
            return _one_by_one(timestamps)
        event_ms = parsed.cast(pa.int64()).to_numpy() // 1_000_000
    else:
        return _one_by_one(timestamps)
    if len(event_ms) and not (event_ms.min() >= EARLIEST_MS and event_ms.max() < LATEST_MS):
        return _one_by_one(timestamps)
    return event_ms, []


def _one_by_one(timestamps: Sequence[str | int]) -> tuple[NDArray[np.int64], list[tuple[int, str]]]:
    """Read texts and numbers in any mixture; slower."""
    event_ms, problems = np.zeros(len(timestamps), np.int64), []
    for at, timestamp in enumerate(timestamps):
        try:
            instant = timestamp if isinstance(timestamp, int) else _text_ms(timestamp)
        except ValueError:
            problems.append(
                (at, f"timestamp: {timestamp!r:.60} is neither RFC 3339 with a zone nor epoch milliseconds")
            )
            continue
        if EARLIEST_MS <= instant < LATEST_MS:
            event_ms[at] = instant
        else:
            problems.append((at, f"timestamp: {timestamp!r:.60} is not between the years 1970 and 9999"))
    return event_ms, problems


def _text_ms(text: str) -> int:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(text)
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
