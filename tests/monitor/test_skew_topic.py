"""``driftline skew`` on a topic: a stretch of it, bounded, of which nothing is committed."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from monitor import cli
from monitor.skew.topic import _offsets_at, read_topic
from schemas.errors import Unavailable

START_MS, MINUTE, ROWS = 1_767_225_600_000, 60_000, 300
pytestmark = pytest.mark.acceptance


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def table():
    rng = np.random.default_rng(2)
    return pd.DataFrame({"event_id": [f"e-{at}" for at in range(ROWS)], "wait": rng.gamma(2, 60, ROWS)})


@pytest.fixture(scope="module")
def topic(kafka):
    """Events of the table, each record at the time of its event; from row 200 on `wait` is in seconds."""
    name = kafka.create_topic("skew.predictions", partitions=3, config={"retention.ms": "-1"})
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})
    for at, (id_, wait) in enumerate(table().itertuples(index=False)):
        features = {"wait": wait * 60 if at >= 200 else wait}
        event = {"event_id": id_, "model": "fraud", "timestamp": START_MS + at * MINUTE, "prediction": 1}
        for copies in range(2 if at == 7 else 1):
            value = json.dumps({**event, "features": features}).encode()
            stamp = START_MS + at * MINUTE + copies
            producer.produce(name, value, partition=at % 3, timestamp=stamp)
    producer.produce(name, b"\x00", partition=0, timestamp=START_MS + ROWS * MINUTE)
    assert producer.flush(30) == 0
    return name


@pytest.fixture
def run(tmp_path, kafka, topic, capsys):
    table().to_parquet(tmp_path / "train.parquet")
    config = tmp_path / "driftline.yaml"
    config.write_text(
        json.dumps(
            {
                "kafka": {"bootstrap_servers": kafka.bootstrap, "options": {"client.id": "skew-test"}},
                "database_url": "sqlite:///never-opened.db",
                "streams": [{"topic": topic, "kind": "predictions"}],
            }
        )
    )

    def found(*arguments):
        code = cli.run(["skew", "-c", str(config), "fraud", str(tmp_path / "train.parquet"), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return found


def test_the_whole_topic(run):
    code, out, err = run("--json")
    assert (code, err) == (1, "")
    data = json.loads(out)
    keys = data["keys"]
    assert (keys["events"], keys["compared"], keys["events_repeated"], keys["unreadable"]) == (301, 300, 1, 1)
    [wait] = data["columns"]
    assert wait["by"]["value"] == 100
    assert [pattern["words"] for pattern in wait["patterns"]] == [
        "events are 60 × the table (minutes → seconds)"
    ]
    assert (wait["first_at"], wait["last_at"]) == ("2026-01-01T03:20:00.000Z", "2026-01-01T04:59:00.000Z")


@pytest.mark.parametrize(
    ("stretch", "compared", "differ"),
    [
        (["--to", "2026-01-01T03:20:00Z"], 200, 0),
        (["--from", "2026-01-01T03:20:00Z"], 100, 100),
        (["--from", "2026-01-01T03:10:00Z", "--to", str(START_MS + 210 * MINUTE)], 20, 10),
    ],
)
def test_a_stretch_of_it(stretch, compared, differ, run):
    code, out, _ = run("--json", *stretch)
    data = json.loads(out)
    found = (code, data["keys"]["compared"], data["columns"][0]["differ"])
    assert found == (bool(differ), compared, differ), data["keys"]


def test_a_stretch_without_records(run):
    code, _, err = run("--from", "2026-02-01")
    assert code == 2
    assert "skew.predictions: there are no events of the model" in err
    code, _, err = run("--from", "soon")
    assert (code, err.startswith("--from: 'soon' is not an instant")) == (2, True)


def test_nothing_is_committed(run, kafka, topic):
    code, _, err = run("--json")
    assert (code, err) == (1, "")
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "driftline-skew"})
    places = [TopicPartition(topic, number) for number in range(3)]
    assert {place.offset for place in consumer.committed(places, timeout=60)} == {-1001}
    consumer.close()


def test_a_topic_that_is_not_there(kafka, tmp_path, run):
    config = json.loads((tmp_path / "driftline.yaml").read_text())
    config["streams"][0]["topic"] = "skew.none"
    (tmp_path / "driftline.yaml").write_text(json.dumps(config))
    assert run() == (2, "", "kafka: there is no topic 'skew.none'\n")


class Answering:
    """A client whose second partition has no leader for the first so many questions."""

    def __init__(self, without_leader):
        self.without_leader, self.asked = without_leader, []

    def offsets_for_times(self, places, timeout):
        self.asked.append([place.partition for place in places])
        headless = len(self.asked) <= self.without_leader
        return [SimpleNamespace(**self._answer(place, headless)) for place in places]

    @staticmethod
    def _answer(place, headless):
        lost = headless and place.partition == 1
        error = KafkaError(KafkaError.LEADER_NOT_AVAILABLE) if lost else None
        offset = -1001 if lost else 40 + place.partition
        return {"topic": place.topic, "partition": place.partition, "offset": offset, "error": error}


def test_a_partition_without_a_leader_is_asked_again(monkeypatch):
    monkeypatch.setattr("monitor.skew.topic.PAUSE_S", 0)
    client: Any = Answering(2)
    places = [TopicPartition("p", number) for number in range(2)]
    assert _offsets_at(client, places, START_MS) == {0: 40, 1: 41}
    assert client.asked == [[0, 1], [1], [1]]


@pytest.mark.parametrize(
    ("answers", "found"),
    [([-1, 41], {1: 41}), ([-1, -1], {}), ([START_MS, 41], {1: 41}), ([START_MS, -1, START_MS, -1], {})],
)
def test_that_there_is_no_such_record_is_believed_when_it_was_said_twice(monkeypatch, answers, found):
    """The instant itself is no answer: that stands there if a broker gave none."""
    monkeypatch.setattr("monitor.skew.topic.PAUSE_S", 0)
    left = iter(answers)

    def offsets_for_times(places, timeout):
        return [SimpleNamespace(topic="p", partition=1, offset=next(left), error=None) for _ in places]

    client: Any = SimpleNamespace(offsets_for_times=offsets_for_times)
    assert _offsets_at(client, [TopicPartition("p", 1)], START_MS) == found
    assert list(left) == []


def test_a_partition_without_a_leader_for_good_is_said(monkeypatch):
    monkeypatch.setattr("monitor.skew.topic.TIMEOUT_S", 0.0)
    client: Any = Answering(9)
    with pytest.raises(KafkaException, match="LEADER_NOT_AVAILABLE"):
        _offsets_at(client, [TopicPartition("p", number) for number in range(2)], START_MS)


def test_no_broker(monkeypatch):
    monkeypatch.setattr("monitor.skew.topic.TIMEOUT_S", 0.5)
    with pytest.raises(Unavailable, match="kafka: p: cannot be read: "):
        list(read_topic({"bootstrap.servers": "127.0.0.1:1", "group.id": "g"}, "p"))
