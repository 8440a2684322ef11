"""Airflow 3: API server, scheduler and DAG processor, with SQLite and tasks as processes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import httpx

from tests.integrations.servers.tool import PIPELINES, START_TIMEOUT_S, Seen, Trainer
from tests.kit.ports import LOOPBACK

DAG = "retrain_churn"
USER, PASSWORD = "driftline", "correct horse battery"


class AirflowServer(Trainer):
    """Three processes in place of ``airflow standalone``, so that each of them ends with the test run."""

    name = "airflow"
    success = "success"
    secrets: ClassVar[Mapping[str, str]] = {"AIRFLOW_PASSWORD": PASSWORD}

    def settings(self) -> Mapping[str, str]:
        """Environment variables; names are ``AIRFLOW__SECTION__KEY``. This version reports no usage."""
        keys = {
            "CORE__DAGS_FOLDER": self.folder / "dags",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 2,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.folder / "passwords.json",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "API__BASE_URL": self.url,
            "API_AUTH__JWT_SECRET": "a secret of this test run alone, long enough to sign with: 64 bytes",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder}/airflow.db",
            "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
        }
        named = {f"AIRFLOW__{name}": str(value) for name, value in keys.items()}
        return {"AIRFLOW_HOME": str(self.folder), **named}

    def start(self) -> None:
        """Make the database, start the processes, and wait until the DAG is known."""
        (self.folder / "dags").mkdir()
        (self.folder / "dags" / "retrain.py").write_text((PIPELINES / "dag_of_airflow.py").read_text())
        (self.folder / "passwords.json").write_text(f'{{"{USER}": "{PASSWORD}"}}')
        self.run("airflow", "db", "migrate")
        where = ["--host", LOOPBACK, "--port", str(self.port), "--workers", "1"]
        server = self.launch("api-server", ["airflow", "api-server", *where])
        self.launch("dag-processor", ["airflow", "dag-processor"])
        self.launch("scheduler", ["airflow", "scheduler", "--skip-serve-logs"])
        server.wait_until(self._is_ready, what="Airflow is not ready", timeout_s=START_TIMEOUT_S)

    def receiver(self, address: str) -> dict[str, object]:
        """Options with a login."""
        return {
            "type": "airflow",
            "url": address,
            "ui_url": self.url,
            "dag_id": DAG,
            "username": USER,
            "password_env": "AIRFLOW_PASSWORD",
        }

    def is_start(self, method: str, path: str, body: bytes) -> bool:
        """A dag run is created."""
        return method == "POST" and path.endswith("/dagRuns")

    def runs(self) -> list[Seen]:
        """Dag runs of the DAG."""
        answer = httpx.get(f"{self.url}/api/v2/dags/{DAG}/dagRuns", headers=self._login(), timeout=30)
        answer.raise_for_status()
        return [_seen(row) for row in answer.json()["dag_runs"]]

    def _login(self) -> dict[str, str]:
        user = {"username": USER, "password": PASSWORD}
        answer = httpx.post(f"{self.url}/auth/token", json=user, timeout=30)
        answer.raise_for_status()
        return {"authorization": f"Bearer {answer.json()['access_token']}"}

    def _is_ready(self) -> bool:
        health = self.get("/api/v2/monitor/health")
        if health is None or not health.is_success:
            return False
        parts = [health.json().get(name) or {} for name in ("scheduler", "dag_processor")]
        if not all(part.get("status") == "healthy" for part in parts):
            return False
        dag = self.get(f"/api/v2/dags/{DAG}", self._login())
        return dag is not None and dag.is_success and not dag.json()["is_paused"]


def _seen(row: Mapping[str, Any]) -> Seen:
    return Seen(row["dag_run_id"], row["state"], row["conf"]["id"], row["conf"]["model"])
