"""``driftline init --topic``: a configuration from messages, of which none is committed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, TopicPartition

from monitor import cli
from monitor.config import load
from monitor.config.service import Kafka
from monitor.contracts.sample import sample
from monitor.demo.broker import EmbeddedBroker
from schemas.errors import Unavailable


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as made:
        made.create("flights", "empty", "broken")
        for at in range(300):
            event = {
                "event_id": f"f-{at}",
                "model": "other" if at % 10 == 0 else "flight-delay",
                "timestamp": 1_767_225_600_000 + at,
                "features": {"temp": at / 10, "plane": {"maker": "AB"[at % 2]}, "mixed": [1, "x"][at % 2]},
                "prediction": at % 2,
                "score": 0.5,
            }
            made.send("flights", f"f-{at}", json.dumps(event).encode())
        made.send("flights", "bad", b"\x00")
        made.send("broken", "bad", b"\x00")
        made.flush()
        yield made


def test_a_configuration_of_a_sample(broker, tmp_path, capsys):
    file = str(tmp_path / "driftline.yaml")
    assert cli.run(["init", "--topic", "flights", "--bootstrap", broker.address, "-o", file]) == 0
    assert cli.run(["check", "-c", file]) == 0
    found = load(file)
    assert (found.kafka.bootstrap_servers, found.streams[0].topic) == (broker.address, "flights")
    [(name, model)] = found.models.items()
    assert (name, model.task) == ("flight-delay", "binary_classification")
    assert {name: column.kind for name, column in model.columns.items()} == {
        "temp": "numeric", "plane.maker": "categorical", "mixed": "categorical",
    }  # fmt: skip


def test_the_model_and_the_number_of_messages(broker, capsys):
    arguments = ["init", "--topic", "flights", "--bootstrap", broker.address]
    assert cli.run([*arguments, "--model", "other"]) == 0
    out = capsys.readouterr().out
    assert "of 30 rows of topic flights" in out
    assert "\n  other:\n" in out
    assert cli.run([*arguments, "--most", "20"]) == 0
    rows = int(capsys.readouterr().out.split(" rows of topic")[0].split()[-1])
    assert 0 < rows <= 20
    assert cli.run([*arguments, "--model", "x"]) == 2
    assert "--model: no event of 'x' in flights (there are: flight-delay, other)" in capsys.readouterr().err


CONFIGURATION = """
kafka: {{bootstrap_servers: "{address}", group_id: ours, options: {{client.id: me, socket.timeout.ms: 9000}}}}
database_url: sqlite:///x.db
streams: [{{topic: others, kind: predictions}}]
"""


def test_brokers_as_another_configuration_reaches_them(broker, tmp_path, capsys):
    """Also those that want a certificate or a password: what comes of it reaches them in the same way."""
    there, file = tmp_path / "there.yaml", str(tmp_path / "drafted.yaml")
    there.write_text(CONFIGURATION.format(address=broker.address))
    arguments = ["init", "--topic", "flights", "-c", str(there)]
    assert cli.run([*arguments, "-o", file]) == 0
    assert load(file).kafka == load(str(there)).kafka
    assert cli.run(["init", "--from", file, "--bootstrap", broker.address, "-c", str(there)]) == 2
    assert "--bootstrap and --config both name brokers" in capsys.readouterr().err
    there.write_text(CONFIGURATION.format(address=broker.address).replace("client.id", "clientid"))
    assert cli.run(arguments) == 2
    assert f"{there}:2: kafka.options: No such configuration property" in capsys.readouterr().err


def test_a_topic_that_is_not_there_is_not_made(broker, capsys):
    for _ in range(2):
        assert cli.run(["init", "--topic", "flihgts", "--bootstrap", broker.address]) == 2
        assert "--topic: there is no topic 'flihgts', or it may not be seen" in capsys.readouterr().err


def test_nothing_is_committed(broker, capsys):
    assert cli.run(["init", "--topic", "flights", "--bootstrap", broker.address]) == 0
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "driftline"})
    places = [TopicPartition("flights", number) for number in range(broker.partitions("flights"))]
    assert {place.offset for place in consumer.committed(places, timeout=60)} == {-1001}
    consumer.close()


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("empty", "empty: none of 0 messages is a prediction (send some, or use --from FILE)"),
        ("broken", "broken: none of 1 messages is a prediction: "),
    ],
)
def test_topics_without_predictions(topic, message, broker, capsys):
    assert cli.run(["init", "--topic", topic, "--bootstrap", broker.address]) == 2
    assert message in capsys.readouterr().err


class Falling:
    """A consumer whose brokers fall silent before the end of a partition."""

    def __init__(self, _options):
        self.left = [SimpleNamespace(error=lambda: None)]

    def get_watermark_offsets(self, place, timeout):
        return 0, 500

    def assign(self, places):
        assert {place.offset for place in places} == {500 - -(-100 // len(places))}

    def consume(self, number, timeout):
        found, self.left = self.left, []
        return found

    def close(self):
        """Nothing is open."""


def test_a_sample_that_is_cut_short_is_said(broker, monkeypatch):
    """It would be a configuration of some of the messages, or say that none is a prediction."""
    monkeypatch.setattr("monitor.contracts.sample.TIMEOUT_S", 1.0)
    monkeypatch.setattr("monitor.contracts.sample.Consumer", Falling)
    with pytest.raises(Unavailable, match=r"flights: the brokers sent nothing for 1 s, after 1 messages"):
        sample(Kafka(bootstrap_servers=broker.address), "flights", 100)


def test_no_broker(capsys, monkeypatch):
    monkeypatch.setattr("monitor.contracts.sample.TIMEOUT_S", 0.5)
    assert cli.run(["init", "--topic", "flights", "--bootstrap", "127.0.0.1:1"]) == 3
    assert "127.0.0.1:1: cannot be read: " in capsys.readouterr().err
