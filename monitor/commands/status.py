"""``driftline status``: what is wrong and what to do, then how the service is doing, on one screen."""

from __future__ import annotations

from collections.abc import Collection

import click
from sqlalchemy import Engine, select

from monitor.attention import storage
from monitor.cli import FINDINGS, FINE, UNAVAILABLE
from monitor.clock import SystemClock
from monitor.config import Configuration, load
from monitor.options import configuration_option, json_option, print_json
from monitor.status import Ends, Status, gather, unreadable
from monitor.status_screen import screen
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.positions import Place
from monitor.store.tables import partition_state
from schemas.errors import DriftlineError, StoreError, Unavailable


@click.command("status")
@configuration_option
@json_option
def command(config: str, as_json: bool) -> int:
    """Show what is wrong, if anything, and what to do; then how the service is doing.

    The worst comes first, with the next command, and the section of docs/operations.md that says more. Exit
    codes: 0 fine, 1 something needs attention, 3 the database is away, or its tables are of another version.
    """
    configuration = load(config)
    database = engines.create(configuration.database())
    try:
        status, code = _gathered(database, configuration)
    finally:
        database.dispose()
    if as_json:
        print_json(status.as_dict())
    else:
        for line in screen(status):
            click.echo(line)
    return code


def _gathered(database: Engine, configuration: Configuration) -> tuple[Status, int]:
    """The status, and the exit code that it leads to."""
    try:
        schema.require(database)
        ends = _ends(configuration, _places(database))
        status = gather(database, configuration, SystemClock().now_ms(), ends)
    except Unavailable as error:
        problem = storage.away(str(error))
    except StoreError as error:
        problem = storage.schema_old(str(error))
    else:
        return status, FINDINGS if status.problems else FINE
    ends = _ends(configuration, ())
    return unreadable(database, configuration, problem, ends, SystemClock().now_ms()), UNAVAILABLE


def _places(database: Engine) -> list[Place]:
    """Partitions that were ever read."""
    query = select(partition_state.c.topic, partition_state.c.partition)
    with reading(database) as connection:
        return [Place(row.topic, row.partition) for row in connection.execute(query)]


def _ends(configuration: Configuration, places: Collection[Place]) -> Ends:
    """Ends of partitions, or why Kafka does not tell."""
    from monitor import topic_ends  # loads the Kafka client

    try:
        return topic_ends.topic_ends(configuration, places, topic_ends.TIMEOUT_S)
    except DriftlineError as error:
        return error
