"""The SQL tables of alerts, incidents, decisions of people, and deliveries; see `monitor.store.tables`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from monitor.store.metadata import Serial, metadata

alert = Table(
    "alert",
    metadata,
    Column("id", String(64), primary_key=True, comment="deterministic: hash of cause and opening window"),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("kind", String(32), nullable=False, comment="drift | no_data | partition_stopped"),
    Column("lane", String(16), nullable=False),
    Column("severity", String(16), nullable=False, comment="page | warn | info"),
    Column("state", String(16), nullable=False, comment="firing | acknowledged | resolved | retracted"),
    Column("column", String(512), nullable=False),
    Column("segment", String(512), nullable=False),
    Column(
        "opened_at_ms", BigInteger, nullable=False, comment="event time: end of the window that opened it"
    ),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger),
    Column("window_start_ms", BigInteger, nullable=False),
    Column("window_end_ms", BigInteger, nullable=False),
    Column("onset_at_ms", BigInteger),
    Column("evidence_log", Float),
    Column("threshold_log", Float),
    Column(
        "sequence", Integer, nullable=False, comment="number of changes; the next change has sequence + 1"
    ),
    Column("summary", Text, nullable=False),
    Column("state_bytes", LargeBinary, nullable=False, comment="state of the alert's machine, versioned"),
    Index("alert_open", "model", "version", "state"),
)

alert_event = Table(
    "alert_event",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("alert_id", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column(
        "change", String(16), nullable=False, comment="opened | updated | acknowledged | resolved | retracted"
    ),
    Column("cause", Text, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("alert_id", "sequence"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(64), primary_key=True, comment="deterministic: hash of alert, sequence and receiver"),
    Column("alert_id", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("receiver", String(256), nullable=False),
    Column("payload", Text, nullable=False, comment="JSON of the alert as it was at that change"),
    Column("state", String(16), nullable=False, comment="waiting | delivered | superseded | dead"),
    Column("attempts", Integer, nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("lease_token", String(64)),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("last_error", Text),
    Index("outbox_due", "state", "not_before_ms"),
    Index("outbox_order", "receiver", "alert_id", "sequence"),
    Index("outbox_sent", "receiver", "state", "finished_at_ms"),
    Index("outbox_newest", "created_at_ms", "id"),
    Index("outbox_receiver_newest", "receiver", "created_at_ms", "id"),
    Index("outbox_state_newest", "state", "created_at_ms", "id"),
)

receiver_state = Table(
    "receiver_state",
    metadata,
    Column("receiver", String(256), nullable=False),
    Column("alert_id", String(64), nullable=False, comment="empty: state of the receiver itself"),
    Column("state", Text, nullable=False, comment="JSON, for example a Slack channel and message ts"),
    PrimaryKeyConstraint("receiver", "alert_id"),
)

incident = Table(
    "incident",
    metadata,
    Column("id", String(64), primary_key=True, comment="that of the alert which opened it"),
    Column("model", String(256), nullable=False, comment="of the alert that matters most"),
    Column("version", String(256), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("severity", String(16), nullable=False, comment="page | warn | info"),
    Column(
        "state", String(16), nullable=False, comment="pending | firing | acknowledged | resolved | retracted"
    ),
    Column(
        "start_ms", BigInteger, nullable=False, comment="event time: earliest window or onset of an alert"
    ),
    Column(
        "latest_start_ms", BigInteger, nullable=False, comment="event time: latest first window of an alert"
    ),
    Column("opened_at_ms", BigInteger, nullable=False, comment="event time"),
    Column("closed_at_ms", BigInteger),
    Column("updated_at_ms", BigInteger, nullable=False, comment="wall clock"),
    Column("look_at_ms", BigInteger, comment="wall clock: when time alone brings something; null: never"),
    Column("sequence", Integer, nullable=False, comment="number of changes"),
    Column("summary", Text, nullable=False),
    Column("record_bytes", LargeBinary, nullable=False, comment="who was told what, versioned"),
    Index("incident_start", "start_ms"),
    Index("incident_look", "look_at_ms"),
    Index("incident_state", "state", "opened_at_ms"),
    Index("incident_updated", "updated_at_ms"),
)

incident_alert = Table(
    "incident_alert",
    metadata,
    Column("alert_id", String(64), primary_key=True),
    Column("incident_id", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Index("incident_alerts", "incident_id"),
    Index("incident_models", "model", "incident_id"),
)

incident_column = Table(
    "incident_column",
    metadata,
    Column("incident_id", String(64), nullable=False),
    Column("column", String(512), nullable=False, comment="what models are fed with and that has changed"),
    PrimaryKeyConstraint("incident_id", "column"),
    Index("incident_columns", "column"),
)

incident_event = Table(
    "incident_event",
    metadata,
    Column("incident_id", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("change", String(16), nullable=False),
    Column("cause", Text, nullable=False),
    Column("actor", String(256), nullable=False),
    Column(
        "at_ms", BigInteger, nullable=False, comment="event time of what the service saw, else wall clock"
    ),
    Column("noted_at_ms", BigInteger, nullable=False, comment="wall clock"),
    Column("alert_id", String(64), comment="which alert changed; null: none"),
    Column("told", Text, nullable=False, comment="JSON: names of the receivers"),
    Column("held", Text, nullable=False, comment="why nobody was told; empty if nothing was held back"),
    PrimaryKeyConstraint("incident_id", "sequence"),
)

silence = Table(
    "silence",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("match", Text, nullable=False, comment="JSON, as in routes"),
    Column("incident_id", String(64), nullable=False, comment="only this incident; empty: all that match"),
    Column("from_ms", BigInteger, nullable=False, comment="wall clock"),
    Column("until_ms", BigInteger, nullable=False, comment="wall clock"),
    Column("actor", String(256), nullable=False),
    Column("comment", Text, nullable=False),
    Column("source", String(16), nullable=False, comment="person | deployment"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_by", String(256), comment="who ended it early"),
    Index("silence_until", "until_ms"),
)

deployment = Table(
    "deployment",
    metadata,
    Column("id", String(64), primary_key=True, comment="given by the sender, or a hash of what is deployed"),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("at_ms", BigInteger, nullable=False, comment="wall clock"),
    Column("source", String(32), nullable=False, comment="api | mlflow | seen"),
    Column("actor", String(256), nullable=False),
    Column("comment", Text, nullable=False),
    Index("deployment_model", "model", "at_ms"),
)

retraining_run = Table(
    "retraining_run",
    metadata,
    Column("id", String(64), primary_key=True, comment="deterministic: hash of incident and receiver"),
    Column("incident_id", String(64), nullable=False),
    Column("receiver", String(256), nullable=False),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column(
        "state",
        String(16),
        nullable=False,
        comment="see monitor.retraining.ledger",
    ),
    Column("reason", Text, nullable=False, comment="why it is in this state"),
    Column("request", Text, nullable=False, comment="JSON: what the target is sent"),
    Column("trigger", String(16), nullable=False, comment="incident | person"),
    Column("actor", String(256), nullable=False, comment="who approved or rejected it, or asked for it"),
    Column("run_id", Text),
    Column("run_url", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger),
    Column("finished_at_ms", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("lease_token", String(64)),
    Column("last_error", Text),
    Column("outcome", Text, comment="JSON: whether the version that came of it does better"),
    Index("retraining_due", "state", "not_before_ms"),
    Index("retraining_incident", "incident_id"),
    Index("retraining_receiver", "receiver", "model", "created_at_ms"),
)
