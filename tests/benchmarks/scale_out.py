"""Several ingest processes at once, and a database under the commits of many."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy import Engine, select, text

from detectors.profile import profile_batch
from monitor.config import Configuration
from monitor.store import committing, positions, schema
from monitor.store import engine as engines
from monitor.store.committing import Commit, PartitionDelta, SliceDelta
from monitor.store.engine import reading
from monitor.store.months import make_months
from monitor.store.positions import Place
from monitor.store.tables import partition_state
from tests.benchmarks.learned import batch_of, learned, promote_references
from tests.benchmarks.stream import Shape
from tests.kit.kafka import KafkaCluster
from tests.kit.postgres import PostgresServer
from tests.kit.service import Service
from tests.kit.waiting import wait_for

EVERY_S = 5.0  # commit interval, as it is by default
MODELS = 10  # whose slices every commit holds
EVENTS_PER_S = 10_000  # of one simulated process: ids in its commits
WARM_UP = 1_000_000
LEAST_BUSY = 0.2  # of a core; a process below it has no partitions
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: "scale-{number}"}}
database_url: {url}
http: {{port: 0}}
streams: [{{topic: {topic}, kind: predictions}}]
"""


@dataclass(frozen=True)
class Scaled:
    """What so many processes did, and what they and their servers used of the cores meanwhile."""

    rate: float
    """Durable events a second."""
    shares: tuple[float, ...]
    """Of a core, of every ingest process."""
    broker: float
    database: float


@dataclass(frozen=True)
class _Moment:
    at_s: float
    fetched: int
    busy_s: tuple[float, ...]


def workers(cluster: KafkaCluster, server: PostgresServer, shape: Shape, number: int) -> Scaled:
    """Measure so many ingest processes, each kept on a core of its own.

    The broker and PostgreSQL use the same cores, as much as they need.

    Raises
    ------
    RuntimeError
        If one of the processes had nothing to do.
    """
    url = server.url(server.create_database())
    engine = engines.create(url)
    schema.upgrade(engine)
    positions.ensure_counters(engine)
    with TemporaryDirectory() as name:
        paths = [Path(name) / str(at) / "driftline.yaml" for at in range(number)]
        for path in paths:
            path.parent.mkdir()
            path.write_text(
                CONFIGURATION.format(bootstrap=cluster.bootstrap, number=number, url=url, topic=shape.topic)
            )
        promote_references(engine, _configured(url, shape.topic), shape)
        services = [Service(path, "--role", "ingest", "--http-port", "0") for path in paths]
        try:
            for core, service in enumerate(services):
                service.start()
                _pin(service.pid, core)
            roots = [*(service.pid for service in services), cluster.pid(0), server.pid]
            first, last = _first_and_last(engine, roots, shape.events)
        finally:
            for service in services:
                if service.is_running:
                    service.kill()
            engine.dispose()
    seconds = last.at_s - first.at_s
    busy = [(after - before) / seconds for before, after in zip(first.busy_s, last.busy_s, strict=True)]
    if min(busy[:number]) < LEAST_BUSY:
        msg = f"of {number} processes one had nothing to do: {busy}"
        raise RuntimeError(msg)
    return Scaled((last.fetched - first.fetched) / seconds, tuple(busy[:number]), busy[-2], busy[-1])


def _configured(url: str, topic: str) -> Configuration:
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "none"}, "database_url": url,
            "streams": [{"topic": topic, "kind": "predictions"}],
        }
    )  # fmt: skip


def _pin(pid: int, core: int) -> None:
    """Keep a process and the threads that it has, or will have, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core % (os.cpu_count() or 1)})


def _first_and_last(engine: Engine, roots: Sequence[int], events: int) -> tuple[_Moment, _Moment]:
    """Look just after the first commit that follows the warm-up, and after the last before the end."""
    query = select(partition_state.c.fetched)
    moments: list[_Moment] = []

    def is_over() -> bool:
        with reading(engine) as connection:
            fetched = sum(connection.execute(query).scalars())
        if fetched >= WARM_UP and (not moments or fetched > moments[-1].fetched):
            moments.append(_Moment(time.monotonic(), fetched, tuple(map(_busy_s, roots))))
        return fetched >= events * 0.95

    wait_for(is_over, what="the topic was not read to its end", timeout_s=600)
    return moments[0], moments[-1]


@dataclass(frozen=True)
class Commits:
    """What commits of many processes took."""

    p50_ms: float
    p99_ms: float
    late: int
    """Commits that began a second or more after their time."""
    core_share: float
    """Cores that the database's processes were busy on."""
    wal_mib_s: float
    slices_kib: float
    """Profiles in one commit."""


def commits(server: PostgresServer, number: int, seconds: float, *, segments: bool = False) -> Commits:
    """Commit what so many ingest processes would, as often as they would, each on its own partition.

    All of them hold events of the same models, as partitions by entity have it: their windows are rows that
    every process writes. With `segments`, a slice holds ten further profiles.
    """
    url = server.url(server.create_database())
    own = [engines.create(url) for _ in range(max(1, number // 5))]
    schema.upgrade(own[0])
    make_months(own[0], time.time_ns() // 1_000_000)
    positions.ensure_counters(own[0])
    work = _slices(segments=segments)
    took: list[float] = []
    late: list[float] = []
    start_s = time.monotonic() + 1.0

    def commit_at_times(at: int) -> None:
        engine = own[at % len(own)]
        claim = positions.claim(
            engine, Place("simulated", at), kind="predictions", topic_id="", low=0, high=0,
            start_at_end=False, now_ms=_now_ms(),
        )  # fmt: skip
        rng, offset = np.random.default_rng(at), 0
        due_s = start_s + EVERY_S * at / number
        while due_s < start_s + seconds:
            time.sleep(max(0.0, due_s - time.monotonic()))
            began_s = time.monotonic()
            if began_s - due_s > 1.0:
                late.append(began_s - due_s)
            step = int(EVENTS_PER_S * EVERY_S)
            committing.commit(engine, _commit(claim, offset, step, work(), rng), now_ms=_now_ms())
            took.append(time.monotonic() - began_s)
            offset += step
            due_s += EVERY_S

    before_s, before_bytes = _busy_s(server.pid), _log_bytes(own[0])
    threads = [threading.Thread(target=commit_at_times, args=(at,)) for at in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy_s, log_bytes = _busy_s(server.pid) - before_s, _log_bytes(own[0]) - before_bytes
    for engine in own:
        engine.dispose()
    cuts = quantiles(took, n=100)
    kib = sum(len(one.data) for one in work()) / 2**10
    return Commits(
        cuts[49] * 1e3, cuts[98] * 1e3, len(late), busy_s / seconds, log_bytes / seconds / 2**20, kib
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _slices(*, segments: bool) -> Callable[[], list[SliceDelta]]:
    """Make partial profiles of five seconds of ten models, as a process would write them."""
    settings = _configured("sqlite:///none.db", "none").for_model("m000")
    if segments:
        settings = settings.model_copy(update={"segments": ("c0",)})
    shape = Shape("", int(EVENTS_PER_S * EVERY_S) // MODELS)
    reference = learned(settings, shape)
    batch = batch_of(settings, shape)
    profiles = profile_batch(
        batch, settings.slice_ms, reference.binning, reference.hash, settings.sample_per_minute
    )
    profile = next(iter(profiles.values()))
    data = profile.to_bytes()

    def now() -> list[SliceDelta]:
        minute = _now_ms() // 60_000 * 60_000
        return [
            SliceDelta(f"m{number:03d}", "1", minute, reference.hash, profile.rows, data)
            for number in range(MODELS)
        ]

    return now


def _commit(
    claim: positions.Claim, offset: int, step: int, slices: Sequence[SliceDelta], rng: np.random.Generator
) -> Commit:
    delta = PartitionDelta(claim, offset, offset + step, step)
    delta.outcomes["counted"] = step
    delta.max_event_ms = delta.last_event_at_ms = _now_ms()
    delta.models = {one.model: (one.slice_ms, _now_ms()) for one in slices}
    ids = rng.integers(0, 2**63, step, dtype=np.uint64)
    delta.seen = [(_now_ms() // 600_000 * 600_000, ids.tobytes())]
    windows = [
        {
            "model": one.model, "version": one.version, "window": "1h",
            "start_ms": one.slice_ms // 3_600_000 * 3_600_000,
            "end_ms": one.slice_ms // 3_600_000 * 3_600_000 + 3_600_000,
            "touched": 1, "judged": 0, "revision": 0,
        }
        for one in slices
    ]  # fmt: skip
    return Commit([delta], slices=list(slices), windows=windows)


def _busy_s(root: int) -> float:
    """Processor time so far of a process and its children, also of those that have ended."""
    total, ticks = 0, os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile: its time is its parent's now
        if int(entry.name) == root:
            total += sum(int(fields[index]) for index in (11, 12, 13, 14))
        elif int(fields[1]) == root:
            total += int(fields[11]) + int(fields[12])
    return total / ticks


def _log_bytes(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(
            connection.execute(
                text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
            ).scalar_one()
        )
