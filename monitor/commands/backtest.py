"""``driftline backtest``: what the policy would have alerted on in a table of past events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from alerting.digest import line
from alerting.finding import Kind, instant
from alerting.summary import span
from monitor.cli import FINDINGS, FINE
from monitor.config import Configuration, load
from monitor.options import configuration_option, json_option, print_json

SHOWN_STREAMS = 10

if TYPE_CHECKING:
    from alerting.alert import Alert
    from monitor.backtest import Backtest


@click.command("backtest")
@configuration_option
@click.option(
    "--from", "source", required=True, metavar="TABLE", help="CSV or Parquet file, one row an event."
)
@click.option(
    "--labels",
    metavar="TABLE",
    help="CSV or Parquet file with event_id, label and perhaps label_timestamp.  [default: column label]",
)
@click.option(
    "--model", help="Judge this model only; what the rows are of, if the table has no column model."
)
@json_option
def command(config: str, source: str, labels: str | None, model: str | None, as_json: bool) -> int:
    """Say what the policy would have alerted on, when, and with which evidence.

    Needs neither Kafka nor a database, and tells nobody. Exit codes: 0 no alerts, 1 alerts, 2 usage or
    configuration.
    """
    from monitor.backtest import backtest  # loads what reads tables

    configuration = load(config)
    with _progress() as progress:
        found = backtest(source, configuration, labels=labels, model=model, progress=progress)
    for reason in found.skipped:
        click.echo(f"not judged: {reason}", err=True)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found, configuration)
    return FINDINGS if found.alerts else FINE


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how far it is; nothing without a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading the table", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, description="judging windows", completed=done, total=total)

        yield progress


def _show(found: Backtest, configuration: Configuration) -> None:
    told = _receivers(found)
    for alert in found.alerts:
        colour = {"page": "red", "warn": "yellow"}.get(alert.severity)
        head = f"{_time(alert)}  {alert.severity:4}  {_what(alert)}"
        click.echo(click.style(head, fg=colour, bold=True))
        click.echo(f"    {alert.summary}")
        click.echo(f"    {_course(alert)}; told: {', '.join(told.get(alert.id, ())) or 'nobody'}")
    if found.alerts:
        click.echo()
    alerts = f"{len(found.alerts) or 'no'} alert{'' if len(found.alerts) == 1 else 's'}"
    _show_digests(found)
    windows = f"{found.windows} window{'' if found.windows == 1 else 's'}"
    judged = span(instant(found.from_ms), instant(found.to_ms))
    click.echo(f"{alerts} in {windows} of {', '.join(found.models)}, {judged}; {found.results} results")
    click.echo(
        f"false alarms: {found.allowed:.2f} allowed ({configuration.alerts.budget}), {found.spent:.2f} spent"
    )


def _show_digests(found: Backtest) -> None:
    """Show the weeks in which something drifted, each with its streams."""
    for digest in found.digests:
        if digest.listed_total:
            click.echo(
                f"week of {digest.week:%Y-%m-%d}: {digest.listed_total} of {digest.streams} streams drifted"
            )
            for stream in digest.listed[:SHOWN_STREAMS]:
                click.echo(f"    {line(stream)}")
            if digest.listed_total > SHOWN_STREAMS:
                click.echo(f"    … and {digest.listed_total - SHOWN_STREAMS} more")
    if found.digests:
        listed = sum(1 for digest in found.digests if digest.listed_total)
        click.echo(f"digest: something drifted in {listed} of {len(found.digests)} weeks")


def _time(alert: Alert) -> str:
    return f"{alert.opened_at:%Y-%m-%d %H:%M}Z"


def _what(alert: Alert) -> str:
    where = f" where {alert.segment}" if alert.segment else ""
    about = alert.lane if alert.kind in (Kind.DRIFT, Kind.PERFORMANCE) else alert.kind
    return f"{about}: {alert.column}{where}"


def _course(alert: Alert) -> str:
    """When it began, how sure that is, and when it was over."""
    # The finding that matters most may have come later than the one that opened the alert.
    onsets = [finding.onset_at for finding in alert.findings if finding.onset_at is not None]
    since = f"since {min(onsets):%Y-%m-%d %H:%M}Z" if onsets else "onset unknown"
    evidence = "" if alert.evidence_log is None else f", evidence e^{alert.evidence_log:.1f}"
    over = f"over {alert.closed_at:%Y-%m-%d %H:%M}Z" if alert.closed_at else "still open at the end"
    return f"{since}{evidence}; {over}"


def _receivers(found: Backtest) -> dict[str, list[str]]:
    """Receivers of each alert, each once."""
    told: dict[str, list[str]] = {}
    for delivery in found.deliveries:
        mine = told.setdefault(delivery.alert_id, [])
        if delivery.receiver not in mine:
            mine.append(delivery.receiver)
    return told
