"""``driftline status`` and ``driftline partitions``: what people see of a service, well or not."""

import json
import logging
import time
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from sqlalchemy import insert, select, update

from monitor import cli
from monitor.attention import certificates, storage, taking_in
from monitor.attention.problem import SEVERITIES, Facts, Problem, worst_first
from monitor.config import Configuration
from monitor.judging.standing import ModelStanding, standings
from monitor.status import PartitionStanding, Status
from monitor.status_screen import screen
from monitor.store import audit, schema
from monitor.store.engine import create, immediate, reading
from monitor.store.positions import Place
from monitor.store.queries.times import watermarks
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
from tests.kit.certificates import Authority
from tests.kit.tables import take_out_tables

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


def test_a_fresh_service_is_well(engine, run, answering_kafka):
    code, status, _ = run("status")
    assert (code, status["ok"], status["attention"], status["problems"]) == (0, True, [], [])
    assert status["revision"] == schema.head()
    code, text, _ = run("status", json_too=False)
    assert code == 0
    assert "no partition was read yet" in text
    assert "alerts: none open" in text
    assert text.startswith("all is well\n")


@pytest.fixture
def answering_kafka(monkeypatch):
    """Kafka answers, and has nothing."""
    monkeypatch.setattr("monitor.topic_ends.topic_ends", lambda _configuration, _places, _timeout_s: {})


def test_models_say_what_they_still_need(engine, run, answering_kafka):
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
    waiting, unusable = status["problems"]
    assert waiting["what"] == "2 windows wait to be judged, and there is no verdict yet"
    assert waiting["runbook"] == "docs/operations.md#driftlinejudgingslow"
    assert unusable["name"] == "DriftlineReferenceUnusable"
    assert "nowhere.parquet: cannot be read: No such file" in unusable["what"]
    assert [waiting["what"], unusable["what"]] == status["attention"]
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
    found = [(one["severity"], one["name"], one["what"]) for one in status["problems"]]
    assert found == [
        ("page", "DriftlinePartitionStopped", found[0][2]),
        ("page", "DriftlineNothingIsRead", found[1][2]),
        ("page", "DriftlineDeliveryStands", found[2][2]),
        ("page", "DriftlineModelAlert", "2 alerts are firing"),
        ("warn", "DriftlineKafkaUnreachable", found[4][2]),
        ("warn", "DriftlineDeadLetters", "1 dead letter in the last day"),
        ("warn", "DriftlineMessagesGivenUp", "1 delivery was given up in the last day"),
    ]  # fmt: skip
    assert found[0][2] == "status-p/0 is stopped: offsets 5 to 8 of status-p/0 are no longer in Kafka"
    assert found[1][2].startswith("1 of 3 partitions are not being read: the last report is 10m")
    assert "nobody sends them" in found[2][2]
    do = status["problems"][0]["do"]
    assert "driftline partitions resume --topic status-p --partition 0 --at earliest" in do
    assert status["attention"] == [what for _, _, what in found]
    assert status["kafka"].startswith("unknown: ")
    assert [p["lag"] for p in status["partitions"]] == [None] * 3
    assert status["readers"] == 1
    text = run("status", json_too=False)[1]
    assert "status-p/0" in text
    lines = text.splitlines()
    assert lines[0].startswith("page  status-p/0 is stopped")
    assert lines[1].endswith("(docs/operations.md#driftlinepartitionstopped)")


def test_without_tables_it_says_how_they_come(run, database_url):
    take_out_tables(database_url)
    code, status, _ = run("status")
    assert code == 3
    assert (status["ok"], status["revision"], status["partitions"]) == (False, None, [])
    old, away = status["problems"]
    assert (old["name"], away["name"]) == ("DriftlineSchemaOld", "DriftlineKafkaUnreachable")
    assert ("does not exist yet" if "sqlite" in database_url else "has no Driftline tables yet") in old[
        "what"
    ]
    assert "driftline db upgrade" in old["do"]
    code, text, _ = run("status", json_too=False)
    assert code == 3
    assert text.splitlines()[0].startswith("page  database ")
    assert "cannot be read" in text


def test_without_a_database_it_says_what_it_can(tmp_path, capsys, answering_kafka):
    file = tmp_path / "driftline.yaml"
    file.write_text("""\
kafka: {bootstrap_servers: "127.0.0.1:1"}
database_url: "postgresql+psycopg://ann:hunter2hunter2@127.0.0.1:1/x"
streams: [{topic: status-p, kind: predictions}]
""")
    code = cli.run(["status", "-c", str(file), "--json"])
    status = json.loads(capsys.readouterr().out)
    assert code == 3
    (away,) = status["problems"]
    assert (away["name"], away["severity"]) == ("DriftlineDatabaseUnreadable", "page")
    assert status["kafka"] == "127.0.0.1:1"
    assert "hunter2" not in json.dumps(status)


def many(number, of, **changed):
    """That many things, of which each has a name of its own."""
    return [of(at, **changed) for at in range(number)]


def test_the_screen_stays_one_screen():
    def problem(at):
        return Problem(
            f"DriftlineSomething{at % 12}", SEVERITIES[at % 3], "something\nis wrong " * 40, "do something"
        )

    def partition_of(at):
        return PartitionStanding("t" * 100, at, "predictions", 5, at, None, None, None)

    def model_of(at):
        return ModelStanding(f"model-{at}", "1", "learning", "needs " * 99, None, 5, None, None, at, 0, None)

    status = Status(
        "sqlite:///x", "0001", "kafka:9092", many(500, partition_of), many(5_000, model_of),
        problems=worst_first(many(300, problem)), database_bytes=1 << 30,
    )  # fmt: skip
    lines = list(screen(status))
    assert len(lines) <= 40
    assert not any("\n" in line for line in lines)
    text = "\n".join(lines)
    assert "and 495 more" not in text
    assert "and 496 more, which wait for less, 124750 messages wait in all" in text
    assert "and 4995 more; of all: 5000 learning, 12497500 windows wait to be judged" in text
    assert lines[0].startswith("\x1b") or lines[0].startswith("page")
    assert "--json lists all: " in text


def facts_of(engine, connection, now_ms, **configured):
    configuration = Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:1"},
            "database_url": "sqlite:///unused.db",
            "streams": [{"topic": "status-p", "kind": "predictions"}, {"topic": "truth", "kind": "labels"}],
            **configured,
        }
    )
    rows = connection.execute(select(partition_state).order_by("topic", "partition")).all()
    ends = {Place(row.topic, row.partition): row.next_offset + 1_000 for row in rows}
    marks = watermarks(connection, configuration, now_ms)
    models = standings(connection, configuration, marks, {})
    return Facts(connection, configuration, now_ms, list(rows), ends, models, marks)


def test_topics_that_are_behind_or_silent(engine):
    now_ms = EVENT_MS + 50 * HOUR
    seen = {"seen_at_ms": now_ms, "stamp_ms": now_ms - HOUR}
    add(engine, partition_state, partition(0, last_event_at_ms=now_ms - 2 * HOUR, **seen))
    add(
        engine,
        partition_state,
        partition(0, last_event_at_ms=now_ms, **seen) | {"topic": "truth", "kind": "labels"},
    )
    with reading(engine) as connection:
        facts = facts_of(engine, connection, now_ms)
        assert [one.what for one in taking_in.behind(facts)] == [
            "status-p is 1h behind: 1000 messages wait", "truth is 1h behind: 1000 messages wait",
        ]  # fmt: skip
        assert [one.what for one in taking_in.silent(facts)] == ["no event has come for 2h (status-p)"]
    with immediate(engine) as connection:
        hours = {"status-p": 0, "truth": 30}
        for topic, ago in hours.items():
            mine = update(partition_state).where(partition_state.c.topic == topic)
            connection.execute(mine.values(last_event_at_ms=now_ms - ago * HOUR, stamp_ms=now_ms))
    with reading(engine) as connection:
        facts = facts_of(engine, connection, now_ms)
        assert list(taking_in.behind(facts)) == []
        (quiet,) = taking_in.silent(facts)
    assert (quiet.name, quiet.what) == ("DriftlineLabelsSilent", "no label has come for 1d6h (truth)")


def test_gaps_that_nobody_has_accepted(engine):
    add(engine, partition_state, partition(0), partition(1, stopped_reason="gone"))
    lost = {"topic": "status-p", "from_offset": 5, "to_offset": 9, "reason": "gone", "found_at_ms": EVENT_MS}
    add(engine, gap, {**lost, "partition": 0}, {**lost, "partition": 1})
    with reading(engine) as connection:
        (found,) = taking_in.gaps(facts_of(engine, connection, EVENT_MS))
    assert found.what == "gaps that nobody has accepted: status-p/0"


def test_old_rows_that_stay(engine):
    now_ms = EVENT_MS + 100 * 24 * HOUR
    letter = {
        "topic": "status-p", "partition": 0, "kind": "undecodable", "reason": "x", "value": b"",
        "value_bytes": 0, "headers": "[]", "offset": 1,
    }  # fmt: skip
    add(engine, dead_letter, {**letter, "stored_at_ms": EVENT_MS})
    with reading(engine) as connection:
        (found,) = storage.overdue(facts_of(engine, connection, now_ms))
        assert found.name == "DriftlineRetentionBehind"
        assert list(storage.overdue(facts_of(engine, connection, EVENT_MS + HOUR))) == []


@pytest.mark.parametrize(
    ("free", "severities"), [(1 << 40, []), (700 << 20, ["warn"]), (10 << 20, ["page"])]
)  # fmt: skip
def test_a_full_disk(tmp_path, monkeypatch, free, severities):
    engine = create(f"sqlite:///{tmp_path / 'd.db'}")
    schema.upgrade(engine)
    usage = SimpleNamespace(total=1 << 41, used=0, free=free)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    assert [one.severity for one in storage.disk(engine)] == severities
    with reading(engine) as connection:
        assert storage.size_bytes(connection) > 0
    engine.dispose()


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


# --- certificates -------------------------------------------------------------------------------------------


def certified(tmp_path, **options):
    """A configuration that names files of certificates."""
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "h:9", "options": {"security.protocol": "ssl", **options}},
            "database_url": f"postgresql+psycopg://u@h/d?sslmode=verify-full&sslrootcert={tmp_path}/authority.pem",
            "streams": [{"topic": "pp", "kind": "predictions"}],
            "receivers": {
                "hook": {
                    "type": "webhook", "url": "https://h.example/x", "secret_env": "HOOK",
                    "ca_file": f"{tmp_path}/bundle.pem",
                }
            },
        }
    )  # fmt: skip


def test_certificates_that_end_are_told_of_in_time(tmp_path):
    authority = Authority(tmp_path)
    own, old = authority.issue("driftline"), authority.issue("old", is_expired=True)
    (tmp_path / "bundle.pem").write_text(authority.certificate.read_text() * 2)
    now_ms = time.time_ns() // 1_000_000

    def told(at_ms, file):
        configuration = certified(tmp_path, **{"ssl.certificate.location": str(file)})
        return {one.what.split(" (")[0]: one for one in certificates.running_out(configuration, at_ms)}

    day = 86_400_000
    assert told(now_ms, own.certificate) == {}  # they hold for 30 days
    soon = told(now_ms + 10 * day, own.certificate)
    named = {
        "the certificate of kafka.options.ssl.certificate.location",
        "the certificate of receivers.hook.ca_file",
        "the certificate of sslrootcert of the database",
    }
    assert soon.keys() == named
    assert {one.severity for one in soon.values()} == {"warn"}
    assert {one.severity for one in told(now_ms + 28 * day, own.certificate).values()} == {"page"}
    (over,) = told(now_ms, old.certificate).values()
    assert over.severity == "page"
    assert "is over since 20" in over.what
    (tmp_path / "broken.pem").write_text("nothing")
    assert told(now_ms, tmp_path / "broken.pem") == told(now_ms, tmp_path / "nowhere.pem") == {}
    bundle = old.certificate.read_text() + authority.certificate.read_text()
    (tmp_path / "chain.pem").write_text(bundle)
    assert told(now_ms, tmp_path / "chain.pem").keys() == {
        "the certificate of kafka.options.ssl.certificate.location"
    }
