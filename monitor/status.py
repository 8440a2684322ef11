"""How the service is doing, gathered from the database, and from Kafka if it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from alerting.alert import OPEN_STATES
from monitor.attention import certificates, judging, storage, taking_in, telling
from monitor.attention.problem import Facts, Problem, worst_first
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
from schemas.errors import DriftlineError

DAY_MS = 86_400_000
Ends = Mapping[Place, int] | DriftlineError | str
"""Offset after the last message of each partition; or why Kafka did not say; or why it was not asked."""


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

    Parameters
    ----------
    revision : str or None
        Of the tables; None if they cannot be read.
    readers : int
        Processes that have reported within a minute that they read.
    oldest_delivery : str or None
        When the oldest message that waits was written.
    budget_spent, budget_allowed : float
        False alarms that had to be expected in the latest period of the budget, and those that may be.
    attention : list of str
        Sentences, each about something that a person should look at.
    problems : list of Problem
        The same, the worst first, with what to do.
    """

    database: str
    revision: str | None
    kafka: str
    partitions: list[PartitionStanding] = field(default_factory=list)
    models: list[ModelStanding] = field(default_factory=list)
    open_alerts: dict[str, int] = field(default_factory=dict)
    dead_letters_last_day: int = 0
    deliveries_waiting: int = 0
    deliveries_dead_last_day: int = 0
    attention: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    readers: int = 0
    oldest_delivery: str | None = None
    retraining_waiting: int = 0
    budget_spent: float = 0.0
    budget_allowed: float = 0.0
    database_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Fields for JSON."""
        fields = {**asdict(self), "problems": [problem.as_dict() for problem in self.problems]}
        return {"ok": not self.problems, **fields}


def gather(engine: Engine, configuration: Configuration, now_ms: int, ends: Ends) -> Status:
    """Find out how the service is doing.

    Parameters
    ----------
    engine : Engine
    configuration : Configuration
    now_ms : int
        Wall clock.
    ends : mapping of Place to int, DriftlineError or str
        Offset after the last message of each partition, why Kafka did not say, or why it was not asked.

    Raises
    ------
    StoreError
        If the database is not up to date.
    Unavailable
        If it is away.
    """
    revision = schema.require(engine)
    with reading(engine) as connection:
        marks = watermarks(connection, configuration, now_ms)
        columns = read_columns(connection, _models_with_files(configuration))
        models = standings(connection, configuration, marks, columns)
        rows = connection.execute(select(partition_state).order_by("topic", "partition")).all()
        known = ends if isinstance(ends, Mapping) else None
        facts = Facts(connection, configuration, now_ms, list(rows), known, models, marks)
        budget_spent = judging.budget_spent(facts)
        problems = worst_first([*_problems(facts, ends, budget_spent), *storage.disk(engine)])
        oldest_ms = telling.oldest_waiting_ms(facts)
        fresh = {row.owner_token for row in rows if now_ms - row.seen_at_ms <= FRESH_MS}
        return Status(
            database=describe(engine.url),
            revision=revision,
            kafka=_kafka(configuration, ends),
            partitions=[_partition(row, known or {}) for row in rows],
            models=models,
            open_alerts=_open_alerts(connection),
            dead_letters_last_day=_count(
                connection, dead_letter, dead_letter.c.stored_at_ms >= now_ms - DAY_MS
            ),
            deliveries_waiting=_count(connection, outbox_table, outbox_table.c.state == outbox.WAITING),
            deliveries_dead_last_day=_count(
                connection,
                outbox_table,
                outbox_table.c.state == outbox.DEAD,
                outbox_table.c.finished_at_ms >= now_ms - DAY_MS,
            ),
            attention=[problem.what for problem in problems],
            problems=problems,
            readers=len(fresh),
            oldest_delivery=write_instant(oldest_ms),
            retraining_waiting=telling.retraining_waiting(facts),
            budget_spent=budget_spent,
            budget_allowed=configuration.alerts.budget.count,
            database_bytes=storage.size_bytes(connection),
        )


def unreadable(
    engine: Engine, configuration: Configuration, problem: Problem, ends: Ends, now_ms: int
) -> Status:
    """What can be said without the database.

    Parameters
    ----------
    problem : Problem
        Why it cannot be read.
    ends : mapping, DriftlineError or str
        As for `gather`; of a mapping only that Kafka answered.
    now_ms : int
        Wall clock.
    """
    ending = certificates.running_out(configuration, now_ms)
    problems = worst_first([problem, *_kafka_problems(ends), *ending])
    return Status(
        database=describe(engine.url),
        revision=None,
        kafka=_kafka(configuration, ends),
        attention=[one.what for one in problems],
        problems=problems,
    )


def _problems(facts: Facts, ends: Ends, budget_spent: float) -> Iterator[Problem]:
    """Everything that is wrong; of equally bad things, those that cause others first."""
    for find in (taking_in.stopped, taking_in.unread):
        yield from find(facts)
    yield from _kafka_problems(ends)
    for find in (
        telling.overdue,
        telling.failing,
        judging.firing,
        taking_in.behind,
        judging.held_back,
        judging.waiting,
        taking_in.gaps,
        taking_in.silent,
        judging.references,
        telling.disabled,
        taking_in.dead_letters,
        telling.given_up,
        telling.retraining,
        storage.overdue,
    ):
        yield from find(facts)
    yield from certificates.running_out(facts.configuration, facts.now_ms)
    yield from judging.overspent(facts, budget_spent)


def _kafka_problems(ends: Ends) -> Iterator[Problem]:
    if isinstance(ends, DriftlineError):
        yield taking_in.kafka_unreachable(str(ends).splitlines()[0])


def _kafka(configuration: Configuration, ends: Ends) -> str:
    if isinstance(ends, Mapping):
        return configuration.kafka.bootstrap_servers
    return f"unknown: {str(ends).splitlines()[0]}"


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
