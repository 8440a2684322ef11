"""Log lines of both formats carry fields, one record a line, and never credentials."""

import io
import json
import logging
import re
from pathlib import Path

import pytest

from alerting.alert import step
from alerting.policy import AlertPolicy
from monitor import logs
from monitor.deliver import Outcome, _note
from monitor.diary import EVERY_S, Diary
from monitor.incidents.recording import record
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.committing import Commit, PartitionDelta
from monitor.store.engine import immediate
from monitor.store.outbox import ClaimedRow
from monitor.tracing import tracer
from monitor.tracing.otlp import OtlpTracer
from schemas.errors import Fenced, Unavailable
from tests.alerting.factory import window
from tests.kit.ports import free_port
from tests.monitor.test_judge import World
from tests.monitor.web_world import configuration


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs._process.clear()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(log_format, level, emit):
    stream = io.StringIO()
    logs.set_up(log_format, level, stream)
    emit(logging.getLogger("monitor.ingest"))
    return stream.getvalue().splitlines()


def test_text():
    (line,) = lines(
        "text", "info", lambda log: log.info("committed %d", 3, extra={"topic": "p", "why": 'a "b"\nc'})
    )
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO monitor\.ingest committed 3 ", line)
    assert line.endswith(r'topic=p why="a \"b\"\nc"')


def test_json():
    (line,) = lines(
        "json", "info", lambda log: log.info("a\nb", extra={"topic": "p", "level_": 1, "at": object})
    )
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"], entry["topic"]) == (
        "info",
        "monitor.ingest",
        "a\nb",
        "p",
    )


def test_exceptions():
    def emit(log):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            log.exception("failed")

    (line,) = lines("json", "info", emit)
    assert "ZeroDivisionError" in json.loads(line)["exception"]
    assert lines("text", "info", emit)[-1] == "ZeroDivisionError: division by zero"


def test_levels():
    assert lines("text", "warning", lambda log: log.info("quiet")) == []


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_credentials_are_masked(log_format):
    address = "postgresql://ann:hunter2@db/x"
    (line,) = lines(log_format, "info", lambda log: log.info("at %s", address, extra={"url": address}))
    assert "hunter2" not in line
    assert line.count("(hidden)@db/x") == 2


# --- flooding ---------------------------------------------------------------------------------------------


def flood(stream, times, at_s, **extra):
    """Records of one place in the code, at an instant."""
    for number in range(times):
        made = logging.makeLogRecord(
            {"name": "monitor.x", "levelno": 30, "levelname": "WARNING", "msg": "again %d", "args": (number,),
             "pathname": "x.py", "lineno": 7, "created": at_s, **extra}
        )  # fmt: skip
        logging.getLogger("monitor.x").handle(made)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_place_that_repeats_itself_is_summed_up():
    stream = io.StringIO()
    logs.set_up("json", "info", stream)
    found = flood(stream, 1_294, 1_000.0)
    assert len(found) == logs.MOST_A_MINUTE
    assert found[-1]["message"] == "again 59"
    found = flood(stream, 1, 1_061.0)[logs.MOST_A_MINUTE :]
    assert [one["message"] for one in found] == ["again 1293 (repeated 1,234 times)", "again 0"]
    assert found[0]["repeated"] == 1_234


def test_other_places_and_partitions_are_not_held_back():
    stream = io.StringIO()
    logs.set_up("json", "info", stream)
    flood(stream, 100, 1_000.0, topic="t", partition=0)
    flood(stream, 100, 1_000.0, topic="t", partition=1)
    found = flood(stream, 1, 1_000.0, lineno=8)
    assert len(found) == 2 * logs.MOST_A_MINUTE + 1
    silent = flood(stream, 1, 1_100.0, lineno=9)  # a place that fell silent is summed up all the same
    assert [one["repeated"] for one in silent if "repeated" in one] == [40, 40]


# --- what operators read ----------------------------------------------------------------------------------


def documented():
    """Fields in the table of docs/operations.md."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    table = page.partition("<!-- fields: begin -->")[2].partition("<!-- fields: end -->")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.fixture
def stream():
    made = io.StringIO()
    logs.set_up("json", "debug", made)
    return made


def entries(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_documented_fields_are_emitted(sqlite_url, tmp_path, stream):
    logs.identify("all", "1.2.3")
    world = World(sqlite_url)
    world.send(0, 110, per_minute=20)
    world.send(110, 10, shift=3.0, per_minute=20)
    world.broker.append("pp", 0, b"secret contents", timestamp_ms=world.clock.now_ms())
    world.sent += 1
    world.take_in()
    world.clock.advance(int(EVERY_S * 1_000))
    world.send(120, 2, per_minute=20)
    assert world.judge.sweep()
    world.close()
    _note(Outcome(ClaimedRow("i", "a1", 1, "hook", "{}", 2, 0, 0, "t"), "dead", "gone"))
    tell_of_an_incident(tmp_path)
    for _ in range(100):
        logging.getLogger("monitor.x").info("again")
    late = logging.makeLogRecord({"name": "y", "levelno": 20, "created": 9e9, "msg": "later"})
    logging.getLogger("y").handle(late)
    tracer.turn_on(OtlpTracer(f"http://127.0.0.1:{free_port()}", {}, 0.0, {}))
    with tracer.span("something"):
        logging.getLogger("z").info("inside")
    tracer.turn_off()
    found = entries(stream)
    assert documented() - {name for entry in found for name in entry} == set()
    told = {entry["message"] for entry in found}
    assert {"partition claimed", "committed", "events taken in", "window of events judged"} <= told
    assert "secret contents" not in stream.getvalue()
    assert all(entry["role"] == "all" for entry in found)
    taken = next(entry for entry in found if entry["message"] == "events taken in")
    assert (taken["topic"], taken["partition"], taken["from_offset"]) == ("pp", 0, 0)
    (letters,) = [entry for entry in found if entry["message"] == "messages could not be taken in"]
    assert (letters["level"], letters["kind"], letters["dead_letters"]) == ("warning", "undecodable", 1)


def tell_of_an_incident(folder):
    """Open an incident; one whose transaction fails is not told of."""
    engine = engines.create(f"sqlite:///{folder / 'incident.db'}")
    schema.upgrade(engine)
    made, changes = step(None, window(0, ["x"]), AlertPolicy())
    assert made is not None

    def fail(connection):
        record(connection, configuration(), made, changes, 0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), immediate(engine) as connection:
        fail(connection)
    with immediate(engine) as connection:
        record(connection, configuration(), made, changes, 0)
    engine.dispose()


def test_incidents_are_told_of_once_they_are_stored(tmp_path, stream):
    tell_of_an_incident(tmp_path)
    (opened,) = [entry for entry in entries(stream) if entry["message"].startswith("incident ")]
    assert opened["message"] == "incident opened"
    assert {"incident", "model", "version", "lane", "severity"} <= opened.keys()


def test_losing_partitions_and_the_database_is_told(sqlite_url, stream):
    world = World(sqlite_url)
    world.send(0, 1)
    diary, work = Diary(world.clock), work_of(world)
    diary.waits(Unavailable("database d: gone"))
    diary.waits(Unavailable("database d: gone"))
    world.clock.advance(5_000)
    diary.committed(work, 0.25)
    diary.fenced(work, Fenced("pp/0 belongs to another reader now"))
    found = {entry["message"]: entry for entry in entries(stream)}
    world.close()
    assert found["the database is back"]["duration_ms"] == 5_000
    refused = found["pp/0 belongs to another reader now; reading on from the database"]
    assert (refused["topic"], refused["partition"], refused["level"]) == ("pp", 0, "warning")
    assert found["committed"]["duration_ms"] == 250
    (left,) = [entry for entry in entries(stream) if entry["message"] == "partition given back"]
    assert left["offset"] == 60


def work_of(world):
    """A commit of nothing, of the partition that a world reads."""
    (partition,) = world.ingest._owned.values()
    return Commit([PartitionDelta(partition.claim, 60, 60)])


def test_what_is_only_tried_is_not_told_as_if_it_had_happened():
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logger = logging.getLogger("monitor.incidents")
    with logs.rehearsal():
        logger.info("incident opened")
        logger.warning("bytes are damaged")
    logger.info("incident closed")
    told = stream.getvalue()
    assert "opened" not in told
    assert "damaged" in told
    assert "closed" in told
