"""The closing summary on the terminal: what was read, what was found, where to look."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.demo.report import AlertReport, Report
from monitor.demo.script import Kind

MOST_ALERTS = 8
SIGNS = {True: Text("✓", style="green"), False: Text("✗", style="red"), None: Text("–", style="dim")}


def show(console: Console, report: Report, *, url: str | None, config: Path, is_kept: bool) -> None:
    """Write the summary.

    Parameters
    ----------
    console : Console
    report : Report
    url : str or None
        Of the console, if it is still there.
    config : Path
        The demo's configuration.
    is_kept : bool
        Whether the files stay when the demo has ended.
    """
    console.print()
    console.rule("[bold]What was read", align="left")
    for line in read_lines(report):
        console.print(line, highlight=False)
    console.rule("[bold]What was planted, and what Driftline made of it", align="left")
    console.print(_faults(report))
    console.rule("[bold]What Driftline alerted on", align="left")
    console.print(_alerts(report))
    console.rule("[bold]How good the model was", align="left")
    console.print(_months(report))
    console.rule("[bold]Where to look", align="left")
    for line in look_lines(url, config, is_kept):
        console.print(line, highlight=False, soft_wrap=True)


def read_lines(report: Report) -> list[str]:
    """Say what was sent and what became of it."""
    sent, numbers = report.sent, report.account
    outcomes = " + ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in numbers.outcomes.items())
    letters = ", ".join(f"{times} × {reason:.30}" for reason, times in report.dead_letters.items())
    sign = "=" if numbers.is_balanced else "≠"
    lines = [
        f"sent     {report.sent_predictions:,} prediction messages ({sent.get(Kind.REPEATED, 0):,} of them "
        f"twice, {sent.get(Kind.MALFORMED, 0)} unreadable) and {sent.get(Kind.LABEL, 0):,} labels",
        f"fetched  {numbers.fetched:,} {sign} {outcomes}",
        f"letters  {letters or 'none'}",
        f"labels   {_fates(report)}",
        f"judged   {numbers.windows} days, {numbers.revisions} of them again after late events",
    ]
    if not report.is_exact:
        lines.append("These numbers do not add up: please report this as a bug.")
    return lines


def look_lines(url: str | None, config: Path, is_kept: bool) -> list[str]:
    """Say where more is to be seen."""
    lines = []
    if url is not None:
        lines += [
            f"console  {url}/",
            f"API      {url}/api/v1/alerts   {url}/api/v1/accounting   {url}/api/v1/openapi.json",
            f"metrics  {url}/metrics",
        ]
    elif not is_kept:
        lines.append("console  without --exit the demo serves on; with --keep DIR its files stay")
    if is_kept:
        lines.append(f"again    driftline run -c {config} --role web")
    like = config if is_kept else "the one in docs/demo.md"
    lines.append(
        f"yours    driftline run -c driftline.yaml, a file like {like}: the same service on a real Kafka"
    )
    return lines


def _fates(report: Report) -> str:
    """Say what became of the labels."""
    said = [f"{number:,} {name.replace('_', ' ')}" for name, number in report.labels.items() if number]
    return ", ".join(said) or "none"


def _months(report: Report) -> Table:
    """Estimated from the scores alone, and realised: recall falls, and accuracy does not tell."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "flights", "with label", "accuracy", "estimated", "recall", "estimated"):
        table.add_column(name, justify="right" if name else "left")
    for month in report.months:
        cells = [month.month, f"{month.predictions:,}", _percent(month.coverage)]
        for metric in ("accuracy", "recall"):
            cells += [_share(month.realised.get(metric)), _share(month.estimated.get(metric))]
        table.add_row(*cells)
    return table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _faults(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    for fault in report.faults:
        table.add_row(SIGNS[fault.is_found], fault.fault.name, fault.fault.days, fault.outcome)
    return table


def _alerts(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("opened", "closed", "", "streams", "cause"):
        table.add_column(name, overflow="fold")
    shown = report.alerts[:MOST_ALERTS]
    for alert in shown:
        table.add_row(alert.opened, alert.closed or "open", alert.severity, _streams(alert), _cause(alert))
    if len(report.alerts) > len(shown):
        table.add_row("", "", "", f"… and {len(report.alerts) - len(shown)} more", "")
    return table


def _streams(alert: AlertReport) -> str:
    return ", ".join(alert.streams) or alert.stream


def _cause(alert: AlertReport) -> Text:
    if alert.planted:
        back = ", taken back when the rest arrived" if alert.state == "retracted" else ""
        return Text(f"planted: {alert.planted}{back}", style="yellow")
    return Text("real: the year itself", style="cyan")
