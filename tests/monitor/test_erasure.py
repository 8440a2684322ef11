"""What is stored of a model, or of one event, can be removed: all of it, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from alerting.digest import Digest, DigestNotice, DriftedStream
from alerting.finding import Kind, Severity, instant
from alerting.held import HeldIncident, HeldNotice
from alerting.payload import decode, encode
from detectors.profile import Profile
from monitor import cli
from monitor.dead_letters.letters import written_headers
from monitor.erasure import belonging, event
from monitor.erasure.belonging import Target, parts
from monitor.erasure.model import ModelErasure
from monitor.erasure.traces import Event
from monitor.references import lifecycle
from monitor.store import engine as engines
from monitor.store import schema, tables
from monitor.store.engine import immediate, reading
from monitor.store.positions import OUTCOMES, ensure_counters
from monitor.store.tables import metadata
from tests.alerting.factory import window
from tests.monitor import incident_world
from tests.monitor.erasing import places, rows_of, write_configuration
from tests.monitor.outcome_world import START_MS, OutcomeWorld, at

ID = "person-4711-ä"
VALUE = 987_654.25
COLUMNS = {"age": {"min": 0, "max": 120, "limit": "0 %", "severity": "page"}}
NOTHING_OF_MODELS = {"audit", "counter", "outcome_commit"}


def send(world: OutcomeWorld, first: int, minutes: int, model: str, **options: Any) -> None:
    world.send(first, minutes, per_minute=4, model=model, **options)


def judge(world: OutcomeWorld) -> None:
    for _ in range(2):
        world.sweep()
        world.judge.tidy()


def made_world(url: str) -> OutcomeWorld:
    """Two models with references, labels, results and an incident each."""
    made = OutcomeWorld(
        url,
        columns=COLUMNS,
        alerts={"group": {"across_models": False}},
        labels={"wait": "5m", "horizon": "2h"},
    )
    for model in ("churn", "fraud"):
        send(made, 0, 80, model)
    judge(made)
    for model in ("churn", "fraud"):
        send(made, 80, 50, model, wrong=0.9)
    judge(made)
    return made


@pytest.fixture
def world(sqlite_url: str) -> Iterator[OutcomeWorld]:
    made = made_world(sqlite_url)
    yield made
    made.close()


@pytest.fixture
def any_world(database_url: str) -> Iterator[OutcomeWorld]:
    """On both databases."""
    made = made_world(database_url)
    yield made
    made.close()


def configured(engine: Engine, folder: Path) -> str:
    """Configuration for the command line; returns its path."""
    given = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "database_url": engine.url.render_as_string(hide_password=False),
        "streams": [
            {"topic": "pp", "kind": "predictions", "format": "auto"},
            {"topic": "ll", "kind": "labels"},
        ],
    }
    return write_configuration(folder / "driftline.yaml", given)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty, migrated database."""
    made = engines.create(database_url)
    schema.upgrade(made)
    ensure_counters(made)
    yield made
    made.dispose()


def erasure(world: OutcomeWorld, model: str, version: str | None = None) -> ModelErasure:
    return ModelErasure(world.configuration, world.engine, world.clock, Target(model, version))


def columns_of(name: str) -> set[str]:
    return set(metadata.tables[name].columns.keys())


# --- a model ------------------------------------------------------------------------------------------------


def test_every_table_is_removed_from_or_kept_for_a_reason() -> None:
    removed = {part.table.name for part in parts(Target("m"))} | belonging.READ.keys()
    assert removed | belonging.KEPT.keys() == set(metadata.tables)
    assert removed & belonging.KEPT.keys() == set()
    assert {name for name in metadata.tables if "model" in columns_of(name)} <= removed


def test_a_model_goes_and_the_others_stay_as_they_are(any_world: OutcomeWorld) -> None:
    world = any_world
    with immediate(world.engine) as connection:
        connection.execute(insert(tables.dead_letter), [letter(1, "churn"), letter(2, "fraud")])
        connection.execute(insert(tables.half_message), [half(1, "churn"), half(2, "fraud")])
    before = rows_of(world.engine)
    found = erasure(world, "churn").find()
    assert rows_of(world.engine) == before
    gone = erasure(world, "churn").remove()
    after = rows_of(world.engine)
    assert gone == found
    assert {
        "slice_profile", "result", "judgement", "window_state", "ledger", "reference", "reference_pointer",
        "pending", "truth", "joined_version", "outcome_slice", "performance_value", "alert", "incident",
        "incident_event", "outbox", "model_version", "model_column", "dead_letter", "half_message",
    } <= gone.rows.keys()  # fmt: skip
    assert places(world.engine, b"churn") == {"audit.path"}
    for name, rows in before.items():
        left = {repr(row) for row in rows} & {repr(row) for row in after[name]}
        assert len(left) == len(rows) - gone.rows.get(name, 0) or name in (
            *NOTHING_OF_MODELS,
            "partition_state",
        )
    totals = [sum(getattr(row, name) for name in OUTCOMES) for row in partitions(world.engine)]
    assert totals == [row.fetched for row in partitions(world.engine)]
    assert erasure(world, "churn").find().total == 0


def partitions(engine: Engine) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(select(tables.partition_state).order_by("topic", "partition")))


def letter(offset: int, model: str, **changed: Any) -> dict[str, Any]:
    sent = {"event_id": f"l{offset}", "model": model, "version": "1", "timestamp": 9, "features": {}}
    sent["prediction"] = 1
    return {
        "topic": "pp", "partition": 0, "offset": offset, "kind": "future", "reason": "x",
        "value": json.dumps(sent).encode(), "value_bytes": 1, "headers": "[]", "stored_at_ms": 0, **changed,
    }  # fmt: skip


def half(offset: int, model: str, **changed: Any) -> dict[str, Any]:
    return {
        "pair": f"{offset:032}", "side": "request", "status": "waiting", "format": "seldon",
        "name": f"seldon:{model}:h{offset}", "topic": "pp", "partition": 0, "offset": offset, "value": b"x",
        "value_bytes": 1, "headers": "[]", "timestamp_ms": 0, "stored_at_ms": 0, "is_remembered": False,
        "key": None,
        **changed,
    }  # fmt: skip


def test_a_service_that_runs_takes_up_a_model_that_comes_back_as_a_new_one(world: OutcomeWorld) -> None:
    erasure(world, "churn").remove()
    send(world, 130, 80, "churn")
    send(world, 130, 80, "fraud")
    judge(world)
    assert world.rows("SELECT model, first_slice_ms FROM model_version ORDER BY model") == [
        ("churn", at(130)), ("fraud", at(0)),
    ]  # fmt: skip
    rows = dict(world.rows("SELECT model, sum(rows) FROM slice_profile GROUP BY model"))
    assert rows == {"churn": 320, "fraud": 840}
    assert world.rows("SELECT revision FROM reference_pointer WHERE model = 'churn'") == [(1,)]
    assert world.rows("SELECT count(*) FROM model_column WHERE model = 'churn'") == world.rows(
        "SELECT count(*) FROM model_column WHERE model = 'fraud'"
    )
    assert world.rows("SELECT count(*) FROM result WHERE model = 'churn'") != [(0,)]
    assert world.rows("SELECT stopped_reason FROM partition_state WHERE stopped_reason IS NOT NULL") == []


def test_one_version_goes_and_the_other_stays(world: OutcomeWorld) -> None:
    send(world, 130, 20, "churn", version="2")
    judge(world)
    gone = erasure(world, "churn", "1").remove()
    assert "truth" not in gone.rows
    assert world.rows("SELECT DISTINCT model, version FROM slice_profile ORDER BY 1, 2") == [
        ("churn", "2"), ("fraud", "1"),
    ]  # fmt: skip
    assert world.rows("SELECT count(*) FROM alert WHERE model = 'churn' AND version = '1'") == [(0,)]
    assert world.rows("SELECT count(*) FROM partition_model WHERE model = 'churn'") != [(0,)]


def test_an_incident_of_two_models_goes_on_as_that_of_the_other(engine: Engine, database_url: str) -> None:
    world = incident_world.World(engine, database_url)
    world.see(window(0, ["age"], model="churn"), window(0, ["age"], model="fraud"))
    (id_,) = world.ids()
    with immediate(engine) as connection:
        connection.execute(
            insert(tables.model_version),
            [version("churn"), version("fraud")],
        )
        sent = tables.outbox.update().where(tables.outbox.c.sequence == 1)
        connection.execute(sent.values(state="delivered"))
    ModelErasure(world.configuration, engine, world.clock, Target("churn")).remove()
    assert places(engine, b"churn") == {"audit.path"}
    assert world.ids() == [id_]
    latest = world.latest()
    assert (latest.alert.model, [one.model for one in latest.members]) == ("fraud", ["fraud"])
    with reading(engine) as connection:
        kept = connection.execute(select(tables.incident)).one()
        columns = connection.execute(select(tables.incident_column.c.column)).scalars().all()
    assert (kept.model, kept.kind, kept.state, list(columns)) == ("fraud", Kind.DRIFT, "firing", ["age"])
    world.see(window(1, ["age", "income"], model="fraud"))
    assert world.ids() == [id_]


def test_the_command_shows_what_would_go_and_takes_it_when_told_to(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configured(engine, tmp_path)
    mixed = [json.loads(letter(3, model)["value"]) for model in ("churn", "fraud")]
    batch = {"headers": written_headers([("content-type", b"application/cloudevents-batch+json")])}
    events = [{"specversion": "1.0", "id": "x", "source": "s", "type": "t", "data": one} for one in mixed]
    with immediate(engine) as connection:
        connection.execute(insert(tables.model_version), [version("churn")])
        letters = [letter(1, "churn"), letter(2, "churn", value=b"churn?"), letter(4, "fraud")]
        letters.append(letter(3, "", value=json.dumps(events).encode(), **batch))
        connection.execute(insert(tables.dead_letter), letters)
    before = rows_of(engine)
    assert cli.run(["erase", "model", "churn", "-c", file]) == 0
    shown = capsys.readouterr().out
    assert "dead_letter                     1 rows" in shown
    assert "1 dead letters hold events of other models too, and stay" in shown
    assert "1 dead letters cannot be read but name it, and stay" in shown
    assert "2 rows of churn found; --yes removes them" in shown
    assert rows_of(engine) == before
    assert cli.run(["erase", "model", "churn", "-c", file, "--yes", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["erased"], said["rows"]) == (True, {"dead_letter": 1, "model_version": 1})
    assert cli.run(["erase", "model", "churn", "-c", file]) == 2
    assert "nothing is stored of churn" in capsys.readouterr().err
    with reading(engine) as connection:
        ((path, detail),) = connection.execute(select(tables.audit.c.path, tables.audit.c.detail))
    assert (path, detail) == ("erase model churn", "2 rows")


def version(model: str) -> dict[str, Any]:
    return {"model": model, "version": "1", "role": "champion", "first_slice_ms": 0, "created_at_ms": 0}


def test_messages_that_list_several_models_are_left(engine: Engine, database_url: str) -> None:
    world = incident_world.World(engine, database_url)
    now = instant(START_MS)
    drifted = [DriftedStream(m, "1", "age", "", "features", 9.0, 0.3, 10, 1, "x") for m in ("churn", "fraud")]
    digest = Digest(now, now, True, 0.1, 5, tuple(drifted), 7)
    held = [HeldIncident(m, m, "1", Severity.WARN, "firing", "x") for m in ("churn", "fraud")]
    said: list[DigestNotice | HeldNotice] = [
        DigestNotice("d", digest, now),
        HeldNotice("h", tuple(held), 9, "20 per hour", now),
    ]
    row = {
        "sequence": 0, "receiver": "hook", "state": "delivered", "attempts": 1, "not_before_ms": 0,
        "lease_until_ms": 0, "created_at_ms": 0,
    }  # fmt: skip
    with immediate(engine) as connection:
        connection.execute(insert(tables.model_version), [version("churn"), version("fraud")])
        rows = [{**row, "id": one.id, "alert_id": one.id, "payload": encode(one)} for one in said]
        connection.execute(insert(tables.outbox), rows)
    ModelErasure(world.configuration, engine, world.clock, Target("churn")).remove()
    with reading(engine) as connection:
        query = select(tables.outbox.c.payload).order_by(tables.outbox.c.id)
        left, list_ = (decode(text) for text in connection.execute(query).scalars())
    assert isinstance(left, DigestNotice)
    assert isinstance(list_, HeldNotice)
    assert ([one.model for one in left.digest.listed], left.digest.listed_total) == (["fraud"], 6)
    assert ([one.model for one in list_.incidents], list_.total) == (["fraud"], 8)


# --- an event -----------------------------------------------------------------------------------------------


def plant(world: OutcomeWorld) -> None:
    """Leave traces of one event wherever one can leave any."""
    feature = {"age": VALUE, "origin": "EWR"}
    sent = {
        "event_id": ID, "model": "churn", "version": "1", "timestamp": at(131), "features": feature,
        "prediction": 1,
    }  # fmt: skip
    world.append("pp", sent)
    world.append("ll", {"event_id": ID, "model": "churn", "timestamp": at(132), "label": 1})
    world.append("pp", {**sent, "timestamp": at(132) + 400 * 86_400_000})  # of the future
    world.append("pp", {**sent, "timestamp": "when it rained"})
    send(world, 131, 40, "churn")
    judge(world)
    trace = {"event_id": ID, "offset": 3, "values": {"age": str(VALUE)}}
    with immediate(world.engine) as connection:
        connection.execute(
            insert(tables.half_message),
            [
                half(7, "s", name=f"seldon:s:{ID}", key=ID.encode(), status="paired", value=b""),
                half(8, "s", value=json.dumps({"id": ID, "age": VALUE}).encode()),
                half(9, "s"),
            ],
        )
        connection.execute(
            insert(tables.retraining_run).values(
                id="r",
                incident_id="i",
                receiver="hook",
                model="churn",
                version="1",
                state="done",
                reason="",
                request=json.dumps({"format": 1, "findings": [trace]}),
                trigger="incident",
                actor="",
                created_at_ms=0,
                updated_at_ms=0,
                attempts=0,
                not_before_ms=0,
                lease_until_ms=0,
            )
        )


def needles() -> list[bytes]:
    """Id, value and hashes of the planted event, as they may be written."""
    traced = Event("churn", ID)
    return [
        *(spelt.encode() for spelt in traced.spellings), str(VALUE).encode(),
        traced.hash.to_bytes(8, "little"), traced.hash.to_bytes(8, "big"), str(traced.hash).encode(),
        str(traced.key).encode(),
    ]  # fmt: skip


def test_no_trace_of_an_event_is_left(
    any_world: OutcomeWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, file = any_world, configured(any_world.engine, tmp_path)
    plant(world)
    counts = counted(world)
    of_another = event.EventErasure(world.configuration, world.engine, world.clock, Event("fraud", ID))
    # Messages and halves do not say of which model an example is; a letter that cannot be read says nothing.
    assert {one.where for one in of_another.find()} == {
        "dead_letter", "half_message", "outbox", "retraining_run",
    }  # fmt: skip
    assert places(world.engine, *needles()) == {
        "dead_letter.value", "half_message.name", "half_message.key", "half_message.value",
        "pending.key", "truth.key", "slice_profile.bytes", "result.attribution", "alert.state_bytes",
        "outbox.payload", "retraining_run.request",
    }  # fmt: skip
    before = rows_of(world.engine)
    assert cli.run(["erase", "event", ID, "--model", "churn", "-c", file, "--json"]) == 0
    found = {one["where"]: one["rows"] for one in json.loads(capsys.readouterr().out)["found"]}
    assert rows_of(world.engine) == before
    assert cli.run(["erase", "event", ID, "--model", "churn", "-c", file, "--yes"]) == 0
    said = capsys.readouterr().out
    assert found.keys() == {
        "dead_letter", "half_message", "pending", "truth", "slice_profile", "result", "alert", "outbox",
        "retraining_run",
    }  # fmt: skip
    assert all(where in said for where in found)
    assert "Kafka" in said
    assert places(world.engine, *needles()) == set()
    assert counted(world) == counts
    if world.engine.dialect.name == "sqlite":
        database = Path(str(world.engine.url.database))
        files = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
        assert not any(spelt.encode() in files for spelt in Event("churn", ID).spellings)
    judge(world)
    assert cli.run(["erase", "event", ID, "--model", "churn", "-c", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] == []
    assert world.rows("SELECT path FROM audit") == [("erase event --model churn",)]


def counted(world: OutcomeWorld) -> list[Any]:
    """Counts of all slices, and identity of the accounting."""
    found: list[Any] = []
    with reading(world.engine) as connection:
        for row in connection.execute(select(tables.slice_profile).order_by(tables.slice_profile.c.id)):
            binning = lifecycle.load(connection, row.reference_hash).binning if row.reference_hash else None
            profile = Profile.from_bytes(bytes(row.bytes), binning)
            totals = {name: (one.ok, one.sum, one.highest) for name, one in profile.summaries.items()}
            found.append((row.id, profile.rows, profile.counts.tolist(), totals))
    return found


def test_words_of_people_are_shown_and_left(engine: Engine, database_url: str) -> None:
    world = incident_world.World(engine, database_url)
    with immediate(engine) as connection:
        row = {"id": "d", "model": "churn", "version": "1", "at_ms": 0, "source": "api", "actor": "Ann"}
        connection.execute(insert(tables.deployment), [{**row, "comment": f"because of {ID}"}])
    erasing = event.EventErasure(world.configuration, engine, world.clock, Event("churn", ID))
    (only,) = erasing.remove()
    assert (only.where, only.rows) == ("deployment.comment", 1)
    assert places(engine, ID.encode()) == {"deployment.comment"}


def test_every_table_is_looked_through_or_holds_nothing_of_an_event() -> None:
    searched = {
        "dead_letter", "half_message", "pending", "truth", "slice_profile", "result", "alert", "outbox",
        "retraining_run", *(table.name for table, _ in event.WORDS),
    }  # fmt: skip
    assert searched | event.CLEAN.keys() == set(metadata.tables)
    assert searched & event.CLEAN.keys() == set()


def test_an_empty_id_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configured(engines.create(f"sqlite:///{tmp_path / 'none.db'}"), tmp_path)
    assert cli.run(["erase", "event", "", "--model", "churn", "-c", file]) == 2
    assert "EVENT_ID is empty" in capsys.readouterr().err
