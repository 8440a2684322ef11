"""``driftline check``: whether a configuration is right, and on request whether all it names is there."""

from __future__ import annotations

import click

from monitor.cli import FINE, UNAVAILABLE, USAGE
from monitor.config import Configuration, Problem, examine
from monitor.config.problem import write_path
from monitor.options import configuration_option, json_option, print_json


@click.command("check")
@configuration_option
@click.option(
    "--live",
    is_flag=True,
    help="Also try all that it names: Kafka, database, receivers (which get a test message), and the rest.",
)
@click.option("--no-messages", is_flag=True, help="With --live: send no test messages.")
@json_option
def command(config: str, live: bool, no_messages: bool, as_json: bool) -> int:
    """Check a configuration.

    Offline, a secret that is not set here is only a warning. Exit codes: 0 fine, 2 problems in the file, 3
    something is unavailable (with --live). The test message is of an incident that is over already, so that
    nobody is woken by it; targets that start training start nothing.
    """
    configuration, problems = examine(config)
    if configuration is None:
        return _refuse(problems, as_json)
    warnings = configuration.secret_problems()
    if live and warnings:
        return _refuse(warnings, as_json)
    warnings += configuration.advice()
    for warning in warnings if not as_json else []:
        click.echo(f"{warning} (warning)", err=True)
    found = _try_everything(configuration, as_json, messages=not no_messages) if live else []
    everything_is_there = all(finding["reachable"] for finding in found)
    if as_json:
        live_part = {"live": found} if live else {}
        print_json({"ok": everything_is_there, "problems": [], "warnings": _as_dicts(warnings), **live_part})
    elif everything_is_there:
        click.echo(_summary(config, configuration))
    else:
        click.echo(f"{config}: the file is right, but not everything it names is there", err=True)
    return FINE if everything_is_there else UNAVAILABLE


def _refuse(problems: list[Problem], as_json: bool) -> int:
    if as_json:
        print_json({"ok": False, "problems": _as_dicts(problems), "warnings": []})
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
    return USAGE


def _try_everything(
    configuration: Configuration, as_json: bool, *, messages: bool
) -> list[dict[str, object]]:
    from monitor import reachable  # loads the Kafka client, which offline checks do without

    found = []
    for finding in reachable.findings(configuration, messages=messages):
        found.append(finding.as_dict())
        if not as_json:
            state = (
                click.style("ok", fg="green") if finding.reachable else click.style("unavailable", fg="red")
            )
            click.echo(f"{finding.what}: {state}: {finding.detail}", err=not finding.reachable)
    return found


def _as_dicts(problems: list[Problem]) -> list[dict[str, object]]:
    return [
        {
            "file": problem.file,
            "line": problem.line,
            "path": write_path(problem.path),
            "message": problem.message,
        }
        for problem in problems
    ]


def _summary(config: str, configuration: Configuration) -> str:
    counts = (
        (len(configuration.streams), "stream"),
        (len(configuration.models), "model"),
        (len(configuration.receivers), "receiver"),
    )
    listed = ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts)
    return f"{config}: fine ({listed})"
