"""Asks Kafka where partitions end, without waiting long."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from monitor.config import Configuration
from monitor.kafka_reasons import Reasons, made
from monitor.store.positions import Place
from schemas.errors import Unavailable

TIMEOUT_S = 3.0


def topic_ends(configuration: Configuration, places: Collection[Place], timeout_s: float) -> dict[Place, int]:
    """Offset after the last message of each partition; partitions that Kafka does not know are left out.

    Raises
    ------
    ConfigurationError
        If librdkafka does not know an option, or a secret is missing.
    Unavailable
        If Kafka does not answer in time; says why.
    """
    # At any other level librdkafka would write every attempt to standard error.
    options: dict[str, Any] = {"log_level": 0, **configuration.kafka.client_options()}
    reasons = Reasons(options)
    client = made(AdminClient, {**options, "error_cb": reasons.note}, configuration.where("kafka", "options"))
    try:
        known = client.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        client.poll(0)  # hands over the reasons
        raise Unavailable(reasons.text(error.args[0])) from error
    there = [p for p in places if p.topic in known and p.partition in known[p.topic].partitions]
    if not there:
        return {}
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(p.topic, p.partition): latest for p in there}
    asked = client.list_offsets(wanted, request_timeout=timeout_s)
    try:
        return {Place(p.topic, p.partition): done.result(timeout_s).offset for p, done in asked.items()}
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else "timed out"
        raise Unavailable(reason) from error
