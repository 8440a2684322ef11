"""Tries what a configuration depends on: Kafka and its topics, the database and its tables, receivers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from alerting.notifiers import catalog
from alerting.notifiers.base import Notifier, ReceiverOptions
from alerting.retraining import catalog as targets
from alerting.retraining.base import RetrainingTarget
from alerting.retraining.options import TargetOptions
from alerting.trial import trial_notice
from monitor.clock import SystemClock
from monitor.config import Configuration
from monitor.deliver import log_bug
from monitor.store import engine, schema
from schemas.errors import ConfigurationError, DriftlineError

KAFKA_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Finding:
    """What was found of one thing that the service depends on."""

    what: str
    reachable: bool
    detail: str

    def as_dict(self) -> dict[str, object]:
        """Fields for JSON."""
        return asdict(self)


def findings(configuration: Configuration, *, messages: bool = False) -> Iterator[Finding]:
    """Try everything, in turn; each attempt is bounded by a timeout.

    Parameters
    ----------
    configuration : Configuration
    messages : bool
        Whether receivers are sent a test message.

    Yields
    ------
    Finding
        Kafka, then each topic, the database, each receiver. Details hold no secrets.

    Raises
    ------
    ConfigurationError
        If librdkafka does not know an option.
    """
    yield from _kafka(configuration)
    yield _database(configuration)
    yield from _receivers(configuration, messages)


def _kafka(configuration: Configuration) -> Iterator[Finding]:
    reasons: list[str] = []
    options: dict[str, Any] = {
        "log_level": 0,  # librdkafka would write every attempt to standard error
        **configuration.kafka.client_options(),
        "error_cb": lambda error: reasons.append(error.str()),
    }
    client = _client(options, configuration)
    try:
        topics = client.list_topics(timeout=KAFKA_TIMEOUT_S).topics
    except KafkaException as error:
        client.poll(0)  # hands over the reasons
        detail = reasons[0] if reasons else error.args[0].str()
        yield Finding("kafka", False, f"{configuration.kafka.bootstrap_servers}: {detail}")
        return
    yield Finding("kafka", True, configuration.kafka.bootstrap_servers)
    for stream in configuration.streams:
        yield _stream(stream.topic, topics.get(stream.topic))
    yield _control(configuration.topics.control, topics.get(configuration.topics.control), client)


def _client(options: dict[str, Any], configuration: Configuration) -> AdminClient:
    try:
        return AdminClient(options)
    except KafkaException as error:
        where = configuration.where("kafka", "options")
        raise ConfigurationError([f"{where}: kafka.options: {error.args[0].str()}"]) from None


def _stream(name: str, found: Any) -> Finding:
    if found is None or found.error is not None:
        return Finding(f"topic {name}", False, "does not exist")
    return Finding(f"topic {name}", True, f"{len(found.partitions)} partitions")


def _control(name: str, found: Any, client: AdminClient) -> Finding:
    """Look for the control topic; if it is missing, ask the broker whether it could be created."""
    if found is not None and found.error is None:
        return Finding(f"topic {name}", True, f"{len(found.partitions)} partitions")
    attempt = client.create_topics([NewTopic(name)], validate_only=True, request_timeout=KAFKA_TIMEOUT_S)
    try:
        attempt[name].result(KAFKA_TIMEOUT_S)
    except (KafkaException, TimeoutError) as error:
        return Finding(f"topic {name}", False, f"does not exist and cannot be created: {_text(error)}")
    return Finding(f"topic {name}", True, "does not exist yet; can be created")


def _database(configuration: Configuration) -> Finding:
    database = engine.create(configuration.database())
    where = engine.describe(database.url)
    try:
        if database.dialect.name == "sqlite" and not Path(database.url.database or "").exists():
            return Finding(
                "database", False, f"{where} does not exist yet (run: driftline db upgrade -c FILE)"
            )
        schema.require(database)
    except DriftlineError as error:
        return Finding("database", False, str(error).removeprefix("database "))
    finally:
        database.dispose()
    return Finding("database", True, f"{where}: revision {schema.head()}")


def _receivers(configuration: Configuration, messages: bool) -> Iterator[Finding]:
    for name, options in configuration.receivers.items():
        if not isinstance(options, ReceiverOptions | TargetOptions):
            msg = f"options of receiver {name!r} are a {type(options).__name__}"
            raise TypeError(msg)
        yield _tried(f"receiver {name}", partial(_check_receiver, configuration, name, options, messages))


def _check_receiver(
    configuration: Configuration, name: str, options: ReceiverOptions | TargetOptions, messages: bool
) -> str:
    now_ms = SystemClock().now_ms
    built: Notifier | RetrainingTarget
    if isinstance(options, TargetOptions):
        built = targets.build(name, options, os.environ, now_ms)
    else:
        built = catalog.build(name, options, os.environ, now_ms)
    try:
        found = built.check()
        if not messages or isinstance(built, RetrainingTarget):
            return found
        built.send(trial_notice(name, now_ms(), configuration.console_url), None)
        return f"{found}; a test message was sent"
    finally:
        built.close()


def _tried(what: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, attempt())
    except DriftlineError as error:
        return Finding(what, False, str(error))
    except Exception as error:  # what nobody has foreseen of one receiver must not hide the others
        log_bug(what, error)
        return Finding(what, False, f"unexpected {type(error).__name__}, see the log")


def _text(error: Exception) -> str:
    return error.args[0].str() if isinstance(error, KafkaException) else "timed out"
