"""The files of the image, and a service in it that is started, asked and ended as an engine does it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from confluent_kafka import Producer

from tests.kit.dockerfile import parse
from tests.kit.image import Image
from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.process import ServerProcess
from tests.kit.waiting import PATIENCE_S, wait_for
from tests.meta.project import ROOT, files

FOLDER = ROOT / "deploy" / "container"
DOCKERFILE = parse((FOLDER / "Dockerfile").read_text())
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: {name}}}
database_url_env: DATABASE_URL
http: {{host: 0.0.0.0, port: {port}, allow_anonymous: true}}
commit_interval: 500ms
topics: {{control: {name}.control, results: {name}.results, alerts: {name}.alerts}}
streams: [{{topic: {name}, kind: predictions}}]
"""
EVENT = {"event_id": "1", "model": "m", "timestamp": "2026-01-01T00:00:00Z", "prediction": 1.5}


def let_through() -> list[Path]:
    """List the files of the project that .dockerignore leaves in the context of the build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [ROOT / line[1:] for line in lines if line.startswith("!")]
    return [path for path in files() if any(path == one or one in path.parents for one in allowed)]


def said(image: Image, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a container to its end."""
    return subprocess.run(
        image.program(arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def status_of(pid: int) -> dict[str, list[str]]:
    """Return what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: values.split() for name, _, values in (line.partition(":") for line in lines)}


class Container:
    """The service of an image, with its configuration where the image looks for it.

    Parameters
    ----------
    image
    kafka
        Gets a topic called `name`.
    name
        Of the topic and of the consumer group.
    folder
        For the configuration and the log.
    """

    def __init__(self, image: Image, kafka: KafkaCluster, name: str, folder: Path) -> None:
        self._image, self._kafka, self._topic = image, kafka, kafka.create_topic(name, partitions=2)
        self._log_path = folder / "service.log"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        mounted = folder / "etc"
        mounted.mkdir()
        text = CONFIGURATION.format(bootstrap=kafka.bootstrap, name=name, port=self._port)
        (mounted / "driftline.yaml").write_text(text)
        image.sandbox.mounts["/etc/driftline"] = mounted

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log_path.read_text()

    @contextmanager
    def running(self, database_url: str) -> Iterator[ServerProcess]:
        """Run the service until it is ready, and end it."""
        command = self._image.service(environment={"DATABASE_URL": database_url})
        process = ServerProcess(command, self._log_path)
        try:
            process.wait_until(self._is_ready, what="the container is not ready")
            yield process
        finally:
            process.kill()

    def counts_an_event(self) -> None:
        """Send an event, and wait until it is counted."""
        producer = Producer({"bootstrap.servers": self._kafka.bootstrap})
        producer.produce(self._topic, json.dumps(EVENT))
        assert producer.flush(PATIENCE_S) == 0
        wait_for(lambda: self._counted() == 1, what="the event is not counted")

    def health(self) -> subprocess.CompletedProcess[str]:
        """Ask as the engine does; the port is that of the test rather than the usual one."""
        return said(self._image, *self._image.health_check, f"127.0.0.1:{self._port}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=30).is_success
        except httpx.TransportError:
            return False

    def _counted(self) -> int:
        items = httpx.get(f"{self.url}/api/v1/accounting", timeout=60).json()["items"]
        return sum(item["counted"] for item in items)
