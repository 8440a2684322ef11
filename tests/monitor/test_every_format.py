"""Every format: its own examples are read, recognised, and no bytes do more harm than a dead letter."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from time import process_time
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decode.catalog import build, every, formats, translated
from monitor.decode.halves import Half, Pair
from monitor.decode.message import Message
from monitor.decode.reading import Example, Paired, Reading
from schemas.errors import EventError, UsageError

EXAMPLES = [
    pytest.param(one.name, example, id=f"{one.name}-{at}")
    for one in every()
    for at, example in enumerate(one.examples())
    if example.other is None
]
PAIRS = [
    pytest.param(one.name, example, id=f"{one.name}-{at}")
    for one in every()
    for at, example in enumerate(one.examples())
    if example.other is not None
]
STAMP = 1_767_225_600_000


def stamped(example: Example) -> Message:
    """The message as Kafka hands it out."""
    message = deepcopy(example.message)
    message.timestamp_ms = STAMP
    return message


def both(name: str, example: Example) -> Pair:
    """Both halves as Kafka hands them out."""
    pair = deepcopy(Pair(name, example.message, example.other or Message(b"")))
    pair.request.timestamp_ms, pair.response.timestamp_ms = STAMP, STAMP + 1_000
    return pair


def complete(example: Example, model: str) -> list[dict[str, Any]]:
    """Events with what the stream and Kafka know."""
    known: dict[str, Any] = {"timestamp": STAMP, "model": example.reading.model or model}
    if example.reading.version:
        known["version"] = example.reading.version
    return [known | event for event in example.events]


def with_model(example: Example) -> Reading:
    """What a stream says that also names a model for events that do not."""
    return replace(example.reading, model=example.reading.model or "fallback")


def test_every_format_has_an_example_and_a_place_of_its_own() -> None:
    assert len(every()) >= 3
    for one in every():
        assert one.examples(), one.name
        assert all((example.other is None) != isinstance(one, Paired) for example in one.examples())
        assert one.name in formats()
    assert len({one.name for one in every()}) == len(every())


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_its_examples_are_read(name: str, example: Example) -> None:
    reading = with_model(example)
    _, events = translated(name, reading).translate(stamped(example), example.kind)
    assert events == complete(example, "fallback")


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_they_pass_as_native_events(name: str, example: Example) -> None:
    decoder, message = build(name, with_model(example)), stamped(example)
    read = decoder.decode_labels if example.kind == "labels" else decoder.decode
    found = read([message.value, b"\x00", message.value], lambda at: message if at != 1 else Message(b"\x00"))
    assert [row for row, _ in found.problems] == [1]
    assert found.row.tolist() == [0] * len(example.events) + [2] * len(example.events)
    assert list(found.model) == [event["model"] for event in complete(example, "fallback")] * 2
    assert len(set(found.id_hash.tolist())) == len(example.events)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_auto_tells_them(name: str, example: Example) -> None:
    if not example.is_recognised:
        with pytest.raises(EventError, match="auto: the message is in no known format"):
            translated("auto", Reading(model="m")).translate(stamped(example), example.kind)
        return
    path, events = translated("auto", with_model(example)).translate(stamped(example), example.kind)
    assert path.split("/")[0] == name
    assert events == complete(example, "fallback")


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
@pytest.mark.parametrize("format_", ["auto", None])
def test_damaged_messages_are_dead_letters_and_nothing_worse(
    name: str, example: Example, format_: str | None
) -> None:
    decoder, message = build(format_ or name, with_model(example)), stamped(example)
    read = decoder.decode_labels if example.kind == "labels" else decoder.decode
    damaged = _damaged(message.value)
    headers = message.headers
    found = read(damaged, lambda at: Message(damaged[at], headers, STAMP))
    assert {*found.row.tolist(), *(row for row, _ in found.problems)} == set(range(len(damaged)))
    assert not set(found.row.tolist()) & {row for row, _ in found.problems}
    assert all(reason for _, reason in found.problems)


@pytest.mark.parametrize(("name", "example"), PAIRS)
@pytest.mark.parametrize("format_", ["auto", None])
def test_halves_are_told_and_say_the_same_of_what_they_share(
    name: str, example: Example, format_: str | None
) -> None:
    decoder, pair = translated(format_ or name, with_model(example)), both(name, example)
    request, response = (decoder.read(one, "predictions") for one in (pair.request, pair.response))
    assert (request[0], response[0]) == (name, name)
    assert isinstance(request[1], Half)
    assert isinstance(response[1], Half)
    assert (request[1].side, response[1].side) == ("request", "response")
    assert (request[1].key, request[1].digest) == (response[1].key, response[1].digest)
    with pytest.raises(EventError, match=f"{name}: a request alone; its response is a message of its own"):
        decoder.translate(pair.request, "predictions")
    with pytest.raises(EventError, match=f"{name}: requests and responses say nothing of labels"):
        decoder.read(pair.request, "labels")


@pytest.mark.parametrize(("name", "example"), PAIRS)
def test_halves_are_joined(name: str, example: Example) -> None:
    decoder, pair = translated(name, with_model(example)), both(name, example)
    assert decoder.join(pair) == complete(example, "fallback")
    wrong = Pair(name, pair.response, Message(b"\x00", pair.response.headers))
    found = decoder.decode_pairs([pair, wrong, pair])
    assert [row for row, _ in found.problems] == [1]
    assert found.row.tolist() == [0] * len(example.events) + [2] * len(example.events)
    assert len(set(found.id_hash.tolist())) == len(example.events)
    messages = [pair.request, Message(b"\x00"), pair.response]
    alone = decoder.decode([one.value for one in messages], messages.__getitem__)
    assert [(row, half.side) for row, half in alone.halves] == [(0, "request"), (2, "response")]
    assert [row for row, _ in alone.problems] == [1]
    assert not len(alone)


@pytest.mark.parametrize(("name", "example"), PAIRS)
@pytest.mark.parametrize("side", ["request", "response"])
def test_damaged_halves_are_dead_letters_and_nothing_worse(name: str, example: Example, side: str) -> None:
    decoder, pair = translated(name, with_model(example)), both(name, example)
    message: Message = getattr(pair, side)
    for value in _damaged(message.value):
        damaged = replace(message, value=value)
        found = decoder.decode([value], [damaged].__getitem__)
        assert bool(found.halves) != bool(found.problems)
        both_ = Pair(name, damaged, pair.response) if side == "request" else Pair(name, pair.request, damaged)
        joined = decoder.decode_pairs([both_])
        assert bool(len(joined)) != bool(joined.problems)
        assert all(reason for _, reason in (*found.problems, *joined.problems))


def _damaged(value: bytes) -> list[bytes]:
    """Beginnings of a value, and the value with some bytes changed."""
    rng = np.random.default_rng(1)
    damaged = [value[:at] for at in range(0, len(value), max(1, len(value) // 60))]
    for _ in range(60):
        changed = bytearray(value)
        for at in rng.integers(0, max(len(changed), 1), 3).tolist():
            if changed:
                changed[at] = int(rng.integers(0, 256))
        damaged.append(bytes(changed))
    return damaged


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("one", every(), ids=lambda one: str(one.name))
@given(data=st.data())
def test_strange_values_in_the_right_places_do_no_harm(one: Any, data: st.DataObject) -> None:
    """Some value anywhere in an example's document is replaced by any other."""
    example = data.draw(st.sampled_from(one.examples()))
    document = deepcopy(example.message.object_)
    places = list(_places(document))
    if not places:
        return
    path = data.draw(st.sampled_from(places))
    level: Any = document
    for key in path[:-1]:
        level = level[key]
    level[path[-1]] = data.draw(json_values)
    decoder = build(one.name, with_model(example))
    read = decoder.decode_labels if example.kind == "labels" else decoder.decode
    value = msgspec.json.encode(document)
    strange = replace(example.message, value=value, timestamp_ms=STAMP, read=msgspec.UNSET)
    found = read([value], lambda _: strange)
    if example.other is None:
        assert bool(len(found)) != bool(found.problems)
        return
    joined = translated(one.name, with_model(example)).decode_pairs([Pair(one.name, strange, example.other)])
    assert bool(found.halves) != bool(found.problems)
    assert bool(len(joined)) != bool(joined.problems)


def _places(document: Any, above: tuple[Any, ...] = ()) -> Any:
    items: Any = ()
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    for key, value in items:
        yield (*above, key)
        yield from _places(value, (*above, key))


def test_an_unknown_format_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'jsom' is not a format \(use one of .*auto, "):
        build("jsom")
    with pytest.raises(UsageError, match="'jsom' is not a format"):
        translated("jsom", Reading())


def test_a_message_counts_as_a_whole() -> None:
    """One event that cannot be read makes a dead letter of its message, and says which it is."""
    one = {"model": "m", "prediction": 1}
    envelope = {"specversion": "1.0", "source": "/s", "type": "t", "time": "2026-01-05T10:00:00Z"}
    batch = [{**envelope, "id": "a", "data": one}, {**envelope, "id": "b", "data": {**one, "score": "x"}}]
    good = [{**envelope, "id": "c", "data": one}, {**envelope, "id": "d", "data": one}]
    found = build("auto").decode(
        [msgspec.json.encode(batch), msgspec.json.encode(good)], _batches(batch, good)
    )
    assert found.row.tolist() == [1, 1]
    assert found.problems == [(0, "event 1: Expected `float | null`, got `str` - at `$.score`")]


def test_many_events_that_cannot_be_read_take_no_longer_each() -> None:
    """A message of 300 kB once took ten seconds, and several of them in a fetch minutes."""
    reading, times = Reading(fields={"event_id": "key", "prediction": "y", "model": "model"}), []
    for events in (4_000, 64_000):
        value = msgspec.json.encode([*({"model": f"\0{at}", "key": 1, "y": 1} for at in range(events)), {}])
        started_s = process_time()
        found = build("flat", reading).decode([value, value])
        times.append((process_time() - started_s) / events)
        assert [row for row, _ in found.problems] == [0, 1]
        assert found.problems[0][1].startswith("event ")
    assert times[1] < 8 * times[0]


def _batches(*batches: Any) -> Any:
    headers = [("content-type", b"application/cloudevents-batch+json")]
    return lambda at: Message(msgspec.json.encode(batches[at]), headers, STAMP)
