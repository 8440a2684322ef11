"""What the runbook says, done: the condition shows in the status, the remedy takes it away."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from ruamel.yaml import YAML
from sqlalchemy import select

from alerting.notifiers.base import ReceiverDisabled
from monitor import cli
from monitor.attention import judging, telling
from monitor.attention.problem import Facts
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.dead_letters.marking import mark
from monitor.incidents.actions import Actions
from monitor.ingest import Ingest
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.status import Ends, gather
from monitor.store import engine as engines
from monitor.store import positions, schema
from monitor.store.engine import immediate, reading
from monitor.store.outbox import revive_one
from monitor.store.positions import Place
from monitor.store.queries.dead_letters import Wanted
from monitor.store.tables import alert, dead_letter, incident, incident_alert, outbox, partition_state
from monitor.telemetry import Telemetry
from monitor.version import code_version
from monitor.web.service_gauges import read_service
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.factory import window
from tests.kit.ports import free_port
from tests.kit.prometheus import PrometheusServer
from tests.kit.service import Service
from tests.kit.waiting import wait_for
from tests.monitor import delivery_world, web_world
from tests.monitor.test_judge import World as JudgedWorld

ROOT = Path(__file__).parents[2]
NOW_MS = 1_767_225_600_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@dataclass
class Rehearsal:
    """A service on a broker in memory, with two partitions and a clock that is turned by hand."""

    url: str
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS))
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    sent: int = 0

    def __post_init__(self) -> None:
        self.broker.create_topic("pp", 2)
        self.engine = engines.create(self.url)
        schema.upgrade(self.engine)
        positions.ensure_counters(self.engine)
        self.configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": "sqlite:///unused.db",
                "streams": [{"topic": "pp", "kind": "predictions"}],
                "defaults": {"windows": ["10m"], "lateness": "1m", "horizon": "60d"},
            }
        )
        self.telemetry = Telemetry()
        self.ingest = self.started()

    def started(self) -> Ingest:
        """Start a process that reads."""
        source = MemorySource(self.broker, self.clock)
        made = Ingest(self.configuration, self.engine, source, self.clock, self.telemetry)
        made.begin()
        return made

    def send(
        self, number: int = 1, *, partition: int = 0, minute: int = 0, value: bytes | None = None
    ) -> None:
        """Append events of a minute, or any bytes."""
        for _ in range(number):
            self.sent += 1
            event = {
                "event_id": f"e{self.sent}", "model": "m", "timestamp": NOW_MS - HOUR_MS + minute * MINUTE_MS,
                "prediction": 1,
            }  # fmt: skip
            data = json.dumps(event).encode() if value is None else value
            self.broker.append("pp", partition, data, timestamp_ms=self.clock.now_ms())

    def take(self) -> None:
        """Read what there is."""
        for _ in range(6):
            self.ingest.step()
        self.ingest.commit()

    def resume(self, place: Place) -> None:
        """Accept what is there, as `driftline partitions resume --at earliest` does, and read on."""
        low, _ = self.broker.range_of(place)
        positions.resume(
            self.engine, place, next_offset=low, topic_id=self.broker.topic_id(place.topic),
            now_ms=self.clock.now_ms(),
        )  # fmt: skip
        self.clock.advance(6_000)
        self.take()
        self.take()

    def restart_with(self, **changed: Any) -> None:
        """Start anew with other options."""
        data = self.configuration.model_dump(mode="json", exclude_unset=True)
        self.ingest.abandon()
        self.configuration = Configuration.model_validate({**data, **changed})
        self.ingest = self.started()

    def ends(self) -> Ends:
        return {Place("pp", number): self.broker.range_of(Place("pp", number))[1] for number in (0, 1)}

    def problems(self) -> set[str]:
        """Names of what the status tells."""
        found = gather(self.engine, self.configuration, self.clock.now_ms(), self.ends())
        return {problem.name for problem in found.problems}

    def metric(self, name: str) -> float:
        """Sum of the samples of a metric of the process."""
        return sum(
            sample.value
            for family in self.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == name
        )

    def close(self) -> None:
        self.ingest.abandon()
        self.engine.dispose()


class PassingClock(ManualClock):
    """One whose time passes by itself."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self._begun_s = time.monotonic()

    def monotonic(self) -> float:
        return super().monotonic() + time.monotonic() - self._begun_s


@pytest.fixture
def service(sqlite_url: str) -> Iterator[Rehearsal]:
    made = Rehearsal(sqlite_url)
    made.send()
    made.send(partition=1)
    made.take()
    yield made
    made.close()


def test_a_service_that_is_well_has_no_problem(service: Rehearsal) -> None:
    assert service.problems() == set()


# --- taking in ------------------------------------------------------------------------------------------


def test_nothing_is_read(service: Rehearsal) -> None:
    service.ingest.abandon()
    service.send(5)
    service.clock.advance(11 * MINUTE_MS)
    assert "DriftlineNothingIsRead" in service.problems()
    service.ingest = service.started()  # the remedy: a process with the role ingest
    service.take()
    assert service.problems() == set()


def test_no_data(service: Rehearsal) -> None:
    service.clock.advance(2 * HOUR_MS)
    service.take()  # reports that it is there, and has nothing
    assert service.problems() == {"DriftlineNoData"}
    service.send(minute=1)
    service.take()
    assert service.problems() == set()


def test_lag_grows(service: Rehearsal) -> None:
    service.clock.advance(20 * MINUTE_MS)
    service.send(50)
    assert "DriftlineLagGrows" in service.problems()
    service.take()
    assert "DriftlineLagGrows" not in service.problems()
    assert service.metric("driftline_consumer_lag_events") == 0


def test_a_partition_holds_event_time_back(service: Rehearsal) -> None:
    hanging = service.started()  # it is given a partition
    for one in (service.ingest, hanging, service.ingest):
        one.step()
    (place,) = hanging._owned
    service.send(5, partition=place.partition, minute=55)
    service.send(5, partition=1 - place.partition, minute=55)
    service.clock.advance(2 * MINUTE_MS)
    service.take()
    assert service.problems() == {"DriftlineWatermarkStands", "DriftlineNothingIsRead"}
    with reading(service.engine) as connection:  # what `driftline partitions list` shows
        rows = connection.execute(select(partition_state).order_by(partition_state.c.max_event_ms)).all()
    assert (rows[0].partition, rows[0].seen_at_ms < rows[1].seen_at_ms) == (place.partition, True)
    hanging.abandon()
    service.take()
    assert service.problems() == set()


def test_a_partition_is_stopped(service: Rehearsal) -> None:
    service.ingest.abandon()
    service.send(10)
    service.broker.trim(Place("pp", 0), 6)
    service.ingest = service.started()
    service.take()
    assert "DriftlinePartitionStopped" in service.problems()
    with reading(service.engine) as connection:
        assert read_service(connection, service.configuration).stopped["pp", "0"]
    service.resume(Place("pp", 0))
    assert service.problems() == set()
    with reading(service.engine) as connection:
        assert not read_service(connection, service.configuration).stopped["pp", "0"]


def test_dead_letters(service: Rehearsal) -> None:
    service.send(value=json.dumps({"event_id": "x", "timestamp": NOW_MS - HOUR_MS, "prediction": 1}).encode())
    service.send(value=b"no json")
    service.take()
    assert service.problems() == {"DriftlineDeadLetters"}
    assert (
        'driftline_events_total{outcome="dead_letter",topic="pp"} 2.0'
        in generate_latest(service.telemetry.registry).decode()
    )
    with reading(service.engine) as connection:  # what /events shows
        reasons = connection.execute(select(dead_letter.c.reason).order_by(dead_letter.c.id)).scalars().all()
    assert "model" in reasons[0]
    # The remedy: the configuration says what the messages leave out, and they are replayed.
    service.restart_with(streams=[{"topic": "pp", "kind": "predictions", "model": "m"}])
    with immediate(service.engine) as connection:
        assert mark(connection, Wanted(topic="pp")).marked == 2
    service.clock.advance(5_000)
    service.take()
    assert service.problems() == {"DriftlineDeadLetters"}  # one is none in any configuration
    with reading(service.engine) as connection:
        states = connection.execute(
            select(dead_letter.c.status, dead_letter.c.outcome).order_by(dead_letter.c.id)
        ).all()
        assert states == [("replayed", "1 counted"), ("refused", None)]
        assert sum(row["counted"] for row in positions.accounting(connection)) == 3
    service.clock.advance(25 * HOUR_MS)
    service.send()
    service.take()
    assert service.problems() == set()


def test_late_events(service: Rehearsal) -> None:
    service.send(minute=59)
    service.take()
    service.send(minute=-60 * 24 * 70)  # before the horizon
    service.take()
    text = generate_latest(service.telemetry.registry).decode()
    assert 'driftline_events_total{outcome="late",topic="pp"} 1.0' in text
    # The remedy: waiting for longer.
    service.restart_with(defaults={"windows": ["10m"], "lateness": "1m", "horizon": "90d"})
    service.send(minute=-60 * 24 * 70)
    service.take()
    text = generate_latest(service.telemetry.registry).decode()
    assert 'driftline_events_total{outcome="late",topic="pp"} 1.0' in text


def test_slow_commits(service: Rehearsal) -> None:
    def slow() -> float:
        within = [
            sample.value
            for family in service.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == "driftline_commit_seconds_bucket" and sample.labels["le"] == "5.0"
        ]
        return service.metric("driftline_commit_seconds_count") - within[0]

    service.clock = PassingClock(service.clock.now_ms())
    service.restart_with()
    service.take()
    service.send()
    path = str(service.engine.url.database)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")  # a long transaction of somebody else
        ends = threading.Timer(5.5, other.execute, ["ROLLBACK"])
        ends.start()
        service.take()
        ends.join()
    assert slow() == 1
    service.send()
    service.take()
    assert slow() == 1


# --- judging ------------------------------------------------------------------------------------------


def names_of(world: JudgedWorld) -> set[str]:
    found = gather(world.engine, world.configuration, world.clock.now_ms(), "not asked")
    return {problem.name for problem in found.problems}


def test_windows_wait_and_a_model_drifts(sqlite_url: str) -> None:
    world = JudgedWorld(sqlite_url)
    world.send(0, 102)
    assert "DriftlineJudgingSlow" not in names_of(world)  # there is nothing to compare with yet
    world.judge.sweep()
    world.clock.advance(10 * MINUTE_MS)
    world.send(102, 60, shift=2.0)
    assert "DriftlineJudgingSlow" in names_of(world)
    world.judge.sweep()  # the remedy: a process with the role evaluate
    found = names_of(world)
    assert "DriftlineJudgingSlow" not in found
    assert "DriftlineModelAlert" in found
    actions = Actions(world.configuration, world.engine, world.clock, Telemetry())
    with reading(world.engine) as connection:
        ids = connection.execute(select(incident.c.id)).scalars().all()
    for id_ in ids:
        actions.acknowledge(id_, "ann", "on it")
    assert "DriftlineModelAlert" not in names_of(world)
    world.close()


def test_many_models_page(sqlite_url: str) -> None:
    """A feature that five models share arrives in another unit, which their contract pages for."""
    contract = {"age": {"kind": "numeric", "max": 120, "severity": "page"}}
    world, models = JudgedWorld(sqlite_url, columns=contract, windows=["10m"]), "abcde"
    world.send(0, 72, per_minute=6, models=models)
    world.judge.sweep()
    assert "DriftlineModelAlert" not in names_of(world)
    world.send(72, 12, shift=30.0, per_minute=6, models=models)
    world.judge.sweep()
    assert {"DriftlineManyModels", "DriftlineModelAlert"} <= names_of(world)
    with reading(world.engine) as connection:
        of_alert = incident_alert.c.alert_id == alert.c.id
        paging = select(alert.c.model, alert.c.column, incident_alert.c.incident_id).where(of_alert)
        rows = connection.execute(paging.where(alert.c.severity == "page")).all()
    assert {(row.model, row.column) for row in rows} >= {(model, "age") for model in models}
    (shared,) = {row.incident_id for row in rows}  # they are joined, as they share the column
    actions = Actions(world.configuration, world.engine, world.clock, Telemetry())
    actions.acknowledge(shared, "ann", "on it")
    assert not {"DriftlineManyModels", "DriftlineModelAlert"} & names_of(world)
    world.close()


def test_the_budget_is_overspent(sqlite_url: str) -> None:
    """Models that appear after the windows of the others were judged get a share that was spent already."""
    learning = {"first": "30m", "min_rows": 10}
    world = JudgedWorld(sqlite_url, budget="1 per hour", windows=["10m"], reference=learning)
    for models in ("a", "b", "c"):
        world.send(0, 122, per_minute=1, models=models)
        world.judge.sweep()
    assert "DriftlineBudgetSpent" in names_of(world)
    world.send(122, 120, per_minute=1, models="abc")
    world.judge.sweep()
    assert "DriftlineBudgetSpent" not in names_of(world)  # by itself, in the next period
    world.close()


# --- telling ------------------------------------------------------------------------------------------


class Telling:
    """A receiver and a deliverer, with one message."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.clock, self.far = engine, ManualClock(NOW_MS), delivery_world.Endpoint()
        delivery_world.judge(engine, self.clock, window(0, ["age"]))

    def deliver(self) -> None:
        delivery_world.deliverer(self.engine, self.clock, self.far).deliver_due()

    def told(self, find: Any) -> list[str]:
        configuration = web_world.configuration()
        with reading(self.engine) as connection:
            facts = Facts(connection, configuration, self.clock.now_ms(), [], None, [], {})
            return [problem.name for problem in find(facts)]


@pytest.fixture
def telling_(sqlite_url: str) -> Iterator[Telling]:
    with delivery_world.opened(sqlite_url) as engine:
        yield Telling(engine)


def raising(error: Exception) -> Any:
    def mood(_notice: object) -> None:
        raise error

    return mood


def test_a_receiver_is_away(telling_: Telling) -> None:
    telling_.far.mood = raising(RetryLater("connection refused"))
    telling_.deliver()
    telling_.clock.advance(16 * MINUTE_MS)
    telling_.deliver()
    assert telling_.told(telling.failing) == ["DriftlineDeliveryFailing"]
    telling_.far.mood = lambda _notice: None
    telling_.clock.advance(HOUR_MS)
    telling_.deliver()
    assert telling_.told(telling.failing) == []


def test_nobody_sends(telling_: Telling) -> None:
    telling_.clock.advance(11 * MINUTE_MS)
    assert telling_.told(telling.overdue) == ["DriftlineDeliveryStands"]
    telling_.deliver()  # the remedy: a process with the role evaluate
    assert telling_.told(telling.overdue) == []


def test_a_message_is_given_up_and_sent_again(telling_: Telling) -> None:
    telling_.far.mood = raising(DeliveryError("the token is wrong"))
    telling_.deliver()
    assert telling_.told(telling.given_up) == ["DriftlineMessagesGivenUp"]
    telling_.far.mood = lambda _notice: None
    with immediate(telling_.engine) as connection:
        (id_,) = connection.execute(select(outbox.c.id)).scalars()
        revive_one(connection, id_, telling_.clock.now_ms())
    telling_.deliver()
    assert telling_.told(telling.given_up) == []
    assert len(telling_.far.arrived) == 1


def test_a_receiver_wants_nothing_any_more(telling_: Telling) -> None:
    telling_.far.mood = raising(ReceiverDisabled("410"))
    telling_.deliver()
    assert telling_.told(telling.disabled) == ["DriftlineReceiverDisabled"]


# --- the database ------------------------------------------------------------------------------------------


def test_the_database_is_away(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("monitor.topic_ends.TIMEOUT_S", 0.2)
    folder, file = tmp_path / "disk", tmp_path / "driftline.yaml"
    file.write_text(f"""\
kafka: {{bootstrap_servers: "127.0.0.1:1"}}
database_url: "sqlite:///{folder}/d.db"
streams: [{{topic: pp, kind: predictions}}]
""")

    def status() -> tuple[int, set[str]]:
        code = cli.run(["status", "-c", str(file), "--json"])
        return code, {one["name"] for one in json.loads(capsys.readouterr().out)["problems"]}

    assert status() == (3, {"DriftlineDatabaseUnreadable", "DriftlineKafkaUnreachable"})
    folder.mkdir()
    assert status() == (3, {"DriftlineSchemaOld", "DriftlineKafkaUnreachable"})
    assert cli.run(["db", "upgrade", "-c", str(file)]) == 0
    capsys.readouterr()
    assert status() == (1, {"DriftlineKafkaUnreachable"})


def test_the_budget_is_that_of_the_latest_period(service: Rehearsal) -> None:
    with reading(service.engine) as connection:
        facts = Facts(connection, service.configuration, NOW_MS, [], None, [], {})
        assert judging.budget_spent(facts) == 0


@pytest.mark.acceptance
def test_two_versions_run_beside_each_other(sqlite_url: str, tmp_path: Path) -> None:
    """One of the processes finds the metadata of another version before those of this one."""
    (tmp_path / "driftline-0.0.9.dist-info").mkdir()
    (tmp_path / "driftline-0.0.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: driftline\nVersion: 0.0.9\n"
    )
    ports = {name: free_port() for name in ("older", "newer")}
    for name, port in ports.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"kafka: {{bootstrap_servers: '127.0.0.1:1'}}\ndatabase_url: {sqlite_url}\n"
            f"http: {{host: 127.0.0.1, port: {port}}}\nstreams: [{{topic: pp, kind: predictions}}]\n"
        )
    older = Service(
        tmp_path / "older.yaml", "--role", "web", environment={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    newer = Service(tmp_path / "newer.yaml", "--role", "web")
    targets = [f"127.0.0.1:{port}" for port in ports.values()]
    with older, newer, PrometheusServer(targets) as prometheus:
        (found,) = prometheus.wait_for_samples(expression_of("DriftlineMixedVersions"))
        assert found.value == 2
        versions = {
            one.labels["instance"]: one.labels["version"] for one in prometheus.query("driftline_build_info")
        }
        assert versions == dict(zip(targets, ("0.0.9", code_version()), strict=True))
        older.terminate()
        with Service(tmp_path / "older.yaml", "--role", "web"):
            wait_for(
                lambda: (
                    len(prometheus.query("driftline_build_info == 1 and on(instance) up == 1")) == 2
                    and not prometheus.query(expression_of("DriftlineMixedVersions"))
                ),
                what="two versions are still seen",
            )


def expression_of(rule: str) -> str:
    """What an alert of the rules for Prometheus asks."""
    rules = YAML(typ="safe").load((ROOT / "deploy" / "prometheus" / "driftline.rules.yml").read_text())
    (found,) = (one for group in rules["groups"] for one in group["rules"] if one.get("alert") == rule)
    return str(found["expr"])
