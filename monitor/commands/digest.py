"""``driftline digest``: what drifted in a week, over everything watched."""

from __future__ import annotations

import click
from sqlalchemy import Engine

from alerting.digest import Digest, document, headline, line, promise
from monitor.cli import FINDINGS, FINE
from monitor.clock import SystemClock
from monitor.config import Configuration, load
from monitor.config.values import read_instant, write_instant
from monitor.options import configuration_option, json_option, print_json
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from schemas.errors import UsageError


@click.command("digest")
@configuration_option
@click.option(
    "--week",
    metavar="INSTANT",
    help="Any instant of the week, such as 2026-01-31.  [default: the last week that is finished]",
)
@json_option
def command(config: str, week: str | None, as_json: bool) -> int:
    """List what drifted in a week, Monday to Sunday (UTC).

    At most a tenth of the listed streams are expected to be false (alerts.digest.level). Exit codes: 0
    nothing drifted, 1 something is listed, 2 no such week, 3 the database is unavailable.
    """
    configuration = load(config)
    database = engines.create(configuration.database())
    try:
        schema.require(database)
        digest = _read(configuration, database, week)
    finally:
        database.dispose()
    if as_json:
        print_json(document(digest))
    else:
        show_digest(digest)
    return FINDINGS if digest.listed_total else FINE


def _read(configuration: Configuration, database: Engine, week: str | None) -> Digest:
    """Read the digest of a week.

    Raises
    ------
    UsageError
        If the week is no instant, or none is named and none is finished.
    """
    from detectors.digest import week_of  # loads the mathematics
    from monitor.judging.digests import read_digest
    from monitor.references.lifecycle import ReferenceCache
    from monitor.store import weeks

    try:
        asked_ms = None if week is None else week_of(read_instant(week))
    except ValueError as error:
        msg = f"--week: {error}"
        raise UsageError(msg) from None
    with reading(database) as connection:
        week_ms = weeks.latest_finished(connection) if asked_ms is None else asked_ms
        if week_ms is None:
            running = str(write_instant(week_of(SystemClock().now_ms())))
            msg = f"no week is finished yet (ask for one: --week {running[:10]})"
            raise UsageError(msg)
        return read_digest(connection, configuration, ReferenceCache().get, week_ms)


def show_digest(digest: Digest) -> None:
    """Show a digest in words."""
    click.echo(click.style(f"{headline(digest)}.", bold=True))
    for stream in digest.listed:
        click.echo(f"  {line(stream)}")
    if digest.listed_total:
        click.echo(promise(digest))
    if not digest.is_finished:
        click.echo("The week is not finished: more windows may come.")
