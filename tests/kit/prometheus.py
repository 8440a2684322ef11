"""A real Prometheus server on loopback, and the checks of its command-line tool."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.kit.ports import LOOPBACK, free_port
from tests.kit.process import ServerProcess, program
from tests.kit.waiting import PATIENCE_S, wait_for


@dataclass(frozen=True)
class Sample:
    """One series of an instant query's answer."""

    labels: Mapping[str, str]
    value: float


class PrometheusServer:
    """A server that scrapes the given targets every two seconds, and evaluates rules every second.

    Parameters
    ----------
    targets
        Addresses ``host:port`` whose ``/metrics`` are scraped.
    rule_files
        Files with recording and alerting rules.
    """

    def __init__(self, targets: Sequence[str], rule_files: Sequence[Path] = ()) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="driftline-prometheus-")
        self._folder = Path(self._temporary.name)
        self._program = program("prometheus", "prometheus")
        self._port = free_port()
        self._targets = tuple(targets)
        self._process: ServerProcess | None = None
        self.url = f"http://{LOOPBACK}:{self._port}"
        (self._folder / "prometheus.yml").write_text(_configuration(targets, rule_files))

    def __enter__(self) -> "PrometheusServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it has scraped every target."""
        self._process = ServerProcess(
            [
                self._program,
                f"--config.file={self._folder}/prometheus.yml",
                f"--storage.tsdb.path={self._folder}/data",
                f"--web.listen-address={LOOPBACK}:{self._port}",
            ],
            self._folder / "server.log",
        )
        self._process.wait_until(self._is_ready, what="Prometheus does not answer")
        self._process.wait_until(self._has_scraped_all, what="Prometheus reaches no target")

    def stop(self) -> None:
        """End the server and remove its data."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        self._temporary.cleanup()

    def query(self, expression: str) -> list[Sample]:
        """Evaluate a PromQL expression now; it has to give an instant vector."""
        answer = self._get("/api/v1/query", query=expression)
        return [Sample(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]

    def wait_for_samples(self, expression: str) -> list[Sample]:
        """Wait until an expression has an answer that is not empty, and return it."""
        return wait_for(
            lambda: self.query(expression),
            what=f"{expression} has no samples",
            every_s=0.25,
        )

    def firing_alerts(self) -> list[Mapping[str, str]]:
        """Return the labels of the alerts that fire now."""
        alerts = self._get("/api/v1/alerts")["data"]["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]

    def _get(self, path: str, **parameters: str) -> dict:
        answer = httpx.get(self.url + path, params=parameters, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=10).is_success
        except httpx.TransportError:
            return False

    def _has_scraped_all(self) -> bool:
        return len(self.query("up == 1")) == len(self._targets)


def check_metrics(exposition: str) -> None:
    """Assert that ``promtool check metrics`` finds nothing in what ``/metrics`` answered."""
    _promtool("check", "metrics", stdin=exposition)


def check_rules(*paths: Path) -> None:
    """Assert that ``promtool check rules`` accepts files."""
    _promtool("check", "rules", *map(str, paths))


def check_configuration(path: Path) -> None:
    """Assert that ``promtool check config`` accepts a file."""
    _promtool("check", "config", str(path))


def run_rule_tests(*paths: Path) -> None:
    """Assert that the rule tests in files pass (``promtool test rules``)."""
    _promtool("test", "rules", *map(str, paths))


def _promtool(*arguments: str, stdin: str = "") -> None:
    tool = program("promtool", "prometheus")
    done = subprocess.run(
        [tool, *arguments], input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"promtool {' '.join(arguments)}:\n{done.stdout}{done.stderr}"


def _configuration(targets: Sequence[str], rule_files: Sequence[Path]) -> str:
    quoted = ", ".join(f'"{target}"' for target in targets)
    rules = "".join(f'\n  - "{path}"' for path in rule_files) or " []"
    return f"""
global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}
rule_files:{rules}
scrape_configs:
  - job_name: driftline
    static_configs: [{{targets: [{quoted}]}}]
"""
