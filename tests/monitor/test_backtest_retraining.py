"""What a backtest says would have been trained is what the service asks for, guard by guard."""

import dataclasses
import json

import pytest
from sqlalchemy import select

from alerting.alert import State, step
from alerting.incidents.incident import gather
from alerting.pipeline import Passage, Surroundings
from alerting.policy import AlertPolicy
from alerting.record import Record
from alerting.retraining.guards import Standing
from monitor.backtest import backtest
from monitor.backtest.retraining import LabelCounts, Requests, said
from monitor.backtest.stored import backtest_stored
from monitor.backtest.words import lines
from monitor.config import Configuration
from monitor.judging.judge import Judge
from monitor.performance.judge import OutcomeJudge
from monitor.retraining.proposals import RETRACTED, read_request
from monitor.store import retraining
from monitor.store.engine import immediate, reading
from monitor.store.tables import retraining_run
from tests.alerting.factory import window
from tests.monitor.test_backtest import DAY, FAULT_DAY, START_MS, after, options, quiet, shifted
from tests.monitor.test_backtest_outcomes import Recorded

AIRFLOW = {"type": "airflow", "url": "https://airflow.example.org", "dag_id": "again", "token_env": "T"}
HOOK = {"type": "webhook", "url": "https://example.org/x", "secret_env": "HOOK"}


def configured(defaults=None, policy=None, **guards):
    return Configuration.model_validate(
        {
            **options(defaults=defaults or {}),
            "alerts": {
                "routes": [{"match": {}, "to": ["train", "oncall"], "repeat": "1d"}],
                **(policy or {}),
            },
            "receivers": {"train": {**AIRFLOW, **guards}, "oncall": HOOK},
        }
    )


def day_of(at_):
    return (at_.timestamp() * 1_000 - START_MS) / DAY


def test_a_drift_starts_training_once_with_the_data_since_it_began():
    found = backtest(shifted(quiet()).drop(columns="label"), configured())
    (request,) = found.retraining
    (incident,) = found.incidents
    assert (request.receiver, request.model, request.version) == ("train", "m", "1")
    assert (request.incident_id, request.standing) == (incident.id, "started")
    assert (day_of(request.at), day_of(request.data_from)) == (FAULT_DAY + 1, FAULT_DAY)
    assert day_of(request.data_to) == FAULT_DAY + 1
    assert {one.receiver for one in found.deliveries} == {"oncall"}
    (plain,) = found.as_dict()["retraining"]
    assert plain["at"] == "2026-02-01T00:00:00Z"
    assert set(plain) == {
        "at", "receiver", "model", "version", "incident_id", "standing", "reason", "data_from", "data_to"
    }  # fmt: skip
    json.dumps(plain)


def test_labels_count_when_they_are_known_and_not_before():
    frame = shifted(quiet())
    told = frame.assign(label_timestamp=frame.timestamp + 3_600_000)
    waits = {"labels": {"wait": "2d", "horizon": "5d"}}
    enough = backtest(told, configured(defaults=waits, min_labels=100)).retraining
    assert {one.standing for one in enough} == {"started"}
    # The incident opens a day after the change; labels of that day count two days later.
    assert min(day_of(one.at) for one in enough) == FAULT_DAY + 3
    never = backtest(told, configured(defaults=waits, min_labels=1_000_000)).retraining
    assert {one.standing for one in never} == {"refused"}
    assert all(one.reason.endswith("of the 1,000,000 labels that are asked for have come") for one in never)
    none = backtest(shifted(quiet()).drop(columns="label"), configured(min_labels=1)).retraining
    assert [one.reason for one in none] == ["0 of the 1 labels that are asked for have come"]


@pytest.mark.parametrize(
    ("guards", "second", "reason"),
    [
        ({"cooldown": "1d"}, "started", "the evidence is enough"),
        ({"cooldown": "4w"}, "refused", "the cooldown of 4w goes on for"),
        (
            {"cooldown": "1m", "max_per_week": 1},
            "refused",
            "1 runs were started within a week, 1 are allowed",
        ),
        ({"approval": "manual"}, "proposed", "waits for a person's approval"),
        ({"dry_run": True}, "dry_run", "dry run"),
        ({"evidence": ["quality"]}, "refused", "no finding is of a kind that may start training"),
    ],
)
def test_guards_look_at_what_was_started_before(guards, second, reason):
    frame = quiet(days=44)
    for first, last in ((24, 26), (27, 29)):
        frame.loc[after(frame, first) & ~after(frame, last), "amount"] += 25
    found = backtest(
        frame.drop(columns="label"), configured(policy={"policy": {"clean_windows": 1}}, **guards)
    )
    assert len(found.incidents) == 2
    if guards == {"approval": "manual"}:  # what waits is under way, and nobody approves it
        assert [one.standing for one in found.retraining] == ["proposed", "refused"]
        assert found.retraining[1].reason == "an earlier run of the model is still under way"
        waiting = found.retraining[0]
        assert (day_of(waiting.at), day_of(waiting.data_to)) == (25, 26)  # with what is known by then
        return
    assert len(found.retraining) == 2
    assert found.retraining[1].standing == second
    assert reason in found.retraining[1].reason


class Training(Recorded):
    """A recorded world whose route names a target."""

    def __init__(self, url, route=None, **guards):
        super().__init__(url, performance={"metric": "accuracy", "slo": 0.7, "long": "20m", "short": "10m"})
        plain = {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": url,
            "streams": [{"topic": "pp", "kind": "predictions"}, {"topic": "ll", "kind": "labels"}],
            "defaults": {
                "windows": ["10m"], "slice": "5m", "lateness": "1m", "horizon": "60d",
                "reference": {"first": "1h"}, "labels": {"wait": "5m", "horizon": "2h"},
                "segments": ["origin"],
                "performance": {"metric": "accuracy", "slo": 0.7, "long": "20m", "short": "10m"},
            },
            "alerts": {"routes": [{"match": {}, "to": ["train", "hook"], **(route or {})}]},
            "receivers": {"train": {**AIRFLOW, **guards}, "hook": HOOK},
        }  # fmt: skip
        self.configuration = Configuration.model_validate(plain)
        self.judge = Judge(self.configuration, *self.parts)
        self.outcomes = OutcomeJudge(self.configuration, *self.parts)

    def sweep(self):
        """Judge, and let what is to be started be started and end at once."""
        judged = super().sweep()
        with immediate(self.engine) as connection:
            due = select(retraining_run.c.id).where(retraining_run.c.state == Standing.DUE.value)
            for id_ in connection.execute(due).scalars().all():
                over = {"state": Standing.SUCCEEDED.value, "attempts": 1}
                retraining.change(connection, id_, [Standing.DUE], self.clock.now_ms(), **over)
        return judged

    def asked(self):
        with reading(self.engine) as connection:
            rows = connection.execute(select(retraining_run).order_by(retraining_run.c.incident_id)).all()
        found = []
        for row in rows:
            request = read_request(row.request)
            stands = said(Standing(row.state)), row.reason
            found.append((row.incident_id, row.receiver, *stands, request.data_from, request.data_to))
        return found


@pytest.mark.parametrize(
    "min_labels",
    [pytest.param(0, marks=pytest.mark.full), 150, pytest.param(250, marks=pytest.mark.full), 100_000],
)
def test_the_service_asks_for_the_same(sqlite_url, monkeypatch, min_labels):
    monkeypatch.setattr("monitor.decode.batch._arrived", lambda events, rows: None)  # a table knows of none
    world = Training(sqlite_url, min_labels=min_labels, cooldown="1m")
    world.live(0, 120, per_minute=12)
    world.live(120, 50, per_minute=12, wrong=0.6)
    world.run()
    expected = world.asked()
    world.close()
    found = backtest(world.table(), world.configuration, labels=world.label_table())
    made = [
        (one.incident_id, one.receiver, one.standing, one.reason, one.data_from, one.data_to)
        for one in found.retraining
    ]
    assert expected
    assert sorted(made) == expected
    assert {one[2] for one in expected} == {"refused" if min_labels > 200 else "started"}


def test_a_table_and_what_is_stored_say_the_same(sqlite_url, monkeypatch):
    monkeypatch.setattr("monitor.decode.batch._arrived", lambda events, rows: None)  # a table knows of none
    quiet_hours = {"from": "02:20", "until": "02:40", "zone": "UTC"}
    route = {"repeat": "7m", "quiet": quiet_hours, "escalate": {"after": "12m", "to": ["hook"]}}
    world = Training(sqlite_url, route, min_labels=150, cooldown="1m")
    world.live(0, 120, per_minute=12)
    world.live(120, 50, per_minute=12, wrong=0.6)
    world.live(170, 80, per_minute=12)
    world.beat(256)
    world.sweep()
    stored = backtest_stored(world.configuration, clock=world.clock)
    world.close()
    table = backtest(world.table(), world.configuration, labels=world.label_table())
    assert {one.change for one in stored.deliveries} >= {
        "opened",
        "updated",
        "reminded",
        "escalated",
        "resolved",
    }
    assert stored.deliveries == table.deliveries
    assert stored.retraining == table.retraining
    assert stored.as_dict()["alerts"] == table.as_dict()["alerts"]


@pytest.mark.parametrize(("guards", "standing"), [({"approval": "manual"}, "rejected"), ({}, "started")])
def test_what_is_taken_back_takes_back_what_was_not_started(guards, standing):
    opened, changes = step(None, window(0, ["x"]), AlertPolicy())
    assert opened is not None
    incident = gather(opened.id, 1, [opened])
    around = Surroundings(now_ms=START_MS + DAY)
    requests = Requests(configured(**guards), LabelCounts())
    passage = Passage(incident, (opened,), changes[0], Record(opened.id), targets=("train", "oncall"))
    requests.consider(passage, around)
    gone = dataclasses.replace(opened, state=State.RETRACTED)
    over = dataclasses.replace(passage, incident=gather(opened.id, 2, [gone]), alerts=(gone,))
    requests.consider(over, around)
    (request,) = requests.found
    assert request.standing == standing
    assert (request.reason == RETRACTED) == (standing == "rejected")


def test_lines_say_what_would_have_been_started_and_what_not():
    found = backtest(shifted(quiet()).drop(columns="label"), configured())
    text = [line.text for line in lines(found, "1 per week")]
    data = "data from 2026-01-31 00:00Z to 2026-02-01 00:00Z"
    assert f"    retraining: train would have started 2026-02-01 00:00Z with {data}" in text
    assert "retraining: 1 would have started, 0 refused" in text
    refused = backtest(shifted(quiet()).drop(columns="label"), configured(min_labels=5))
    text = [line.text for line in lines(refused, "1 per week")]
    assert (
        "    retraining: train would not have started: 0 of the 5 labels that are asked for have come" in text
    )
    assert "retraining: 0 would have started, 1 refused" in text
