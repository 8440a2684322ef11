"""What the demo sends, in which order, at which pace, and never more than the broker can keep."""

import json
import threading
from collections import Counter

import numpy as np
import pytest

from monitor.clock import ManualClock, SystemClock
from monitor.decode.json import Json
from monitor.demo import faults, flights, model, replay, script
from monitor.demo.broker import EmbeddedBroker
from monitor.demo.faults import DAY_MS, day_ms
from monitor.demo.script import LABELS, PREDICTIONS, Kind
from schemas.errors import Unavailable


@pytest.fixture(scope="module")
def march():
    year = flights.read_flights(flights.data_folder())
    rows = (year.event_ms >= day_ms("2013-03-01")) & (year.event_ms < day_ms("2013-04-08"))
    return model.train(year), year.taken(rows)


@pytest.fixture(scope="module")
def messages(march):
    scorer, rows = march
    return [m for block in script.Script(rows, scorer, day_ms("2013-04-08")).blocks() for m in block]


def test_messages_come_in_the_order_of_event_time(messages):
    assert (np.diff([message.at_ms for message in messages]) >= 0).all()


def test_every_flight_is_predicted_once_and_a_whole_day_twice(march, messages):
    _, rows = march
    times = Counter(m.key for m in messages if m.kind in (Kind.PREDICTION, Kind.REPEATED))
    day = (rows.event_ms >= day_ms("2013-03-06")) & (rows.event_ms < day_ms("2013-03-07"))
    assert len(times) == len(rows)
    assert Counter(times.values()) == {1: len(rows) - day.sum(), 2: day.sum()}


def test_a_repetition_is_the_same_message_a_day_later(messages):
    first = {m.key: m for m in messages if m.kind is Kind.PREDICTION}
    for again in (m for m in messages if m.kind is Kind.REPEATED):
        assert again.value == first[again.key].value
        assert again.at_ms == first[again.key].at_ms + DAY_MS


def test_the_events_of_a_day_are_the_flights_of_that_day(march, messages):
    scorer, rows = march
    day = rows.taken((rows.event_ms >= day_ms("2013-03-02")) & (rows.event_ms < day_ms("2013-03-03")))
    sent = {m.key: json.loads(m.value) for m in messages if m.kind is Kind.PREDICTION}
    for id_, event_ms, score, temp, dest in zip(
        day.event_ids(day.named["carrier"]), day.event_ms.tolist(), scorer.score(day).tolist(),
        day.numeric["temp"].tolist(), day.named["dest"].texts(), strict=True,
    ):  # fmt: skip
        event = sent[id_]
        assert (event["event_id"], event["timestamp"], event["model"]) == (id_, event_ms, model.NAME)
        assert event["score"] == pytest.approx(score, abs=5e-5)
        assert event["prediction"] == int(score >= model.THRESHOLD)
        assert set(event["features"]) == {*model.NUMERIC, *model.NAMED}
        assert (event["features"]["temp"], event["features"]["dest"]) == (temp, dest)


def test_a_carrier_without_its_code_is_null_but_the_flight_keeps_its_name(messages):
    without = [m for m in messages if m.kind is Kind.PREDICTION and b'"carrier":null' in m.value]
    assert len(without) > 300
    assert {key[11:13] for key in (m.key for m in without)} == {"B6"}


def test_a_label_is_sent_when_its_flight_has_landed(march, messages):
    _, rows = march
    landed = dict(zip(rows.event_ids(rows.named["carrier"]), rows.landed_ms.tolist(), strict=True))
    labels = [m for m in messages if m.kind is Kind.LABEL]
    assert len({m.key for m in labels}) == len(labels) > 0.9 * len(rows)
    assert all(m.topic == LABELS and m.at_ms == landed[m.key] for m in labels)
    assert json.loads(labels[0].value).keys() == {"event_id", "model", "timestamp", "label"}


def test_malformed_messages_cannot_be_read_and_all_others_can(messages):
    told = [m for m in messages if m.topic == PREDICTIONS]
    unreadable = {row for row, _ in Json().decode([m.value for m in told]).problems}
    assert {at for at, m in enumerate(told) if m.kind is Kind.MALFORMED} == unreadable
    assert len(unreadable) == len(faults.malformed_at())


def test_the_pace_follows_event_time():
    clock = ManualClock()
    pace = replay.Pace(0, 2.0, clock)
    assert pace.wait_s(3 * DAY_MS) == 1.5
    clock.sleep(1.0)
    assert pace.wait_s(3 * DAY_MS) == 0.5
    assert replay.Pace(0, None, clock).wait_s(10**15) == 0


class Broker:
    """Takes everything at once."""

    def __init__(self):
        self.sent: Counter[tuple[str, int]] = Counter()

    def send(self, topic, key, value):
        self.sent[topic, hash(key) % 2] += 1

    def poll(self):
        pass

    flush = poll


class Away(Broker):
    """Takes nothing."""

    def send(self, topic, key, value):
        msg = "the broker is away"
        raise Unavailable(msg)


def start(march, broker, positions, until="2013-03-20"):
    scorer, rows = march
    told = script.Script(rows, scorer, day_ms(until))
    running = replay.Replay(told, broker, positions, SystemClock(), None)
    running.start()
    return running, told


def wait_until_still(broker):
    before = -1
    while (now := sum(broker.sent.values())) != before:
        before = now
        threading.Event().wait(0.2)


def test_it_never_goes_further_ahead_of_the_readers_than_the_broker_can_keep(march):
    broker, read = Broker(), {(PREDICTIONS, 0): 0, (PREDICTIONS, 1): 0}
    running, told = start(march, broker, lambda: dict(read))
    while running.is_running:
        wait_until_still(broker)
        unread = {place: broker.sent[place] - offset for place, offset in read.items()}
        assert max(unread.values()) <= replay.MOST_UNREAD + replay.CHECK_EVERY
        read.update({place: broker.sent[place] for place in read})
    assert running.error is None
    assert sum(running.sent.values()) == len(told)


def test_it_stops_at_once_while_it_waits_for_readers(march):
    broker = Broker()
    running, told = start(march, broker, lambda: {(PREDICTIONS, 0): 0, (PREDICTIONS, 1): 0})
    wait_until_still(broker)
    running.stop()
    assert not running.is_running
    assert sum(running.sent.values()) < len(told)


def test_what_goes_wrong_is_kept_for_whoever_waits(march):
    running, _ = start(march, Away(), lambda: {(PREDICTIONS, 0): 0})
    running._thread.join(240)
    assert str(running.error) == "the broker is away"


def test_the_embedded_broker_gives_each_key_one_partition_and_knows_the_numbers():
    with EmbeddedBroker() as broker:
        broker.create("t")
        for number in range(200):
            broker.send("t", f"key-{number % 20}", b"x")
        broker.flush()
        assert broker.partitions("t") > 1
        assert sum(broker.sent.values()) == 200
        assert all(number % 10 == 0 for number in broker.sent.values())
