"""The evaluator: a Faust app that judges models as soon as slices are ready, and a sweep for what it missed.

Faust spreads models over evaluators (messages are keyed by model) and brings the news quickly. It owns
nothing: a message says only that a model may have something to judge. Whatever Faust loses, repeats or
delays, the sweep finds in the database, and results are the same.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import threading
from collections.abc import Callable, Collection
from typing import Any

import faust
from aiokafka.errors import KafkaError as AIOKafkaError  # type: ignore[import-untyped]
from confluent_kafka import KafkaError, KafkaException, Producer

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.faust_credentials import credentials, unsupported
from monitor.faust_rights import GroupRight
from monitor.judging.digests import Digests
from monitor.judging.judge import Judge
from monitor.judging.judgements import Judged
from monitor.labels.expiry import Expiry
from monitor.memory import Memory
from monitor.performance.judge import OutcomeJudge
from monitor.silence import Silences
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

SWEEP_S = 5.0
SILENCE_S = 15.0
RESTART_S = 5.0
RETRY_S = 1.0
RIGHT_S = 15.0
"""Between two questions whether the Faust app may still be a member of its group."""


class Evaluator:
    """Judges what is due, when it is told to and every few seconds anyway.

    Parameters
    ----------
    judge : Judge
    outcomes : OutcomeJudge
    expiry : Expiry
    silences : Silences
    digests : Digests
    clock : Clock
    after : callable
        Called with what was judged, after it is stored.
    stop : threading.Event, optional
        Nothing more is begun once it is set.
    """

    def __init__(
        self,
        judge: Judge,
        outcomes: OutcomeJudge,
        expiry: Expiry,
        silences: Silences,
        digests: Digests,
        clock: Clock,
        after: Callable[[list[Judged]], None],
        stop: threading.Event | None = None,
    ) -> None:
        self._stop = stop or threading.Event()
        self._judge, self._outcomes, self._expiry = judge, outcomes, expiry
        self._silences, self._digests = silences, digests
        self._clock, self._after = clock, after
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._silence_at = 0.0
        self._memory = Memory(clock)

    def evaluate(self, models: Collection[str] | None = None) -> int:
        """Judge everything that is due, of some models or of all; returns the number of windows.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        total = 0
        with self._lock:
            for sweep in (self._judge.sweep, self._outcomes.sweep):
                while not self._stop.is_set() and (judged := sweep(models)):
                    total += len(judged)
                    self._after(judged)
            self._judge.tidy(models or ())
            self._expiry.sweep()
        return total

    def run(self, stop: threading.Event) -> None:
        """Sweep until told to stop."""
        while not stop.is_set():
            try:
                self.evaluate()
                if self._clock.monotonic() >= self._silence_at:
                    self._silence_at = self._clock.monotonic() + SILENCE_S
                    is_news = bool(self._silences.sweep())
                    if self._digests.sweep() or is_news:
                        self._after([])
            except Unavailable as error:
                logger.warning("sweep waits: %s", error)
            self._memory.give_back()
            self._wake.wait(SWEEP_S)
            self._wake.clear()

    def wake(self) -> None:
        """End the wait between two sweeps."""
        self._wake.set()


class FaustThread:
    """Runs the Faust app in a thread of its own, and starts it anew when it fails.

    Parameters
    ----------
    configuration : Configuration
    evaluator : Evaluator
    failed : callable
        Told the kind of every error that ended the app.
    """

    def __init__(
        self,
        configuration: Configuration,
        evaluator: Evaluator,
        failed: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._configuration, self._evaluator, self._failed = configuration, evaluator, failed
        self._right = GroupRight(configuration, group_of(configuration))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def run(self, stop: threading.Event) -> None:
        """Keep the app alive until told to stop."""
        reason = unsupported(self._configuration.kafka.options)
        if reason:
            logger.warning("windows are judged by the sweep alone, every %g s: %s", SWEEP_S, reason)
            return
        while not stop.is_set():
            try:
                asyncio.run(self._serve(stop))
            except Exception as error:
                self._note(error.__cause__ or error)
                stop.wait(RESTART_S)

    def _note(self, error: BaseException) -> None:
        self._failed(type(error).__name__)
        if isinstance(error, AIOKafkaError | OSError | Unavailable):
            logger.warning("the Faust app is started anew, and the sweep goes on: %s", error)
        else:
            logger.error("the Faust app failed; it is started anew, and the sweep goes on", exc_info=error)

    def wake(self) -> None:
        """Make the app notice that it is to stop."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stopping.set)

    async def _serve(self, stop: threading.Event) -> None:
        # Faust makes a folder, in which it keeps nothing as long as there are no tables.
        with tempfile.TemporaryDirectory(prefix="driftline-") as folder:
            await self._serve_in(folder, stop)

    async def _serve_in(self, folder: str, stop: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await asyncio.to_thread(self._right.need)
        app = build_app(self._configuration, self._evaluator, self._loop, folder)
        try:
            await app.start()
            await self._watch(app, stop, self._stopping)
        finally:
            self._loop = None
            await app.stop()

    async def _watch(self, app: Any, stop: threading.Event, stopping: asyncio.Event) -> None:
        """Return when told to stop; raise when the app has ended, or may not go on."""
        looked_s = self._loop_time()
        while not stop.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), RETRY_S)
            except TimeoutError:
                if app.crashed:
                    msg = f"Faust stopped: {app.crash_reason!r}"
                    raise RuntimeError(msg) from app.crash_reason
                if self._loop_time() - looked_s > RIGHT_S:
                    await asyncio.to_thread(self._right.need)
                    looked_s = self._loop_time()

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()


def group_of(configuration: Configuration) -> str:
    """Name of the group that the Faust apps of an installation are members of."""
    return f"{configuration.kafka.group_id}-evaluate"


def build_app(
    configuration: Configuration, evaluator: Evaluator, loop: asyncio.AbstractEventLoop, folder: str
) -> Any:
    """Make the Faust app: one agent on the control topic."""
    servers = configuration.kafka.bootstrap_servers.split(",")
    app = faust.App(
        group_of(configuration),
        broker=[f"kafka://{server.strip()}" for server in servers],
        broker_credentials=credentials(configuration.kafka.client_options()),
        loop=loop,
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_commit_interval=1.0,
        datadir=folder,
    )
    control = app.topic(
        configuration.topics.control, key_serializer="raw", value_serializer="raw", value_type=bytes
    )

    async def judge(stream: Any) -> None:
        async for batch in stream.take(200, within=0.02):
            models = {model for model in map(_model_of, batch) if model}
            if models:
                # Faust would acknowledge the message in spite of an exception: the sweep comes back to it.
                try:
                    await asyncio.to_thread(evaluator.evaluate, models)
                except Unavailable as error:
                    logger.warning("judging waits for the next sweep: %s", error)

    app.agent(control, name="judge")(judge)
    return app


def _model_of(value: bytes | None) -> str | None:
    """Model that a control message is about; None for a message that says nothing."""
    try:
        message = json.loads(value or b"null")
    except ValueError:
        logger.warning("a control message is not JSON: %.80r", value)
        return None
    return message.get("model") if isinstance(message, dict) else None


class Announcer:
    """Tells evaluators, through the control topic, which models may have something to judge.

    Only models whose event time has passed the end of a window since they were last announced are. What is
    lost on the way is found by the sweep.

    Parameters
    ----------
    configuration : Configuration
    producer : Producer
    failed : callable
        Told of every message that was not delivered.
    """

    def __init__(
        self,
        configuration: Configuration,
        producer: Producer,
        failed: Callable[[KafkaError], None] = lambda _error: None,
    ) -> None:
        self._configuration, self._producer, self._failed = configuration, producer, failed
        self._told: dict[str, int] = {}
        self._failing: set[str] = set()

    def announce(self, newest: dict[str, int]) -> None:
        """Take in the newest event time of models that had events."""
        topic = self._configuration.topics.control
        for model, event_ms in newest.items():
            settings = self._configuration.for_model(model)
            shortest = min(spec.every_ms for spec in settings.windows)
            passed = (event_ms - settings.lateness_ms) // shortest
            if passed > self._told.get(model, -1):
                self._told[model] = passed
                self.send(topic, model, {"type": "slices_ready", "model": model})
        self._producer.poll(0)

    def send(self, topic: str, key: str, message: dict[str, Any]) -> None:
        """Send a message that may get lost."""
        try:
            self._producer.produce(
                topic, json.dumps(message).encode(), key=key.encode(), on_delivery=self._delivered
            )
        except BufferError:
            self._producer.poll(0)
        except KafkaException as error:  # once the client has heard that the topic is closed to it
            self._undelivered(topic, error.args[0])

    def close(self) -> None:
        """Wait a little for messages under way."""
        self._producer.flush(1.0)

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._failing.discard(message.topic())
        else:
            self._undelivered(message.topic(), error)

    def _undelivered(self, topic: str, error: KafkaError) -> None:
        self._failed(error)
        if topic not in self._failing:
            self._failing.add(topic)
            logger.warning(
                "messages to other processes are not delivered (the sweep does without): topic %s: %s",
                topic, error.str(),
            )  # fmt: skip
