"""What compose.yaml describes as processes on this machine: the same settings, commands and files."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from tests.deploy.container_world import DOCKERFILE
from tests.kit.image import Image, with_installed
from tests.kit.kafka import jars_folder
from tests.kit.ports import LOOPBACK, free_port
from tests.kit.process import ServerProcess, program
from tests.kit.waiting import PATIENCE_S
from tests.meta.project import ROOT

FOLDER = ROOT / "deploy" / "compose"
_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
_VARIABLE = re.compile(r"\$\{(\w+):-(\w*)\}")


def read(path: Path) -> Any:
    """Read a YAML file."""
    return YAML(typ="safe", pure=True).load(path)


def compose() -> Any:
    """Read compose.yaml as Compose does when no variable is set: with anchors, merges and defaults."""
    text = (FOLDER / "compose.yaml").read_text()
    return YAML(typ="safe", pure=True).load(_VARIABLE.sub(r"\2", text))


def make_secrets(folder: Path) -> str:
    """Run secrets.sh, and return what it said."""
    done = subprocess.run(
        [FOLDER / "secrets.sh", folder], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Stack:
    """The services of compose.yaml as processes.

    Parameters
    ----------
    folder
        For all files.
    database_url
        Of an empty database, in place of the one of the service postgres.

    Notes
    -----
    A name such as ``kafka:19092`` becomes an address on loopback, the same one everywhere.
    """

    def __init__(self, folder: Path, database_url: str) -> None:
        self.services = compose()["services"]
        self._folder = folder
        self._addresses: dict[str, str] = {}
        self._processes: list[ServerProcess] = []
        self.secrets = folder / "secrets"
        make_secrets(self.secrets)
        self._replace("database_url", database_url)
        self._image = with_installed(DOCKERFILE, ROOT, folder / "image", Path(sys.executable).parent)
        self._mount(self._image, self.services["web"])

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()

    def address(self, name: str) -> str:
        """Return where something is that the files call ``host:port``."""
        return self._addresses.setdefault(name, f"{LOOPBACK}:{free_port()}")

    def start_kafka(self) -> ServerProcess:
        """Start the broker, its properties made of the environment by the image's own program."""
        places = {"/var/lib/kafka/data": str(self._folder / "kafka")}
        environment = {
            name: self._at_home(value, places)
            for name, value in self.services["kafka"]["environment"].items()
        }
        final = self._folder / "kafka-config"
        final.mkdir()
        arguments = [f"--{kind}-configs-dir={final}" for kind in ("default", "mounted", "final")]
        setup = self._java("kafka.docker.KafkaDockerWrapper", "setup", *arguments)
        self._done(setup, os.environ | environment)
        return self._started("kafka", self._java("kafka.Kafka", str(final / "server.properties")))

    def wait_for_kafka(self, broker: ServerProcess) -> None:
        """Wait until the service's own check of its health succeeds."""
        kind, *test = self.services["kafka"]["healthcheck"]["test"]
        assert kind == "CMD"
        place = self.address("kafka:19092").replace(":", "/")
        check = [self._at_home(word, {"localhost/19092": place}) for word in test]
        broker.wait_until(
            lambda: subprocess.run(check, capture_output=True, check=False).returncode == 0,
            what="Kafka is not healthy",
        )

    def make_topics(self) -> None:
        """Do what the service topics does."""
        shell, *options, script = self.services["topics"]["command"]
        tool = self._folder / "kafka-topics.sh"
        command = shlex.join(self._java("org.apache.kafka.tools.TopicCommand"))
        tool.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        tool.chmod(0o755)
        script = self._at_home(script.replace("$$", "$"), {"/opt/kafka/bin/kafka-topics.sh": str(tool)})
        self._done([shell, *options, script])

    def migrate(self) -> str:
        """Do what the service migrate does, and return what it said."""
        return self._done(self._image.service(self.services["migrate"]["command"]))

    def start_driftline(self, *names: str) -> list[ServerProcess]:
        """Start services of Driftline, each on another port, and wait until all are ready."""
        started = []
        for name in names:
            port = self.address(f"{name}:8420").partition(":")[2]
            command = self._image.service([*self.services[name]["command"], "--http-port", port])
            started.append(self._started(name, command))
        for name, process in zip(names, started, strict=True):
            url = f"http://{self.address(f'{name}:8420')}/readyz"
            process.wait_until(partial(_answers, url), what=f"{name} is not ready")
        return started

    def start_prometheus(self) -> str:
        """Start Prometheus with its configuration and rules, and return its address."""
        service = self.services["prometheus"]
        for mount in service["volumes"][:2]:
            outside, inside, _ = mount.split(":")
            text = self._with_targets((FOLDER / outside).resolve())
            (self._folder / Path(inside).name).write_text(text)
        places = {"/etc/prometheus": str(self._folder), "=/prometheus": f"={self._folder}/prometheus"}
        address = self.address("127.0.0.1:9090")
        arguments = [self._at_home(one, places) for one in service["command"]]
        command = [program("prometheus", "prometheus"), *arguments, f"--web.listen-address={address}"]
        self._started("prometheus", command).wait_until(
            lambda: _answers(f"http://{address}/-/ready"), what="Prometheus does not answer"
        )
        return f"http://{address}"

    def _with_targets(self, path: Path) -> str:
        """Give a file of Prometheus with addresses in place of names, which only Compose's network knows."""
        content = read(path)
        for job in content.get("scrape_configs", []):
            for asked in job.pop("dns_sd_configs", []):
                targets = [self.address(f"{name}:{asked['port']}") for name in asked["names"]]
                job["static_configs"] = [{"targets": targets}]
            job["scrape_interval"] = job["scrape_timeout"] = "2s"
        written = self._folder / "written.yml"
        YAML(typ="safe", pure=True).dump(content, written)
        return self._at_home(written.read_text())

    def _mount(self, image: Image, service: Mapping[str, Any]) -> None:
        for mount in service["volumes"]:
            outside, inside, mode = mount.split(":")
            assert mode == "ro"
            here = self._folder / Path(inside).name
            here.write_text(self._at_home((FOLDER / outside).read_text()))
            image.sandbox.mounts[inside] = here
        for name in service["secrets"]:
            image.sandbox.mounts[f"/run/secrets/{name}"] = self.secrets / name

    def _replace(self, secret: str, value: str) -> None:
        path = self.secrets / secret
        path.unlink()
        path.write_text(value)
        path.chmod(0o444)

    def _at_home(self, text: str, places: Mapping[str, str] | None = None) -> str:
        """Put addresses and folders of this machine in place of those of the containers."""
        text = text.replace("localhost:19093", self.address("controller:19093"))
        text = text.replace("INTERNAL://:19092", f"INTERNAL://{self.address('kafka:19092')}")
        text = text.replace("HOST://:9092", f"HOST://{self.address('127.0.0.1:9092')}")
        for name in ("kafka:19092", "127.0.0.1:9092", "127.0.0.1:9090", "alertmanager:9093"):
            text = text.replace(name, self.address(name))
        for inside, outside in (places or {}).items():
            text = text.replace(inside, outside)
        return text

    @staticmethod
    def _java(*arguments: str) -> list[str]:
        return [program("java", "default-jre-headless"), *_JVM, "-cp", f"{jars_folder()}/*", *arguments]

    @staticmethod
    def _done(command: list[str], environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _started(self, name: str, command: list[str]) -> ServerProcess:
        process = ServerProcess(command, self._folder / f"{name}.log")
        self._processes.append(process)
        return process


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).is_success
    except httpx.TransportError:
        return False
