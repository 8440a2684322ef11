"""``driftline erase``: remove what is stored of a model, or of one event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from sqlalchemy import Engine

from monitor.clock import SystemClock
from monitor.config import Configuration, load
from monitor.options import configuration_option, json_option, print_json
from monitor.store import engine as engines
from monitor.store import schema
from schemas.errors import UsageError

BEYOND = (
    "Kafka: the topics keep events until their retention, or a tombstone, removes them",
    "the topic of relayed dead letters, if there is one",
    "messages that receivers were sent",
    "backups, and logs of the process",
)
yes_option = click.option("--yes", is_flag=True, help="Remove it; otherwise it is only shown.")


@click.group("erase")
def command() -> None:
    """Remove what is stored of a model, or of one event. Without --yes, nothing is changed."""


@command.command("model")
@configuration_option
@click.argument("name")
@click.option("--version", help="Only this version.")
@yes_option
@json_option
def erase_model(config: str, name: str, version: str | None, yes: bool, as_json: bool) -> None:
    """Remove everything that is stored of the model NAME.

    Stop its producer first: events that still come are those of a new model.
    """
    from monitor.erasure.belonging import Target
    from monitor.erasure.model import ModelErasure

    configuration, target = load(config), Target(name, version)
    with _database(configuration) as engine:
        erasure = ModelErasure(configuration, engine, SystemClock(), target)
        found = erasure.find()
        if not found.total:
            msg = f"nothing is stored of {target} (driftline status shows the models that there are)"
            raise UsageError(msg)
        if yes:
            found = erasure.remove()
        is_overwritten = not yes or _settled(engine)
    if as_json:
        print_json({"erased": yes, "overwritten": is_overwritten, **asdict(found)})
        return
    for table, rows in sorted(found.rows.items()):
        click.echo(f"{table:<20} {rows:>12,} rows")
    for number, why in (
        (found.mixed_letters, "hold events of other models too, and stay"),
        (found.unread_letters, "cannot be read but name it, and stay"),
    ):
        if number:
            click.echo(f"{number:,} dead letters {why}")
    _conclude(f"{found.total:,} rows of {target}", yes, is_overwritten)


@command.command("event")
@configuration_option
@click.argument("event_id")
@click.option("--model", required=True, help="Model that the event was of.")
@yes_option
@json_option
def erase_event(config: str, event_id: str, model: str, yes: bool, as_json: bool) -> None:
    """Remove the traces of the event EVENT_ID: for a person who asks for it.

    Counts that it is part of stay: nobody can be found in them by the id.
    """
    from monitor.erasure.event import EventErasure
    from monitor.erasure.traces import Event

    if not event_id:
        msg = "EVENT_ID is empty (give the id that the event was sent with)"
        raise UsageError(msg)
    configuration = load(config)
    with _database(configuration) as engine:
        erasure = EventErasure(configuration, engine, SystemClock(), Event(model, event_id))
        traces = erasure.remove() if yes else erasure.find()
        is_overwritten = not yes or _settled(engine)
    if as_json:
        found = [asdict(trace) for trace in traces]
        print_json({"erased": yes, "overwritten": is_overwritten, "found": found, "out_of_reach": BEYOND})
        return
    for trace in traces:
        click.echo(f"{trace.where:<24} {trace.rows:>6,} rows  {trace.what}")
    _conclude("these traces" if traces else "no traces", yes, is_overwritten)
    click.echo("out of reach:")
    for place in BEYOND:
        click.echo(f"  {place}")


@contextmanager
def _database(configuration: Configuration) -> Iterator[Engine]:
    from monitor.erasure.overwriting import overwrite

    engine = engines.create(configuration.database())
    try:
        schema.require(engine)
        overwrite(engine)
        yield engine
    finally:
        engine.dispose()


def _settled(engine: Engine) -> bool:
    from monitor.erasure.overwriting import empty_log

    return empty_log(engine)


def _conclude(what: str, yes: bool, is_overwritten: bool) -> None:
    click.echo(f"{what} removed" if yes else f"{what} found; --yes removes them")
    if not is_overwritten:
        click.echo(
            "the write-ahead log could not be emptied while the database is in use: "
            "it still holds older pages until the service stops, or this is repeated"
        )
