"""The service on the embedded broker: all that is different from ``driftline run``."""

from __future__ import annotations

from typing import Any

from monitor.app import Service
from monitor.source.kafka import KafkaSource
from monitor.source.source import Source


class MockSource(KafkaSource):
    """Reads from the mock cluster, which has no controller to ask for the identities of topics."""

    def topic_id(self, topic: str) -> str:
        """Empty: the topics have no identities. They cannot be created anew behind our back either."""
        del topic
        return ""


class DemoService(Service):
    """The service, reading from the mock cluster."""

    def _source(self, options: dict[str, Any]) -> Source:
        kafka = self.configuration.kafka
        others = {name: value for name, value in options.items() if name != "bootstrap.servers"}
        return MockSource(kafka.bootstrap_servers, kafka.group_id, others)
