"""Dagster: webserver and daemon, each with the code."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from tests.integrations.servers.tool import PIPELINES, START_TIMEOUT_S, Seen, Trainer
from tests.kit.ports import LOOPBACK

LOCATION, JOB = "job_of_dagster.py", "retrain_churn"
JOBS = """{
  repositoriesOrError { ... on RepositoryConnection { nodes { location { name } jobs { name } } } }
}"""
RUNS = """{
  runsOrError { ... on Runs { results { runId status runConfig tags { key value } } } }
}"""


class DagsterServer(Trainer):
    """Two processes in place of ``dagster dev``, whose children would outlive a test run that is killed."""

    name = "dagster"
    success = "SUCCESS"
    starts_sent = 1  # a run with the tag is looked for first

    def settings(self) -> Mapping[str, str]:
        """Environment variables."""
        return {"DAGSTER_HOME": str(self.folder), "DAGSTER_DISABLE_TELEMETRY": "yes"}

    def start(self) -> None:
        """Start all of it and wait until the job is known."""
        (self.folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        where, code = (
            ["--host", LOOPBACK, "--port", str(self.port)],
            ["--python-file", str(PIPELINES / LOCATION)],
        )
        server = self.launch("webserver", ["dagster-webserver", *where, *code])
        self.launch("daemon", ["dagster-daemon", "run", *code])
        server.wait_until(self._is_ready, what="Dagster is not ready", timeout_s=START_TIMEOUT_S)

    def receiver(self, address: str) -> dict[str, object]:
        """Options that put the request into the run configuration."""
        return {
            "type": "dagster",
            "url": address,
            "ui_url": self.url,
            "location": LOCATION,
            "job": JOB,
            "config_path": "ops.train.config.retraining",
        }

    def is_start(self, method: str, path: str, body: bytes) -> bool:
        """A run is launched; everything else goes to the same address."""
        return method == "POST" and path == "/graphql" and b"launchRun" in body

    def runs(self) -> list[Seen]:
        """All runs."""
        return [_seen(row) for row in self._ask(RUNS)["runsOrError"]["results"]]

    def _is_ready(self) -> bool:
        answer = self.get("/server_info")
        if answer is None or not answer.is_success:
            return False
        known = self._ask(JOBS)["repositoriesOrError"].get("nodes", [])
        jobs = [(node["location"]["name"], job["name"]) for node in known for job in node["jobs"]]
        return (LOCATION, JOB) in jobs

    def _ask(self, query: str) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["data"]
        return found


def _seen(row: Mapping[str, Any]) -> Seen:
    tags = {tag["key"]: tag["value"] for tag in row["tags"]}
    told = row["runConfig"]["ops"]["train"]["config"]["retraining"]
    assert told["id"] == tags["driftline/request_id"], json.dumps(row)
    return Seen(row["runId"], row["status"], told["id"], told["model"])
