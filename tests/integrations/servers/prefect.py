"""Prefect 3: its server with a login, and a process that serves the flow as a deployment."""

from collections.abc import Mapping
from typing import Any, ClassVar

import httpx

from tests.integrations.servers.tool import PIPELINES, START_TIMEOUT_S, Seen, Trainer
from tests.kit.ports import LOOPBACK

USER, PASSWORD = "admin", "correct-horse-battery"


class PrefectServer(Trainer):
    """A server with SQLite."""

    name = "prefect"
    success = "COMPLETED"
    secrets: ClassVar[Mapping[str, str]] = {"PREFECT_PASSWORD": PASSWORD}

    def settings(self) -> Mapping[str, str]:
        """Environment variables, for the server and for the process that runs the flow."""
        return {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_API_AUTH_STRING": f"{USER}:{PASSWORD}",
            "PREFECT_SERVER_API_AUTH_STRING": f"{USER}:{PASSWORD}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        }

    def start(self) -> None:
        """Start the server, then the flow, and wait until its deployment is known."""
        where = ["--host", LOOPBACK, "--port", str(self.port)]
        server = self.launch("server", ["prefect", "server", "start", *where])
        server.wait_until(self._answers, what="Prefect does not answer", timeout_s=START_TIMEOUT_S)
        flow = self.launch("flow", ["python", str(PIPELINES / "flow_of_prefect.py")])
        flow.wait_until(
            self._has_deployment, what="Prefect has no deployment retrain/churn", timeout_s=START_TIMEOUT_S
        )

    def receiver(self, address: str) -> dict[str, object]:
        """Options with a login."""
        return {
            "type": "prefect",
            "url": f"{address}/api",
            "ui_url": self.url,
            "deployment": "retrain/churn",
            "username": USER,
            "password_env": "PREFECT_PASSWORD",
        }

    def is_start(self, method: str, path: str, body: bytes) -> bool:
        """A flow run is created."""
        return method == "POST" and path.endswith("/create_flow_run")

    def runs(self) -> list[Seen]:
        """All flow runs."""
        login = (USER, PASSWORD)
        answer = httpx.post(f"{self.url}/api/flow_runs/filter", json={}, auth=login, timeout=30)
        answer.raise_for_status()
        return [_seen(row) for row in answer.json()]

    def _answers(self) -> bool:
        answer = self.get("/api/health", self._login())
        return answer is not None and answer.is_success

    def _has_deployment(self) -> bool:
        answer = self.get("/api/deployments/name/retrain/churn", self._login())
        return answer is not None and answer.is_success

    def _login(self) -> dict[str, str]:
        basic = httpx.BasicAuth(USER, PASSWORD)
        request = next(basic.auth_flow(httpx.Request("GET", self.url)))
        return {"authorization": request.headers["authorization"]}


def _seen(row: Mapping[str, Any]) -> Seen:
    told = row["parameters"]["retraining"]
    return Seen(row["id"], row["state_type"], told["id"], told["model"])
