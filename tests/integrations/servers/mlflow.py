"""MLflow's server with a model registry in SQLite, asked over REST."""

import base64
from collections.abc import Mapping
from typing import Any

import httpx

from tests.integrations.servers.tool import START_TIMEOUT_S, Tool
from tests.kit.ports import LOOPBACK

ALIAS_CREATED = {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}


class MlflowServer(Tool):
    """A registry that sends webhooks, to loopback and without TLS too."""

    name = "mlflow"

    def settings(self) -> Mapping[str, str]:
        """Environment variables; webhooks keep their secrets under the key given here."""
        return {
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(b"k" * 32).decode(),
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def start(self) -> None:
        """Start the server and wait until it answers."""
        stores = [
            *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        ]
        where = ["--host", LOOPBACK, "--port", str(self.port), "--workers", "1"]
        server = self.launch("server", ["mlflow", "server", *stores, *where])
        server.wait_until(self._answers, what="MLflow does not answer", timeout_s=START_TIMEOUT_S)

    def add_version(self, name: str) -> str:
        """Register a model if it is not there, and a version of it; return the version."""
        known = httpx.get(self._at("registered-models/get"), params={"name": name}, timeout=30)
        if known.status_code == 404:
            self._post("registered-models/create", {"name": name})
        # Nobody reads it; one within the server's own store would need a run.
        made = self._post("model-versions/create", {"name": name, "source": "s3://models/churn"})
        return str(made["model_version"]["version"])

    def add_webhook(self, url: str, secret: str) -> str:
        """Make a webhook that tells of aliases; return its id."""
        wanted = {"name": "driftline", "url": url, "events": [ALIAS_CREATED], "secret": secret}
        return str(self._post("webhooks", wanted)["webhook"]["webhook_id"])

    def try_webhook(self, id_: str) -> dict[str, Any]:
        """Let MLflow send an example, as its own button does; return what it saw."""
        answer = self._post(f"webhooks/{id_}/test", {"event": ALIAS_CREATED})
        result: dict[str, Any] = answer["result"]
        return result

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        self._post("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def _answers(self) -> bool:
        answer = self.get("/health")
        return answer is not None and answer.is_success

    def _at(self, path: str) -> str:
        return f"{self.url}/api/2.0/mlflow/{path}"

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        answer = httpx.post(self._at(path), json=body, timeout=60)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found
