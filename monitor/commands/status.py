"""``driftline status``: how the service is doing, on one screen."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click
from sqlalchemy import Engine, select

from monitor.cli import FINDINGS, FINE
from monitor.clock import SystemClock
from monitor.config import Configuration, load
from monitor.options import configuration_option, json_option, print_json
from monitor.status import Status, gather
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.positions import Place
from monitor.store.tables import partition_state
from schemas.errors import DriftlineError

Rows = Sequence[Sequence[str]]


@click.command("status")
@configuration_option
@json_option
def command(config: str, as_json: bool) -> int:
    """Show how the service is doing.

    Exit codes: 0 fine, 1 something needs attention, 3 the database is unavailable.
    """
    configuration = load(config)
    database = engines.create(configuration.database())
    try:
        schema.require(database)
        status = gather(database, configuration, SystemClock().now_ms(), _ends(database, configuration))
    finally:
        database.dispose()
    if as_json:
        print_json(status.as_dict())
    else:
        _show(status)
    return FINDINGS if status.attention else FINE


def _ends(database: Engine, configuration: Configuration) -> Mapping[Place, int] | str:
    """Ends of the partitions, or why Kafka does not tell."""
    from monitor import topic_ends  # loads the Kafka client

    query = select(partition_state.c.topic, partition_state.c.partition)
    with reading(database) as connection:
        places = [Place(row.topic, row.partition) for row in connection.execute(query)]
    try:
        return topic_ends.topic_ends(configuration, places, topic_ends.TIMEOUT_S)
    except DriftlineError as error:
        return str(error).splitlines()[0]


def _show(status: Status) -> None:
    click.echo(f"database {status.database}: revision {status.revision}")
    click.echo(f"kafka {status.kafka}")
    _table(
        ("partition", "kind", "next offset", "lag", "newest event", "last report"),
        [
            (
                f"{p.topic}/{p.partition}", p.kind, str(p.next_offset),
                "unknown" if p.lag is None else str(p.lag), p.newest_event or "-",
                "stopped" if p.stopped_reason else p.seen_at or "-",
            )
            for p in status.partitions
        ],
        "no partition was read yet",
    )  # fmt: skip
    _table(
        ("model", "version", "state", "rows", "watermark", "to judge", "open alerts", ""),
        [
            (
                m.model, m.version, m.state, str(m.rows), m.watermark or "-", str(m.windows_waiting),
                str(m.open_alerts), m.detail,
            )
            for m in status.models
        ],
        "no model was seen yet",
    )  # fmt: skip
    alerts = (
        ", ".join(f"{number} {state}" for state, number in sorted(status.open_alerts.items())) or "none open"
    )
    click.echo(f"alerts: {alerts}")
    click.echo(f"dead letters in the last day: {status.dead_letters_last_day}")
    dead = status.deliveries_dead_last_day
    click.echo(f"deliveries: {status.deliveries_waiting} waiting, {dead} given up in the last day")
    for sentence in status.attention:
        click.echo(click.style("! ", fg="red") + sentence)
    if not status.attention:
        click.echo(click.style("all is well", fg="green"))


def _table(names: Sequence[str], rows: Rows, nothing: str) -> None:
    """Show a table: with lines and colours on a terminal, as plain columns elsewhere."""
    click.echo()
    if not rows:
        click.echo(nothing)
    elif sys.stdout.isatty():
        _rich_table(names, rows)
    else:
        widths = [max(len(row[i]) for row in (names, *rows)) for i in range(len(names))]
        for row in (names, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("  ".join(cells).rstrip())
    click.echo()


def _rich_table(names: Sequence[str], rows: Rows) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*names, box=SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
