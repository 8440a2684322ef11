"""A stretch of a topic, read without a group, so that nothing is committed and no reader is disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Record

from monitor.contracts.sample import message_of
from monitor.skew.messages import Fetch
from schemas.errors import Unavailable, UsageError

TIMEOUT_S = 30.0
"""How long brokers may say nothing before they count as away."""
PAUSE_S = 0.2
MOST_MESSAGES = 10_000
_FIXED: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "log_level": 0,
}


def read_topic(
    options: Mapping[str, Any], topic: str, from_ms: int | None = None, to_ms: int | None = None
) -> Iterator[Fetch]:
    """Read the messages that a topic has now.

    Parameters
    ----------
    options : mapping
        Options of librdkafka with the address of the brokers; they may hold secrets. Nothing is kept under
        their ``group.id``, nor is it joined, but the client asks for its coordinator, which takes a right.
    topic : str
    from_ms, to_ms : int, optional
        Epoch milliseconds: of each partition, messages from the first record of `from_ms` or later on, up to
        the first of `to_ms` or later. Default: all that the topic has when reading begins.

    Raises
    ------
    Unavailable
        If the brokers cannot be reached, or do not answer in time.
    UsageError
        If there is no such topic.
    """
    consumer = Consumer({**options, **_FIXED})
    try:
        yield from _read(consumer, topic, from_ms, to_ms)
    except KafkaException as error:
        msg = f"kafka: {topic}: cannot be read: {error.args[0].str()}"
        raise Unavailable(msg) from error
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str, from_ms: int | None, to_ms: int | None) -> Iterator[Fetch]:
    stretch = _stretch(consumer, topic, from_ms, to_ms)
    left = {partition: end for partition, (start, end) in stretch.items() if start < end}
    if not left:
        return
    consumer.assign([TopicPartition(topic, partition, stretch[partition][0]) for partition in left])
    heard_s = time.monotonic()
    while left:
        records, before = consumer.consume(MOST_MESSAGES, timeout=0.2), len(left)
        mine = [record for record in records if _is_wanted(record, left)]
        if mine or len(left) < before:
            heard_s = time.monotonic()
        elif time.monotonic() > heard_s + TIMEOUT_S:
            msg = f"kafka: {topic}: nothing came for {TIMEOUT_S:g} s (partitions {sorted(left)} are not read)"
            raise Unavailable(msg)
        if mine:
            yield _fetch(mine)


def _is_wanted(record: Record, left: dict[int, int]) -> bool:
    """Whether a record is in the stretch; takes partitions off `left` that are read to their end."""
    partition, error = record.partition(), record.error()
    if partition is None or partition not in left:
        return False
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        del left[partition]
        return False
    offset, end = record.offset() or 0, left[partition]
    if offset >= end - 1:
        del left[partition]
    return offset < end


def _stretch(
    consumer: Consumer, topic: str, from_ms: int | None, to_ms: int | None
) -> dict[int, tuple[int, int]]:
    """First offset of each partition, and the one after the last."""
    known = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    if known.error is not None or not known.partitions:
        msg = f"kafka: there is no topic {topic!r}"
        raise UsageError(msg)
    places = [TopicPartition(topic, partition) for partition in known.partitions]
    kept = {place.partition: consumer.get_watermark_offsets(place, timeout=TIMEOUT_S) for place in places}
    starts = _offsets_at(consumer, places, from_ms)
    ends = _offsets_at(consumer, places, to_ms)
    return {
        partition: (starts.get(partition, low if from_ms is None else high), ends.get(partition, high))
        for partition, (low, high) in kept.items()
    }


def _offsets_at(
    consumer: Consumer, places: Sequence[TopicPartition], instant_ms: int | None
) -> dict[int, int]:
    """First offsets of an instant or later; none for partitions without such a record.

    A partition whose leader is just changing answers with an error of its own and is asked again: no answer
    must not pass for "no such record". That itself is believed when it was said twice: a partition would be
    left out because of it, and nobody would notice. Where the client had no answer at all, the instant that
    was asked for still stands in the place of the offset.
    """
    if instant_ms is None:
        return {}
    found: dict[int, int] = {}
    left = [TopicPartition(place.topic, place.partition, instant_ms) for place in places]
    said_none: set[int] = set()
    deadline_s = time.monotonic() + TIMEOUT_S
    while left:
        answers = consumer.offsets_for_times(left, timeout=TIMEOUT_S)
        failed = [it for it in answers if it.error is not None or it.offset == instant_ms]
        if failed and time.monotonic() > deadline_s:
            raise KafkaException(failed[0].error or KafkaError(KafkaError._TIMED_OUT))
        answers = [it for it in answers if it.error is None and it.offset != instant_ms]
        found |= {it.partition: it.offset for it in answers if it.offset >= 0}
        none = [it for it in answers if it.offset < 0]
        again = [*failed, *(it for it in none if it.partition not in said_none)]
        said_none |= {it.partition for it in none}
        left = [TopicPartition(it.topic, it.partition, instant_ms) for it in again]
        if left:
            time.sleep(PAUSE_S)
    return found


def _fetch(records: list[Record]) -> Fetch:
    return Fetch([record.value() or b"" for record in records], lambda row: message_of(records[row]))
