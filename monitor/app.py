"""The service: builds the concrete parts of each role and runs them together, each in a thread of its own.

This is the only place that knows which parts there are. A part that fails is started anew; when told to stop,
all parts finish what they hold and leave.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from sqlalchemy import Engine

from alerting.notifiers import catalog as notifiers
from alerting.notifiers.base import ReceiverOptions
from alerting.retraining import catalog as targets
from alerting.retraining.options import TargetOptions
from monitor.charts.source import StoredCharts
from monitor.clock import Clock, SystemClock
from monitor.config import Configuration
from monitor.dead_letters import relay
from monitor.deliver import Deliverer
from monitor.door import OPTIONS, Door
from monitor.evaluate import Announcer, Evaluator, FaustThread
from monitor.incidents.actions import Actions
from monitor.incidents.reminders import Reminders
from monitor.ingest import Ingest
from monitor.judging.digests import Digests
from monitor.judging.judge import Judge
from monitor.kafka_reasons import made
from monitor.labels.expiry import Expiry
from monitor.performance.judge import OutcomeJudge
from monitor.retention.sweep import Retention
from monitor.retraining.aftermath import Aftermath
from monitor.retraining.decisions import Decisions
from monitor.retraining.deployments import NewVersions
from monitor.retraining.retrainer import Retrainer
from monitor.retraining.watch import Watch
from monitor.silence import Silences
from monitor.slack.actions import slack_actions
from monitor.slack.decisions import ByButton
from monitor.source.kafka import KafkaSource, client_logger
from monitor.source.source import Source
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.months import make_months
from monitor.store.positions import ensure_counters
from monitor.taps import Taps
from monitor.telemetry import Delivered, KafkaFailed, Telemetry
from monitor.tracing import setting_up, tracer
from monitor.web.app import create_app
from monitor.web.limits.connection import ConnectionLimits
from monitor.web.serve import Serving
from schemas.errors import ConfigurationError, Unavailable

logger = logging.getLogger(__name__)

RESTART_S = 2.0
LEAVE_S = 8.0
DATABASE_PATIENCE_S = 60.0


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    INGEST = "ingest"
    EVALUATE = "evaluate"
    WEB = "web"


@dataclass
class Part:
    """Something that runs in a thread until told to stop; `wake` ends its waits."""

    name: str
    run: Callable[[threading.Event], None]
    wake: Callable[[], None] = lambda: None
    thread: threading.Thread | None = field(default=None, repr=False)


class Service:
    """All parts of one process.

    Parameters
    ----------
    configuration : Configuration
    role : Role
    clock : Clock, optional
    http_port : int, optional
        In place of the configured port; 0 takes any free one.

    Raises
    ------
    ConfigurationError
        If a secret is missing.
    Unavailable
        If the database cannot be reached, or the address to listen on is taken.
    """

    def __init__(
        self,
        configuration: Configuration,
        role: Role = Role.ALL,
        clock: Clock | None = None,
        http_port: int | None = None,
    ) -> None:
        missing = [problem for problem in configuration.secret_problems() if _needs(role, problem.path)]
        if missing:
            raise ConfigurationError([str(problem) for problem in missing])
        self.configuration, self.role = configuration, role
        self.clock = clock or SystemClock()
        self.telemetry = Telemetry()
        self.stop = threading.Event()
        self._ingests: list[Ingest] = []
        self._http_port = http_port
        self._parts: list[Part] = []
        self._closers: list[Callable[[], None]] = []
        self.engine = self._open_database()
        try:
            if setting_up.set_up(configuration, role.value):
                self._closers.append(tracer.turn_off)
            self._build()
            self.serving = self._serve()
        except BaseException:
            self._close_parts()
            raise

    # --- building -------------------------------------------------------------------------------------------

    def _open_database(self) -> Engine:
        """Connect and bring the schema up to date, waiting a little for a database that is just starting."""
        engine = engines.create(self.configuration.database())
        deadline = self.clock.monotonic() + DATABASE_PATIENCE_S
        while True:
            try:
                schema.upgrade(engine)
                make_months(engine, self.clock.now_ms())
                ensure_counters(engine)
            except Unavailable as error:
                if self.clock.monotonic() > deadline:
                    engine.dispose()
                    raise
                logger.warning("waiting for the database: %s", error)
                self.clock.sleep(RESTART_S)
            except BaseException:
                engine.dispose()
                raise
            else:
                return engine

    def _build(self) -> None:
        if self.role is Role.WEB:
            return
        options = self.configuration.kafka.client_options()
        producer = self._producer({"linger.ms": 5, **options})
        announcer = Announcer(self.configuration, producer, self._failed("announce"))
        self._closers.append(announcer.close)
        self._parts.append(Part("topics", lambda stop: self._create_topics(options, stop)))
        if self.role in (Role.ALL, Role.INGEST):
            self._parts.append(Part("ingest", lambda stop: self._ingest(stop, options, announcer)))
        if self.role in (Role.ALL, Role.EVALUATE):
            self._build_evaluator(announcer)

    def _create_topics(self, options: dict[str, Any], stop: threading.Event) -> None:
        create_topics(written_by(self.configuration, self.role), options, stop, self._failed("topics"))

    def _build_evaluator(self, announcer: Announcer) -> None:
        parts = (self.configuration, self.engine, self.clock, self.telemetry)
        deliverer, retrainer = self._deliverer(), self._retrainer()
        taps = Taps(self.configuration, announcer)

        def after(judged: list[Any]) -> None:
            deliverer.wake()
            retrainer.wake()
            taps.publish(judged)

        digests = Digests(self.configuration, self.engine, self.clock)
        evaluator = Evaluator(
            Judge(*parts, self.stop),
            OutcomeJudge(*parts, self.stop),
            Expiry(*parts[:3], self.stop),
            Silences(*parts),
            digests,
            self.clock,
            after,
            self.stop,
        )
        faust = FaustThread(self.configuration, evaluator, self._count_failure("faust"))
        self._parts.append(Part("evaluate", evaluator.run, evaluator.wake))
        self._parts.append(Part("faust", faust.run, faust.wake))
        reminders = Reminders(self.configuration, self.engine, self.clock, deliverer.wake)
        self._parts.append(Part("deliver", deliverer.run, deliverer.wake))
        self._parts.append(Part("remind", reminders.run))
        self._parts.append(Part("retrain", retrainer.run, retrainer.wake))
        decisions = ByButton(Actions(*parts), Decisions(*parts, retrainer.wake))
        receivers = {
            name: options
            for name, options in self.configuration.receivers.items()
            if isinstance(options, ReceiverOptions)
        }
        heard = slack_actions(
            receivers,
            os.environ,
            decisions,
            self.clock,
            random.Random(),  # noqa: S311
        )
        for number, buttons in enumerate(heard):
            self._parts.append(Part(f"slack-{number}", buttons.run, buttons.wake))
        aftermath = Aftermath(NewVersions(*parts[:3]), Watch(*parts[:3]), deliverer.wake)
        self._parts.append(Part("retention", Retention(*parts, self.stop).run))
        self._parts.append(Part("aftermath", aftermath.run, aftermath.wake))
        self._closers.append(retrainer.close)
        if self.configuration.dead_letters is not None:
            relayer = self._relayer(self.configuration.dead_letters.topic)
            self._parts.append(Part("relay", relayer.run, relayer.wake))
        self._closers.append(deliverer.close)

    def _relayer(self, topic: str) -> relay.Relayer:
        options = {**self.configuration.kafka.client_options(), **relay.OPTIONS}
        failed = self._failed("relay")
        return relay.Relayer(self.engine, lambda: self._producer(options), topic, self.clock, failed)

    def _producer(self, options: dict[str, Any]) -> Producer:
        where = self.configuration.where("kafka", "options")
        return made(lambda given: Producer(given, logger=client_logger), options, where)

    def _failed(self, client: str) -> Callable[[KafkaError], None]:
        """What a client of Kafka is to call with its errors, so that they are counted."""
        count = self._count_failure(client)
        return lambda error: count(error.name())

    def _count_failure(self, client: str) -> Callable[[str], None]:
        return lambda reason: self.telemetry.emit(KafkaFailed(client, reason))

    def _deliverer(self) -> Deliverer:
        charts = StoredCharts(self.configuration, self.engine)
        built = {
            name: notifiers.build(name, cast(ReceiverOptions, options), os.environ, self.clock.now_ms, charts)
            for name, options in self.configuration.receivers.items()
            if not isinstance(options, TargetOptions)
        }
        rng = random.Random()  # noqa: S311 - spreads retries, keeps no secret
        return Deliverer(
            self.engine,
            built,
            self.clock,
            rng,
            lambda receiver, outcome: self.telemetry.emit(Delivered(receiver, outcome)),
        )

    def _retrainer(self) -> Retrainer:
        built = {
            name: targets.build(name, options, os.environ, self.clock.now_ms)
            for name, options in self.configuration.receivers.items()
            if isinstance(options, TargetOptions)
        }
        rng = random.Random()  # noqa: S311 - spreads retries, keeps no secret
        return Retrainer(self.configuration, self.engine, built, self.clock, rng, self.telemetry)

    def _ingest(self, stop: threading.Event, options: dict[str, Any], announcer: Announcer) -> None:
        source = self._source(options)
        ingest = Ingest(
            self.configuration, self.engine, source, self.clock, self.telemetry, announcer.announce
        )
        self._ingests = [ingest]
        ingest.run(stop)

    def _source(self, options: dict[str, Any]) -> Source:
        kafka = self.configuration.kafka
        others = {name: value for name, value in options.items() if name != "bootstrap.servers"}
        return KafkaSource(kafka.bootstrap_servers, kafka.group_id, others, self._failed("ingest"))

    def _serve(self) -> Serving:
        api = self.role in (Role.ALL, Role.WEB)
        door = self._door() if api and self.configuration.http.events is not None else None
        app = create_app(
            self.configuration, self.engine, self.telemetry, self.clock, self.not_ready, api=api, door=door
        )
        port = self.configuration.http.port if self._http_port is None else self._http_port
        limits = ConnectionLimits.of(self.configuration.http)
        try:
            return Serving(app, self.configuration.http.host, port, limits, self.telemetry)
        except Unavailable:
            if api or self._http_port is not None:
                raise
            serving = Serving(app, self.configuration.http.host, 0, limits, self.telemetry)
            logger.warning("port %d is taken: health and metrics are on port %d", port, serving.port)
            return serving

    def _door(self) -> Door:
        options = {**self.configuration.kafka.client_options(), **OPTIONS}
        door = Door(self._producer(options), self.clock, self._failed("door"))
        self._closers.append(door.close)
        return door

    # --- running --------------------------------------------------------------------------------------------

    def not_ready(self) -> list[str]:
        """Why the process is not ready; empty if it is."""
        if self.role in (Role.ALL, Role.INGEST) and not any(ingest.has_joined for ingest in self._ingests):
            return ["no partitions have been assigned yet"]
        return []

    def start(self) -> None:
        """Start all parts."""
        for part in self._parts:
            part.thread = threading.Thread(
                target=self._keep_running, args=(part,), name=part.name, daemon=True
            )
            part.thread.start()

    def _keep_running(self, part: Part) -> None:
        while not self.stop.is_set():
            try:
                part.run(self.stop)
            except Unavailable as error:
                logger.warning("%s starts anew: %s", part.name, error)
            except Exception:
                logger.exception("%s failed and starts anew", part.name)
            else:
                return
            self.stop.wait(RESTART_S)

    def wait(self) -> None:
        """Sleep until told to stop."""
        while not self.stop.wait(3600):
            pass

    def close(self) -> bool:
        """Stop all parts and wait for them; returns whether all have left in time."""
        self.stop.set()
        deadline = self.clock.monotonic() + LEAVE_S
        for part in self._parts:
            part.wake()
        for part in self._parts:
            if part.thread is not None:
                part.thread.join(max(0.1, deadline - self.clock.monotonic()))
        late = [part.name for part in self._parts if part.thread is not None and part.thread.is_alive()]
        if late:
            logger.error("left without: %s", ", ".join(late))
        self.serving.stop()
        self._close_parts()
        return not late

    def _close_parts(self) -> None:
        for closer in self._closers:
            closer()
        self.engine.dispose()


def _needs(role: Role, path: tuple[str | int, ...]) -> bool:
    """Whether a role needs a secret: only evaluators send anything to receivers."""
    return role in (Role.ALL, Role.EVALUATE) or path[0] != "receivers"


def written_by(configuration: Configuration, role: Role) -> list[str]:
    """Topics of Driftline itself that a role writes to."""
    names, letters = configuration.topics, configuration.dead_letters
    if role is Role.INGEST:
        return [names.control]
    return [names.control, names.results, names.alerts, *([letters.topic] if letters else [])]


def create_topics(
    own: Sequence[str],
    options: dict[str, Any],
    stop: threading.Event,
    failed: Callable[[KafkaError], None] = lambda _error: None,
) -> None:
    """Create the topics that Driftline itself writes, where the broker lets us."""
    admin = AdminClient(options, logger=client_logger)
    while not stop.is_set():
        try:
            there = admin.list_topics(timeout=5.0).topics
        except KafkaException as error:
            failed(error.args[0])
            logger.warning("waiting for Kafka: %s", error.args[0].str())
            stop.wait(RESTART_S)
            continue
        wanted = [NewTopic(name, -1, -1) for name in own if name not in there]
        for name, future in (admin.create_topics(wanted) if wanted else {}).items():
            try:
                future.result(10)
            except KafkaException as error:
                failed(error.args[0])
                logger.warning("topic %s is not seen and was not created: %s", name, error.args[0].str())
            except TimeoutError:
                logger.warning("topic %s was not created: nobody answers", name)
        return
