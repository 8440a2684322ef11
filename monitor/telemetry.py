"""What the service tells about itself: events as types, and the Prometheus metrics that they move.

Every metric is declared here, once. Nothing else in the program touches the Prometheus client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True)
class Committed:
    """A commit of counts and positions succeeded; `outcomes` are events by (topic, outcome)."""

    seconds: float
    outcomes: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class LagSeen:
    """Messages of a partition that are waiting to be fetched."""

    topic: str
    partition: int
    events: int


@dataclass(frozen=True)
class PartitionReleased:
    """A partition went to another process."""

    topic: str
    partition: int


@dataclass(frozen=True)
class WindowJudged:
    """A window was judged; `seconds` is the time from the commit that made it due to the stored result."""

    model: str
    seconds: float | None


@dataclass(frozen=True)
class Delivered:
    """A delivery ended; `outcome` is delivered, retried or dead."""

    receiver: str
    outcome: str


@dataclass(frozen=True)
class AlertChanged:
    """An alert was opened, updated, resolved or retracted; `delay_s` from event to alert, if known."""

    model: str
    lane: str
    severity: str
    change: str
    delay_s: float | None = None


@dataclass(frozen=True)
class Retrained:
    """A request for training came further: it was started, or succeeded, failed, was lost, tried again."""

    model: str
    target: str
    outcome: str


@dataclass(frozen=True)
class Removed:
    """Rows went because of their age: added up to hours and days, or removed."""

    what: str
    rows: int


@dataclass(frozen=True)
class KafkaFailed:
    """Kafka refused something, or was not reached; `reason` is librdkafka's or Kafka's name of the error."""

    client: str
    reason: str


@dataclass(frozen=True)
class Answered:
    """A request by HTTP was answered, or refused."""

    status: int


Event = (
    Committed
    | LagSeen
    | PartitionReleased
    | WindowJudged
    | Delivered
    | AlertChanged
    | Retrained
    | Removed
    | KafkaFailed
    | Answered
)


@dataclass
class Telemetry:
    """Turns events into metrics of one registry."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        r = self.registry
        self._events = Counter(
            "driftline_events", "Events taken in, by what became of them.", ["topic", "outcome"], registry=r
        )
        self._lag = Gauge(
            "driftline_consumer_lag_events", "Messages waiting in Kafka.", ["topic", "partition"], registry=r
        )
        self._commit = Histogram(
            "driftline_commit_seconds",
            "Time of a commit of counts and positions.",
            buckets=DURATIONS_S,
            registry=r,
        )
        self._judge = Histogram(
            "driftline_judge_delay_seconds",
            "Time from the commit that completes a window to its stored results.",
            buckets=DURATIONS_S,
            registry=r,
        )
        self._alert_delay = Histogram(
            "driftline_event_to_alert_seconds",
            "Time from the arrival of the last event of a window to its alert.",
            buckets=(*DURATIONS_S, 60, 300, 900, 3600),
            registry=r,
        )
        self._alerts = Counter(
            "driftline_alerts", "Changes of alerts.", ["model", "lane", "severity", "event"], registry=r
        )
        self._deliveries = Counter(
            "driftline_deliveries",
            "Deliveries to receivers, by outcome.",
            ["receiver", "outcome"],
            registry=r,
        )

        self._retraining = Counter(
            "driftline_retraining_triggers",
            "Requests for training, by what became of them.",
            ["model", "target", "outcome"],
            registry=r,
        )
        self._kafka_failures = Counter(
            "driftline_kafka_failures",
            "What Kafka refused or did not answer, by part and reason.",
            ["client", "reason"],
            registry=r,
        )

        self._answers = Counter(
            "driftline_http_answers",
            "Answers to requests by HTTP, by status; those of Driftline itself, refusals included.",
            ["status"],
            registry=r,
        )

        self._removed = Counter(
            "driftline_retention_rows",
            "Rows that went because of their age: added up, or removed.",
            ["what"],
            registry=r,
        )

    def emit(self, event: Event) -> None:
        """Move the metrics that an event concerns."""
        match event:
            case Committed(seconds, outcomes):
                self._commit.observe(seconds)
                for (topic, outcome), number in outcomes.items():
                    self._events.labels(topic, outcome).inc(number)
            case LagSeen(topic, partition, events):
                self._lag.labels(topic, str(partition)).set(events)
            case PartitionReleased(topic, partition):
                self._lag.labels(topic, str(partition))  # it may have gone before its lag was known
                self._lag.remove(topic, str(partition))
            case WindowJudged(_, seconds):
                if seconds is not None:
                    self._judge.observe(seconds)
            case Delivered(receiver, outcome):
                self._deliveries.labels(receiver, outcome).inc()
            case KafkaFailed(client, reason):
                self._kafka_failures.labels(client, reason).inc()
            case Answered(status):
                self._answers.labels(str(status)).inc()
            case Retrained(model, target, outcome):
                self._retraining.labels(model, target, outcome).inc()
            case Removed(what, rows):
                self._removed.labels(what).inc(rows)
            case AlertChanged(model, lane, severity, change, delay_s):
                self._alerts.labels(model, lane, severity, change).inc()
                if delay_s is not None:
                    self._alert_delay.observe(delay_s)
