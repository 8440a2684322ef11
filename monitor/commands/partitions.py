"""``driftline partitions``: where reading stands, what was lost, and how reading goes on after a loss."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from sqlalchemy import Connection, Engine, select

from monitor.by_hand import write_down
from monitor.clock import SystemClock
from monitor.config import Configuration, load
from monitor.config.values import write_instant
from monitor.kafka_reasons import made
from monitor.options import configuration_option, json_option, print_json
from monitor.source.kafka import KafkaSource
from monitor.stops import rule_in
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.positions import Place, resume
from monitor.store.tables import gap, partition_state
from schemas.errors import UsageError


@click.group("partitions")
def command() -> None:
    """Look at partitions, and let reading go on after events were lost."""


@command.command("list")
@configuration_option
@click.option("--topic", help="Only partitions of this topic.")
@json_option
def list_partitions(config: str, topic: str | None, as_json: bool) -> None:
    """List partitions with their position and the gaps found in them."""
    with _database(load(config)) as database:
        found = listed(database, topic)
    if as_json:
        print_json({"items": found})
        return
    for item in found:
        state = f"stopped: {item['stopped_reason']}" if item["stopped_reason"] else "is read"
        click.echo(f"{item['topic']}/{item['partition']}  next offset {item['next_offset']}  {state}")
        for lost in item["gaps"]:
            accepted = f"accepted {lost['accepted_at']}" if lost["accepted_at"] else "not accepted"
            click.echo(f"  gap found {lost['found_at']}, {accepted}: {lost['reason']}")
    if not found:
        click.echo("no partition was read yet")


@command.command("resume")
@configuration_option
@click.option("--topic", required=True)
@click.option("--partition", required=True, type=click.IntRange(min=0))
@click.option(
    "--at",
    required=True,
    metavar="position|earliest|latest|OFFSET",
    help="First message that is read then; position: where it stopped.",
)
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@json_option
def resume_partition(config: str, topic: str, partition: int, at: str, yes: bool, as_json: bool) -> None:
    """Accept that the events of a gap are lost, or that events break a contract, and let reading go on.

    A partition that a rule of a contract has stopped loses nothing with ``--at position``: what is in it by
    now is taken in as the rule says of single events, and only what comes later can stop it again.

    The process that owns the partition reads on within a few seconds; if none runs, the next one does.
    """
    configuration, place = load(config), Place(topic, partition)
    with _database(configuration) as database:
        item = _stopped(database, place)
        offset, end, topic_id = _start(configuration, place, at, item["next_offset"])
        if not yes:
            _ask(item, offset)
        judged_from = None if rule_in(item["stopped_reason"]) is None else end
        now_ms = SystemClock().now_ms()

        def note(connection: Connection) -> None:
            words = f"partitions resume --topic {topic} --partition {partition} --at {at}"
            write_down(
                connection, words, now_ms, f"goes on at offset {offset} instead of {item['next_offset']}"
            )

        resume(
            database,
            place,
            next_offset=offset,
            topic_id=topic_id,
            now_ms=now_ms,
            judged_from=judged_from,
            beside=note,
        )
    if as_json:
        print_json({"topic": topic, "partition": partition, "next_offset": offset, "topic_id": topic_id})
    else:
        click.echo(f"{topic}/{partition}: goes on at offset {offset} when a process next claims it")


def listed(database: Engine, topic: str | None = None) -> list[dict[str, Any]]:
    """Describe partitions with their gaps, oldest gap first."""
    query = select(partition_state).order_by(partition_state.c.topic, partition_state.c.partition)
    if topic is not None:
        query = query.where(partition_state.c.topic == topic)
    with reading(database) as connection:
        gaps: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in connection.execute(select(gap).order_by(gap.c.id)):
            gaps.setdefault((row.topic, row.partition), []).append(
                {
                    "from_offset": row.from_offset,
                    "to_offset": row.to_offset,
                    "reason": row.reason,
                    "found_at": write_instant(row.found_at_ms),
                    "accepted_at": write_instant(row.accepted_at_ms),
                }
            )
        return [
            {
                "topic": row.topic,
                "partition": row.partition,
                "kind": row.kind,
                "next_offset": row.next_offset,
                "topic_id": row.topic_id,
                "stopped_reason": row.stopped_reason,
                "gaps": gaps.get((row.topic, row.partition), []),
            }
            for row in connection.execute(query)
        ]


@contextmanager
def _database(configuration: Configuration) -> Iterator[Engine]:
    database = engines.create(configuration.database())
    try:
        schema.require(database)
        yield database
    finally:
        database.dispose()


def _stopped(database: Engine, place: Place) -> dict[str, Any]:
    """Find a partition that is stopped."""
    found = [item for item in listed(database, place.topic) if item["partition"] == place.partition]
    name = f"{place.topic}/{place.partition}"
    if not found:
        msg = f"{name} was never read (driftline partitions list shows those that were)"
        raise UsageError(msg)
    if not found[0]["stopped_reason"]:
        msg = f"{name} is not stopped"
        raise UsageError(msg)
    return found[0]


def _start(configuration: Configuration, place: Place, at: str, position: int) -> tuple[int, int, str]:
    """Offset to go on at, the end of the partition, and the identity that the topic has now.

    Raises
    ------
    UsageError
        If Kafka does not have that offset.
    Unavailable
        If Kafka does not answer.
    """
    if at not in ("position", "earliest", "latest") and not at.isdecimal():
        msg = f"--at {at!r} is no place in a partition (use position, earliest, latest, or an offset)"
        raise UsageError(msg)
    options = configuration.kafka.client_options()
    servers = str(options.pop("bootstrap.servers"))
    group, where = configuration.kafka.group_id, configuration.where("kafka", "options")
    source = made(lambda others: KafkaSource(servers, group, others), options, where)
    try:
        low, high = source.range_of(place)
        topic_id = source.topic_id(place.topic)
    finally:
        source.close()
    offset = {"position": position, "earliest": low, "latest": high}.get(at)
    offset = int(at) if offset is None else offset
    if not low <= offset <= high:
        msg = f"--at {at}: {place.topic}/{place.partition} has offsets {low} to {high} (use one of them)"
        raise UsageError(msg)
    return offset, high, topic_id


def _ask(item: dict[str, Any], offset: int) -> None:
    name = f"{item['topic']}/{item['partition']}"
    if not sys.stdin.isatty():
        msg = f"{name}: what is not read is given up for good (say --yes, as nobody can be asked here)"
        raise UsageError(msg)
    click.echo(f"{name} is stopped: {item['stopped_reason']}", err=True)
    click.echo(f"position {item['next_offset']}; what is not read before offset {offset} is lost", err=True)
    click.confirm("go on?", abort=True, err=True)
