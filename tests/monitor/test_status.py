"""``driftline status`` and ``driftline partitions``: what people see of a service, well or not."""

import json
import logging
import time

import pytest
from confluent_kafka import Producer
from sqlalchemy import insert, select, update

from monitor import cli
from monitor.store import audit, schema
from monitor.store.engine import create, immediate, reading
from monitor.store.tables import (
    alert,
    dead_letter,
    gap,
    model_version,
    outbox,
    partition_model,
    partition_state,
    reference_pointer,
    slice_profile,
    window_state,
)

HOUR = 3_600_000
EVENT_MS = 1_362_132_000_000


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def engine(database_url):
    engine = create(database_url)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def run(tmp_path, database_url, capsys, monkeypatch):
    def run(*arguments, kafka="127.0.0.1:1", json_too=True):
        monkeypatch.setattr("monitor.topic_ends.TIMEOUT_S", 0.2 if kafka == "127.0.0.1:1" else 60.0)
        file = tmp_path / "driftline.yaml"
        file.write_text(f"""\
kafka: {{bootstrap_servers: "{kafka}"}}
database_url: "{database_url}"
streams: [{{topic: status-p, kind: predictions}}]
defaults: {{windows: [1h], reference: {{first: 1h, min_rows: 20}}}}
models: {{filed: {{reference: {{file: nowhere.parquet}}}}}}
""")
        code = cli.run([*arguments, "-c", str(file), *(["--json"] if json_too else [])])
        out, err = capsys.readouterr()
        return code, json.loads(out) if json_too and out else out, err

    return run


def add(engine, table, *rows):
    with immediate(engine) as connection:
        connection.execute(insert(table), list(rows))


def partition(number=0, **changed):
    counts = dict.fromkeys(("fetched", "counted", "late", "future", "dead_lettered", "duplicates"), 0)
    return {
        "topic": "status-p", "partition": number, "kind": "predictions", "topic_id": "", "epoch": 1,
        "owner_token": "t", "next_offset": 5, "max_event_ms": EVENT_MS, "reached_end": True,
        "seen_at_ms": time.time_ns() // 1_000_000, "stopped_reason": None, **counts, **changed,
    }  # fmt: skip


def version(model, name="1"):
    return {
        "model": model,
        "version": name,
        "role": "champion",
        "first_slice_ms": EVENT_MS,
        "created_at_ms": 0,
    }


def slices(model, rows):
    return {
        "model": model, "version": "1", "slice_ms": EVENT_MS, "rows": rows, "sources": "{}", "bytes": b"",
        "reference_hash": None,
    }  # fmt: skip


def test_a_fresh_service_is_well(engine, run):
    code, status, _ = run("status")
    assert (code, status["ok"], status["attention"]) == (0, True, [])
    assert status["revision"] == schema.head()
    code, text, _ = run("status", json_too=False)
    assert code == 0
    assert "no partition was read yet" in text
    assert "alerts: none open" in text
    assert "all is well" in text


def test_models_say_what_they_still_need(engine, run):
    add(engine, partition_state, partition())
    names = ["learning", "ready", "filed"]
    add(engine, model_version, *(version(name) for name in names))
    times = {"topic": "status-p", "partition": 0, "max_event_ms": EVENT_MS + HOUR, "arrived_at_ms": 0}
    add(engine, partition_model, *({"model": name, **times} for name in names))
    add(engine, slice_profile, slices("learning", 5))
    pointer = {"revision": 1, "hash": "ab" * 32, "from_ms": 0, "promoted_at_ms": 0, "promoted_by": "x"}
    add(engine, reference_pointer, {"model": "ready", "version": "1", **pointer})
    window = {"model": "ready", "version": "1", "window": "1h", "judged": 0, "revision": 0, "touched": 1}
    starts = [EVENT_MS - 2 * HOUR, EVENT_MS - HOUR, EVENT_MS + 9 * HOUR]
    add(engine, window_state, *({**window, "start_ms": start, "end_ms": start + HOUR} for start in starts))
    code, status, _ = run("status")
    found = {model["model"]: model for model in status["models"]}
    assert found["learning"]["state"] == "learning"
    assert found["learning"]["detail"] == "needs 15 more rows and events after 2013-03-01T11:10:00.000Z"
    assert found["learning"]["watermark"] == "2013-03-01T10:50:00.000Z"
    assert (found["ready"]["state"], found["ready"]["windows_waiting"]) == ("ready", 2)
    assert found["ready"]["detail"] == "judged from its first event on"
    assert found["filed"]["detail"] == "waits for nowhere.parquet"
    assert code == 1
    assert len(status["attention"]) == 1
    assert "nowhere.parquet: cannot be read: No such file" in status["attention"][0]
    assert "filed" in run("status", json_too=False)[1]


def test_windows_from_before_the_first_reference_do_not_wait(engine, run):
    add(engine, partition_state, partition())
    add(engine, model_version, version("m"))
    newest = {"topic": "status-p", "partition": 0, "max_event_ms": EVENT_MS + HOUR, "arrived_at_ms": 0}
    add(engine, partition_model, {"model": "m", **newest})
    pointer = {"revision": 1, "hash": "ab" * 32, "promoted_at_ms": 0, "promoted_by": "x"}
    add(engine, reference_pointer, {"model": "m", "version": "1", "from_ms": EVENT_MS - HOUR, **pointer})
    window = {"model": "m", "version": "1", "window": "1h", "judged": 0, "revision": 0, "touched": 1}
    starts = [EVENT_MS - 3 * HOUR, EVENT_MS - 2 * HOUR, EVENT_MS - HOUR]
    add(engine, window_state, *({**window, "start_ms": start, "end_ms": start + HOUR} for start in starts))
    (found,) = run("status")[1]["models"]
    assert found["windows_waiting"] == 1


def test_what_needs_attention(engine, run):
    now_ms = time.time_ns() // 1_000_000
    add(
        engine,
        partition_state,
        partition(0, stopped_reason="offsets 5 to 8 of status-p/0 are no longer in Kafka"),
    )
    add(engine, partition_state, partition(1, seen_at_ms=now_ms - 600_000), partition(2))
    letter = {
        "topic": "status-p", "partition": 0, "kind": "undecodable", "reason": "x", "value": b"",
        "value_bytes": 0, "headers": "[]",
    }  # fmt: skip
    stored = [now_ms - 1_000, now_ms - 30 * HOUR]
    add(engine, dead_letter, *({**letter, "offset": i, "stored_at_ms": at} for i, at in enumerate(stored)))
    sent = {
        "alert_id": "a", "sequence": 1, "receiver": "r", "payload": "{}", "attempts": 1, "not_before_ms": 0,
        "lease_until_ms": 0, "created_at_ms": 0,
    }  # fmt: skip
    finished = [("dead", now_ms), ("dead", now_ms - 30 * HOUR), ("waiting", None)]
    rows = ({**sent, "id": str(i), "state": s, "finished_at_ms": at} for i, (s, at) in enumerate(finished))
    add(engine, outbox, *rows)
    opened = {
        "model": "m", "version": "1", "kind": "drift", "lane": "features", "severity": "page", "column": "",
        "segment": "", "opened_at_ms": 0, "updated_at_ms": 0, "window_start_ms": 0, "window_end_ms": 0,
        "sequence": 1, "summary": "", "state_bytes": b"",
    }  # fmt: skip
    states = ["firing", "firing", "acknowledged", "resolved"]
    add(engine, alert, *({**opened, "id": str(i), "state": state} for i, state in enumerate(states)))
    code, status, _ = run("status")
    assert code == 1
    assert status["open_alerts"] == {"firing": 2, "acknowledged": 1}
    assert (status["dead_letters_last_day"], status["deliveries_waiting"]) == (1, 1)
    assert status["deliveries_dead_last_day"] == 1
    stopped, unread, *others = status["attention"]
    assert "status-p/0 is stopped: offsets 5 to 8" in stopped
    assert "driftline partitions resume --topic status-p --partition 0" in stopped
    assert unread.startswith("1 of 3 partitions are not being read: the last report is 10m")
    assert others == [
        "2 alerts are firing",
        "1 dead letter in the last day",
        "1 delivery was given up in the last day",
    ]
    assert status["kafka"].startswith("unknown: ")
    assert [p["lag"] for p in status["partitions"]] == [None] * 3
    text = run("status", json_too=False)[1]
    assert "status-p/0" in text
    assert "! 2 alerts are firing" in text


def test_without_a_database_it_is_unavailable(run):
    code, _, err = run("status")
    assert code == 3
    assert "has no Driftline tables yet" in err


# --- partitions -------------------------------------------------------------------------------------------


def stopped_with_gap(engine, number=0):
    add(engine, partition_state, partition(number, stopped_reason="offsets are no longer in Kafka"))
    lost = {"topic": "status-p", "partition": number, "from_offset": 5, "to_offset": 9, "reason": "lost"}
    add(engine, gap, {**lost, "found_at_ms": EVENT_MS})


def test_partitions_are_listed_with_their_gaps(engine, run):
    assert run("partitions", "list", json_too=False)[1] == "no partition was read yet\n"
    stopped_with_gap(engine)
    add(engine, partition_state, partition(1))
    code, found, _ = run("partitions", "list")
    assert code == 0
    assert [item["gaps"][0]["reason"] for item in found["items"] if item["gaps"]] == ["lost"]
    text = run("partitions", "list", "--topic", "status-p", json_too=False)[1]
    assert "status-p/0  next offset 5  stopped: offsets are no longer in Kafka" in text
    assert "gap found 2013-03-01T10:00:00.000Z, not accepted: lost" in text
    assert "status-p/1  next offset 5  is read" in text
    assert run("partitions", "list", "--topic", "other")[1] == {"items": []}


def resume(run, *arguments, **options):
    place = ("--topic", "status-p", "--partition", "0")
    return run("partitions", "resume", *place, *arguments, **options)


def test_what_cannot_be_resumed(engine, run):
    code, _, err = resume(run, "--at", "earliest", "--yes")
    assert (code, err) == (2, "status-p/0 was never read (driftline partitions list shows those that were)\n")
    add(engine, partition_state, partition(0))
    code, _, err = resume(run, "--at", "earliest", "--yes")
    assert (code, err) == (2, "status-p/0 is not stopped\n")
    with immediate(engine) as connection:
        connection.execute(update(partition_state).values(stopped_reason="lost"))
    code, _, err = resume(run, "--at", "soon", "--yes")
    assert code == 2
    assert "--at 'soon' is no place in a partition (use position, earliest, latest, or an offset)" in err


@pytest.fixture
def topic(kafka):
    yield kafka.create_topic("status-p")
    kafka.delete_topic("status-p")


@pytest.mark.acceptance
def test_lag_and_resuming_with_a_real_broker(engine, run, kafka, topic):
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for _ in range(12):
        producer.produce(topic, b"{}", partition=0)
    assert producer.flush(240) == 0
    stopped_with_gap(engine)
    _, status, _ = run("status", kafka=kafka.bootstrap)
    assert [p["lag"] for p in status["partitions"]] == [7]
    code, _, err = resume(run, "--at", "13", "--yes", kafka=kafka.bootstrap)
    assert code == 2
    assert "status-p/0 has offsets 0 to 12 (use one of them)" in err
    code, _, err = resume(run, "--at", "latest", kafka=kafka.bootstrap)
    assert code == 2
    assert "say --yes, as nobody can be asked here" in err
    code, done, _ = resume(run, "--at", "latest", "--yes", kafka=kafka.bootstrap)
    assert (code, done["next_offset"]) == (0, 12)
    with reading(engine) as connection:
        state = connection.execute(select(partition_state)).one()
        assert (state.stopped_reason, state.next_offset, state.epoch) == (None, 12, 2)
        assert state.topic_id == done["topic_id"] != ""
        assert connection.execute(select(gap.c.accepted_at_ms)).scalar_one() is not None
        (entry,) = audit.listed(connection, None, None, 10)
    assert entry.path == "partitions resume --topic status-p --partition 0 --at latest"
    assert (entry.via, entry.detail) == ("command", "goes on at offset 12 instead of 5")
