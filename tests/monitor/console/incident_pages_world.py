"""Incidents with stored results behind them, requests for training, messages and silences, for pages."""

import json

from fastapi.testclient import TestClient
from sqlalchemy import select, update

from alerting.alert import Alert, step
from alerting.finding import Finding, WindowObservation, instant
from alerting.policy import AlertPolicy
from alerting.retraining.catalog import targets
from monitor.incidents.recording import record
from monitor.store.engine import immediate, reading
from monitor.store.tables import judgement, outbox, result
from monitor.web.app import create_app
from monitor.web.console.forms import COOKIE, FIELD
from schemas.verdict import Lane, MovedBin
from tests.alerting.retraining.factory import placed
from tests.monitor.web_world import MINUTE, NOW_MS, START_MS, World

HOSTILE = "a/b <i>é</i>"
HOOK = {"type": "webhook", "url": "https://example.org/hook", "secret_env": "HOOK"}
MAINTENANCE = [
    {
        "match": {"model": "m*"},
        "weekly": {"from": "22:00", "until": "23:00", "days": ["sun"]},
        "reason": "backups",
    },
    {
        "match": {"model": "none"},
        "from": "2025-12-31T00:00:00Z",
        "until": "2026-01-05T00:00:00Z",
        "reason": "move",
    },
]


def receivers():
    example = targets()["airflow"].examples()[0]
    training = placed(example.options, "http://127.0.0.1:1")
    return {"hook": HOOK, "train": {**training, "approval": "manual"}, "dry": {**training, "dry_run": True}}


class IncidentWorld(World):
    """A world with an alert whose results are stored, and one of a model with a hostile name."""

    judged: Alert
    hostile: Alert


def made_world(url, models=30):
    """An incident with judged results, one of a model with a hostile name, one each of many models."""
    world = IncidentWorld(
        url,
        receivers=receivers(),
        alerts={
            "routes": [{"match": {}, "to": ["hook"]}, {"match": {"model": "m"}, "to": ["train"]}],
            "group": {"wait": "0s", "across_models": False},
            "maintenance": MAINTENANCE,
        },
    )
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 40), shift=2.0)
    for minute in (10, 20, 30):
        world.judge(minute)
    world.judged = judged_alert(world, 20)
    world.hostile = world.alert(model=HOSTILE)
    for number in range(models):
        world.alert(model=f"p{number:02}", index=number % 3)
    world.resolved_alert(0)
    return world


def judged_alert(world, minute):
    """Open an alert whose findings have stored results."""
    start_ms = START_MS + minute * MINUTE
    with reading(world.engine) as connection:
        rows = connection.execute(
            select(result)
            .join(judgement, judgement.c.id == result.c.judgement_id)
            .where(result.c.start_ms == start_ms, result.c.segment == "", result.c.column.in_(["x", "score"]))
        ).all()
    findings = tuple(
        _finding(row, start_ms) for row in sorted(rows, key=lambda row: row.column, reverse=True)
    )
    window = WindowObservation("m", "1", start_ms, start_ms + 10 * MINUTE, findings=findings)
    alert, changes = step(None, window, AlertPolicy())
    assert alert is not None
    with immediate(world.engine) as connection:
        record(connection, world.configuration, alert, changes, NOW_MS)
    return alert


def _finding(row, start_ms):
    moved = tuple(MovedBin(**one) for one in json.loads(row.moved))
    times = instant(start_ms), instant(start_ms + 10 * MINUTE)
    return Finding(
        row.column, "", Lane.FEATURES if row.column == "x" else Lane.PREDICTIONS, row.detector, *times,
        psi=row.psi, psi_debiased=row.psi_debiased, psi_low=row.psi_low, psi_high=row.psi_high,
        statistic=row.statistic, threshold=row.threshold, explanation=row.explanation, moved=moved,
    )  # fmt: skip


def client_of(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


def send(client, path, **fields):
    """Send a form as a page does."""
    if COOKIE not in client.cookies:
        client.get("/incidents")
    return client.post(path, data={FIELD: client.cookies[COOKIE], "back": path, **fields})


def kill_messages(world, receiver, **values):
    """Give up every message to a receiver; how many."""
    with immediate(world.engine) as connection:
        dead = {"state": "dead", "finished_at_ms": NOW_MS, "last_error": "410 <Gone>", "attempts": 3}
        return connection.execute(
            update(outbox).where(outbox.c.receiver == receiver).values({**dead, **values})
        ).rowcount


def states_of(world, receiver):
    with reading(world.engine) as connection:
        query = select(outbox.c.id, outbox.c.state).where(outbox.c.receiver == receiver)
        return {row.id: row.state for row in connection.execute(query)}
