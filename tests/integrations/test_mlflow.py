"""An alias that moves in the real MLflow is a deployment, told by its webhook."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations.drifting import listed
from tests.integrations.servers.mlflow import MlflowServer
from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.service import Service
from tests.kit.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SECRET = "a secret of both sides"
REGISTERED = "Churn (registry)"
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: mlflow}}
database_url: "{database}"
http:
  host: 127.0.0.1
  port: {port}
  mlflow: {{secret_env: MLFLOW_SECRET, alias: champion, models: {{"{registered}": churn}}}}
topics: {{control: mlflow.control}}
streams: [{{topic: mlflow, kind: predictions, format: json}}]
"""


@pytest.fixture
def mlflow() -> Iterator[MlflowServer]:
    """A registry without models."""
    with MlflowServer() as server:
        yield server


def test_an_alias_is_a_deployment(
    mlflow: MlflowServer, kafka: KafkaCluster, tmp_path: Path, sqlite_url: str
) -> None:
    url, path = f"http://127.0.0.1:{(port := free_port())}", tmp_path / "driftline.yaml"
    for topic in ("mlflow", "mlflow.control"):
        kafka.create_topic(topic)
    places = {"bootstrap": kafka.bootstrap, "database": sqlite_url, "port": port, "registered": REGISTERED}
    path.write_text(CONFIGURATION.format(**places))
    environment = {**os.environ, "MLFLOW_SECRET": SECRET}
    with Service(path, http_url=url, environment=environment) as service:
        service.wait_until_ready()
        hook = f"{url}/api/v1/hooks/mlflow"
        tried = mlflow.try_webhook(mlflow.add_webhook(hook, "another secret"))
        assert tried["response_status"] == 401, tried
        assert "X-MLflow-Signature does not fit" in tried["response_body"]
        tried = mlflow.try_webhook(mlflow.add_webhook(hook, SECRET))
        assert tried["success"], tried
        assert json.loads(tried["response_body"]) == {"deployment": None}  # the example has another alias
        first, second = mlflow.add_version(REGISTERED), mlflow.add_version(REGISTERED)
        mlflow.set_alias(REGISTERED, "challenger", second)
        mlflow.set_alias(REGISTERED, "champion", first)
        wait_for(lambda: deployed(url) == [first], what="no deployment is listed", timeout_s=60)
        mlflow.set_alias(REGISTERED, "champion", second)
        wait_for(lambda: deployed(url) == [second, first], what="one deployment is listed", timeout_s=60)
        assert service.terminate() == 0
        assert SECRET not in service.log


def deployed(url: str) -> list[str]:
    """Versions of the deployments, the latest first; all of them told by MLflow, of one model."""
    found = listed(url, "deployments")
    assert {(one["model"], one["source"], one["comment"]) for one in found} <= {
        ("churn", "mlflow", "alias champion")
    }
    return [one["version"] for one in found]
