"""Targets: every format by its name, all of them under ``auto``, and pairs of requests and responses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from monitor.decode.catalog import AUTO, build, every, translated
from monitor.decode.envelope import Decoder, Envelopes
from monitor.decode.halves import Half, Pair
from monitor.decode.json import Json
from monitor.decode.reading import Example, Kind, Reading
from monitor.decode.translated import Translated
from tests.fuzz.promises import check_counts, check_features, check_same, decoded, events_of
from tests.fuzz.tables import nameless_zone, unrelated_times
from tests.fuzz.target import Target

STAMP = 1_767_225_600_000


class _NothingIsLogged(logging.Handler):
    """Messages that cannot be read together for a reason that nobody foresaw are logged: there are none."""

    def emit(self, record: logging.LogRecord) -> None:
        """Refuse a log line."""
        raise AssertionError(record.getMessage())


logging.getLogger(Translated.__module__).addHandler(_NothingIsLogged())
_SAYS_OTHERWISE = 0x80  # of the second byte: predictions are read as labels and the other way round
_AROUND = 2


@dataclass(frozen=True)
class Surroundings:
    """A message around hostile bytes, and what the stream says of it.

    The first byte of an input says whose of the examples they are, the second whose headers stand on it.
    """

    name: str
    examples: tuple[Example, ...]

    def seeds(self) -> tuple[bytes, ...]:
        """All examples, with headers of their own, and what once was read in two ways."""
        examples = (bytes([at, at]) + one.message.value for at, one in enumerate(self.examples))
        return (*examples, *(bytes(_AROUND) + value for value in FOUND.get(self.name, ())))

    def check(self, data: bytes) -> None:
        """Check that a message harms neither the process nor the messages beside it."""
        first, second = (*data[:_AROUND], 0, 0)[:_AROUND]
        at = first % len(self.examples)
        example, kind, decoder = self.examples[at], self.kind_of(first, second), self.decoders[at]
        around = self.examples[(second & ~_SAYS_OTHERWISE) % len(self.examples)].message
        hostile = replace(around, value=data[_AROUND:], timestamp_ms=STAMP, topic=example.message.topic)
        good = replace(example.message, timestamp_ms=STAMP)
        alone = decoded(decoder, kind, [good, good])
        check_counts(alone, 2)
        found = decoded(decoder, kind, [good, hostile, good])
        check_counts(found, 3)
        assert events_of(alone, [0]) == events_of(found, [0])
        assert events_of(alone, [1]) == events_of(found, [2])
        assert events_of(decoded(decoder, kind, [hostile]), [0]) == events_of(found, [1])
        if isinstance(found, Envelopes):
            check_features(found)
            one_by_one = decoded(self.one_by_one[at], kind, [good, hostile, good])
            assert isinstance(one_by_one, Envelopes)
            check_same(found, one_by_one, 3)

    def kind_of(self, first: int, second: int) -> Kind:
        """Whether the bytes are read as predictions or as labels."""
        kind = self.examples[first % len(self.examples)].kind
        if second & _SAYS_OTHERWISE:
            return "labels" if kind == "predictions" else "predictions"
        return kind

    @cached_property
    def decoders(self) -> list[Decoder]:
        """A decoder for each example."""
        if self.name == NATIVE:
            return [Json() for _ in self.examples]
        return [build(self.name, reading) for reading in self.readings]

    @cached_property
    def one_by_one(self) -> list[Decoder]:
        """The same, but none of them reads many messages at a time."""
        if self.name == NATIVE:
            return self.decoders
        formats = tuple(one for one in every() if self.name in (one.name, AUTO))
        return [Translated(formats, reading, in_columns=False) for reading in self.readings]

    @property
    def readings(self) -> list[Reading]:
        """What the stream of each example says."""
        return [replace(one.reading, model=one.reading.model or "m") for one in self.examples]


NATIVE = "native"
FOUND = {"arrow": (unrelated_times(), nameless_zone())}
"""Values that broke a promise once, by the format; they are read as the first of its examples is."""


def format_targets() -> tuple[Target, ...]:
    """Make the targets of all formats of the catalog."""
    examples = {one.name: one.examples() for one in every()}
    together = tuple(example for several in examples.values() for example in several if example.is_recognised)
    groups: dict[str, Sequence[Example]] = {**examples, NATIVE: examples["json"], AUTO: together}
    around = [Surroundings(name, tuple(group)) for name, group in groups.items()]
    return tuple(Target(f"format-{one.name}", one.seeds(), one.check, _AROUND) for one in around)


def pair_target() -> Target:
    """Make the target of pairs: the first byte chooses the example, the second which half is hostile."""
    examples = tuple(example for one in every() for example in one.examples() if example.other is not None)

    def check(data: bytes) -> None:
        first, second = (*data[:_AROUND], 0, 0)[:_AROUND]
        example = examples[first % len(examples)]
        decoder = translated(AUTO, replace(example.reading, model="m"))
        good = [
            replace(one, timestamp_ms=STAMP) for one in (example.message, example.other) if one is not None
        ]
        _, half = decoder.read(good[0], "predictions")
        assert isinstance(half, Half)
        hostile = list(good)
        hostile[second % 2] = replace(good[second % 2], value=data[_AROUND:])
        pairs = [Pair(half.format, *good), Pair(half.format, *hostile), Pair(half.format, *good)]
        alone, found = decoder.decode_pairs(pairs[::2]), decoder.decode_pairs(pairs)
        check_counts(found, 3)
        assert events_of(alone, [0, 1]) == events_of(found, [0, 2])
        check_features(found)

    seeds = [
        bytes([at, side]) + half.value
        for at, example in enumerate(examples)
        for side, half in enumerate((example.message, example.other))
        if half is not None
    ]
    return Target("pairs", tuple(seeds), check, _AROUND)
