"""``driftline db``: the database's tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from monitor.clock import SystemClock
from monitor.config import load
from monitor.options import configuration_option, json_option, print_json
from monitor.retention.sweep import Retention
from monitor.store import engine, schema
from monitor.store.backup import back_up
from monitor.store.months import make_months
from monitor.telemetry import Telemetry


@click.group("db")
def command() -> None:
    """Look after the database."""


@command.command("upgrade")
@configuration_option
@json_option
def upgrade(config: str, as_json: bool) -> None:
    """Create the tables, or bring them to what this version needs. All or nothing; may be repeated."""
    database = engine.create(load(config).database())
    try:
        before = schema.revision(database)
        after = schema.upgrade(database)
        make_months(database, SystemClock().now_ms())
    finally:
        database.dispose()
    where = engine.describe(database.url)
    if as_json:
        print_json({"database": where, "before": before, "after": after})
    elif before == after:
        click.echo(f"{where}: at revision {after} already")
    else:
        click.echo(f"{where}: upgraded from {before or 'nothing'} to {after}")


@command.command("clean")
@configuration_option
@json_option
def clean(config: str, as_json: bool) -> None:
    """Add up and remove what is older than `keep` says, now. The service does the same every hour."""
    configuration = load(config)
    database = engine.create(configuration.database())
    try:
        schema.require(database)
        swept = Retention(configuration, database, SystemClock(), Telemetry()).sweep()
    finally:
        database.dispose()
    if as_json:
        print_json(asdict(swept))
        return
    for what, rows in asdict(swept).items():
        click.echo(f"{what.replace('_', ' '):<13}{rows} rows")


@command.command("backup")
@configuration_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def backup(config: str, file: Path, as_json: bool) -> None:
    """Copy a SQLite database into FILE, while the service runs or not.

    FILE must not be there yet. For PostgreSQL use pg_dump or pg_basebackup.
    """
    database = engine.create(load(config).database())
    try:
        schema.require(database)
        size = back_up(database, file)
    finally:
        database.dispose()
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {size:,} bytes")
