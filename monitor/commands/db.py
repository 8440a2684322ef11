"""``driftline db``: the database's tables."""

from __future__ import annotations

import click

from monitor.config import load
from monitor.options import configuration_option, json_option, print_json
from monitor.store import engine, schema


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
    finally:
        database.dispose()
    where = engine.describe(database.url)
    if as_json:
        print_json({"database": where, "before": before, "after": after})
    elif before == after:
        click.echo(f"{where}: at revision {after} already")
    else:
        click.echo(f"{where}: upgraded from {before or 'nothing'} to {after}")
