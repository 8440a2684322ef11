"""A real Kafka cluster (KRaft, combined roles) on loopback."""

import base64
import os
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kit.ports import LOOPBACK, free_ports
from tests.kit.process import ServerProcess, program
from tests.kit.waiting import PATIENCE_S, wait_for

# The version of deploy/setup/kafka-pom.xml, whose jars deploy/setup/kafka.sh fetches.
VERSION = "4.1.1"

# Short compilation tiers and one collector thread: brokers live for seconds and share two cores.
_JVM = ("-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true")

_LOGGING = """
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server
logger.server.level = info
"""


def jars_folder() -> Path:
    """Return the folder of Kafka's jars.

    Raises
    ------
    FileNotFoundError
        They have not been fetched yet.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "driftline" / f"kafka-{VERSION}"
    if not folder.is_dir():
        msg = f"the tests need Kafka {VERSION} in {folder}: run `make servers`"
        raise FileNotFoundError(msg)
    return folder


class KafkaCluster:
    """One or three brokers, each of which is also a controller.

    Three brokers replicate everything three times and need two copies for ``acks=all``, so any one of them
    can be killed without loss.

    Parameters
    ----------
    brokers
        1 or 3.

    Notes
    -----
    Topics are not made by themselves: a test says which it wants, or sees the error that a user would see.
    """

    def __init__(self, brokers: int = 1) -> None:
        self.brokers = brokers
        self._temporary = tempfile.TemporaryDirectory(prefix="driftline-kafka-")
        self._folder = Path(self._temporary.name)
        self._java = program("java", "default-jre-headless")
        self._class_path = f"{jars_folder()}/*"
        ports = free_ports(2 * brokers)
        self._broker_ports, self._controller_ports = ports[:brokers], ports[brokers:]
        self._processes: list[ServerProcess | None] = [None] * brokers
        self.bootstrap = ",".join(f"{LOOPBACK}:{port}" for port in self._broker_ports)
        self._admin: AdminClient | None = None
        self._configure()

    def __enter__(self) -> "KafkaCluster":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def admin(self) -> AdminClient:
        """A client for what this class does not offer."""
        if self._admin is None:
            # Connections to a broker that a test has killed are nothing to report on the terminal.
            self._admin = AdminClient(
                {
                    "bootstrap.servers": self.bootstrap,
                    "log_level": 0,
                    "topic.metadata.refresh.interval.ms": 1000,
                }
            )
        return self._admin

    def start(self) -> None:
        """Start all brokers and wait until each of them is a member of the cluster."""
        for number in range(self.brokers):
            self._launch(number)
        self._wait_for_members(self.brokers)

    def pid(self, number: int = 0) -> int:
        """Process of a running broker."""
        return self._running(number).pid

    def kill(self, number: int) -> None:
        """End a broker (0, 1, …) at once, as ``kill -9`` does."""
        self._running(number).kill()
        self._processes[number] = None

    def restart(self, number: int) -> None:
        """Start a broker again and wait until it is a member and in sync with all its partitions.

        A running broker is shut down in an orderly way first.
        """
        process = self._processes[number]
        if process is not None:
            process.stop()
        self._launch(number)
        self._wait_for_members(sum(process is not None for process in self._processes))
        self._wait_for_replicas(number)

    def pause(self, number: int) -> None:
        """Freeze a broker: connections stay open and nothing answers."""
        self._running(number).send(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Let a frozen broker go on."""
        self._running(number).send(signal.SIGCONT)

    def stop(self) -> None:
        """End all brokers and remove their data."""
        self._admin = None
        for number, process in enumerate(self._processes):
            if process is not None:
                process.kill()
                self._processes[number] = None
        self._temporary.cleanup()

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Create a topic, wait until every partition has a leader, and return the name."""
        topic = NewTopic(name, partitions, replication or self.brokers, config=dict(config or {}))
        self.admin.create_topics([topic])[name].result(timeout=PATIENCE_S)

        def has_leaders() -> bool:
            found = self.admin.list_topics(name, timeout=30).topics[name].partitions
            return len(found) == partitions and all(partition.leader > 0 for partition in found.values())

        wait_for(
            has_leaders,
            what=f"topic {name} has no leader for each of its partitions",
            ignoring=(KafkaException,),
        )
        return name

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        self.admin.delete_topics([name])[name].result(timeout=PATIENCE_S)
        wait_for(
            lambda: not self._exists(name), what=f"topic {name} is still there", ignoring=(KafkaException,)
        )

    def topic_id(self, name: str) -> str:
        """Return the id that tells a topic from a later one of the same name."""
        description = self.admin.describe_topics(TopicCollection([name]))[name].result(timeout=PATIENCE_S)
        return str(description.topic_id)

    def log_tail(self, number: int) -> str:
        """Return the end of a broker's log."""
        return self._running(number).log_tail()

    def _configure(self) -> None:
        (self._folder / "log4j2.properties").write_text(_LOGGING)
        voters = ",".join(f"{i + 1}@{LOOPBACK}:{port}" for i, port in enumerate(self._controller_ports))
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        for number in range(self.brokers):
            lines = (f"{key}={value}\n" for key, value in self._settings(number, voters).items())
            self._settings_path(number).write_text("".join(lines))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda number: self._format(number, cluster_id), range(self.brokers)))

    def _settings(self, number: int, voters: str) -> dict[str, object]:
        broker = f"PLAINTEXT://{LOOPBACK}:{self._broker_ports[number]}"
        in_sync = max(1, self.brokers - 1)
        return {
            "process.roles": "broker,controller",
            "node.id": number + 1,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{broker},CONTROLLER://{LOOPBACK}:{self._controller_ports[number]}",
            "advertised.listeners": broker,
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": self._folder / f"data-{number}",
            "auto.create.topics.enable": "false",
            "default.replication.factor": self.brokers,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": self.brokers,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": self.brokers,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": self.brokers,
            "share.coordinator.state.topic.min.isr": in_sync,
            # Tests kill consumers, and one broker of three: notice it soon, and wait for no further members.
            # A single broker has nobody to take over from it and must not be shut out on a busy machine.
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 5000 if self.brokers > 1 else 60_000,
            "broker.heartbeat.interval.ms": 500,
            "replica.lag.time.max.ms": 5000,
            "log.retention.check.interval.ms": 1000,
            "log.segment.delete.delay.ms": 1000,
            "log.initial.task.delay.ms": 1000,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 4_000_000,
        }

    def _settings_path(self, number: int) -> Path:
        return self._folder / f"broker-{number}.properties"

    def _format(self, number: int, cluster_id: str) -> None:
        """Write a broker's identity into its empty data folder."""
        settings = str(self._settings_path(number))
        # "=" keeps an id that begins with a dash from being read as an option.
        arguments = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", settings]
        done = subprocess.run(
            [self._java, *self._jvm(), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode != 0:
            msg = f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}"
            raise RuntimeError(msg)

    def _jvm(self) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder}/log4j2.properties"
        return [*_JVM, logging, "-cp", self._class_path]

    def _launch(self, number: int) -> None:
        self._processes[number] = ServerProcess(
            [self._java, *self._jvm(), "kafka.Kafka", str(self._settings_path(number))],
            self._folder / f"broker-{number}.log",
        )

    def _running(self, number: int) -> ServerProcess:
        process = self._processes[number]
        if process is None:
            msg = f"broker {number} does not run"
            raise RuntimeError(msg)
        return process

    def _wait_for_members(self, count: int) -> None:
        for number, process in enumerate(self._processes):
            if process is not None:
                what = f"broker {number} is not in a cluster of {count}"
                process.wait_until(partial(self._sees_members, number, count), what=what)

    def _sees_members(self, number: int, count: int) -> bool:
        """Tell whether a broker answers and knows ``count`` members.

        Each broker is asked itself: for some seconds the others still list one that is dead. It takes
        connections only once it has registered anew, so it does not count itself before it is a member again.
        """
        port = self._broker_ports[number]
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
            client = AdminClient({"bootstrap.servers": f"{LOOPBACK}:{port}", "log_level": 0})
            return len(client.list_topics(timeout=5).brokers) == count
        except (OSError, KafkaException):
            return False

    def _wait_for_replicas(self, number: int) -> None:
        def is_in_sync() -> bool:
            topics = self.admin.list_topics(timeout=5).topics.values()
            partitions = (partition for topic in topics for partition in topic.partitions.values())
            return all(number + 1 in p.isrs for p in partitions if number + 1 in p.replicas)

        wait_for(is_in_sync, what=f"broker {number} has not caught up", ignoring=(KafkaException,))

    def _exists(self, name: str) -> bool:
        topic = self.admin.list_topics(name, timeout=30).topics[name]
        return topic.error is None or topic.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART
