"""How the service is doing, gathered from the database, and from Kafka if it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from alerting.alert import OPEN_STATES
from monitor.config import Configuration
from monitor.config.values import write_instant
from monitor.judging.standing import ModelStanding, standings
from monitor.registry import read_columns
from monitor.store import outbox, schema
from monitor.store.engine import describe, reading
from monitor.store.positions import Place
from monitor.store.queries.times import FRESH_MS, watermarks
from monitor.store.tables import alert, dead_letter, partition_state
from monitor.store.tables import outbox as outbox_table
from schemas.duration import format_duration

DAY_MS = 86_400_000


@dataclass(frozen=True)
class PartitionStanding:
    """Where reading of one partition stands; `lag` is None if Kafka does not say."""

    topic: str
    partition: int
    kind: str
    next_offset: int
    lag: int | None
    newest_event: str | None
    seen_at: str | None
    stopped_reason: str | None


@dataclass(frozen=True)
class Status:
    """Everything that ``driftline status`` shows.

    `attention` are sentences, each about something that a person should look at.
    """

    database: str
    revision: str
    kafka: str
    partitions: list[PartitionStanding]
    models: list[ModelStanding]
    open_alerts: dict[str, int]
    dead_letters_last_day: int
    deliveries_waiting: int
    deliveries_dead_last_day: int
    attention: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Fields for JSON."""
        return {"ok": not self.attention, **asdict(self)}


def gather(
    engine: Engine, configuration: Configuration, now_ms: int, ends: Mapping[Place, int] | str
) -> Status:
    """Find out how the service is doing.

    Parameters
    ----------
    engine : Engine
    configuration : Configuration
    now_ms : int
        Wall clock.
    ends : mapping of Place to int, or str
        Offset after the last message of each partition, or why Kafka does not say.

    Raises
    ------
    StoreError
        If the database is not up to date.
    Unavailable
        If it is away.
    """
    schema.require(engine)
    with reading(engine) as connection:
        marks = watermarks(connection, configuration, now_ms)
        columns = read_columns(connection, _models_with_files(configuration))
        models = standings(connection, configuration, marks, columns)
        rows = connection.execute(select(partition_state).order_by("topic", "partition")).all()
        partitions = [_partition(row, {} if isinstance(ends, str) else ends) for row in rows]
        letters = _count(connection, dead_letter, dead_letter.c.stored_at_ms >= now_ms - DAY_MS)
        waiting = _count(connection, outbox_table, outbox_table.c.state == outbox.WAITING)
        dead = _count(
            connection,
            outbox_table,
            outbox_table.c.state == outbox.DEAD,
            outbox_table.c.finished_at_ms >= now_ms - DAY_MS,
        )
        open_alerts = _open_alerts(connection)
    attention = [
        *_stopped(partitions),
        *_unread(rows, now_ms),
        *(f"{m.model}/{m.version}: {m.problem}" for m in models if m.problem),
        *_counted(open_alerts.get("firing", 0), "alert is firing", "alerts are firing"),
        *_counted(letters, "dead letter in the last day", "dead letters in the last day"),
        *_counted(dead, "delivery was given up in the last day", "deliveries were given up in the last day"),
    ]
    return Status(
        database=describe(engine.url),
        revision=schema.head(),
        kafka=f"unknown: {ends}" if isinstance(ends, str) else configuration.kafka.bootstrap_servers,
        partitions=partitions,
        models=models,
        open_alerts=open_alerts,
        dead_letters_last_day=letters,
        deliveries_waiting=waiting,
        deliveries_dead_last_day=dead,
        attention=attention,
    )


def _models_with_files(configuration: Configuration) -> list[str] | None:
    """Models whose reference is to come from a file, which is tried on their columns; None: any."""
    if configuration.for_model("").reference.file is not None:
        return None
    settings_of = configuration.for_model
    return [name for name in configuration.models if settings_of(name).reference.file is not None]


def _partition(row: Any, ends: Mapping[Place, int]) -> PartitionStanding:
    end = ends.get(Place(row.topic, row.partition))
    return PartitionStanding(
        topic=row.topic,
        partition=row.partition,
        kind=row.kind,
        next_offset=row.next_offset,
        lag=None if end is None else max(0, end - row.next_offset),
        newest_event=write_instant(row.max_event_ms),
        seen_at=write_instant(row.seen_at_ms),
        stopped_reason=row.stopped_reason,
    )


def _count(connection: Connection, table: Any, *where: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _open_alerts(connection: Connection) -> dict[str, int]:
    query = select(alert.c.state, func.count()).where(alert.c.state.in_(OPEN_STATES))
    return {str(row[0]): int(row[1]) for row in connection.execute(query.group_by(alert.c.state))}


def _stopped(partitions: list[PartitionStanding]) -> list[str]:
    return [
        f"{p.topic}/{p.partition} is stopped: {p.stopped_reason} (accept the loss: driftline partitions "
        f"resume --topic {p.topic} --partition {p.partition} --at earliest)"
        for p in partitions
        if p.stopped_reason
    ]


def _unread(rows: Any, now_ms: int) -> list[str]:
    """Partitions that no process has reported on for a while; stopped ones are told of already."""
    late = [row for row in rows if row.stopped_reason is None and now_ms - row.seen_at_ms > FRESH_MS]
    if not late:
        return []
    since_ms = now_ms - max(row.seen_at_ms for row in late)
    ago = format_duration(since_ms // 1_000 * 1_000)
    number = f"{len(late)} of {len(rows)} partitions"
    return [f"{number} are not being read: the last report is {ago} old (is driftline run running?)"]


def _counted(number: int, one: str, several: str) -> list[str]:
    return [f"{number} {one if number == 1 else several}"] if number else []
