"""A sample of the predictions of a topic as a table: read without a group, so that nothing is committed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Record
from confluent_kafka.admin import AdminClient

from monitor.config.service import Kafka
from monitor.contracts.contract import is_finite_number
from monitor.decode.catalog import AUTO, translated
from monitor.decode.halves import Half, Pair
from monitor.decode.message import Event, Message
from monitor.decode.reading import Reading
from monitor.frames.names import FEATURE_PREFIX, FIELDS
from monitor.frames.table import Table
from monitor.kafka_reasons import Reasons, made
from monitor.reachable_kafka import topics_of
from schemas.errors import EventError, Unavailable, UsageError

TIMEOUT_S = 10.0
_FALLBACK = "model"


def sample(
    kafka: Kafka, topic: str, most: int, model: str | None = None, where: str = "--bootstrap"
) -> tuple[str, Table]:
    """Read the latest messages of a topic.

    Parameters
    ----------
    kafka : Kafka
        How to reach the brokers. Nothing joins its group; another one would want a right of its own.
    topic : str
    most : int
        Messages to read, over all partitions.
    model : str, optional
        Whose events to keep; default: that with the most.
    where : str
        Where the options of Kafka stand, for errors.

    Returns
    -------
    str
        The model.
    Table
        One row an event.

    Raises
    ------
    Unavailable
        If the brokers cannot be reached, do not answer in time, or do not let us in.
    ConfigurationError
        If librdkafka does not know an option.
    UsageError
        If there is no such topic, or no prediction of the model in the messages.
    """
    records = _records(kafka, topic, most, where)
    events, problem = _events(records)
    if not events:
        why = f": {problem}" if problem else " (send some, or use --from FILE)"
        msg = f"{topic}: none of {len(records)} messages is a prediction{why}"
        raise UsageError(msg)
    counts = Counter(str(event.get("model")) for event in events)
    chosen = model or counts.most_common(1)[0][0]
    if chosen not in counts:
        msg = f"--model: no event of {chosen!r} in {topic} (there are: {', '.join(sorted(counts)[:20])})"
        raise UsageError(msg)
    rows = [_row(event) for event in events if str(event.get("model")) == chosen]
    return chosen, rows_table(topic, rows)


def rows_table(name: str, rows: list[dict[str, Any]]) -> Table:
    """Make a table of rows; a column of mixed values becomes one of texts."""
    names = dict.fromkeys(key for row in rows for key in row)
    made = pa.table({key: _array([row.get(key) for row in rows]) for key in names})

    def parts() -> Iterator[pa.Table]:
        yield made

    return Table(name, made.schema, parts)


def _records(kafka: Kafka, topic: str, most: int, where: str) -> list[Record]:
    options: dict[str, Any] = {"log_level": 0, **kafka.client_options()}
    reasons = Reasons(options)
    reading = {
        "group.id": kafka.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
    }
    try:
        found = topics_of(made(AdminClient, {**options, "error_cb": reasons.note}, where), reasons, TIMEOUT_S)
        if topic not in found:
            msg = f"--topic: there is no topic {topic!r}, or it may not be seen"
            raise UsageError(msg)
        consumer = Consumer({**options, **reading})
        try:
            return _fetched(consumer, topic, sorted(found[topic].partitions), most)
        finally:
            consumer.close()
    except KafkaException as error:
        msg = f"{kafka.bootstrap_servers}: cannot be read: {reasons.text(error.args[0])}"
        raise Unavailable(msg) from error


def _fetched(consumer: Consumer, topic: str, partitions: list[int], most: int) -> list[Record]:
    each = -(-most // len(partitions))
    starts: list[TopicPartition] = []
    for number in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=TIMEOUT_S)
        starts.append(TopicPartition(topic, number, max(low, high - each)))
    consumer.assign(starts)
    records: list[Record] = []
    waiting = set(partitions)
    until_s = time.monotonic() + TIMEOUT_S
    while waiting and len(records) < most:
        came = consumer.consume(min(most - len(records), 1_000), timeout=0.2)
        for record in came:
            error = record.error()
            if error is None:
                records.append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(record.partition())
            else:
                raise KafkaException(error)
        if came:
            until_s = time.monotonic() + TIMEOUT_S
        elif time.monotonic() > until_s:
            msg = f"{topic}: the brokers sent nothing for {TIMEOUT_S:g} s, after {len(records)} messages"
            raise Unavailable(msg)
    return records


def _events(records: Iterable[Record]) -> tuple[list[Event], str | None]:
    """Events of messages, and why the first that cannot be read is none."""
    decoder = translated(AUTO, Reading(model=_FALLBACK))
    events: list[Event] = []
    problem: str | None = None
    halves: dict[tuple[str, str], Message] = {}
    for record in records:
        try:
            message = message_of(record)
            _, found = decoder.read(message, "predictions")
            if isinstance(found, Half):
                halves[found.digest, found.side] = message
                both = [halves.get((found.digest, side)) for side in ("request", "response")]
                found = [] if None in both else decoder.join(Pair(found.format, *filter(None, both)))
            events += [one for one in found if "label" not in one]
        except EventError as error:
            problem = problem or str(error)
    return events, problem


def message_of(record: Record) -> Message:
    """Make a message of a record of the client."""
    key = record.key()
    return Message(
        record.value() or b"",
        _headers(record),
        record.timestamp()[1],
        key=key.encode() if isinstance(key, str) else key,
        topic=record.topic() or "",
    )


def _headers(record: Record) -> list[tuple[str, bytes | None]]:
    pairs = record.headers() or []
    listed = pairs.items() if isinstance(pairs, dict) else pairs
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in listed]


def _row(event: Event) -> dict[str, Any]:
    """One event as a row of a table; see `monitor.frames.names`."""
    known = {name: event[name] for name in ("prediction", "score") if event.get(name) is not None}
    flat = dict(_flat(event.get("features") or {}, ""))
    return known | {f"{FEATURE_PREFIX}{name}" if name in FIELDS else name: v for name, v in flat.items()}


def _flat(features: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in features.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _array(values: list[Any]) -> pa.Array:
    present = [value for value in values if value is not None]
    if all(is_finite_number(value) for value in present) and present:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if present and all(isinstance(value, bool) for value in present):
        return pa.array(values, pa.bool_())
    if present and all(isinstance(value, list) for value in present):
        return pa.array([None if value is None else [] for value in values], pa.list_(pa.float64()))
    if not present:
        return pa.nulls(len(values))
    return pa.array([None if value is None else str(value) for value in values], pa.string())
