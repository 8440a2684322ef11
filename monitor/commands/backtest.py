"""``driftline backtest``: what the policy would have done with past events, of a table or of the database."""

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
    from monitor.backtest import Backtest
    from monitor.backtest.stored_content import Wanted

Progress = Callable[[int, int], None]


@click.command("backtest")
@configuration_option
@click.option("--from", "source", metavar="TABLE", help="CSV or Parquet file, one row an event.")
@click.option("--stored", is_flag=True, help="Judge what the database of the configuration holds instead.")
@click.option(
    "--labels",
    metavar="TABLE",
    help="CSV or Parquet file with event_id, label and perhaps label_timestamp.  [default: column label]",
)
@click.option("--since", metavar="INSTANT", help="With --stored: judge windows that begin then or later.")
@click.option("--until", metavar="INSTANT", help="With --stored: judge windows that end then or earlier.")
@click.option(
    "--model", help="Judge this model only; what the rows are of, if the table has no column model."
)
@json_option
def command(config: str, as_json: bool, **options: Any) -> int:
    """Say what the policy would have alerted on, whom it would have told, and what it would have trained.

    Tells nobody and starts nothing. A table needs neither Kafka nor a database; with --stored the database is
    read and stays as it is. Exit codes: 0 no alerts, 1 alerts, 2 usage or configuration, 3 the database is
    unavailable.
    """
    _check(options)
    configuration = load(config)
    with _progress("reading the database" if options["stored"] else "reading the table") as progress:
        found = _run(configuration, options, progress)
    for reason in found.skipped:
        click.echo(f"not judged: {reason}", err=True)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found, configuration)
    return FINDINGS if found.alerts else FINE


def _check(options: dict[str, Any]) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    UsageError
        If there is not exactly one thing to judge, or an option is of the other.
    """
    if options["stored"] == (options["source"] is not None):
        msg = "say what to judge: either --from TABLE or --stored (what the database holds)"
        raise UsageError(msg)
    others = ("labels",) if options["stored"] else ("since", "until")
    for name in others:
        if options[name] is not None:
            only = "--from TABLE" if options["stored"] else "--stored"
            msg = f"--{name} goes with {only} only"
            raise UsageError(msg)


def _run(configuration: Configuration, options: dict[str, Any], progress: Progress) -> Backtest:
    if options["stored"]:
        from monitor.backtest.stored import backtest_stored  # loads the judges

        return backtest_stored(configuration, _wanted(options), progress=progress)
    from monitor.backtest import backtest  # loads what reads tables

    labels, model = options["labels"], options["model"]
    return backtest(options["source"], configuration, labels=labels, model=model, progress=progress)


def _wanted(options: dict[str, Any]) -> Wanted:
    """Read the range and the model.

    Raises
    ------
    UsageError
        If an instant is none, or the range is empty.
    """
    from monitor.backtest.stored_content import Wanted

    given = {"from_ms": _instant("since", options["since"]), "to_ms": _instant("until", options["until"])}
    known = {name: at_ms for name, at_ms in given.items() if at_ms is not None}
    wanted = Wanted(model=options["model"], **known)
    if wanted.to_ms <= wanted.from_ms:
        msg = f"--until {options['until']} is not after --since {options['since']}"
        raise UsageError(msg)
    return wanted


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return read_instant(text)
    except ValueError as error:
        msg = f"--{name}: {error}"
        raise UsageError(msg) from error


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """Show on standard error how far it is; nothing without a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, description="judging windows", completed=done, total=total)

        yield progress


def _show(found: Backtest, configuration: Configuration) -> None:
    from monitor.backtest.words import lines

    colours = {"page": "red", "warn": "yellow"}
    for line in lines(found, str(configuration.alerts.budget)):
        is_head = line.severity is not None
        text = click.style(line.text, fg=colours.get(str(line.severity)), bold=True) if is_head else line.text
        click.echo(text)
