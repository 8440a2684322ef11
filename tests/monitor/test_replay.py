"""Dead letters that are replayed: counted once, where they belong, and judged by when they came."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from monitor import cli
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.dead_letters.marking import Marking, mark
from monitor.decode.features import FeatureDecoder
from monitor.ingest import Ingest
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.engine import immediate, reading
from monitor.store.queries.dead_letters import Wanted
from monitor.store.schema import upgrade
from monitor.store.tables import dead_letter, partition_model, slice_profile, window_state
from monitor.telemetry import Telemetry
from schemas.errors import Unavailable, UsageError

NOW_MS = 1_767_225_600_000
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
BATCH = (("content-type", b"application/cloudevents-batch+json"),)
OUTCOMES = ("counted", "late", "future", "dead_lettered", "duplicates")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty, migrated database."""
    made = databases.create(database_url, patience_s=5)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


def configuration(format_: str) -> Configuration:
    """Predictions and labels of one model, read as some format."""
    streams = [
        {"topic": topic, "kind": kind, "format": format_, "model": "m", "version": "7"}
        if format_ == "auto"
        else {"topic": topic, "kind": kind, "format": format_}
        for topic, kind in (("pp", "predictions"), ("ll", "labels"))
    ]
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": "sqlite:///unused.db",
            "streams": streams,
            "defaults": {"horizon": "1h"},
        }
    )


class Bench:
    """One process; at first it reads JSON alone, once it is mended every known format."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.broker, self.clock = engine, MemoryBroker(), ManualClock(NOW_MS)
        for topic in ("pp", "ll"):
            self.broker.create_topic(topic)
        self.ingest = self.start("json")

    def start(self, format_: str) -> Ingest:
        """Start a process."""
        self.telemetry = Telemetry()
        source = MemorySource(self.broker, self.clock)
        made = Ingest(configuration(format_), self.engine, source, self.clock, self.telemetry)
        made.begin()
        return made

    def mend(self) -> None:
        """Start anew with a decoder that knows more."""
        self.ingest.leave()
        self.ingest = self.start("auto")
        self.ingest.step()

    def send(self, document: Any, topic: str = "pp", headers: Any = (), stamp_ms: int = NOW_MS) -> None:
        """Append a message."""
        value = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.broker.append(topic, 0, value, timestamp_ms=stamp_ms, headers=headers, key=b"k")

    def take(self, topic: str = "pp") -> dict[str, Any]:
        """Fetch, commit and return the accounting of a topic."""
        self.ingest.step()
        self.ingest.commit()
        row = self.accounting(topic)
        assert row["fetched"] == sum(row[name] for name in OUTCOMES)
        return row

    def accounting(self, topic: str) -> dict[str, Any]:
        """Accounting of a topic."""
        with reading(self.engine) as connection:
            return next(row for row in positions.accounting(connection) if row["topic"] == topic)

    def replay(self, topic: str = "pp", **wanted: Any) -> dict[str, Any]:
        """Mark letters, let the process take them, and return the accounting."""
        self.mark(**wanted)
        self.clock.advance(5_000)
        self.ingest.step()
        return self.take(topic)

    def mark(self, *ids: int, dry_run: bool = False, **wanted: Any) -> Marking:
        """Mark letters."""
        with immediate(self.engine) as connection:
            return mark(connection, Wanted(**wanted), ids, dry_run=dry_run)

    def rows(self, table: Any) -> list[Any]:
        """All rows of a table, in order."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key)))

    def letters(self) -> list[tuple[Any, ...]]:
        """What became of the letters."""
        return [(one.status, one.kind, one.attempts, one.outcome) for one in self.rows(dead_letter)]

    def slices(self) -> dict[int, int]:
        """Rows by slice."""
        found: dict[int, int] = {}
        for one in self.rows(slice_profile):
            found[one.slice_ms] = found.get(one.slice_ms, 0) + one.rows
        return found


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    """A process that has begun."""
    made = Bench(engine)
    yield made
    made.ingest.abandon()


def event(id_: str, at_ms: int = NOW_MS, **more: Any) -> dict[str, Any]:
    """An event as JSON."""
    return {"event_id": id_, "model": "m", "version": "7", "timestamp": at_ms, "prediction": 1, **more}


def cloud_event(id_: str, at: str = "2026-01-01T00:00:00Z", **data: Any) -> dict[str, Any]:
    """An event in an envelope, which the first process cannot read."""
    envelope = {"specversion": "1.0", "id": id_, "source": "/s", "type": "t", "time": at}
    return {**envelope, "data": {"prediction": 1, "features": {"x": 1.5}, **data}}


def test_a_replayed_message_is_counted_with_all_its_events(bench: Bench) -> None:
    bench.send([cloud_event("a"), cloud_event("b"), cloud_event("c", "2025-12-31T23:50:00Z")], headers=BATCH)
    bench.send(event("d"))
    bench.send(b"junk")
    row = bench.take()
    assert (row["fetched"], row["dead_lettered"], row["counted"]) == (3, 2, 1)
    bench.mend()
    touched = {(w.window, w.start_ms): w.touched for w in bench.rows(window_state)}
    row = bench.replay()
    assert (row["fetched"], row["dead_lettered"], row["counted"], row["next_offset"]) == (5, 1, 4, 3)
    assert bench.letters() == [
        ("replayed", "undecodable", 1, "3 counted"), ("refused", "undecodable", 1, None)
    ]  # fmt: skip
    assert bench.slices() == {NOW_MS: 3, NOW_MS - 10 * MINUTE_MS: 1}
    again = {(w.window, w.start_ms): w.touched for w in bench.rows(window_state)}
    assert all(again[key] > number for key, number in touched.items())  # so they are judged anew
    assert bench.replay() == row | {"seen_at_ms": bench.accounting("pp")["seen_at_ms"]}
    assert [one[:3] for one in bench.letters()] == [
        ("replayed", "undecodable", 1),
        ("refused", "undecodable", 2),
    ]


def test_a_replay_says_what_offsets_it_took(bench: Bench) -> None:
    bench.send(event("d"))
    bench.send(cloud_event("a"))
    bench.take()
    bench.mend()
    bench.replay()
    assert json.loads(bench.rows(slice_profile)[-1].sources) == {"pp": {"0": [[1, 2]]}}


def test_what_came_in_time_is_not_late_when_it_is_replayed(bench: Bench) -> None:
    bench.send(cloud_event("a"), stamp_ms=NOW_MS)
    bench.send(cloud_event("b", "2025-12-31T22:00:00Z"), stamp_ms=NOW_MS)  # was late when it came
    bench.send(event("first"))
    bench.take()
    bench.clock.advance(30 * HOUR_MS)
    bench.send(event("later", NOW_MS + 30 * HOUR_MS), stamp_ms=NOW_MS + 30 * HOUR_MS)
    bench.take()
    bench.mend()
    row = bench.replay()
    assert (row["counted"], row["late"], row["dead_lettered"]) == (3, 1, 0)
    assert [one[3] for one in bench.letters()] == ["1 counted", "1 late"]


def test_without_a_time_of_arrival_nothing_is_late(bench: Bench) -> None:
    bench.send(event("first"))
    bench.send(cloud_event("a", "2025-12-31T12:00:00Z"), stamp_ms=-1)
    bench.take()
    bench.mend()
    row = bench.replay()
    assert (row["counted"], row["late"], row["max_event_ms"]) == (2, 0, NOW_MS)
    assert [one.max_event_ms for one in bench.rows(partition_model)] == [NOW_MS]


def test_a_topic_of_which_nothing_could_be_read_gets_its_event_time(bench: Bench) -> None:
    bench.send(cloud_event("a", "2025-12-31T23:59:00Z"))
    bench.send(cloud_event("b", "2026-01-01T00:01:00Z"))  # a little ahead of its record
    assert bench.take()["max_event_ms"] is None
    bench.mend()
    assert bench.replay()["max_event_ms"] == NOW_MS
    assert [one.max_event_ms for one in bench.rows(partition_model)] == [NOW_MS]
    assert bench.slices() == {NOW_MS - MINUTE_MS: 1, NOW_MS + MINUTE_MS: 1}


def test_events_of_the_future_are_counted_once_their_time_has_come(bench: Bench) -> None:
    bench.mend()
    later = "2026-01-01T02:00:00Z"
    bench.send([cloud_event("a"), cloud_event("b", later)], headers=BATCH)
    row = bench.take()
    assert (row["fetched"], row["future"]) == (2, 2)
    assert [one.events for one in bench.rows(dead_letter)] == [2]
    row = bench.replay(kind="future")
    assert (row["fetched"], row["future"], bench.letters()[0][0]) == (2, 2, "refused")
    bench.clock.advance(3 * HOUR_MS)
    row = bench.replay()
    assert (row["fetched"], row["future"], row["counted"]) == (2, 0, 2)
    # Nothing that comes now is late because of it.
    assert [one.max_event_ms for one in bench.rows(partition_model)] == [NOW_MS]


def test_a_letter_may_be_refused_for_another_reason(bench: Bench) -> None:
    bench.send([cloud_event("a", "2026-01-01T09:00:00Z"), cloud_event("b")], headers=BATCH)
    assert bench.take()["dead_lettered"] == 1
    bench.mend()
    row = bench.replay()
    assert (row["fetched"], row["dead_lettered"], row["future"]) == (2, 0, 2)
    [letter] = bench.rows(dead_letter)
    assert (letter.status, letter.kind, letter.events) == ("refused", "future", 2)
    assert "is later than the clock allows" in letter.reason


def test_what_was_counted_meanwhile_is_told_to_be_a_duplicate(bench: Bench) -> None:
    bench.send(cloud_event("a"))
    bench.send(cloud_event("a"))
    bench.send(cloud_event("b"))
    bench.take()
    bench.mend()
    bench.send(event("b"))  # the producer has sent it again
    bench.take()
    row = bench.replay()
    assert (row["counted"], row["duplicates"], row["dead_lettered"]) == (2, 2, 0)
    assert [one[3] for one in bench.letters()] == ["1 counted", "1 duplicates", "1 duplicates"]
    bench.send(event("a"))
    assert bench.take()["duplicates"] == 3


def test_labels_are_paired_when_they_are_replayed(bench: Bench) -> None:
    bench.send(event("a"))
    bench.send([{**cloud_event(id_), "data": {"label": 1}} for id_ in "ab"], "ll", BATCH)
    bench.send({**cloud_event("a"), "data": {"label": 1}}, "ll")
    bench.take()
    row = bench.take("ll")
    assert (row["fetched"], row["dead_lettered"]) == (2, 2)
    bench.mend()
    row = bench.replay("ll")
    assert (row["fetched"], row["dead_lettered"], row["matched"], row["waiting"], row["duplicates"]) == (
        3, 0, 1, 1, 1,
    )  # fmt: skip


def test_an_event_that_only_a_worker_could_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: FeatureDecoder, raws: Any) -> Any:
        return [], [], [(at, "features: beast") for at in range(len(raws))]

    monkeypatch.setattr(FeatureDecoder, "decode", nothing)
    bench.send(event("a"))
    bench.take()
    bench.mend()
    bench.send([cloud_event("b"), cloud_event("c")], headers=BATCH)
    assert bench.take()["dead_lettered"] == 3
    name, kind = BATCH[0]
    headers = json.dumps([[name, base64.b64encode(kind).decode()]])  # the worker did not have them
    with immediate(bench.engine) as connection:
        connection.execute(update(dead_letter).where(dead_letter.c.offset == 1).values(headers=headers))
    row = bench.replay()
    assert (row["fetched"], row["dead_lettered"], row["counted"]) == (3, 3, 0)
    assert [one.reason for one in bench.rows(dead_letter)] == [
        "features: beast", "its message holds 2 events, of which others were counted"
    ]  # fmt: skip
    monkeypatch.undo()
    row = bench.replay()
    assert (row["fetched"], row["dead_lettered"], row["counted"], row["duplicates"]) == (3, 2, 1, 0)
    assert [one[0] for one in bench.letters()] == ["replayed", "refused"]


def test_a_worker_that_cannot_read_events_of_a_letter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.send([cloud_event("b"), cloud_event("c")], headers=BATCH)
    bench.take()
    bench.mend()
    monkeypatch.setattr(
        FeatureDecoder, "decode", lambda _self, raws: ([], [], [(at, "beast") for at in range(len(raws))])
    )
    row = bench.replay()
    assert (row["fetched"], row["dead_lettered"], row["counted"]) == (2, 2, 0)
    [letter] = bench.rows(dead_letter)
    assert (letter.status, letter.reason, letter.events, letter.is_remembered) == (
        "refused",
        "beast",
        2,
        True,
    )


def test_what_is_needed_to_read_a_letter_may_be_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.send(cloud_event("a"))
    bench.take()
    bench.mend()

    def away(*_: Any) -> Any:
        message = "registry: away"
        raise Unavailable(message)

    decoder = bench.ingest._batch.replay.intake._decoders["pp"]
    monkeypatch.setattr(type(decoder), "decode", away)
    assert bench.replay()["dead_lettered"] == 1
    assert bench.letters() == [("marked", "undecodable", 0, None)]
    monkeypatch.undo()
    bench.clock.advance(5_000)
    bench.ingest.step()
    assert bench.take()["counted"] == 1


def test_more_letters_than_one_commit_takes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.dead_letters.replay.MOST_LETTERS", 4)
    for number in range(10):
        bench.send(cloud_event(f"e{number}"))
    bench.take()
    bench.mend()
    bench.mark()
    bench.clock.advance(5_000)
    for _ in range(3):  # time does not move: a full batch is followed by the next
        bench.ingest.step()
    row = bench.take()
    assert (row["counted"], row["dead_lettered"]) == (10, 0)
    metric = bench.telemetry.registry.get_sample_value(
        "driftline_events_total", {"topic": "pp", "outcome": "counted"}
    )
    assert metric == 10


def test_marking_by_what_letters_are(bench: Bench) -> None:
    bench.send(cloud_event("a"))
    bench.send(b"junk")
    bench.send(event("c", NOW_MS + HOUR_MS))
    bench.send(b"x" * 1_100_000)
    bench.take()
    assert bench.mark(dry_run=True) == Marking(3, 1)
    assert bench.mark(topic="ll") == bench.mark(to_ms=NOW_MS) == Marking(0, 0)
    assert bench.mark(from_ms=NOW_MS, kind="future", dry_run=True) == Marking(1, 0)
    assert bench.mark(reason="MALFORMED", dry_run=True).marked == 1
    assert bench.mark(reason="100%_") == Marking(0, 0)
    ids = {one.offset: one.id for one in bench.rows(dead_letter)}
    first, cut = ids[0], ids[3]
    assert bench.mark(first) == Marking(1, 0)
    assert bench.mark(first) == Marking(0, 0)
    bench.mend()
    bench.replay(reason="no such thing")
    with pytest.raises(UsageError, match=rf"dead letter {first} was replayed already"):
        bench.mark(first)
    with pytest.raises(UsageError, match=r"only 1048576 of its 1100000 bytes are stored"):
        bench.mark(ids[1], cut)
    with pytest.raises(UsageError, match=r"there is no dead letter 999"):
        bench.mark(999)
    assert [one[0] for one in bench.letters()] == ["replayed", "waiting", "waiting", "waiting"]


def test_the_command_marks_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'd.db'}"
    config = tmp_path / "driftline.yaml"
    config.write_text(
        f"kafka: {{bootstrap_servers: x}}\ndatabase_url: {url}\nstreams: [{{topic: pp, kind: predictions}}]\n"
    )
    engine = databases.create(url)
    upgrade(engine)
    positions.ensure_counters(engine)
    bench = Bench(engine)
    bench.send(b"junk")
    bench.send(b"x" * 1_100_000)
    bench.take()
    command = ["replay", "-c", str(config)]
    assert cli.run(command) == 2
    assert "use --dead-letters" in capsys.readouterr().err
    command.append("--dead-letters")
    assert cli.run([*command, "--after", "yesterday"]) == 2
    assert "--after: 'yesterday' is not an instant" in capsys.readouterr().err
    assert cli.run([*command, "--id", "2"]) == 2
    assert "dead letter 2 cannot be replayed" in capsys.readouterr().err
    assert cli.run([*command, "--before", "2026-01-02", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"marked": 1, "cut": 1, "dry_run": True}
    assert [one[0] for one in bench.letters()] == ["waiting", "waiting"]
    assert cli.run(command) == 0
    out, err = capsys.readouterr()
    assert "1 dead letters will be replayed" in out
    assert "1 cannot be" in err
    assert [one[0] for one in bench.letters()] == ["marked", "waiting"]
    bench.ingest.abandon()
    engine.dispose()
