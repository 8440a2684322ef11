"""The command ``driftline``: finds its commands in `monitor.commands` and turns errors into exit codes."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version

import click

from monitor import commands, logs
from schemas.errors import DeliveryError, DriftlineError, StoreError

FINE, FINDINGS, USAGE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 130


class Commands(click.Group):
    """A group whose commands are the modules of `monitor.commands`, imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands: of the modules, with dashes."""
        return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        found = module.command
        if not isinstance(found, click.Command):
            msg = f"{module.__name__}.command is not a click command"
            raise TypeError(msg)
        return found


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(version("driftline"), prog_name="driftline")
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS),
    default="info",
    show_default=True,
    envvar="DRIFTLINE_LOG_LEVEL",
    help="Least level of log lines.",
)
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    default="text",
    show_default=True,
    envvar="DRIFTLINE_LOG_FORMAT",
    help="Log lines for people or for collectors.",
)
def driftline(log_level: str, log_format: str) -> None:
    """Watch machine-learning models in production: drift, data quality, performance.

    Exit codes: 0 fine, 1 findings, 2 usage or configuration, 3 something that is needed is unavailable.
    """
    logs.set_up(log_format, log_level)


def main() -> None:
    """Run the command line and leave with its exit code, also when a library's thread does not end."""
    code = run(sys.argv[1:])
    main_thread = threading.main_thread()
    if any(thread is not main_thread and not thread.daemon for thread in threading.enumerate()):
        # The interpreter would wait for them. All that was to be kept has been committed.
        sys.stdout.flush()
        sys.stderr.flush()
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str
        Without the program's name.

    Returns
    -------
    int
        0 fine, 1 findings, 2 usage or configuration, 3 unavailable, 130 interrupted. What was wrong is on
        standard error.

    Notes
    -----
    Only errors of `schemas.errors` and of click are meant for users; any other exception is a fault of the
    program and passes with its traceback.
    """
    try:
        code = driftline.main(list(arguments), prog_name="driftline", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except DriftlineError as error:
        click.echo(logs.mask(str(error)), err=True)
        return exit_code_of(error)
    return code if isinstance(code, int) else FINE


def exit_code_of(error: DriftlineError) -> int:
    """Exit code for an error: 3 if a system we depend on failed, 2 if what we were given is wrong."""
    return UNAVAILABLE if isinstance(error, StoreError | DeliveryError) else USAGE


if __name__ == "__main__":
    main()
