"""Messages of other formats on their way in: several events in one, headers, stamps, and the accounting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from monitor import cli
from monitor.clock import ManualClock
from monitor.config import Configuration, load
from monitor.ingest import Ingest
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.engine import reading
from monitor.store.schema import upgrade
from monitor.store.tables import dead_letter, slice_profile
from monitor.telemetry import Telemetry
from schemas.errors import ConfigurationError

NOW_MS = 1_767_225_600_000
BATCH = (("content-type", b"application/cloudevents-batch+json"),)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = databases.create(database_url, patience_s=5)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


class Bench:
    """One process that reads predictions and labels of any format."""

    def __init__(self, engine: Engine, **ingest: int) -> None:
        self.engine, self.broker = engine, MemoryBroker()
        for topic in ("pp", "ll"):
            self.broker.create_topic(topic)
        kinds = {"pp": "predictions", "ll": "labels"}
        configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": "sqlite:///unused.db",
                "streams": [
                    {"topic": topic, "kind": kind, "format": "auto", "model": "m", "version": "7"}
                    for topic, kind in kinds.items()
                ],
                "ingest": ingest,
            }
        )
        clock = ManualClock(NOW_MS)
        self.source = MemorySource(self.broker, clock)
        self.ingest = Ingest(configuration, engine, self.source, clock, Telemetry())
        self.ingest.begin()

    def send(self, document: Any, topic: str = "pp", headers: Any = (), stamp_ms: int = NOW_MS) -> None:
        """Append a message."""
        self.broker.append(topic, 0, json.dumps(document).encode(), timestamp_ms=stamp_ms, headers=headers)

    def take(self, topic: str = "pp") -> dict[str, Any]:
        """Fetch, commit and return the accounting of a topic."""
        self.ingest.step()
        self.ingest.commit()
        with reading(self.engine) as connection:
            return next(row for row in positions.accounting(connection) if row["topic"] == topic)

    def rows(self, table: Any) -> list[Any]:
        """All rows of a table."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(table)))


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    made = Bench(engine)
    yield made
    made.ingest.abandon()


def cloud_event(id_: str, at: str = "2026-01-01T00:00:00Z", **data: Any) -> dict[str, Any]:
    """An event in an envelope."""
    envelope = {"specversion": "1.0", "id": id_, "source": "/s", "type": "t", "time": at}
    return {**envelope, "data": {"prediction": 1, "features": {"x": 1.5}, **data}}


def identity(row: dict[str, Any]) -> bool:
    """Whether every event has one outcome."""
    outcomes = ("counted", "late", "future", "dead_lettered", "duplicates")
    return bool(row["fetched"] == sum(row[name] for name in outcomes))


def test_each_event_of_a_message_is_counted(bench: Bench) -> None:
    bench.send([cloud_event("a"), cloud_event("b"), cloud_event("c")], headers=BATCH)
    bench.send({"event_id": "d", "timestamp": NOW_MS, "prediction": 0})
    bench.send([cloud_event("b"), cloud_event("e")], headers=BATCH)
    row = bench.take()
    assert (row["fetched"], row["counted"], row["duplicates"]) == (6, 5, 1)
    assert identity(row)
    assert row["next_offset"] == 3
    assert [(s.model, s.version, s.rows) for s in bench.rows(slice_profile)] == [("m", "7", 5)]


def test_a_message_with_an_event_that_cannot_be_read_is_one_dead_letter(bench: Bench) -> None:
    bench.send([cloud_event("a"), cloud_event("b", score="high")], headers=BATCH)
    bench.send({"hello": 1})
    row = bench.take()
    assert (row["fetched"], row["dead_lettered"], row["counted"]) == (2, 2, 0)
    assert identity(row)
    letters = bench.rows(dead_letter)
    assert [(one.offset, one.kind) for one in letters] == [(0, "undecodable"), (1, "undecodable")]
    assert letters[0].reason == "event 1: Expected `float | null`, got `str` - at `$.score`"
    assert "no known format (an object with hello)" in letters[1].reason


def test_events_from_the_future_take_their_message_with_them(bench: Bench) -> None:
    """Otherwise a replay of the dead letter would count the others twice."""
    later = "2026-01-01T02:00:00Z"
    bench.send([cloud_event("a"), cloud_event("b", later), cloud_event("c", later)], headers=BATCH)
    row = bench.take()
    assert (row["fetched"], row["future"], row["counted"]) == (3, 3, 0)
    assert identity(row)
    assert [(one.offset, one.kind) for one in bench.rows(dead_letter)] == [(0, "future")]


def test_headers_and_the_stamp_of_the_record_are_used(bench: Bench) -> None:
    binary = tuple((f"ce_{k}", v) for k, v in (("specversion", b"1.0"), ("id", b"x1"), ("source", b"/")))
    bench.send({"prediction": 1}, headers=binary, stamp_ms=NOW_MS - 120_000)
    row = bench.take()
    assert row["counted"] == 1
    assert [s.slice_ms for s in bench.rows(slice_profile)] == [NOW_MS - 120_000]


def test_labels_too(bench: Bench) -> None:
    bench.send({"event_id": "d", "timestamp": NOW_MS, "prediction": 0, "model": "m", "version": "7"})
    bench.send({**cloud_event("d"), "data": {"label": 1}}, "ll")
    bench.send([{**cloud_event(i), "data": {"label": 1}} for i in "xy"], "ll", BATCH)
    bench.take()
    row = bench.take("ll")
    assert (row["fetched"], row["matched"], row["waiting"]) == (3, 1, 2)


def write(folder: Path, stream: str) -> str:
    """A configuration with one stream."""
    path = folder / "driftline.yaml"
    path.write_text(
        f"kafka: {{bootstrap_servers: x}}\ndatabase_url: sqlite:///d.db\nstreams:\n  - {{{stream}}}\n"
    )
    return str(path)


def test_what_a_stream_says_reaches_its_format(tmp_path: Path) -> None:
    path = write(tmp_path, "topic: p, kind: predictions, format: flat, model: m, fields: {prediction: y}")
    found = load(path).streams[0].reading()
    assert (found.model, found.fields, found.threshold) == ("m", {"prediction": "y"}, 0.5)
    with pytest.raises(
        ConfigurationError, match=r"streams\[0\].fields.predicton: 'predicton' is not allowed"
    ):
        load(write(tmp_path, "topic: p, kind: predictions, fields: {predicton: y}"))
    with pytest.raises(ConfigurationError, match=r"'cloudevent' is no format; did you mean cloudevents\?"):
        load(write(tmp_path, "topic: p, kind: predictions, format: cloudevent"))


def test_explain_event_says_what_is_made_of_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "message"
    file.write_text(json.dumps(cloud_event("a", model="m")))
    assert cli.run(["explain-event", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "cloudevents/json"
    assert [event["event_id"] for event in found["events"]] == ["a"]
    assert found["problems"] == []
    file.write_text('{"prediction": 1, "model": "m"}')
    headers = ["--header", "ce_specversion=1.0", "--header", "CE-ID=q"]
    assert cli.run(["explain-event", str(file), *headers]) == 0
    assert '"event_id": "q"' in capsys.readouterr().out


def test_explain_event_says_why_a_message_would_be_a_dead_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "message"
    file.write_text('{"event_id": "a", "prediction": 1}')
    assert cli.run(["explain-event", str(file)]) == 1
    out, err = capsys.readouterr()
    assert "format    json" in out
    assert "missing required field `model`" in err
    file.write_text('{"event_id": "a", "y": 1, "age": 4}')
    config = write(tmp_path, "topic: p, kind: predictions, format: flat, model: m, fields: {prediction: y}")
    assert cli.run(["explain-event", str(file), "-c", config, "--topic", "p", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["events"][0]["features"] == {"event_id": "a", "age": 4}
    assert found["problems"] == ["Object missing required field `event_id`"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--header", "nothing"], "--header: 'nothing' (K=V is allowed)"),
        (["-c", "driftline.yaml"], "--config needs --topic"),
        (["--format", "jsom"], "'jsom' is not a format (use one of "),
    ],
)
def test_explain_event_refuses_what_cannot_be_meant(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "message"
    file.write_text("{}")
    assert cli.run(["explain-event", str(file), *arguments]) == 2
    assert message in capsys.readouterr().err
