"""Two versions of Driftline run beside each other while the database is upgraded: nothing is lost.

``python -m tests.upgrades.mixed OLD_CHECKOUT [--refused]`` plays it with the program of another checkout of
this project as the old version, in this environment. The upgrade begins where its migrations end.
With ``--refused``, an old process that starts after the upgrade has to say that it is too old.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from schemas.errors import Unavailable
from tests.acceptance import exactness
from tests.kit.kafka import KafkaCluster
from tests.kit.postgres import PostgresServer
from tests.kit.service import Service, command_path
from tests.kit.waiting import PATIENCE_S, wait_for

PARTITIONS = 6
WINDOW_MS = 600_000
SPACING_MS = 200
MOST_EVENTS = 1_000_000
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: {topic}}}
database_url: {database}
http: {{host: 127.0.0.1, port: 0}}
commit_interval: 1s
topics: {{control: {topic}.control}}
streams: [{{topic: {topic}, kind: predictions, format: json}}]
defaults: {{slice: 1m, windows: [10m], lateness: 2m, horizon: 30d, idle_after: 3s, reference: {{first: 20m}}}}
"""


@dataclass(frozen=True)
class Stage:
    """Where it is played.

    Parameters
    ----------
    kafka : KafkaCluster
    database_url : str
        Of an empty database.
    topic : str
        Not there yet.
    folder : Path
        For configurations and logs.
    old : mapping
        Environment in which the command runs the old version.
    migrate : callable
        Brings the database to the new revision, while the old version runs.
    old_comes_back : bool
        Whether the old version may start on what the new one made of the database.
    per_second : int
        How fast events come, as long as it is played.
    """

    kafka: KafkaCluster
    database_url: str
    topic: str
    folder: Path
    old: Mapping[str, str]
    migrate: Callable[[], None]
    old_comes_back: bool
    per_second: int = 1_200


def play(stage: Stage, told: Callable[[str], object] = print) -> None:
    """Run it and compare what the database holds with what was produced."""
    stage.kafka.create_topic(stage.topic, PARTITIONS)
    stage.kafka.create_topic(f"{stage.topic}.control", 3)
    old = [_service(stage, f"old-{role}", role, stage.old) for role in ("ingest", "evaluate")]
    new = [_service(stage, f"new-{role}", role, os.environ) for role in ("ingest", "evaluate")]
    producing = _Producing(stage)
    engine = engines.create(stage.database_url)
    try:
        for service in old:
            service.start()
        producing.start()
        before = _more(engine, 0, old)
        told(f"{before} messages read by the old version, at revision {schema.revision(engine)}")
        stage.migrate()
        after = _more(engine, _fetched(engine), old)
        told(f"{after} messages read by the old version, at revision {schema.revision(engine)}")
        _kill_and_start(stage, old[0], engine)
        for service in new:
            service.start()
        first = _readers(engine)
        wait_for(lambda: _readers(engine) - first, what="the new version reads nothing")
        told("the new version reads")
        _more(engine, _fetched(engine), new)
        assert [service.terminate() for service in old if service.is_running] in ([0], [0, 0])
        told("the old version has left")
        tally = producing.finish()
        wait_for(lambda: _fetched(engine) >= tally.messages, what="not every message was read", timeout_s=600)
        wait_for(lambda: _is_judged(engine), what="not every window was judged", timeout_s=600)
        with reading(engine) as connection:
            exactness.check_accounting(connection, tally)
            exactness.check_slices(connection, tally)
            judged = exactness.check_results(connection, tally, WINDOW_MS)
            assert judged > 0
        told(f"{tally.messages} messages accounted for, {judged} windows judged once")
        for service in (*old, *new):
            assert "Traceback" not in service.log, service.log
    finally:
        engine.dispose()
        producing.stop()
        for service in (*old, *new):
            if service.is_running:
                service.kill()


def _kill_and_start(stage: Stage, service: Service, engine: Engine) -> None:
    """The old version reads on after a new start, or says why it does not and loses nothing."""
    service.restart_after_kill()
    if stage.old_comes_back:
        _more(engine, _fetched(engine), [service])
        return
    wait_for(lambda: not service.is_running, what="the old version runs on tables that it does not know")
    assert "which this version does not know" in service.log, service.log[-4_000:]


class _Producing:
    """Sends the events in a thread, not faster than they are to come."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._tally: list[exactness.Produced] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._produce)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> exactness.Produced:
        """Send no more; what was sent."""
        self.stop()
        assert self._tally, "the events were not sent"
        return self._tally[0]

    def stop(self) -> None:
        """Send no more, if there is more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)

    def _produce(self) -> None:
        stage = self._stage
        self._tally.append(exactness.produce(stage.kafka.bootstrap, stage.topic, self._paced()))

    def _paced(self) -> Iterator[tuple[int, bytes, exactness.Produced]]:
        stage = self._stage
        messages = exactness.events(23, MOST_EVENTS, PARTITIONS, SPACING_MS)
        for number, message in enumerate(messages):
            if number % (stage.per_second // 10) == 0:
                self._stopping.wait(0.1)
            yield message
            if self._stopping.is_set():  # what was not taken from the events is not counted by them
                return


def _service(stage: Stage, name: str, role: str, environment: Mapping[str, str]) -> Service:
    own = stage.folder / name / "driftline.yaml"  # the log is written beside it
    own.parent.mkdir()
    own.write_text(
        CONFIGURATION.format(bootstrap=stage.kafka.bootstrap, database=stage.database_url, topic=stage.topic)
    )
    return Service(own, "--role", role, "--http-port", "0", environment=environment)


def _fetched(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text("SELECT sum(fetched) FROM partition_state")).scalar() or 0)


def _more(engine: Engine, than: int, services: Sequence[Service]) -> int:
    """Wait until more was read, and committed, while services go on."""

    def more() -> int:
        for service in services:
            assert service.is_running, service.log[-4_000:]
        found = _fetched(engine)
        return found if found > than else 0

    no_tables = (Unavailable, ProgrammingError)
    return wait_for(more, what=f"nothing was read after {than} messages", ignoring=no_tables)


def _readers(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(connection.execute(text("SELECT owner_token FROM partition_state")).scalars())


def _is_judged(engine: Engine) -> bool:
    with reading(engine) as connection:
        waiting = connection.execute(
            text(
                "SELECT count(*) FROM window_state w JOIN reference_pointer p ON p.model = w.model "
                "AND p.version = w.version AND p.from_ms <= w.start_ms WHERE w.touched <> w.judged "
                "AND w.end_ms <= (SELECT max(max_event_ms) FROM partition_model) - 120000"
            )
        ).scalar_one()
        references = connection.execute(text("SELECT count(*) FROM reference_pointer")).scalar_one()
    return bool(waiting == 0 and references == len(exactness.MODELS))


def main(old_checkout: str, *flags: str) -> None:
    """Play it with another checkout as the old version."""
    comes_back = "--refused" not in flags
    environment = {**os.environ, "PYTHONPATH": str(Path(old_checkout).resolve())}
    with (
        tempfile.TemporaryDirectory() as name,
        KafkaCluster(brokers=1) as kafka,
        PostgresServer(fsync=False) as postgres,
    ):
        folder, url = Path(name), postgres.url(postgres.create_database())
        upgrade = [str(command_path()), "db", "upgrade", "-c", str(folder / "new-ingest" / "driftline.yaml")]
        play(Stage(kafka, url, "predictions", folder, environment, lambda: _run(upgrade), comes_back))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    print(done.stdout.strip() or done.stderr.strip())
    done.check_returncode()


if __name__ == "__main__":
    main(*sys.argv[1:])
