"""``driftline demo``: real flights with planted faults through the whole service, in about two minutes."""

from __future__ import annotations

import logging
import resource
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from monitor import logs
from monitor.cli import FINE, INTERRUPTED
from monitor.clock import SystemClock
from monitor.options import json_option, print_json
from schemas.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from monitor.demo.report import Report
    from monitor.demo.show import Demo

DEFAULT_PORT = 8420
FIRST_DAY, LAST_DAY = "2013-03-02", "2014-01-02"
LOG = "driftline.log"
PLAIN_WIDTH = 120


class Speed(click.ParamType):
    """A factor; ``max`` and ``0`` are 0, which stands for as fast as the service reads."""

    name = "speed"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        text = "0" if value == "max" else str(value)
        try:
            factor = float(text)
        except ValueError:
            factor = -1.0
        if factor != 0 and not 0.01 <= factor <= 1_000:
            self.fail(f"{text!r} is not a speed (use a number from 0.01 to 1000, or max)", param, ctx)
        return factor


@click.command("demo")
@click.option(
    "--speed",
    type=Speed(),
    default="1",
    show_default=True,
    metavar="N",
    help="1 takes about two minutes; max: as fast as the service reads.",
)
@click.option("--exit", "leaves", is_flag=True, help="Leave after the summary instead of serving on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Of the console; another one if it is taken.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    default=LAST_DAY,
    show_default=True,
    metavar="DAY",
    help="Replay the flights before this day (UTC).",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep database, configuration and log in this new folder.",
)
@json_option
def command(speed: float, leaves: bool, port: int, until: datetime, keep: Path | None, as_json: bool) -> int:
    """Replay the flights that left New York in 2013, with planted faults, through the whole service.

    Starts an embedded Kafka broker, a server that takes the place of Slack, and the service on SQLite.
    Nothing is downloaded, nothing leaves the machine. Progress is on standard error.
    """
    from rich.console import Console

    from monitor.demo.background import InterruptedDemo
    from monitor.demo.faults import day_ms
    from monitor.demo.replay import DAYS_PER_S
    from monitor.demo.screen import open_screen
    from monitor.demo.show import Demo, Options

    day = f"{until:%Y-%m-%d}"
    if not FIRST_DAY <= day <= LAST_DAY:
        msg = f"--until {day} (a day from {FIRST_DAY} to {LAST_DAY} is allowed)"
        raise UsageError(msg)
    clock, console = SystemClock(), Console(stderr=True)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    with _stop_on_signals() as stop, _workplace(keep) as folder:
        screen = open_screen(console, clock)
        screen.say("Driftline demo: New York's flights of 2013, a small delay model, a few planted faults")
        options = Options(folder, port, speed * DAYS_PER_S if speed else None, day_ms(day))
        try:
            with Demo(options, screen, clock, stop) as demo:
                try:
                    report = demo.run()
                finally:
                    screen.close()
                if as_json:
                    print_json(_as_json(report, demo, leaves=leaves, is_kept=keep is not None))
                else:
                    _show(console, report, demo, leaves=leaves, is_kept=keep is not None)
                if not leaves:
                    console.print("Serving on; Ctrl-C ends it.", style="bold")
                    stop.wait()
        except InterruptedDemo:
            console.print("interrupted: everything is stopped", style="dim")
            return INTERRUPTED
    return FINE


@contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    """Make the folder to work in, and send the service's log there.

    Raises
    ------
    UsageError
        If a folder is to be kept that holds something already: a database of another run does not fit the
        new broker.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        msg = f"--keep {keep}: is not empty (name a new or an empty folder)"
        raise UsageError(msg)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="driftline-demo-")) if keep is None else keep.absolute()
    level = logging.getLevelName(logging.getLogger().level).lower()
    try:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            logs.set_up("text", level, log)
            try:
                yield folder
            finally:
                logs.set_up("text", level)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event, for as long as the context lasts."""
    stop = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_json(report: Report, demo: Demo, *, leaves: bool, is_kept: bool) -> dict[str, object]:
    first_s = demo.first_result_s
    return {
        **report.as_json(),
        "first_result_s": None if first_s is None else round(first_s, 2),
        "elapsed_s": round(demo.elapsed_s, 1),
        "memory_mib": _memory_mib(),
        "url": None if leaves else demo.url,
        "configuration": str(demo.config_path) if is_kept else None,
    }


def _show(console: Console, report: Report, demo: Demo, *, leaves: bool, is_kept: bool) -> None:
    from monitor.demo import summary

    url = None if leaves else demo.url
    summary.show(console, report, url=url, config=demo.config_path, is_kept=is_kept)
    first_s = demo.first_result_s
    first = "no result" if first_s is None else f"first result after {first_s:.1f} s"
    console.print(f"{demo.elapsed_s:.0f} s in all, {first}, {_memory_mib()} MiB of memory", style="dim")


def _memory_mib() -> int:
    """Most memory that the process has had at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
