"""Command lines of driftline, as they stand in manifests and documents."""

from collections.abc import Sequence
from typing import Any

import click

from monitor.cli import driftline


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Parse a command line as the command itself does, without running it; returns its parameters."""
    command: click.Command = driftline
    context, left = click.Context(command), list(words)
    while isinstance(command, click.Group):
        name = left.pop(0)
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
    return command.make_context(command.name, left).params


def commands_in(text: str) -> list[list[str]]:
    """Words of the command lines of driftline that a text gives to pods."""
    return [line.split(" -- driftline ")[1].split() for line in text.splitlines() if " -- driftline " in line]
