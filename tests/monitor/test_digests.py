"""The weekly digest through the real ingest, judge and sweep: each window once, whoever judges and when."""

from __future__ import annotations

import base64
import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from alerting.digest import DriftedStream
from alerting.notifiers.catalog import build
from alerting.notifiers.slack import SlackOptions
from alerting.notifiers.webhook import WebhookOptions
from alerting.payload import decode
from detectors.digest import WEEK_MS, week_of
from monitor import cli
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.deliver import Deliverer
from monitor.evaluate import Evaluator
from monitor.ingest import Ingest
from monitor.judging.digests import Digests, digest_of
from monitor.judging.judge import Judge
from monitor.judging.judgements import Judged
from monitor.labels.expiry import Expiry
from monitor.performance.judge import OutcomeJudge
from monitor.references.lifecycle import promote
from monitor.silence import Silences
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from monitor.store.positions import ensure_counters
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from tests.alerting.servers import SlackServer, WebhookServer

THURSDAY_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
WEEK_START_MS = week_of(THURSDAY_MS)
NEXT_MS = WEEK_START_MS + WEEK_MS
HOUR_MS = 3_600_000
PER_HOUR = 50
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def configuration(url: str, **digest: Any) -> Configuration:
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": url,
            "streams": [{"topic": "pp", "kind": "predictions"}],
            "defaults": {
                "slice": "1h",
                "windows": ["6h"],
                "lateness": "1m",
                "horizon": "60d",
                "reference": {"first": "1d"},
            },
            "alerts": {"digest": {"to": ["hook", "chat"], **digest}},
            "receivers": {
                "hook": {"type": "webhook", "url": "https://example.org/x", "secret_env": "HOOK"},
                "chat": {"type": "slack", "channel": "#ml", "token_env": "TOKEN"},
            },
        }
    )


class World:
    """One reader, any number of judges, and a clock that is turned by hand."""

    def __init__(self, url: str, **digest: Any) -> None:
        self.clock = ManualClock(THURSDAY_MS + 60 * 86_400_000)
        self.engine = engines.create(url)
        schema.upgrade(self.engine)
        ensure_counters(self.engine)
        self.configuration = configuration(url, **digest)
        self.broker = MemoryBroker()
        self.broker.create_topic("pp", 1)
        self.ingest = Ingest(
            self.configuration,
            self.engine,
            MemorySource(self.broker, self.clock),
            self.clock,
            Telemetry(),
        )
        self.ingest.begin()
        self.digests = Digests(self.configuration, self.engine, self.clock)
        self.sent = 0

    @property
    def judge(self) -> Judge:
        """A new one each time, as after a restart."""
        return Judge(self.configuration, self.engine, self.clock, Telemetry())

    def send(self, hours: range, shift: float = 0.0, model: str = "churn") -> None:
        """Produce events of hours since Thursday, and take them in."""
        for hour in hours:
            rng = random.Random(f"{model}/{hour}")
            for i in range(PER_HOUR):
                event = {
                    "event_id": f"e{self.sent}",
                    "model": model,
                    "version": "1",
                    "timestamp": THURSDAY_MS + hour * HOUR_MS + i * HOUR_MS // PER_HOUR,
                    "features": {"age": round(rng.gauss(40 + 9 * shift, 9), 3)},
                    "prediction": rng.randrange(2),
                }
                self.broker.append("pp", 0, json.dumps(event).encode(), timestamp_ms=self.clock.now_ms())
                self.sent += 1
        for _ in range(400):
            self.ingest.step()
            if self.rows("SELECT sum(next_offset) FROM partition_state") == [(self.sent,)]:
                break
            self.clock.advance(100)
        self.ingest.commit()

    def wait(self, hours: int) -> None:
        """Let time pass while the reader finds nothing new."""
        for _ in range(hours):
            self.clock.advance(HOUR_MS)
            self.ingest.step()
            self.ingest.commit()
            self.clock.advance(15_000)
            self.ingest.step()
            self.ingest.commit()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with reading(self.engine) as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def close(self) -> None:
        self.ingest.leave()
        self.engine.dispose()


@pytest.fixture
def world(database_url: str) -> Any:
    made = World(database_url)
    yield made
    made.close()


def evidence(world: World) -> list[tuple[Any, ...]]:
    return world.rows(
        'SELECT model, version, week_ms, from_ms, last_ms, "column", segment, lane, log_evalue, windows, '
        '"rows", psi, summary FROM weekly_evidence ORDER BY model, week_ms, from_ms, "column"'
    )


def of_column(world: World, column: str = "age") -> list[tuple[Any, ...]]:
    return world.rows(
        f'SELECT week_ms, windows, "rows" FROM weekly_evidence WHERE "column" = \'{column}\' '
        "ORDER BY week_ms, from_ms"
    )


def told(world: World) -> list[tuple[str, str, str]]:
    return world.rows("SELECT id, alert_id, receiver FROM outbox WHERE sequence = 1 ORDER BY id")


def drifting(world: World) -> None:
    """The reference is Thursday's; the age drifts on Saturday; the week ends on Monday, hour 96."""
    world.send(range(48))
    world.send(range(48, 72), shift=0.8)
    world.send(range(72, 104))


def test_the_first_window_of_a_week_writes_the_evidence_of_the_one_before(world: World) -> None:
    drifting(world)
    judge = world.judge
    judge.sweep()
    assert of_column(world) == [(WEEK_START_MS, 12, 72 * PER_HOUR)]
    age = next(row for row in evidence(world) if row[5] == "age")
    prediction = next(row for row in evidence(world) if row[5] == "prediction")
    assert age[7] == "features"
    assert age[8] > 20
    assert age[11] > 0.3
    assert age[12].startswith("age: ")
    assert "reference" in age[12]
    assert prediction[8] < 0.5
    assert prediction[12] == ""
    before = evidence(world)
    judge.sweep()
    assert evidence(world) == before


def test_a_week_is_finished_once_and_tells_each_receiver_once(world: World) -> None:
    drifting(world)
    world.judge.sweep()
    assert world.digests.sweep() == [WEEK_START_MS]
    assert world.digests.sweep() == []
    assert Digests(world.configuration, world.engine, world.clock).sweep() == []
    rows = told(world)
    assert [(about, receiver) for _, about, receiver in sorted(rows, key=lambda row: row[2])] == [
        ("digest-2025-12-29", "chat"),
        ("digest-2025-12-29", "hook"),
    ]
    (payload,) = world.rows("SELECT payload FROM outbox WHERE receiver = 'hook'")
    digest = decode(payload[0]).digest
    assert (digest.streams, digest.listed_total, digest.is_finished) == (2, 1, True)
    assert digest.listed[0].column == "age"


def test_nothing_is_finished_before_its_windows_are_judged(world: World) -> None:
    drifting(world)
    assert world.digests.sweep() == []
    world.judge.sweep()
    world.send(range(104, 105))
    assert world.digests.sweep() == [WEEK_START_MS]


def test_a_model_that_falls_silent_is_waited_for_no_longer_than_its_event_time_takes(world: World) -> None:
    world.send(range(48))
    world.send(range(48, 80), shift=0.8)
    world.judge.sweep()
    assert world.digests.sweep() == []
    assert evidence(world) == []
    world.wait(20)
    world.judge.sweep()
    assert world.digests.sweep() == [WEEK_START_MS]
    assert of_column(world) == [(WEEK_START_MS, 10, 56 * PER_HOUR)]  # the last window is not full
    assert len(told(world)) == 2


def test_a_model_that_lags_behind_is_waited_for_a_grace_only(database_url: str) -> None:
    world = World(database_url, grace="10h")
    world.broker.create_topic("more", 1)
    drifting(world)
    world.judge.sweep()
    with immediate(world.engine) as connection:  # a second model, far behind in a partition of its own
        connection.execute(
            text(
                "INSERT INTO ledger_head (model, version, start_ms) "
                f"VALUES ('slow', '1', {WEEK_START_MS + 5 * 86_400_000})"
            )
        )
        connection.execute(
            text(
                "INSERT INTO partition_model SELECT topic, partition, 'slow', "
                f"{WEEK_START_MS + 5 * 86_400_000}, arrived_at_ms FROM partition_model"
            )
        )
    assert world.digests.sweep() == []
    world.send(range(104, 110))
    world.judge.sweep()
    assert world.digests.sweep() == [WEEK_START_MS]
    world.close()


def test_revisions_add_nothing(world: World) -> None:
    drifting(world)
    world.judge.sweep()
    before = evidence(world)
    world.send(range(40, 44), shift=3.0)
    world.send(range(98, 100), shift=3.0)
    world.judge.sweep()
    assert world.rows("SELECT max(revision) FROM judgement") == [(2,)]
    world.send(range(104, 272))  # another whole week
    world.judge.sweep()
    after = evidence(world)
    assert after[: len(before)] == before
    assert of_column(world)[1] == (NEXT_MS, 28, 168 * PER_HOUR)


def test_a_new_reference_ends_a_part_of_the_week(world: World) -> None:
    world.send(range(48))
    world.judge.sweep()
    world.send(range(48, 61), shift=0.8)
    world.judge.sweep()
    changed_ms = THURSDAY_MS + 60 * HOUR_MS
    with immediate(world.engine) as connection:
        connection.execute(
            text(
                'INSERT INTO reference (hash, bytes, "rows", metadata, created_at_ms) '
                "SELECT 'other', bytes, \"rows\", metadata, created_at_ms FROM reference"
            )
        )
    promoted(world, "other", changed_ms)
    world.send(range(61, 104), shift=0.8)
    world.judge.sweep()
    assert of_column(world) == [(WEEK_START_MS, 6, 36 * PER_HOUR), (WEEK_START_MS, 6, 36 * PER_HOUR)]
    logs = world.rows("SELECT log_evalue FROM weekly_evidence WHERE \"column\" = 'age' ORDER BY from_ms")
    assert world.digests.sweep() == [WEEK_START_MS]
    answer = asked(world, "/api/v1/digest")
    assert answer["streams"] == 2
    (listed,) = answer["listed"]
    assert listed["log_evalue"] == pytest.approx(logs[0][0] + logs[1][0])
    assert (listed["windows"], listed["rows"]) == (12, 72 * PER_HOUR)


def promoted(world: World, hash_: str, from_ms: int) -> None:
    with immediate(world.engine) as connection:
        promote(connection, ("churn", "1"), hash_, from_ms=from_ms, by="ann", now_ms=world.clock.now_ms())


def rivals(world: World) -> None:
    threads = [threading.Thread(target=world.judge.sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.judge.sweep()
    sweeps = [threading.Thread(target=world.digests.sweep) for _ in range(3)]
    for thread in sweeps:
        thread.start()
    for thread in sweeps:
        thread.join()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events and references of two models for nine days are stored, and nothing is judged."""
    file = tmp_path_factory.mktemp("stored") / "driftline.db"
    world = World(f"sqlite:///{file}")
    for first in range(0, 216, 24):
        world.send(range(first, first + 24), shift=0.8 if first == 48 else 0.0)
        world.send(range(first, first + 24), shift=0.5 if first == 120 else 0.0, model="fares")
    with pytest.MonkeyPatch.context() as patch:
        # How many model versions have a reference decides what each may spend, so both learn theirs first.
        patch.setattr("monitor.judging.judge.MOST_WINDOWS", 0)
        world.judge.sweep()
    assert world.rows("SELECT count(*) FROM reference_pointer") == [(2,)]
    world.close()
    return file


class Stored(World):
    """A copy of a filled database, to be judged in any way."""

    def __init__(self, file: Path, copy: Path) -> None:
        shutil.copy(file, copy)
        url = f"sqlite:///{copy}"
        self.clock = ManualClock(THURSDAY_MS + 61 * 86_400_000)
        self.engine, self.configuration = engines.create(url), configuration(url)
        self.digests = Digests(self.configuration, self.engine, self.clock)


def outcome(world: Any) -> Any:
    payloads = world.rows("SELECT id, payload FROM outbox WHERE alert_id LIKE 'digest%' ORDER BY id")
    said = [(id_, json.loads(payload)["digest"]) for id_, payload in payloads]
    return evidence(world), said


@pytest.fixture(scope="module")
def at_once(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    world = Stored(stored, tmp_path_factory.mktemp("once") / "driftline.db")
    world.judge.sweep()
    assert world.digests.sweep() == [WEEK_START_MS]
    found = outcome(world)
    assert {(row[0], row[5]): row[9] for row in found[0] if row[2] == WEEK_START_MS} == {
        ("churn", "age"): 12, ("churn", "prediction"): 12, ("fares", "age"): 12, ("fares", "prediction"): 12,
    }  # fmt: skip
    return found


@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    turns=st.lists(st.sampled_from([("churn",), ("fares",), ("fares", "churn")]), max_size=4),
    window_limit=st.sampled_from([1, 3, 500]),
)
def test_rows_do_not_depend_on_the_order_in_which_models_are_judged(
    stored: Path, at_once: Any, tmp_path: Path, turns: list[tuple[str, ...]], window_limit: int
) -> None:
    world = Stored(stored, tmp_path / f"{len(list(tmp_path.iterdir()))}.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitor.judging.judge.MOST_WINDOWS", window_limit)
        for models in turns:
            world.judge.sweep(models)
    while world.judge.sweep():
        pass
    world.digests.sweep()
    assert outcome(world) == at_once
    world.engine.dispose()


@pytest.mark.full
def test_rows_are_the_same_with_rivals(stored: Path, at_once: Any, tmp_path: Path) -> None:
    world = Stored(stored, tmp_path / "driftline.db")
    rivals(world)
    assert outcome(world) == at_once
    world.engine.dispose()


def asked(world: Any, path: str, status: int = 200) -> Any:
    app = create_app(world.configuration, world.engine, Telemetry(), world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_several_sweeps_at_once_finish_a_week_once(world: World) -> None:
    drifting(world)
    rivals(world)
    assert world.digests.sweep() == []
    assert of_column(world) == [(WEEK_START_MS, 12, 72 * PER_HOUR)]
    assert [receiver for _, _, receiver in sorted(told(world), key=lambda row: row[2])] == ["chat", "hook"]


def test_the_evaluator_finishes_weeks_and_has_them_delivered(world: World) -> None:
    drifting(world)
    stop, news = threading.Event(), []

    def after(judged: list[Judged]) -> None:
        news.append(len(judged))
        if not judged:
            stop.set()
            evaluator.wake()

    silences = Silences(world.configuration, world.engine, world.clock, Telemetry())
    outcomes = OutcomeJudge(world.configuration, world.engine, world.clock, Telemetry())
    expiry = Expiry(world.configuration, world.engine, world.clock)
    evaluator = Evaluator(world.judge, outcomes, expiry, silences, world.digests, world.clock, after)
    evaluator.run(stop)
    assert news == [13, 0]
    assert len(told(world)) == 2


def test_the_api_tells_finished_weeks_and_the_running_one(world: World) -> None:
    problem = asked(world, "/api/v1/digest", 404)
    assert problem["detail"] == "no week is finished yet"
    assert "such as 2026-03-" in problem["errors"][0]["allowed"]
    drifting(world)
    world.judge.sweep()
    early = asked(world, "/api/v1/digest?week=2026-01-02")
    assert (early["finished"], [one["column"] for one in early["listed"]]) == (False, ["age"])
    world.digests.sweep()
    digest = asked(world, "/api/v1/digest")
    assert {name: digest[name] for name in digest if name != "listed"} == {
        "week": "2025-12-29T00:00:00Z",
        "until": "2026-01-05T00:00:00Z",
        "finished": True,
        "level": 0.1,
        "streams": 2,
        "listed_total": 1,
        "false_share_at_most": 0.1,
    }
    (listed,) = digest["listed"]
    assert set(listed) == {
        "model", "version", "column", "segment", "lane", "log_evalue", "psi", "rows", "windows", "summary",
    }  # fmt: skip
    assert listed["summary"].startswith("age: ")
    running = asked(world, "/api/v1/digest?week=2026-01-05T12:00:00Z")
    assert (running["finished"], running["streams"], running["listed"]) == (False, 2, [])
    empty = asked(world, "/api/v1/digest?week=2027-01-01")
    assert (empty["finished"], empty["streams"], empty["listed_total"]) == (False, 0, 0)
    assert asked(world, "/api/v1/digest?week=monday", 422)["errors"][0]["where"] == "query.week"


def test_the_command_tells_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(f"sqlite:///{tmp_path}/driftline.db")
    config = tmp_path / "driftline.yaml"
    config.write_text(
        "kafka: {bootstrap_servers: '127.0.0.1:1'}\n"
        f"database_url: sqlite:///{tmp_path}/driftline.db\n"
        "streams: [{topic: pp, kind: predictions}]\n"
        "defaults: {slice: 1h, windows: [6h]}\n"
    )
    drifting(world)
    world.judge.sweep()
    assert cli.run(["digest", "-c", str(config)]) == 2
    assert "no week is finished yet" in capsys.readouterr().err
    world.digests.sweep()
    assert cli.run(["digest", "-c", str(config)]) == 1
    said = capsys.readouterr().out
    assert said.startswith(
        "1 of 2 streams drifted in the week of 29 Dec 2025 – 4 Jan 2026 (UTC).\n  churn v1: age: "
    )
    assert said.endswith("At most 10 % of the listed streams are expected to be false.\n")
    assert cli.run(["digest", "-c", str(config), "--json", "--week", "2026-01-06"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] is False
    assert cli.run(["digest", "-c", str(config), "--week", "2026-01-06"]) == 0
    assert "The week is not finished" in capsys.readouterr().out
    assert cli.run(["digest", "-c", str(config), "--week", "soon"]) == 2
    assert "--week: 'soon' is not an instant" in capsys.readouterr().err
    world.close()


def test_receivers_get_what_drifted(world: World) -> None:
    drifting(world)
    world.judge.sweep()
    world.digests.sweep()
    with SlackServer("xoxb-1") as slack, WebhookServer(SECRET) as hook:
        chat = SlackOptions(type="slack", channel="#ml", token_env="T", base_url=f"{slack.address}/api/")
        to = WebhookOptions(type="webhook", url=f"{hook.address}/x", secret_env="S", allow_private=True)
        notifiers = {
            "chat": build("chat", chat, {"T": "xoxb-1"}, world.clock.now_ms),
            "hook": build("hook", to, {"S": SECRET}, world.clock.now_ms),
        }
        deliverer = Deliverer(world.engine, notifiers, world.clock, random.Random(1))
        while deliverer.deliver_due():
            pass
        deliverer.close()
        (message,) = [m for m in slack.messages.values() if "digest" in str(m["metadata"])]
        (posted,) = [kept for kept in hook.kept.values() if kept["type"] == "driftline.digest"]
    assert world.rows("SELECT DISTINCT state FROM outbox") == [("delivered",)]
    assert "1 of 2 streams drifted in the week of 29 Dec 2025" in message["text"]
    assert "At most 10 % of the listed streams are expected to be false." in str(message["blocks"])
    assert "churn v1: age: " in str(message["blocks"])
    assert [one["column"] for one in posted["data"]["listed"]] == ["age"]
    assert (posted["data"]["streams"], posted["data"]["false_share_at_most"]) == (2, 0.1)


def row(column: str, log_evalue: float, from_ms: int = WEEK_START_MS, **more: Any) -> dict[str, Any]:
    return {
        "model": "m", "version": "1", "from_ms": from_ms, "column": column, "segment": "",
        "lane": "features", "log_evalue": log_evalue, "windows": 3, "rows": 30, "psi": log_evalue / 100,
        "summary": f"{column} at {from_ms}", **more,
    }  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.floats(-20, 20)),
        unique_by=lambda part: part[:2],
    ),
    st.randoms(use_true_random=False),
)
def test_what_is_listed_does_not_depend_on_the_order_of_rows(
    parts: list[tuple[str, int, float]], order: random.Random
) -> None:
    rows = [row(column, log, WEEK_START_MS + number * HOUR_MS) for column, number, log in parts]
    first = digest_of(WEEK_START_MS, rows, 0.1, is_finished=True)
    order.shuffle(rows)
    assert digest_of(WEEK_START_MS, rows, 0.1, is_finished=True) == first


def test_parts_of_a_stream_are_multiplied_and_the_largest_effect_is_told() -> None:
    later = WEEK_START_MS + HOUR_MS
    digest = digest_of(
        WEEK_START_MS,
        [row("age", 4.0), row("age", 3.0, later, psi=0.5), row("b", 0.0)],
        0.1,
        is_finished=False,
    )
    assert digest.streams == 2
    assert digest.listed == (
        DriftedStream("m", "1", "age", "", "features", 7.0, 0.5, 60, 6, f"age at {later}"),
    )
    assert digest_of(WEEK_START_MS, [], 0.1, is_finished=True).streams == 0
