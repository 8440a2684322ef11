"""Incidents that ask for training, and a target that behaves like the real one, for tests."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import select

from alerting.alert import step
from alerting.retraining.catalog import build, targets
from alerting.retraining.options import TargetOptions
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.incidents.actions import Actions
from monitor.incidents.recording import record
from monitor.retraining.decisions import Decisions
from monitor.retraining.retrainer import Retrainer
from monitor.store.alerts import load_for
from monitor.store.engine import immediate, reading
from monitor.store.queries import incidents as queries
from monitor.store.tables import retraining_run
from monitor.telemetry import Telemetry
from tests.alerting.factory import START_MS
from tests.alerting.retraining.factory import fake_of, placed

NOW_MS = START_MS + 7_200_000
DAY_MS = 86_400_000


class World:
    """An incident's model, a database, and a target that behaves like the real one."""

    def __init__(self, engine, url, server, cls, example, **options):
        self.engine, self.server, self.clock = engine, server, ManualClock(NOW_MS)
        self.telemetry = Telemetry()
        entry = {**placed(example.options, server.address), **options}
        self.configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
                "database_url": url,
                "http": {"public_url": "https://driftline.example"},
                "streams": [{"topic": "p", "kind": "predictions"}],
                "defaults": {"windows": ["10m"]},
                "alerts": {"routes": [{"match": {}, "to": ["train", "hook"]}], "group": {"wait": "0s"}},
                "receivers": {
                    "train": entry,
                    "hook": {"type": "webhook", "url": "https://example.org/hook", "secret_env": "S"},
                },
            }
        )
        target_options = self.configuration.receivers["train"]
        assert isinstance(target_options, TargetOptions)
        environment = placed(example.environment, server.address)
        self.target = build("train", target_options, environment, self.clock.now_ms)
        self.retrainer = Retrainer(
            self.configuration, engine, {"train": self.target}, self.clock, random.Random(1), self.telemetry
        )
        self.actions = Actions(self.configuration, engine, self.clock, self.telemetry)
        self.decisions = Decisions(self.configuration, engine, self.clock, self.telemetry)

    def see(self, *observations):
        for observation in observations:
            with immediate(self.engine) as connection:
                before = load_for(connection, observation)
                after, changes = step(before, observation, self.configuration.alerts.policy)
                if after is not None:
                    record(connection, self.configuration, after, changes, self.clock.now_ms())
        return after

    def rows(self):
        with reading(self.engine) as connection:
            return connection.execute(select(retraining_run).order_by(retraining_run.c.created_at_ms)).all()

    def row(self):
        (row,) = self.rows()
        return row

    def told(self, incident_id):
        with reading(self.engine) as connection:
            return [
                (row.cause, json.loads(row.told))
                for row in queries.events(connection, incident_id)
                if row.change == "retraining"
            ]

    def work(self, span_ms=0):
        self.clock.advance(span_ms)
        return self.retrainer.work()


@contextmanager
def training(engine, url) -> Iterator[Callable[..., World]]:
    """Make worlds, each with a target of a type; they are gone afterwards."""
    with ExitStack() as stack:

        def made(name="airflow", at=0, **options):
            cls = targets()[name]
            example = cls.examples()[at]
            server = stack.enter_context(fake_of(cls, example))
            world = World(engine, url, server, cls, example, **options)
            stack.callback(world.retrainer.close)
            return world

        yield made


def launched(server):
    """Number of runs that the target has."""
    return len(server.runs)
