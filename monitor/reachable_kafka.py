"""Tries what a configuration names in Kafka: brokers, topics, and the rights of its user."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from monitor.config import Configuration
from monitor.kafka_reasons import Reasons, made

TIMEOUT_S = 10.0
LOOK_S = 1.0
READ, WRITE = AclOperation.READ, AclOperation.WRITE

Found = tuple[str, bool, str]
"""What was tried, whether it is there and may be used, and details."""


def kafka_findings(configuration: Configuration) -> Iterator[Found]:
    """Try the brokers, each topic, and the rights of the user; each attempt is bounded by a timeout.

    Yields
    ------
    tuple of (str, bool, str)
        The brokers, each input topic and the control topic; of groups and other topics only what is wrong.

    Raises
    ------
    ConfigurationError
        If librdkafka does not know an option.
    """
    # At any other level librdkafka would write every attempt to standard error.
    options: dict[str, Any] = {"log_level": 0, **configuration.kafka.client_options()}
    reasons = Reasons(options)
    where = configuration.where("kafka", "options")
    client = made(AdminClient, {**options, "error_cb": reasons.note}, where)
    servers = configuration.kafka.bootstrap_servers
    try:
        topics = topics_of(client, reasons)
    except KafkaException as error:
        yield "kafka", False, f"{servers}: {reasons.text(error.args[0])}"
        return
    yield "kafka", True, servers
    yield from _Trial(client, configuration, topics).findings()


def topics_of(client: AdminClient, reasons: Reasons, within_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Topics that the user may see; gives up early once the reason is one that does not pass by itself."""
    deadline_s = time.monotonic() + within_s
    while True:
        try:
            return client.list_topics(timeout=LOOK_S).topics
        except KafkaException:
            client.poll(0)  # hands over the reasons
            if reasons.are_final or time.monotonic() > deadline_s:
                raise


class _Trial:
    """Asks brokers that answer."""

    def __init__(self, client: AdminClient, configuration: Configuration, topics: dict[str, Any]) -> None:
        self._client, self._configuration, self._topics = client, configuration, topics

    def findings(self) -> Iterator[Found]:
        """What is there; of what is only written to and of groups, what is wrong."""
        writes = self._written_by_http()
        for stream in self._configuration.streams:
            needed = (READ, WRITE) if stream.topic in writes else (READ,)
            yield self._input(stream.topic, needed)
        names, letters = self._configuration.topics, self._configuration.dead_letters
        yield self._own(names.control, (READ, WRITE))
        for topic in (names.results, names.alerts, *((letters.topic,) if letters else ())):
            found = self._own(topic, (WRITE,))
            if not found[1]:
                yield found
        group = self._configuration.kafka.group_id
        for name in (group, f"{group}-evaluate"):
            if problem := group_problem(self._client, name):
                yield f"group {name}", False, problem

    def _written_by_http(self) -> set[str | None]:
        events = self._configuration.http.events
        return {events.predictions, events.labels} if events else set()

    def _input(self, name: str, needed: Collection[AclOperation]) -> Found:
        if problem := self._problem(name, needed):
            return f"topic {name}", False, problem
        found = self._topics.get(name)
        if found is None or found.error is not None:
            return f"topic {name}", False, "does not exist"
        return f"topic {name}", True, f"{len(found.partitions)} partitions"

    def _own(self, name: str, needed: Collection[AclOperation]) -> Found:
        """Look for a topic that Driftline writes; if it is missing, ask whether it could be created."""
        found = self._topics.get(name)
        if found is not None and found.error is None:
            problem = self._problem(name, needed)
            return f"topic {name}", not problem, problem or f"{len(found.partitions)} partitions"
        attempt = self._client.create_topics([NewTopic(name)], validate_only=True, request_timeout=TIMEOUT_S)
        try:
            attempt[name].result(TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            refusal = _refusal(error, KafkaError.TOPIC_AUTHORIZATION_FAILED, needed)
            return f"topic {name}", False, refusal or f"does not exist and cannot be created: {_text(error)}"
        return f"topic {name}", True, "does not exist yet; can be created"

    def _problem(self, name: str, needed: Collection[AclOperation]) -> str:
        """What the user may not do with a topic; empty if nothing is missing, or brokers do not say."""
        asked = self._client.describe_topics(
            TopicCollection([name]), include_authorized_operations=True, request_timeout=TIMEOUT_S
        )
        try:
            allowed = asked[name].result(TIMEOUT_S).authorized_operations
        except (KafkaException, TimeoutError) as error:
            return _refusal(error, KafkaError.TOPIC_AUTHORIZATION_FAILED, needed)
        return _missing(needed, allowed)


def group_problem(client: AdminClient, name: str) -> str:
    """What the user may not do with a group; empty if nothing is missing, or brokers do not say."""
    asked = client.describe_consumer_groups(
        [name], include_authorized_operations=True, request_timeout=TIMEOUT_S
    )
    try:
        return _missing((READ,), asked[name].result(TIMEOUT_S).authorized_operations)
    except (KafkaException, TimeoutError) as error:
        refusal = _refusal(error, KafkaError.GROUP_AUTHORIZATION_FAILED, (READ,))
        return refusal.removeprefix("does not exist, or ")


def _missing(needed: Collection[AclOperation], allowed: Collection[AclOperation] | None) -> str:
    lacking = [operation.name for operation in needed if allowed and operation not in allowed]
    return f"the right {' and '.join(lacking)} is missing" if lacking else ""


def _refusal(error: Exception, code: int, needed: Collection[AclOperation]) -> str:
    """Say so if brokers do not even let the user see it; other errors say nothing about rights."""
    if not isinstance(error, KafkaException) or error.args[0].code() != code:
        return ""
    rights = " and ".join(operation.name for operation in needed)
    return f"does not exist, or the right {rights} is missing: {error.args[0].str()}"


def _text(error: Exception) -> str:
    return str(error.args[0].str()) if isinstance(error, KafkaException) else "timed out"
