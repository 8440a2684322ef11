"""Gauges of the service itself: partitions that are stopped, messages that have not arrived, the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Connection

from monitor.config import Configuration
from monitor.store.queries.pipeline import waiting_messages
from monitor.store.queries.receivers import ReceiverStanding, receiver_standings
from monitor.store.queries.times import stopped_partitions


@dataclass
class ServiceSnapshot:
    """What the database said of the service at one instant; instants are epoch milliseconds."""

    budget_allowed: float = 0.0
    stopped: dict[tuple[str, str], bool] = field(default_factory=dict)
    receivers: dict[str, ReceiverStanding] = field(default_factory=dict)
    waiting_since_ms: dict[str, int] = field(default_factory=dict)


def read_service(connection: Connection, configuration: Configuration) -> ServiceSnapshot:
    """Read how the service is doing.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    configuration : Configuration
        Names topics and receivers; those that are no longer configured are left out.
    """
    names = sorted(set(configuration.receivers) - configuration.targets)
    topics = {stream.topic for stream in configuration.streams}
    return ServiceSnapshot(
        configuration.alerts.budget.count,
        {
            (topic, str(partition)): is_stopped
            for (topic, partition), is_stopped in stopped_partitions(connection).items()
            if topic in topics
        },
        receiver_standings(connection, names),
        {one.receiver: one.oldest_ms for one in waiting_messages(connection) if one.receiver in names},
    )


def service_families(snapshot: ServiceSnapshot | None) -> list[GaugeMetricFamily]:
    """Write a snapshot as metric families; without one they are empty."""
    known = snapshot or ServiceSnapshot()
    allowed = {} if snapshot is None else {(): known.budget_allowed}
    standings = known.receivers.items()
    return [
        plain(
            "alert_budget_allowed",
            "False alarms that may be expected in a period of the budget.",
            [],
            allowed,
        ),
        plain(
            "partition_stopped",
            "Whether a partition is not read any more (1), as its data or the broker's cannot be trusted.",
            ["topic", "partition"],
            {key: float(is_stopped) for key, is_stopped in known.stopped.items()},
        ),
        plain(
            "messages_waiting",
            "Messages to a receiver that have not arrived yet.",
            ["receiver"],
            {(name,): float(one.waiting) for name, one in standings},
        ),
        plain(
            "messages_waiting_since_timestamp_seconds",
            "When the message that waits longest could have been sent first.",
            ["receiver"],
            {(name,): at_ms / 1_000 for name, at_ms in known.waiting_since_ms.items()},
        ),
        plain(
            "messages_given_up",
            "Messages to a receiver that were given up and can be sent again by hand.",
            ["receiver"],
            {(name,): float(one.dead) for name, one in standings},
        ),
        plain(
            "receiver_disabled",
            "Whether a receiver has said that it wants nothing any more (1).",
            ["receiver"],
            {(name,): float(bool(one.disabled)) for name, one in standings},
        ),
    ]


def plain(name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> GaugeMetricFamily:
    """Write one family of gauges.

    Parameters
    ----------
    name, text : str
        Without the prefix; help.
    labels : list of str
    values : mapping of tuple of str to float
        By the values of the labels.
    """
    family = GaugeMetricFamily(f"driftline_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
