"""What is stored is judged again as the service did, or as another configuration would; it is only read."""

import hashlib
import json
import logging
import math
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import func, select

from alerting.codec import document, from_bytes
from alerting.finding import Kind
from alerting.incidents.document import incident_document
from monitor import cli
from monitor.backtest.stored import backtest_stored
from monitor.backtest.stored_content import Wanted
from monitor.config import Configuration
from monitor.store import incidents
from monitor.store.engine import reading
from monitor.store.tables import alert, incident, metadata, outbox, retraining_run
from schemas.errors import StoreError, UsageError
from tests.monitor.outcome_world import OutcomeWorld
from tests.monitor.test_judge import START_MS, World

MINUTE = 60_000
AIRFLOW = {"type": "airflow", "url": "https://airflow.example.org", "dag_id": "again", "token_env": "T"}
HOOK = {"type": "webhook", "url": "https://example.org/x", "secret_env": "HOOK"}
CHANGED, LAST = 120, 200  # minutes


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def at(minute):
    return START_MS + minute * MINUTE


def options(url, *, alerts=None, receivers=None, **defaults):
    """Configuration of the world, on its database, or one that has changed since."""
    return {
        "kafka": {"bootstrap_servers": "memory"},
        "database_url": url,
        "streams": [{"topic": "pp", "kind": "predictions"}],
        "defaults": {
            "windows": ["10m", "30m"], "lateness": "1m", "horizon": "60d", "reference": {"first": "1h"},
            **defaults,
        },
        "alerts": alerts or {"routes": [{"match": {}, "to": ["hook"]}]},
        "receivers": receivers or {"hook": HOOK},
    }  # fmt: skip


def configured(url, **changed):
    return Configuration.model_validate(options(url, **changed))


def judged_world(url, **defaults):
    """A service that has learned from an hour, met a change for forty minutes, and judged all along."""
    world = World(url, **defaults)
    for minute in range(0, 240, 10):
        world.send(minute, 10, shift=2.0 if CHANGED <= minute < 160 else 0.0, per_minute=20)
        world.judge.sweep()
    world.send(240, 3, per_minute=20)
    world.judge.sweep()
    return world


def stored_alerts(engine):
    with reading(engine) as connection:
        rows = connection.execute(select(alert.c.state_bytes)).scalars().all()
    found = (document(from_bytes(bytes(data))) for data in rows)
    return sorted(found, key=lambda one: (one["opened_at"], one["id"]))


def stored_messages(engine):
    with reading(engine) as connection:
        rows = connection.execute(select(outbox.c.alert_id, outbox.c.sequence, outbox.c.receiver))
        return sorted(tuple(row) for row in rows)


def messages(found):
    return sorted((one.alert_id, one.sequence, one.receiver) for one in found.deliveries)


def counts(engine):
    with reading(engine) as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


# --- the same as the service --------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", ["edetector", "psi"])
def test_the_same_configuration_gives_what_the_service_has_said(database_url, detector):
    world = judged_world(database_url, detector=detector)
    expected, told = stored_alerts(world.engine), stored_messages(world.engine)
    found = backtest_stored(configured(database_url, detector=detector), clock=world.clock)
    assert len(expected) == (2 if detector == "edetector" else 1)
    assert found.as_dict()["alerts"] == expected
    assert messages(found) == told
    with reading(world.engine) as connection:
        ids = connection.execute(select(incident.c.id)).scalars().all()
        sequences = {id_: incidents.load(connection, id_).record.sequence for id_ in ids}
    assert {one.id: one.whole.sequence for one in found.incidents} == sequences
    assert (found.models, found.from_ms, found.to_ms) == (("churn",), at(60), at(240))
    assert (found.windows, found.skipped) == (18, ())
    weeks = [week["listed_total"] for week in found.as_dict()["digests"]]
    assert bool(weeks) == (detector == "edetector")
    world.close()


def test_contracts_are_judged_from_before_the_first_reference(sqlite_url):
    columns = {"age": {"max": 80, "limit": 0.01}}
    world = World(sqlite_url, columns=columns)
    for minute in range(0, 140, 10):
        world.send(minute, 10, shift=4.0 if 20 <= minute < 30 else 0.0, per_minute=20)
        world.judge.sweep()
    expected = stored_alerts(world.engine)
    found = backtest_stored(configured(sqlite_url, columns=columns), clock=world.clock)
    world.close()
    assert expected[0]["kind"] == "quality"
    assert expected[0]["opened_at"] == "2026-01-01T00:30:00Z"
    assert found.as_dict()["alerts"] == expected


@pytest.fixture
def labelled(sqlite_url):
    """A service whose predictions begin to be wrong, judged as time goes on."""
    world = OutcomeWorld(
        sqlite_url, performance={"metric": "accuracy", "slo": 0.7, "long": "20m", "short": "10m"}
    )
    for minute in range(0, LAST, 5):
        wrong = 0.5 if CHANGED <= minute < 160 else 0.1
        world.send(minute, 5, wrong=wrong, per_minute=12)
        world.sweep()
    world.beat(LAST + 6)
    world.sweep()
    yield world
    world.close()


def test_outcomes_are_judged_again_too(labelled):
    expected, told = stored_alerts(labelled.engine), stored_messages(labelled.engine)
    found = backtest_stored(labelled.configuration, clock=labelled.clock)
    assert {one["kind"] for one in expected} >= {"performance", "slo"}
    assert found.as_dict()["alerts"] == expected
    assert messages(found) == told
    with reading(labelled.engine) as connection:
        rows = connection.execute(select(incident.c.id)).scalars().all()
        known = {id_: incidents.load(connection, id_).record.sequence for id_ in rows}
    assert {one.id: one.whole.sequence for one in found.incidents} == known
    with_costs = [incident_document(one)["impact"] for one in found.incidents]
    assert any(impact is not None and impact["metric"] == "accuracy" for impact in with_costs)


def test_what_the_service_has_not_learned_yet_is_learned(sqlite_url):
    world = World(sqlite_url)
    for minute in range(0, 150, 10):
        world.send(minute, 10, shift=2.0 if minute >= CHANGED else 0.0, per_minute=20)
    found = backtest_stored(configured(sqlite_url), clock=world.clock)
    world.judge.sweep()
    expected = stored_alerts(world.engine)
    world.close()
    assert expected
    assert found.as_dict()["alerts"] == expected


def test_models_share_the_budget_whichever_is_asked_for(sqlite_url):
    world = OutcomeWorld(sqlite_url)
    for minute in range(0, 130, 10):
        for model in ("churn", "other"):
            world.send(minute, 10, per_minute=6, model=model)
        world.sweep()
    whole, churn, other = (
        backtest_stored(world.configuration, Wanted(model=model), clock=world.clock)
        for model in (None, "churn", "other")
    )
    world.close()
    assert (whole.models, churn.models, other.models) == (("churn", "other"), ("churn",), ("other",))
    assert whole.windows == churn.windows + other.windows
    assert churn.spent > 0
    assert churn.spent + other.spent == pytest.approx(whole.spent)


# --- another configuration ----------------------------------------------------------------------------------


def test_another_tolerance_or_budget_says_something_else(sqlite_url):
    world = judged_world(sqlite_url, detector="edetector")
    same = backtest_stored(configured(sqlite_url), clock=world.clock)
    lenient = backtest_stored(
        configured(sqlite_url, tolerance_psi=10.0, threshold_psi=10.0), clock=world.clock
    )
    rarely = {"routes": [{"match": {}, "to": ["hook"]}], "budget": "1 per year"}
    strict = backtest_stored(configured(sqlite_url, alerts=rarely), clock=world.clock)
    world.close()
    drifts = [one for found in (same, lenient, strict) for one in found.alerts if one.kind is Kind.DRIFT]
    columns = [{finding.column for finding in one.findings} for one in drifts]
    assert columns == [{"age", "score"}, {"score"}, {"age", "score"}]
    # What is found with a smaller budget has that much less to show for it.
    assert strict.allowed < same.allowed / 50
    assert strict.spent < same.spent / 50
    first, _, last = (one.evidence_log or math.nan for one in drifts)
    less = first - last
    assert less == pytest.approx(math.log(same.allowed / strict.allowed))


def test_reminders_and_training_follow_event_time(sqlite_url):
    world = judged_world(sqlite_url, detector="edetector")
    routes = [{"match": {}, "to": ["train", "hook"], "repeat": "10m"}]
    sections = {"alerts": {"routes": routes}, "receivers": {"train": AIRFLOW, "hook": HOOK}}
    found = backtest_stored(configured(sqlite_url, **sections), clock=world.clock)
    with reading(world.engine) as connection:
        assert connection.execute(select(func.count()).select_from(retraining_run)).scalar_one() == 0
    world.close()
    reminded = [one for one in found.deliveries if one.change == "reminded"]
    assert {one.receiver for one in found.deliveries} == {"hook"}
    assert len(reminded) >= 2
    assert all(at(CHANGED) < one.at.timestamp() * 1_000 <= at(240) for one in reminded)
    (request,) = found.retraining
    assert (request.receiver, request.standing, request.model) == ("train", "started", "churn")
    assert request.at.timestamp() * 1_000 == at(CHANGED + 10)
    assert request.data_from.timestamp() * 1_000 <= at(CHANGED) < request.data_to.timestamp() * 1_000


def test_a_range_is_judged_as_if_it_were_all(sqlite_url):
    world = judged_world(sqlite_url, detector="psi")
    configuration = configured(sqlite_url, detector="psi")
    quiet = backtest_stored(configuration, Wanted(at(60), at(CHANGED)), clock=world.clock)
    late = backtest_stored(configuration, Wanted(at(CHANGED), model="churn"), clock=world.clock)
    world.close()
    assert (quiet.windows, quiet.from_ms, quiet.to_ms, quiet.alerts) == (6, at(60), at(CHANGED), ())
    assert (late.windows, late.from_ms) == (12, at(CHANGED))
    assert late.alerts[0].opened_at.timestamp() * 1_000 == at(CHANGED + 10)


# --- the database -------------------------------------------------------------------------------------------


def test_the_database_stays_as_it_is(database_url, tmp_path, monkeypatch):
    world = judged_world(database_url, detector="psi")
    configuration, clock = configured(database_url, detector="psi"), world.clock
    before = counts(world.engine)
    world.close()
    digest = file_digest(database_url)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    backtest_stored(configuration, clock=clock)
    assert file_digest(database_url) == digest
    assert list(scratch.iterdir()) == []
    assert counts(world.engine) == before
    world.engine.dispose()


def file_digest(url):
    if not url.startswith("sqlite"):
        return ""
    return hashlib.sha256(Path(url.removeprefix("sqlite:///")).read_bytes()).hexdigest()


def test_slices_on_the_bins_of_another_reference_are_named(sqlite_url):
    world = judged_world(sqlite_url, detector="psi")
    (hash_,) = world.rows("SELECT hash FROM reference")[0]
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE slice_profile SET reference_hash = 'elsewhere' "
            f"WHERE reference_hash = '{hash_}' AND slice_ms >= {at(200)}"
        )
    moved = world.rows(
        f"SELECT sum(rows) FROM slice_profile WHERE reference_hash = 'elsewhere' AND slice_ms < {at(240)}"
    )
    found = backtest_stored(configured(sqlite_url, detector="psi"), clock=world.clock)
    world.close()
    (text,) = found.skipped
    assert moved[0][0] > 0
    assert f"{moved[0][0]:,} rows in 4 windows from 2026-01-01 03:20Z on" in text
    assert "bins of another reference" in text


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(model="nobody"), r"no model 'nobody' \(there are: churn\)"),
        (Wanted(at(600)), r"no complete window is stored in this range \(there is: slices from 2026-01-01"),
        (
            Wanted(to_ms=at(60)),
            r"nothing in this range can be judged: .*judges windows from 2026-01-01 01:00Z",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(sqlite_url, wanted, message):
    world = judged_world(sqlite_url, detector="psi")
    world.close()
    with pytest.raises(UsageError, match=message):
        backtest_stored(configured(sqlite_url, detector="psi"), wanted, clock=world.clock)


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    missing = tmp_path / "missing.db"
    with pytest.raises(UsageError, match="there is no such file"):
        backtest_stored(configured(f"sqlite:///{missing}"))
    assert not missing.exists()
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="driftline db upgrade"):
        backtest_stored(configured(f"sqlite:///{tmp_path / 'empty.db'}"))


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def run(sqlite_url, tmp_path, capsys):
    """The command, over what the service has stored."""
    judged_world(sqlite_url, detector="edetector").close()
    return command(sqlite_url, tmp_path, capsys)


@pytest.fixture
def run_on_nothing(sqlite_url, tmp_path, capsys):
    """The command, over tables without rows."""
    return command(sqlite_url, tmp_path, capsys)


def command(sqlite_url, tmp_path, capsys):
    (tmp_path / "driftline.yaml").write_text(json.dumps(options(sqlite_url)))

    def run(*arguments):
        code = cli.run(["backtest", "-c", str(tmp_path / "driftline.yaml"), *arguments])
        return code, *capsys.readouterr()

    return run


def test_the_command_replays_what_is_stored(run):
    code, out, err = run("--stored", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["windows"] == 18
    code, out, err = run("--stored", "--since", "2026-01-01T02:00:00Z", "--until", "2026-01-01T02:40:00Z")
    assert (code, err) == (1, "")
    assert "2026-01-01 02:10Z  page  churn v1: drift, data quality" in out
    assert "told: hook 2026-01-01 02:10Z" in out
    assert "in 4 windows of churn, 02:00–02:40 UTC on 1 Jan 2026" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stored", "--from", "x.csv"], "either --from TABLE or --stored"),
        ([], "either --from TABLE or --stored"),
        (["--stored", "--labels", "x.csv"], "--labels goes with --from TABLE only"),
        (["--from", "x.csv", "--since", "2026-01-01"], "--since goes with --stored only"),
        (["--stored", "--since", "yesterday"], "--since: 'yesterday'"),
        (["--stored", "--since", "2026-01-02", "--until", "2026-01-01"], "is not after --since 2026-01-02"),
    ],
)
def test_the_command_refuses_what_does_not_go_together(run_on_nothing, arguments, message):
    code, out, err = run_on_nothing(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_the_command_refuses_a_model_that_is_not_there(run):
    code, out, err = run("--stored", "--model", "nobody")
    assert (code, out) == (2, "")
    assert "no model 'nobody'" in err
