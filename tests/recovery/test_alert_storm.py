"""Ten thousand incidents, a receiver that fails, fifty kills: nothing lost, everything in order."""

import base64
import http.server
import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from alerting.alert import step
from monitor.config import Configuration
from monitor.incidents.recording import record
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.alerts import load_for
from monitor.store.engine import immediate, reading
from monitor.store.tables import incident, outbox
from tests.alerting.factory import window

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
ROOT = Path(__file__).resolve().parents[2]


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it was sent; of ten calls three fail, one of them after it was kept."""

    daemon_threads = True

    def __init__(self, seed):
        super().__init__(("127.0.0.1", 0), Handler)
        self.rng, self.lock = random.Random(seed), threading.Lock()
        self.came = []
        self.failures = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A killed process leaves its connections behind."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        assert isinstance(server, Receiver)
        with server.lock:
            luck = server.rng.random()
            if luck >= 0.2:  # kept, though the answer of some is an error
                server.came.append(
                    (
                        self.headers["webhook-id"],
                        body["data"]["id"],
                        body["data"]["sequence"],
                        body["data"]["state"],
                    )
                )
            server.failures += luck < 0.3
        self.send_response(503 if luck < 0.3 else 204)
        self.end_headers()

    def log_message(self, *_):
        """Stay quiet."""


def configuration(url):
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
            "database_url": url,
            "streams": [{"topic": "p", "kind": "predictions"}],
            "alerts": {
                "routes": [{"match": {}, "to": ["hook"]}],
                "group": {"wait": "0s", "across_models": False},
            },
            "receivers": {"hook": {"type": "webhook", "url": "https://example.org", "secret_env": "S"}},
        }
    )


def storm(engine, settings, incidents, rng):
    """Every incident opens, most of them develop, half of them end."""
    with immediate(engine) as connection:
        for number in range(incidents):
            model, windows = f"m{number:05}", [window(0, ["age"], model=f"m{number:05}")]
            if rng.random() < 0.7:
                windows.append(window(1, ["age", "score"], model=model))
            if rng.random() < 0.5:
                windows += [window(at, model=model) for at in (2, 3, 4)]
            for one in windows:
                before = load_for(connection, one)
                after, changes = step(before, one, settings.alerts.policy)
                assert after is not None
                record(connection, settings, after, changes, int(time.time() * 1_000))


def waiting(engine):
    with reading(engine) as connection:
        query = select(func.count()).select_from(outbox).where(outbox.c.state == "waiting")
        return connection.execute(query).scalar_one()


def deliver_through_kills(url, engine, receiver, kills, rng, patience_s):
    """Start the deliverer, kill it, start it again; let the last one finish."""
    hook = f"http://127.0.0.1:{receiver.server_port}/hook"
    command = [sys.executable, "-m", "tests.recovery.deliver_process", url, hook, SECRET]
    for _ in range(kills):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.9, 2.2))
        process.kill()
        process.wait()
        # The leases of the dead run out after two minutes; nobody wants to wait for that fifty times.
        with immediate(engine) as connection:
            connection.execute(update(outbox).values(lease_until_ms=0))
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + patience_s
    try:
        while waiting(engine) and time.monotonic() < deadline:
            time.sleep(0.5)
            with immediate(engine) as connection:
                connection.execute(update(outbox).where(outbox.c.attempts > 2).values(not_before_ms=0))
    finally:
        process.kill()
        process.wait()
    assert waiting(engine) == 0


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    ("incidents", "kills"),
    [(80, 2), pytest.param(10_000, 50, marks=pytest.mark.full)],
)
def test_every_incident_is_told_to_its_end(database_url, incidents, kills):
    engine = engines.create(database_url)
    schema.upgrade(engine)
    rng, receiver = random.Random(incidents), Receiver(7)
    storm(engine, configuration(database_url), incidents, rng)
    deliver_through_kills(database_url, engine, receiver, kills, rng, patience_s=600 + incidents / 10)
    receiver.shutdown()
    receiver.server_close()
    with reading(engine) as connection:
        truth = {row.id: (row.sequence, row.state) for row in connection.execute(select(incident))}
        written = set(connection.execute(select(outbox.c.id)).scalars())
        states = set(connection.execute(select(outbox.c.state)).scalars())
    engine.dispose()
    assert receiver.failures > 0.2 * incidents
    assert states == {"delivered"}
    first: dict[str, tuple[str, int, str]] = {}
    for id_, incident_id, sequence, state in receiver.came:
        first.setdefault(id_, (incident_id, sequence, state))
    assert set(first) == written  # nothing lost, nothing invented
    told = defaultdict(list)
    for incident_id, sequence, state in first.values():
        told[incident_id].append((sequence, state))
    assert len(told) == incidents
    for incident_id, steps in told.items():
        assert steps == sorted(steps)  # in order
        assert [sequence for sequence, _ in steps] == list(range(1, truth[incident_id][0] + 1))
        assert steps[-1][1] == truth[incident_id][1]  # to the end
