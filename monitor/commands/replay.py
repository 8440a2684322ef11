"""``driftline replay``: takes dead letters in again, once what was wrong has been put right."""

from __future__ import annotations

from dataclasses import asdict

import click

from monitor.by_hand import who, write_down
from monitor.clock import SystemClock
from monitor.config import load
from monitor.config.values import read_instant
from monitor.dead_letters.marking import Asking, Marking, mark
from monitor.options import configuration_option, json_option, print_json
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate
from monitor.store.queries.dead_letters import Wanted
from schemas.errors import UsageError

MOST_NAMED = 20


@click.command("replay")
@configuration_option
@click.option("--dead-letters", "dead_letters", is_flag=True, help="Replay dead letters; has to be given.")
@click.option(
    "--id", "ids", type=click.IntRange(min=1), multiple=True, help="Only this one; may be repeated."
)
@click.option("--topic", help="Only those of this topic.")
@click.option(
    "--kind",
    type=click.Choice(["undecodable", "future", "contract", "unpaired"]),
    help="Only those of this kind.",
)
@click.option("--reason", metavar="TEXT", help="Only those whose reason holds this text.")
@click.option("--after", metavar="INSTANT", help="Only those that were stored then or later.")
@click.option("--before", metavar="INSTANT", help="Only those that were stored earlier.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@json_option
def command(
    config: str,
    dead_letters: bool,
    ids: tuple[int, ...],
    topic: str | None,
    kind: str | None,
    reason: str | None,
    after: str | None,
    before: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Mark dead letters, so that the processes that own their partitions take them in again.

    Each is counted exactly once, in the slices where its events belong; one that still cannot be read waits
    with the new reason.
    """
    if not dead_letters:
        msg = "say what is to be replayed (use --dead-letters)"
        raise UsageError(msg)
    from_ms, to_ms = _instant("--after", after), _instant("--before", before)
    wanted = Wanted(topic=topic, kind=kind, reason=reason, from_ms=from_ms, to_ms=to_ms)
    done = _marked(config, wanted, ids, dry_run)
    if as_json:
        print_json(asdict(done) | {"dry_run": dry_run})
        return
    will = "would be replayed" if dry_run else "will be replayed by the processes that own their partitions"
    click.echo(f"{done.marked} dead letters {will}")
    if done.cut:
        click.echo(f"{done.cut} cannot be: only the beginning of their message is stored", err=True)


def _marked(config: str, wanted: Wanted, ids: tuple[int, ...], dry_run: bool) -> Marking:
    database = engines.create(load(config).database())
    try:
        schema.require(database)
        with immediate(database) as connection:
            now_ms = SystemClock().now_ms()
            done = mark(connection, wanted, ids, asking=Asking(who(), now_ms), dry_run=dry_run)
            if not dry_run:
                write_down(connection, _words(wanted, ids), now_ms, f"{done.marked} marked")
            return done
    finally:
        database.dispose()


def _words(wanted: Wanted, ids: tuple[int, ...]) -> str:
    """The command in words, for the audit log."""
    given = {name: value for name, value in asdict(wanted).items() if value is not None}
    named = [f"--id {number}" for number in ids[:MOST_NAMED]] + (["…"] if len(ids) > MOST_NAMED else [])
    which = " ".join([*named, *(f"{name}={value}" for name, value in given.items())])
    return f"replay --dead-letters {which}".rstrip()


def _instant(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return read_instant(text)
    except ValueError as error:
        msg = f"{option}: {error}"
        raise UsageError(msg) from None
