"""A drift in a stream starts just one run in the real tool, whatever is killed, and its link comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from monitor.store import engine as engines
from monitor.store.engine import immediate
from tests.integrations.between import Between
from tests.integrations.drifting import MODEL, listed, send, started, write_configuration
from tests.integrations.servers.tool import Seen, Trainer
from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.service import Service
from tests.kit.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

DRIFT_TIMEOUT_S, START_TIMEOUT_S, RUN_TIMEOUT_S = 180.0, 60.0, 240.0


@dataclass(frozen=True)
class Scene:
    """A running service that reads a stream with a drift, and the tool that it may start a run in."""

    trainer: Trainer
    between: Between
    service: Service
    url: str
    database_url: str


@pytest.fixture
def scene(trainer: Trainer, kafka: KafkaCluster, tmp_path: Path, sqlite_url: str) -> Iterator[Scene]:
    """The service is killed when the tool has started the run, before it knows: the worst moment there is."""
    topic, url = f"drift-{trainer.name}", f"http://127.0.0.1:{(port := free_port())}"
    for name in (topic, f"{topic}.control"):
        kafka.create_topic(name, partitions=2)
    send(kafka.bootstrap, topic)
    path = tmp_path / "driftline.yaml"
    service = Service(path, http_url=url, environment={**os.environ, **trainer.secrets})
    with Between(trainer.url, trainer.is_start, service.kill) as between:
        places = {"bootstrap": kafka.bootstrap, "topic": topic, "database": sqlite_url}
        write_configuration(path, trainer.receiver(between.url), port=port, url=url, **places)
        with service:
            yield Scene(trainer, between, service, url, sqlite_url)


def test_a_drift_starts_one_run_whose_link_comes_back(scene: Scene) -> None:
    with telling(scene.service, scene.trainer):
        scene.between.wait_until_acted(DRIFT_TIMEOUT_S)
        assert not scene.service.is_running
        assert len(scene.trainer.runs()) == 1
        let_the_lease_run_out(scene.database_url)
        scene.service.start()
        wait_for(lambda: started(scene.url), what="no run is known", timeout_s=START_TIMEOUT_S)
        scene.service.restart_after_kill()  # now the run is only followed
        request = wait_for(lambda: ended(scene.url), what="the run is not over", timeout_s=RUN_TIMEOUT_S)
        check_run(scene, request)
        check_incident(scene.url, request)
        others = [one for one in listed(scene.url, "retraining") if one["id"] != request["id"]]
        assert {one["state"] for one in others} <= {"refused"}, others


def let_the_lease_run_out(database_url: str) -> None:
    """Do what three minutes would do: whoever was killed holds the request for so long."""
    engine = engines.create(database_url)
    with immediate(engine) as connection:
        row = connection.execute(text("SELECT * FROM retraining_run WHERE attempts > 0")).one()
        assert (row.state, row.attempts, row.run_id) == ("due", 1, None)
        connection.execute(text("UPDATE retraining_run SET lease_until_ms = 0"))
    engine.dispose()


def ended(url: str) -> dict[str, Any] | None:
    """The request for training once its run is over."""
    request = started(url)
    return request if request is not None and request["finished_at"] else None


def check_run(scene: Scene, request: dict[str, Any]) -> None:
    """The tool has one run, that of the request, and its own page of it answers under the link."""
    assert request["state"] == "succeeded", request
    (run,) = scene.trainer.runs()
    assert run == Seen(request["run_id"], scene.trainer.success, request["id"], MODEL)
    assert scene.between.count == scene.trainer.starts_sent
    assert request["run_url"].startswith(scene.trainer.url)
    assert request["run_url"].endswith(f"/{run.id}")
    as_a_browser = {"accept": "text/html", "sec-fetch-mode": "navigate"}
    assert httpx.get(request["run_url"], headers=as_a_browser, timeout=30).status_code == 200


def check_incident(url: str, request: dict[str, Any]) -> None:
    """The incident says once that the run was started, with its link."""
    answer = httpx.get(f"{url}/api/v1/incidents/{request['incident_id']}", timeout=30)
    answer.raise_for_status()
    causes = [one["cause"] for one in answer.json()["events"] if one["change"] == "retraining"]
    assert causes.count(f"started by retrain: {request['run_url']}") == 1, causes
    assert sum(cause.startswith("started by") for cause in causes) == 1, causes
    # Not if it was over before the service had found it again: then that it was started is all there is.
    assert sum(cause.startswith(f"run {request['run_id']} succeeded") for cause in causes) <= 1, causes


@contextmanager
def telling(service: Service, trainer: Trainer) -> Iterator[None]:
    """Add what both sides have written to the failure of a test."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"driftline.log:\n{service.log[-4_000:]}\n{trainer.log_tail()}")
        raise
