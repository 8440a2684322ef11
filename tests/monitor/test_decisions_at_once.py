"""What people decide while something else is being written is neither lost nor late."""

import base64
import hashlib
import hmac
import json
import threading
import time

import httpx
import pytest
from fastapi.testclient import TestClient

from monitor.config import Configuration
from monitor.incidents import actions
from monitor.incidents.recording import record
from monitor.store import engine as engines
from monitor.store import incidents, schema
from monitor.store.alerts import load_for
from monitor.store.engine import immediate
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.serve import Serving
from schemas.errors import Unavailable
from tests.alerting.factory import play, window
from tests.kit.waiting import PATIENCE_S
from tests.monitor.incident_world import NOW_MS, World


@pytest.fixture
def world(database_url):
    engine = engines.create(database_url)
    schema.upgrade(engine)
    yield World(engine, database_url)
    engine.dispose()


def client_of(world, configuration=None):
    app = create_app(configuration or world.configuration, world.engine, Telemetry(), world.clock)
    return TestClient(app, base_url="http://127.0.0.1")


def test_who_ends_a_silence_waits_for_who_reads_it(world):
    """Otherwise an incident that is written with what was read before stays silent until the old end."""
    with client_of(world) as client:
        made = client.post("/api/v1/silences", json={"for": "90d"}).json()
        answers = []

        def end():
            answers.append(client.post(f"/api/v1/silences/{made['id']}/end").status_code)

        observation = window(0, ["score"])
        with immediate(world.engine) as connection:
            before = load_for(connection, observation)
            after, changes = play(observation, alert=before)
            record(connection, world.configuration, after, changes, world.clock.now_ms())
            thread = threading.Thread(target=end)
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
        thread.join(PATIENCE_S)
    assert answers == [200]
    assert world.reminders.sweep() == 1
    assert world.latest().change.cause.startswith("no longer silenced")


def test_an_alert_of_a_version_that_joins_meanwhile_is_not_changed_without_its_lock(world, monkeypatch):
    alert = world.see(window(0, ["age"], model="a"))
    lock = incidents.lock

    def joined_meanwhile(connection):
        lock(connection)
        monkeypatch.setattr(incidents, "lock", lock)
        observation = window(0, ["age"], model="b")
        after, changes = play(observation)
        record(connection, world.configuration, after, changes, world.clock.now_ms())

    monkeypatch.setattr(incidents, "lock", joined_meanwhile)
    with pytest.raises(Unavailable, match="has just grown; try again"):
        world.actions.acknowledge(alert.id, "ann")
    world.see(window(0, ["age"], model="b"))
    assert world.actions.acknowledge(alert.id, "ann") == "acknowledged"
    assert actions.incident_id_of(world.engine, alert.id) == alert.id


# --- MLflow's webhook ---------------------------------------------------------------------------------------


@pytest.fixture
def told(world, monkeypatch):
    monkeypatch.setenv("MLFLOW_SECRET", "s3cret")
    plain = world.configuration.model_dump(mode="json", by_alias=True, exclude_unset=True)
    plain["http"] = {"mlflow": {"secret_env": "MLFLOW_SECRET", "alias": "champion"}}
    return Configuration.model_validate(plain)


def hook(model, id_="m1"):
    data = {"name": model, "alias": "champion", "version": "2"}
    body = json.dumps({"entity": "model_version_alias", "action": "created", "data": data}).encode()
    timestamp = str(NOW_MS // 1_000)
    digest = hmac.new(b"s3cret", f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    given = {"X-MLflow-Signature": signature, "X-MLflow-Timestamp": timestamp, "X-MLflow-Delivery-Id": id_}
    return {"content": body, "headers": {name: value for name, value in given.items() if value}}


def test_a_webhook_that_waits_for_the_database_lets_others_be_answered(world, told):
    app = create_app(told, world.engine, Telemetry(), world.clock)
    answers = []
    with Serving(app, "127.0.0.1", 0) as serving:
        address = f"http://127.0.0.1:{serving.port}"

        def tell():
            answers.append(httpx.post(f"{address}/api/v1/hooks/mlflow", **hook("churn"), timeout=PATIENCE_S))

        with immediate(world.engine) as connection:
            connection.exec_driver_sql("INSERT INTO deployment VALUES ('mlflow-m1','m','1',0,'api','','')")
            thread = threading.Thread(target=tell)
            thread.start()
            time.sleep(0.5)  # by now it waits for this transaction
            assert httpx.get(f"{address}/livez", timeout=PATIENCE_S).status_code == 200
            assert answers == []
            connection.rollback()
        thread.join(PATIENCE_S)
    assert answers[0].json() == {"deployment": "mlflow-m1"}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(hook("churn", id_=""), "X-MLflow-Delivery-Id"), (hook("\ud800"), "data.name")],
    ids=["no id", "half a character"],
)
def test_a_webhook_that_could_not_be_kept_is_refused(world, told, sent, reason):
    with client_of(world, told) as client:
        answer = client.post("/api/v1/hooks/mlflow", **sent)
    assert (answer.status_code, reason in answer.json()["detail"]) == (401, True)
