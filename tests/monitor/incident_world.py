"""Incidents in a database, and everything that happens to them, for tests."""

import json

from sqlalchemy import select

from alerting.alert import step
from alerting.notice import decode
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.incidents.actions import Actions
from monitor.incidents.recording import record
from monitor.incidents.reminders import Reminders
from monitor.store.alerts import load_for
from monitor.store.engine import immediate, reading
from monitor.store.queries import incidents as queries
from monitor.store.tables import outbox
from monitor.telemetry import Telemetry
from schemas.verdict import Lane
from tests.alerting.factory import START_MS, finding

NOW_MS = START_MS + 7_200_000
HOUR_MS = 3_600_000
HOOK = {"type": "webhook", "url": "https://example.org/hook", "secret_env": "S"}


def configured(url, **alerts):
    routes = alerts.pop("routes", [{"match": {}, "to": ["hook"]}])
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
            "database_url": url,
            "streams": [{"topic": "p", "kind": "predictions"}],
            "defaults": {"windows": ["10m"], "performance": {"metric": "recall", "slo": 0.5}},
            "alerts": {"routes": routes, "group": {"wait": "0s"}, **alerts},
            "receivers": {"hook": HOOK, "boss": HOOK},
        }
    )


class World:
    def __init__(self, engine, url, **alerts):
        self.engine, self.clock = engine, ManualClock(NOW_MS)
        self.configuration = configured(url, **alerts)
        self.actions = Actions(self.configuration, engine, self.clock, Telemetry())
        self.reminders = Reminders(self.configuration, engine, self.clock)

    def see(self, *observations):
        """Let windows speak as the judges do; the alert of the last one."""
        for observation in observations:
            with immediate(self.engine) as connection:
                before = load_for(connection, observation)
                after, changes = step(before, observation, self.configuration.alerts.policy)
                if after is not None:
                    record(connection, self.configuration, after, changes, self.clock.now_ms())
        return after

    def ids(self):
        with reading(self.engine) as connection:
            return [id_ for _, id_ in queries.incident_ids(connection, (), None, None, 100)]

    def events(self, id_):
        with reading(self.engine) as connection:
            return [(row.change, json.loads(row.told)) for row in queries.events(connection, id_)]

    def messages(self):
        with reading(self.engine) as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.sequence, outbox.c.receiver)).all()
        return [(row.receiver, str(decode(row.payload).change.kind)) for row in rows]

    def latest(self):
        with reading(self.engine) as connection:
            query = select(outbox.c.payload).order_by(outbox.c.sequence.desc()).limit(1)
            return decode(connection.execute(query).scalar_one())

    def pass_time(self, span_ms):
        self.clock.advance(span_ms)
        return self.reminders.sweep()


def missing(column="age", index=0):
    words = "12 % missing, reference 0.1 %"
    return finding(
        column, index, Lane.QUALITY, psi=None, moved=(), explanation=words, detector="quality.missing"
    )
