"""What several commands share: the option that names the configuration, ``--json``, printing data."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def configuration_option(function: Function) -> Function:
    """Add ``-c/--config FILE``; the command receives it as `config`. The file is not opened here."""
    return click.option(
        "-c",
        "--config",
        default="driftline.yaml",
        show_default=True,
        envvar="DRIFTLINE_CONFIG",
        metavar="FILE",
        help="Configuration to use.",
    )(function)


def json_option(function: Function) -> Function:
    """Add ``--json``; the command receives it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def print_json(data: object) -> None:
    """Print data as indented JSON on standard output."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
