"""The servers of the kit do what the other acceptance tests rely on."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from prometheus_client import CollectorRegistry, Counter, start_http_server
from sqlalchemy import create_engine, text

from tests.kit import prometheus
from tests.kit.kafka import KafkaCluster
from tests.kit.ports import LOOPBACK, free_port, free_ports
from tests.kit.postgres import PostgresServer
from tests.kit.process import ServerDiedError, ServerProcess, program
from tests.kit.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.acceptance


def produce(cluster: KafkaCluster, topic: str, values: range) -> None:
    """Send numbers with ``acks=all`` and fail unless every one is acknowledged."""
    failures: list[KafkaError] = []
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 5, "log_level": 0}
    )
    for value in values:
        producer.produce(
            topic, str(value), on_delivery=lambda error, _: failures.append(error) if error else None
        )
    assert producer.flush(PATIENCE_S) == 0
    assert failures == []


def consume(cluster: KafkaCluster, topic: str, count: int) -> list[int]:
    """Read numbers from the beginning until there are ``count`` of them."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": f"reader-of-{topic}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    found: list[int] = []

    def has_all() -> bool:
        messages = consumer.consume(1000, timeout=1.0)
        found.extend(int(message.value() or b"") for message in messages if message.error() is None)
        return len(found) >= count

    try:
        wait_for(has_all, what=f"{count} messages did not arrive")
    finally:
        consumer.close()
    return sorted(found)


class TestKafka:
    def test_what_is_produced_is_consumed(self, kafka: KafkaCluster):
        topic = kafka.create_topic("kit.round-trip", partitions=3)
        produce(kafka, topic, range(1000))
        assert consume(kafka, topic, 1000) == list(range(1000))

    def test_a_topic_that_is_made_again_has_another_id(self, kafka: KafkaCluster):
        topic = kafka.create_topic("kit.again")
        first = kafka.topic_id(topic)
        kafka.delete_topic(topic)
        kafka.create_topic(topic)
        assert kafka.topic_id(topic) != first

    def test_unknown_topics_are_not_made_by_themselves(self, kafka: KafkaCluster):
        with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
            kafka.topic_id("kit.never-made")

    @pytest.mark.full
    def test_a_killed_broker_of_three_loses_nothing(self, kafka3: KafkaCluster):
        topic = kafka3.create_topic("kit.survives", partitions=3)
        produce(kafka3, topic, range(500))
        kafka3.kill(1)
        try:
            produce(kafka3, topic, range(500, 1000))
        finally:
            kafka3.restart(1)
        kafka3.kill(0)
        try:
            assert consume(kafka3, topic, 1000) == list(range(1000))
        finally:
            kafka3.restart(0)

    @pytest.mark.full
    def test_a_single_broker_keeps_its_messages_over_a_kill(self):
        with KafkaCluster(brokers=1) as cluster:
            topic = cluster.create_topic("kit.restarts")
            produce(cluster, topic, range(100))
            cluster.kill(0)
            cluster.restart(0)
            assert consume(cluster, topic, 100) == list(range(100))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Start a server that these tests may stop."""
    with PostgresServer() as server:
        yield server


class TestPostgres:
    def test_data_survives_a_restart_and_a_kill(self, server: PostgresServer):
        database = server.create_database()
        with server.connect(database) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        server.restart()
        with server.connect(database) as connection:
            connection.execute("INSERT INTO kept VALUES (2)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            server.connect(database)
        server.start()
        with server.connect(database) as connection:
            assert connection.execute("SELECT one FROM kept ORDER BY one").fetchall() == [(1,), (2,)]

    def test_commits_wait_for_the_disk_unless_told_otherwise(self, server: PostgresServer):
        with server.connect() as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        with PostgresServer(fsync=False) as hasty, hasty.connect() as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("off",)

    def test_a_wrong_password_is_refused(self, server: PostgresServer):
        url = server.url("postgres").replace("+psycopg", "").replace(server.password, "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url)


def test_both_databases_start_empty_and_work(bare_database_url: str):
    engine = create_engine(bare_database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE fresh (one INTEGER)"))
            assert connection.execute(text("SELECT count(*) FROM fresh")).scalar() == 0
    finally:
        engine.dispose()


class TestPrometheus:
    def test_an_endpoint_is_scraped(self):
        registry = CollectorRegistry()
        counter = Counter("kit_events", "Events seen by the test.", registry=registry)
        counter.inc(3)
        port = free_port()
        endpoint, thread = start_http_server(port, addr=LOOPBACK, registry=registry)
        try:
            with prometheus.PrometheusServer([f"{LOOPBACK}:{port}"]) as server:
                (sample,) = server.wait_for_samples("kit_events_total")
        finally:
            endpoint.shutdown()
            endpoint.server_close()
            thread.join()
        assert sample.value == 3
        assert sample.labels["job"] == "driftline"

    def test_promtool_tells_good_from_bad_metrics(self):
        prometheus.check_metrics("# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n")
        with pytest.raises(AssertionError, match="counter metrics should have"):
            prometheus.check_metrics("# HELP a Things.\n# TYPE a counter\na 1\n")

    def test_promtool_tells_good_from_bad_rules(self, tmp_path: Path):
        rules = tmp_path / "rules.yml"
        rules.write_text("groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]")
        prometheus.check_rules(rules)
        rules.write_text("groups: [{name: g, rules: [{alert: Down, expr: up ==}]}]")
        with pytest.raises(AssertionError, match="parse error"):
            prometheus.check_rules(rules)


class TestProcess:
    def test_a_server_dies_with_the_test_run(self, tmp_path: Path):
        script = f"""
            import os, signal
            from pathlib import Path
            from tests.kit.process import ServerProcess

            server = ServerProcess(["sh", "-c", "echo up; exec sleep 600"], Path({str(tmp_path / "log")!r}))
            server.wait_until(lambda: "up" in server.log_tail(), what="it started")
            print(server.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
        )
        assert run.returncode == -signal.SIGKILL
        wait_for(lambda: not _is_alive(int(run.stdout)), what="the server outlives the test run")

    def test_a_server_that_ends_early_says_why(self, tmp_path: Path):
        process = ServerProcess(["sh", "-c", "echo no such file >&2; exit 3"], tmp_path / "log")
        with pytest.raises(ServerDiedError, match=r"exit code 3(.|\n)*no such file"):
            process.wait_until(lambda: False, what="it started")

    def test_a_server_that_ignores_the_request_to_stop_is_killed(self, tmp_path: Path):
        process = ServerProcess(
            ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], tmp_path / "log"
        )
        process.wait_until(lambda: "up" in process.log_tail(), what="it started")
        assert process.stop(timeout_s=0.3) == -signal.SIGKILL

    def test_a_missing_program_names_what_installs_it(self):
        with pytest.raises(FileNotFoundError, match="make servers"):
            program("no-such-program", "no-such-package")

    def test_ports_differ(self):
        assert len(set(free_ports(20))) == 20


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A dead process that nobody has waited for yet is still listed.
    return "\nState:\tZ" not in status
