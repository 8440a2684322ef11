"""The demo from beginning to end: start everything, replay, wait until all is judged, report."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, func, select

from monitor.clock import Clock
from monitor.config import Configuration, load
from monitor.demo import account, flights, model, report, settings, training
from monitor.demo.background import Background, InterruptedDemo
from monitor.demo.broker import EmbeddedBroker
from monitor.demo.replay import Replay
from monitor.demo.report import Report
from monitor.demo.screen import Progress, Screen
from monitor.demo.script import LABELS, PREDICTIONS, Script
from monitor.demo.slack_server import LOOPBACK, LoopbackSlack
from monitor.performance.outcomes import wait_ms
from monitor.store.engine import reading
from monitor.store.queries.times import watermarks
from monitor.store.tables import outbox
from schemas.errors import Unavailable

if TYPE_CHECKING:
    from monitor.demo.service import DemoService

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
SETTLE_TIMEOUT_S = 60.0
LATELY = 0.2  # weight of the newest figure in the events per second


@dataclass(frozen=True)
class Options:
    """What a person can choose.

    Parameters
    ----------
    folder : Path
        Where the database, the configuration and the log are.
    port : int
        Wanted for the console; another is taken if it is in use.
    days_per_s : float or None
        Days of event time a second; None for as fast as the service reads.
    until_ms : int
        Event time at which the replay ends.
    """

    folder: Path
    port: int
    days_per_s: float | None
    until_ms: int


class Demo:
    """Runs the demo.

    Parameters
    ----------
    options : Options
    screen : Screen
    clock : Clock
    stop : threading.Event
        Set by whoever wants to leave.

    Attributes
    ----------
    first_result_s : float or None
        Seconds from the start to the first judged window.
    """

    def __init__(self, options: Options, screen: Screen, clock: Clock, stop: threading.Event) -> None:
        self._options, self._screen, self._clock, self._stop = options, screen, clock, stop
        self._parts = ExitStack()
        self._started = clock.monotonic()
        self.first_result_s: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock.monotonic() - self._started

    @property
    def url(self) -> str:
        """Address of the console, without a slash at its end."""
        return self.service.serving.url.rstrip("/")

    # --- from start to end ----------------------------------------------------------------------------------

    def run(self) -> Report:
        """Start everything, replay, and report. What was started runs on until the context is left.

        Raises
        ------
        InterruptedDemo
            If somebody wants to leave before the end.
        Unavailable
            If the broker or the database fails.
        UsageError
            If the flights or scikit-learn are not installed.
        """
        data = flights.data_folder()
        # One after the other: two threads that load the same libraries get in each other's way.
        loaded = self._parts.enter_context(Background(_load_service))
        service = loaded.result(self._stop)
        trained = self._parts.enter_context(Background(lambda step: _trained(data, step)))
        self._start(service)
        script = self._prepare(*trained.result(self._stop))
        replay = self._replay(script)
        self._watch(replay, script)
        self._settle()
        with reading(self.service.engine) as connection:
            return report.make(
                connection,
                self._window,
                replay.sent,
                self._options.until_ms,
                self.configuration.for_model(model.NAME),
            )

    def _start(self, service: type[DemoService]) -> None:
        """Broker, Slack and service; partitions are handed out while the model is trained."""
        self.broker = self._parts.enter_context(EmbeddedBroker())
        slack = self._parts.enter_context(LoopbackSlack(self._screen.posted))
        os.environ[settings.TOKEN_NAME] = slack.token
        keep_loopback_direct()
        self._configure(slack.base_url, free_port(self._options.port))
        names = self.configuration.topics
        self.broker.create(PREDICTIONS, LABELS, names.control, names.results, names.alerts)
        try:
            self.service = service(self.configuration)
        except Unavailable:  # somebody took the port a moment ago
            self._configure(slack.base_url, free_port(0))
            self.service = service(self.configuration)
        if self.service.serving.port != self._options.port != 0:
            taken = f"port {self._options.port} is taken"
            self._screen.say(f"{taken}: the console is on port {self.service.serving.port}")
        self._parts.callback(self.service.close)
        self.service.start()
        self._window = str(self.configuration.for_model(model.NAME).windows[0])
        self._screen.say(f"console {self.url}/ · configuration {self.config_path}")

    def _configure(self, slack: str, port: int) -> None:
        """Write the configuration, and read it as the service would."""
        self.config_path = settings.write(
            self._options.folder,
            kafka=self.broker.address,
            slack=slack,
            port=port,
            reference=f"file: {self._options.folder / training.FILE}",
        )
        self.configuration: Configuration = load(str(self.config_path))

    def _prepare(self, rows: flights.Flights, scorer: model.DelayModel) -> Script:
        """Training file, reference; and the script of what follows."""
        path = self._options.folder / training.FILE
        training.write(rows, scorer, path)
        made = training.promote(self.service.engine, self.configuration, path, self._clock.now_ms())
        self._screen.say(
            f"{self.elapsed_s:.1f} s: model trained on January and February; reference {made.hash[:12]} "
            f"of {made.rows:,} flights"
        )
        return Script(rows.taken(rows.event_ms >= training.REPLAY_FROM_MS), scorer, self._options.until_ms)

    def _replay(self, script: Script) -> Replay:
        places = [(PREDICTIONS, number) for number in range(self.broker.partitions(PREDICTIONS))]

        def positions() -> dict[tuple[str, int], int]:
            with reading(self.service.engine) as connection:
                return dict.fromkeys(places, 0) | account.next_offsets(connection)

        replay = Replay(script, self.broker, positions, self._clock, self._options.days_per_s)
        self._parts.callback(replay.stop)
        replay.start()
        return replay

    # --- watching -------------------------------------------------------------------------------------------

    def _watch(self, replay: Replay, script: Script) -> None:
        """Show progress until everything is sent."""
        from_ms, to_ms = script.span_ms
        before, before_s, per_s = 0, self.elapsed_s, 0.0
        while replay.is_running:
            now = self._look()
            span_s = self.elapsed_s - before_s
            if span_s > 0:
                per_s += LATELY * ((now.fetched - before) / span_s - per_s)
            before, before_s = now.fetched, self.elapsed_s
            sent = sum(replay.sent.copy().values())
            self._screen.progress(Progress(replay.at_ms, from_ms, to_ms, sent, per_s, now))
            if self._stop.wait(LOOK_EVERY_S):
                raise InterruptedDemo
        if replay.error is not None:
            raise replay.error

    def _look(self) -> account.Account:
        with reading(self.service.engine) as connection:
            now = account.read_account(connection, self._window)
        if now.windows and self.first_result_s is None:
            self.first_result_s = self.elapsed_s
            self._screen.say(f"{self.first_result_s:.1f} s: first day judged")
        return now

    def _settle(self) -> None:
        """Wait until everything sent is counted, judged and delivered, as long as any of it gets done."""
        deadline, before = self.elapsed_s + SETTLE_TIMEOUT_S, ""
        self._screen.say("all is sent; waiting until all is judged and delivered")
        while left := self._left():
            if left != before:
                deadline, before = self.elapsed_s + SETTLE_TIMEOUT_S, left
            elif self.elapsed_s > deadline:
                self._screen.say(f"not waiting any longer for {left}; see {self._options.folder}")
                return
            if self._stop.wait(LOOK_EVERY_S):
                raise InterruptedDemo

    def _left(self) -> str:
        """What has still to be done; empty if nothing."""
        sent = sum(number for (topic, _), number in self.broker.sent.items() if topic == PREDICTIONS)
        now = self._look()
        if now.fetched < sent:
            return f"{sent - now.fetched:,} events to be counted"
        with reading(self.service.engine) as connection:
            marks = watermarks(connection, self.configuration, self._clock.now_ms(), [model.NAME])
            windows = account.windows_left(connection, training.REPLAY_FROM_MS, marks.get(model.NAME, 0))
            windows += self._outcomes_left(connection, marks)
            waiting = connection.execute(
                select(func.count()).select_from(outbox).where(outbox.c.state == "waiting")
            ).scalar_one()
        if windows:
            return f"{windows} windows to be judged"
        return f"{waiting} messages to be delivered" if waiting else ""

    def _outcomes_left(self, connection: Connection, marks: Mapping[str, int]) -> int:
        """Windows whose outcomes have still to be judged."""
        now_ms = self._clock.now_ms()
        labels = watermarks(connection, self.configuration, now_ms, [model.NAME], kind="labels")
        mark = min(marks.get(model.NAME, 0), labels.get(model.NAME, 0))
        waited = wait_ms(self.configuration.for_model(model.NAME))
        return account.outcomes_left(connection, training.REPLAY_FROM_MS, mark - waited)


def _load_service(_step: Callable[[], None]) -> type[DemoService]:
    """Load the whole service, which takes a second or two."""
    from monitor.demo.service import DemoService

    return DemoService


def _trained(data: Path, step: Callable[[], None]) -> tuple[flights.Flights, model.DelayModel]:
    rows = flights.read_flights(data)
    step()
    return rows, model.train(rows)


def free_port(wanted: int) -> int:
    """Return the port that is wanted if nobody listens on it, otherwise any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                logger.info("port %d is taken", port)
                continue
            return int(probe.getsockname()[1])
    return wanted


def keep_loopback_direct() -> None:
    """Keep a proxy that the environment names away from the demo's own servers."""
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        if LOOPBACK not in hosts:
            os.environ[name] = ",".join([*hosts, LOOPBACK])
