"""``driftline skew``: whether a model was served the features that it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from monitor.cli import FINDINGS, FINE
from monitor.config import Configuration, load
from monitor.config.values import read_instant
from monitor.options import configuration_option, json_option, print_json
from schemas.errors import UsageError

if TYPE_CHECKING:
    from monitor.config.service import Stream
    from monitor.skew.batch import Wanted
    from monitor.skew.sides import Side


@click.command("skew")
@click.argument("model")
@click.argument("training_file")
@configuration_option
@click.option("--key", "keys", multiple=True, metavar="NAME|COLUMN=NAME",
              help="What tells rows apart; may be given for each part. COLUMN: its name in the table.  "
                   "[default: event_id]")  # fmt: skip
@click.option("--events", "files", multiple=True, metavar="FILE",
              help="Events: CSV or Parquet table, or messages line by line; may be given often.  "
                   "[default: the topic]")  # fmt: skip
@click.option("--topic", metavar="TOPIC", help="Stream that events are read from, or are written like.  "
                                               "[default: those of predictions of the model]")  # fmt: skip
@click.option("--from", "since", metavar="INSTANT", help="First record of the topic.")
@click.option("--to", "until", metavar="INSTANT", help="First record of the topic that is not read.")
@click.option("--version", metavar="VERSION", help="Events of this version of the model only.")
@click.option("--column", "columns", multiple=True, metavar="NAME",
              help="Feature to compare; may be given often.  [default: those on both sides]")  # fmt: skip
@click.option(
    "--entity", metavar="COLUMN", help="Column of the table: whom a row is about, to find stale values."
)
@click.option("--relative", type=click.FloatRange(0, 1), default=1e-6, show_default=True,
              help="How far numbers with a fraction may be apart, as a part of the larger one.")  # fmt: skip
@click.option("--absolute", type=click.FloatRange(0), default=0.0, show_default=True,
              help="How far any numbers may be apart.")  # fmt: skip
@click.option("--any-type", is_flag=True, help='Take "1", 1 and true for the same.')
@click.option("--fail-above", metavar="LIMIT", default="0", show_default=True,
              help="Most rows of a column that may differ: 0.01, 1 % or 5 rows.")  # fmt: skip
@click.option("--examples", type=click.IntRange(0, 100), default=3, show_default=True,
              help="Most rows that are shown of each column.")  # fmt: skip
@json_option
def command(model: str, training_file: str, config: str, as_json: bool, **options: Any) -> int:
    """Compare the features that MODEL was trained on with those that it was served, row by row.

    TRAINING_FILE is a CSV or Parquet table. Exit codes: 0 no column differs in certainly more rows than
    --fail-above allows, 1 one does, 2 usage or configuration, 3 Kafka or the schema registry is unavailable.
    """
    from detectors.mismatch import Tolerance  # loads what reads tables and messages
    from monitor.skew.keys import Key
    from monitor.skew.run import find, limit_of, terms_of, wanted_of
    from monitor.skew.sides import training_side
    from monitor.skew.text import lines

    _check(options)
    key, limit = Key.of(options["keys"]), limit_of(options["fail_above"])
    tolerance = Tolerance(options["relative"], options["absolute"], options["any_type"])
    configuration = load(config)
    terms = terms_of(key, configuration.for_model(model), tolerance, limit, options["examples"])
    training = training_side(training_file, key, options["entity"])
    events = _events(configuration, wanted_of(key, model, options["version"]), options)
    with _progress() as progress:
        found = find(training, events, terms, options["columns"], progress)
    if as_json:
        print_json({"model": model, "training": training_file, "limit": str(limit), **found.as_dict()})
    else:
        for line in lines(found, model, training_file, str(limit)):
            click.echo(click.style(line.text, fg="red" if line.is_loud else None, bold=line.is_loud))
    return FINDINGS if found.above else FINE


def _check(options: dict[str, Any]) -> None:
    if options["files"] and (options["since"] or options["until"]):
        msg = "--from and --to are for topics (leave them out, or --events)"
        raise UsageError(msg)


def _events(configuration: Configuration, wanted: Wanted, options: dict[str, Any]) -> Side:
    """Open what was served."""
    from monitor.skew.files import form_of
    from monitor.skew.sides import files_side, topics_side

    if all(form_of(path) == "table" for path in options["files"]) and options["files"]:
        return files_side(options["files"], None, wanted)
    streams = _streams(configuration, str(wanted.model), options["topic"])
    if not options["files"]:
        stretch = (_instant("--from", options["since"]), _instant("--to", options["until"]))
        # No member of the group comes of it; a name of its own would want a right of its own.
        options = {**configuration.kafka.client_options(), "group.id": configuration.kafka.group_id}
        return topics_side(options, streams, wanted, stretch)
    if len({stream.model_dump_json(exclude={"topic", "pair_within_ms"}) for stream in streams}) > 1:
        named = ", ".join(stream.topic for stream in streams)
        msg = f"--events: there are several streams (say with --topic which one the files are like: {named})"
        raise UsageError(msg)
    return files_side(options["files"], streams[0], wanted)


def _streams(configuration: Configuration, model: str, topic: str | None) -> list[Stream]:
    """Streams of predictions that the model may be on.

    Raises
    ------
    UsageError
        If there is none.
    """
    predictions = [stream for stream in configuration.streams if stream.kind == "predictions"]
    if topic is None:
        found = [stream for stream in predictions if stream.model in (None, model)]
    else:
        found = [stream for stream in predictions if stream.topic == topic]
    if not found:
        what = f"of {model!r}" if topic is None else repr(topic)
        there = ", ".join(stream.topic for stream in predictions) or "none"
        msg = f"--topic: no stream of predictions is {what} (there are: {there})"
        raise UsageError(msg)
    return found


def _instant(option: str, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return read_instant(int(value) if value.isdigit() else value)
    except ValueError as error:
        msg = f"{option}: {error}"
        raise UsageError(msg) from None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how far it is; nothing without a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading the table", total=None)

        def progress(events: int, rows: int) -> None:
            bar.update(task, description=f"{events:,} events read, of {rows:,} rows")

        yield progress
