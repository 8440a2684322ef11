"""The events that the benchmarks measure: made once, put into Kafka once, read by every measured side."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import msgspec
import numpy as np
from confluent_kafka import Producer

from tests.kit.kafka import KafkaCluster

PARTITIONS = 4
OBJECTS = 5_000
FEATURES = 25  # a fifth of them texts
NUMBERS = 20
REGIONS = 10  # values of the column that the benchmarks of many models break down by
WRONG_EVERY = 100
_BLOCK = 50  # events that go into one partition together
_TEXT_FOR_NUMBER = re.compile(rb'"n07":[^,]*')
_HEAD = b'{"event_id":"e-%09d","model":"m%03d","version":"1","timestamp":"%b","features":'
_TAIL = b',"prediction":%d,"score":0.%03d}'


@dataclass(frozen=True)
class Shape:
    """What a topic holds.

    Parameters
    ----------
    topic : str
    events : int
    models : int
        Events are spread over them at random.
    wrong : str
        What one event in a hundred is: ``""`` (nothing wrong), ``"undecodable"`` (cut off) or ``"type"``
        (text where a number belongs).
    per_s : int
        Events a second of event time, a multiple of 1,000.
    features : int
        Of each event; a fifth of them are texts.
    regions : int
        Values of the first text.
    """

    topic: str
    events: int
    models: int = 1
    wrong: str = ""
    per_s: int = 10_000
    features: int = FEATURES
    regions: int = REGIONS


Writer = Callable[[Shape, int], Iterator[tuple[bytes, int]]]


def feature_objects(seed: int = 1, features: int = FEATURES, regions: int = REGIONS) -> list[bytes]:
    """Make JSON objects of numbers and texts; of 20 and 5, they have about 310 bytes each."""
    generator = np.random.default_rng(seed)
    texts = max(1, features // 5)
    numbers = generator.normal(0.0, 10.0, (OBJECTS, features - texts)).round(3).tolist()
    values = [regions, *islice(cycle((3, 40, 300, 2_000)), texts - 1)]
    codes = generator.integers(0, values, (OBJECTS, texts)).tolist()
    return [
        msgspec.json.encode(
            {
                **{f"n{i:02d}": value for i, value in enumerate(row)},
                **{f"c{i}": f"v{code}" for i, code in enumerate(words)},
            }
        )
        for row, words in zip(numbers, codes, strict=True)
    ]


def events(shape: Shape, first_ms: int) -> Iterator[tuple[bytes, int]]:
    """Events in order of time, each with its timestamp."""
    objects = feature_objects(features=shape.features, regions=shape.regions)
    generator = np.random.default_rng(2)
    models = generator.integers(0, shape.models, shape.events).tolist()
    picks = generator.integers(0, OBJECTS, shape.events).tolist()
    per_ms = shape.per_s // 1000
    text = b""
    for number, (model, pick) in enumerate(zip(models, picks, strict=True)):
        at_ms = first_ms + number // per_ms
        if number % per_ms == 0:
            text = timestamp(at_ms)
        features = objects[pick]
        if shape.wrong and number % WRONG_EVERY == WRONG_EVERY // 2:
            if shape.wrong == "undecodable":
                features = features[:-20]
            else:
                features = _TEXT_FOR_NUMBER.sub(b'"n07":"n/a"', features)
        yield event(number, model, text, features, pick), at_ms


def timestamp(at_ms: int) -> bytes:
    """Write epoch milliseconds as RFC 3339."""
    second, rest = divmod(at_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode() + b".%03dZ" % rest


def event(number: int, model: int, text: bytes, features: bytes, pick: int) -> bytes:
    """Write one event; `number` is its id and `text` its timestamp."""
    return _HEAD % (number, model, text) + features + _TAIL % (pick & 1, pick % 1000)


def producer_of(cluster: KafkaCluster) -> Producer:
    """Make a producer with room for a whole topic."""
    return Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
        }
    )


def produce(cluster: KafkaCluster, shape: Shape, write: Writer | None = None) -> None:
    """Create a topic and fill it; the youngest event is a few seconds old.

    Parameters
    ----------
    cluster : KafkaCluster
    shape : Shape
    write : callable, optional
        Makes the messages of a shape from a time on, with the time of each; default: `events`.
    """
    cluster.create_topic(shape.topic, PARTITIONS)
    producer = producer_of(cluster)
    span_ms = shape.events * 1000 // shape.per_s
    first_ms = time.time_ns() // 1_000_000 - span_ms - 5_000
    send = producer.produce
    for number, (value, at_ms) in enumerate((write or events)(shape, first_ms)):
        send(shape.topic, value, partition=number // _BLOCK % PARTITIONS, timestamp=at_ms)
        if number % 1_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        msg = f"the broker did not take all events of {shape.topic}"
        raise RuntimeError(msg)
