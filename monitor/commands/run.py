"""``driftline run``: the service, until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
from types import FrameType

import click

from monitor import logs
from monitor.app import Role, Service
from monitor.config import load
from monitor.memory import share_heaps, small_pages
from monitor.options import configuration_option
from monitor.version import code_version

logger = logging.getLogger(__name__)


@click.command("run")
@configuration_option
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.ALL.value,
    show_default=True,
    help="What this process does.",
)
@click.option(
    "--http-port", type=click.IntRange(0, 65_535), help="In place of the configured port; 0: any free one."
)
def command(config: str, role: str, http_port: int | None) -> int:
    """Run the service.

    SIGTERM and SIGINT make it commit what it holds and leave within 10 seconds.
    """
    logs.identify(role, code_version())
    configuration = load(config)
    for warning in configuration.old_names:
        logger.warning("%s", warning)
    service = Service(configuration, Role(role), http_port=http_port)

    def leave(number: int, _frame: FrameType | None) -> None:
        logger.info("%s: leaving", signal.Signals(number).name)
        service.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    settle()
    service.start()
    logger.info("driftline %s, role %s, serves %s", code_version(), role, service.serving.url)
    service.wait()
    service.close()
    return 0


def settle() -> None:
    """Prepare for a long life, before threads are started: what is there now stays, memory is kept together.

    Else the collector of garbage walks through all modules, a fifth of a second each time, in the middle of a
    request or a commit.
    """
    gc.collect()
    gc.freeze()
    share_heaps()
    small_pages()
