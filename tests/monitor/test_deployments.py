"""New versions: told of by people and registries or seen, silent at first, and watched after a retraining."""

import base64
import hashlib
import hmac
import json

import pytest
from sqlalchemy import insert, select

from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.config.service import MlflowOptions
from monitor.retraining.aftermath import Aftermath
from monitor.retraining.deployments import Deployment, NewVersions, note
from monitor.retraining.mlflow import MlflowHook
from monitor.retraining.watch import Watch
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from monitor.store.tables import deployment, model_version, performance_value, silence
from schemas.errors import UsageError
from tests.alerting.factory import START_MS, WINDOW_MS, window
from tests.monitor.incident_world import HOUR_MS, NOW_MS, World, configured
from tests.monitor.training_world import training

MINUTE_MS = 60_000


@pytest.fixture
def store(database_url):
    made = engines.create(database_url)
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def make_trained(sqlite_url):
    engine = engines.create(sqlite_url)
    schema.upgrade(engine)
    with training(engine, sqlite_url) as made:
        yield made
    engine.dispose()


def version(engine, name, created_at_ms, model="churn", role="champion"):
    row = {
        "model": model, "version": name, "role": role, "first_slice_ms": created_at_ms,
        "created_at_ms": created_at_ms,
    }  # fmt: skip
    with immediate(engine) as connection:
        connection.execute(insert(model_version), [row])


def noted(engine):
    with reading(engine) as connection:
        rows = connection.execute(select(deployment).order_by(deployment.c.at_ms))
        return [(row.model, row.version, row.source) for row in rows]


def test_a_new_version_is_seen_by_its_events(store, database_url):
    versions = NewVersions(configured(database_url), store, ManualClock(NOW_MS))
    version(store, "1", NOW_MS - 5_000)
    assert versions.sweep() == []
    version(store, "2", NOW_MS - 3_000)
    version(store, "s", NOW_MS - 2_000, role="shadow")
    version(store, "1", NOW_MS - 1_000, model="other")
    assert [one.version for one in versions.sweep()] == ["2"]
    assert versions.sweep() == []
    assert noted(store) == [("churn", "2", "seen")]


def test_who_was_told_of_is_not_seen_again(store, database_url):
    configuration, clock = configured(database_url), ManualClock(NOW_MS)
    version(store, "1", NOW_MS - 5_000)
    with immediate(store) as connection:
        told = Deployment("churn", "2", NOW_MS - 4_000, "api", "ada", id="d1")
        assert note(connection, configuration, told, NOW_MS) == "d1"
        assert note(connection, configuration, told, NOW_MS) == "d1"
    version(store, "2", NOW_MS - 3_000)
    assert NewVersions(configuration, store, clock).sweep() == []
    assert noted(store) == [("churn", "2", "api")]


def test_after_a_deployment_it_is_quiet_for_a_while(store, database_url):
    world = World(store, database_url, after_deployment="30m")
    with immediate(store) as connection:
        told = Deployment("chu*", "2", NOW_MS, "api", "ada")
        note(connection, world.configuration, told, NOW_MS)
        note(connection, world.configuration, Deployment("churn", "2", NOW_MS, "seen"), NOW_MS)
        old = Deployment("churn", "0", NOW_MS - HOUR_MS, "seen")
        note(connection, world.configuration, old, NOW_MS)
    with reading(store) as connection:
        rows = connection.execute(select(silence).order_by(silence.c.match)).all()
    assert [json.loads(row.match)["model"] for row in rows] == [["chu[*]"], ["churn"]]
    alert = world.see(window(0, ["age"]))
    assert world.events(alert.id) == [("opened", [])]
    assert world.pass_time(30 * MINUTE_MS) == 1
    assert world.latest().change.cause == "no longer silenced after a deployment: version 2 was deployed"


# --- whether it helped --------------------------------------------------------------------------------------


def measure(engine, version_, count, value, begin=0, kind="realised"):
    same = {"model": "churn", "version": version_, "window": "10m", "segment": "", "metric": "recall"}
    figures = {"kind": kind, "low": None, "high": None, "n": 400, "coverage": 0.5, "computed_at_ms": 0}
    rows = [
        {**same, **figures, "start_ms": START_MS + (begin + at) * WINDOW_MS, "value": value + 0.01 * (at % 3)}
        for at in range(count)
    ]
    with immediate(engine) as connection:
        connection.execute(performance_value.insert(), rows)


@pytest.mark.parametrize(("new", "verdict"), [(0.8, "better"), (0.3, "worse")])
def test_a_version_that_came_of_a_run_is_watched(make_trained, new, verdict):
    world = make_trained()
    alert = world.see(window(0, ["score"]))
    world.work()
    watch = Watch(world.configuration, world.engine, world.clock)
    assert watch.sweep() == 0
    world.clock.advance(HOUR_MS)
    told = Deployment("churn", "2", world.clock.now_ms(), "api")
    with immediate(world.engine) as connection:
        note(connection, world.configuration, told, world.clock.now_ms())
    assert [watch.sweep(), watch.sweep()] == [1, 0]
    assert world.told(alert.id)[-1][0].startswith("version 2 is in use and watched")
    measure(world.engine, "1", 6, 0.5)
    measure(world.engine, "2", 4, new, begin=6)
    assert watch.sweep() == 0  # four windows say nothing
    measure(world.engine, "2", 1, new, begin=10)
    assert [watch.sweep(), watch.sweep()] == [1, 0]
    assert world.told(alert.id)[-1][0].startswith(f"version 2 does {verdict}: recall")
    outcome = json.loads(world.row().outcome)
    assert (outcome["state"], outcome["version"], outcome["kind"]) == (verdict, "2", "realised")


def test_estimates_stand_in_until_labels_come(make_trained):
    world = make_trained()
    world.see(window(0, ["score"]))
    world.work()
    world.clock.advance(HOUR_MS)
    version(world.engine, "1", 1)
    version(world.engine, "2", world.clock.now_ms())
    told = []
    aftermath = Aftermath(
        NewVersions(world.configuration, world.engine, world.clock),
        Watch(world.configuration, world.engine, world.clock),
        lambda: told.append(1),
    )
    measure(world.engine, "1", 6, 0.5, kind="estimated")
    measure(world.engine, "2", 6, 0.9, begin=6, kind="estimated")
    aftermath.look()
    assert told == [1]
    assert json.loads(world.row().outcome)["kind"] == "estimated"


# --- MLflow -------------------------------------------------------------------------------------------------


def signed(body, *, id_="m1", at_ms=NOW_MS, key="s3cret"):
    timestamp = str(at_ms // 1_000)
    digest = hmac.new(key.encode(), f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "X-MLflow-Signature": "v1," + base64.b64encode(digest).decode(),
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Delivery-Id": id_,
    }


def alias_created(alias="champion", name="churn-model", number="7"):
    data = {"name": name, "alias": alias, "version": number}
    told = {"entity": "model_version_alias", "action": "created", "timestamp": "x", "data": data}
    return json.dumps(told).encode()


@pytest.fixture
def hook():
    options = MlflowOptions(secret_env="MLFLOW", models={"churn-model": "churn"})
    return MlflowHook(options, lambda: NOW_MS, {"MLFLOW": "s3cret"})


def test_an_alias_that_moves_is_a_deployment(hook):
    body = alias_created()
    found = hook.read(signed(body), body)
    assert (found.model, found.version, found.source, found.key) == ("churn", "7", "mlflow", "mlflow-m1")


@pytest.mark.parametrize(
    "body",
    [
        alias_created(alias="candidate"),
        json.dumps({"entity": "model_version", "action": "created", "data": {}}).encode(),
    ],
)
def test_other_news_of_mlflow_is_of_no_concern(hook, body):
    assert hook.read(signed(body), body) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": "other"}, "does not fit"),
        ({"at_ms": NOW_MS - 301_000}, "more than 300 s away"),
        ({"at_ms": NOW_MS + 301_000}, "more than 300 s away"),
    ],
)
def test_what_is_not_signed_is_refused(hook, changes, reason):
    body = alias_created()
    with pytest.raises(UsageError, match=reason) as caught:
        hook.read(signed(body, **changes), body)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError, match="does not fit"):
        hook.read(signed(body), body + b" ")
    with pytest.raises(UsageError, match="Timestamp is missing"):
        hook.read({}, body)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"[" * 100_000, b'{"entity":1}', alias_created(number="")]
)
def test_what_is_no_webhook_is_refused(hook, body):
    with pytest.raises(UsageError):
        hook.read(signed(body), body)


def test_without_a_secret_nothing_is_taken():
    body = alias_created()
    with pytest.raises(UsageError, match=r"set http\.mlflow\.secret_env"):
        MlflowHook(None, lambda: NOW_MS).read(signed(body), body)


def test_its_configuration_is_checked():
    for bad in ({}, {"secret_env": "A", "secret_file": "b"}):
        with pytest.raises(ValueError, match="exactly one of secret_env and secret_file"):
            MlflowOptions.model_validate(bad)
    assert Configuration.model_fields["http"].annotation.model_fields["mlflow"].default is None
