"""Tries what a configuration names: Kafka, its topics, the database, its tables, receivers, and the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

from alerting.notifiers import catalog
from alerting.notifiers.base import Notifier, ReceiverOptions
from alerting.retraining import catalog as targets
from alerting.retraining.base import RetrainingTarget
from alerting.retraining.options import TargetOptions
from alerting.trial import trial_notice
from monitor.clock import SystemClock
from monitor.config import Configuration
from monitor.config.sign_in import OidcSignIn
from monitor.config.tracing import NEEDS_PACKAGES, Tracing
from monitor.deliver import log_bug
from monitor.reachable_kafka import kafka_findings
from monitor.store import engine, schema
from monitor.web.sign_in.provider import Provider
from schemas.errors import DriftlineError, Unavailable


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
        Kafka, its topics and the user's rights, the database, the schema registry, who signs people in, the
        receiver of spans, each receiver. Details hold no secrets.

    Raises
    ------
    ConfigurationError
        If librdkafka does not know an option.
    """
    yield from (Finding(*found) for found in kafka_findings(configuration))
    yield _database(configuration)
    yield from _others(configuration)
    yield from _receivers(configuration, messages)


def _database(configuration: Configuration) -> Finding:
    database = engine.create(configuration.database())
    where = engine.describe(database.url)
    try:
        revision = schema.require(database)
    except DriftlineError as error:
        return Finding("database", False, str(error).removeprefix("database "))
    finally:
        database.dispose()
    return Finding("database", True, f"{where}: revision {revision}")


def _others(configuration: Configuration) -> Iterator[Finding]:
    """What is tried only where the configuration names it."""
    registry, sign_in, tracing = configuration.registry, configuration.http.sign_in, configuration.tracing
    if registry is not None:
        yield _tried("schema registry", lambda: registry.client().check())
    if isinstance(sign_in, OidcSignIn):
        yield _tried("sign-in", partial(_check_provider, sign_in))
    if tracing is not None:
        yield _tried("tracing", partial(_check_tracing, tracing))


def _check_provider(options: OidcSignIn) -> str:
    provider = Provider(options, SystemClock())
    try:
        number = len(provider.keys()["keys"])
    finally:
        provider.close()
    return f"{options.issuer}: {number} {'key' if number == 1 else 'keys'}"


def _check_tracing(options: Tracing) -> str:
    if not options.has_packages:
        raise Unavailable(NEEDS_PACKAGES)
    from monitor.tracing.otlp import try_receiver  # loads OpenTelemetry

    return try_receiver(options.endpoint, options.headers())


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
        return Finding(what, False, str(error).removeprefix(f"{what}: "))
    except Exception as error:  # what nobody has foreseen of one receiver must not hide the others
        log_bug(what, error)
        return Finding(what, False, f"unexpected {type(error).__name__}, see the log")
