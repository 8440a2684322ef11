"""The SQL tables. Instants are epoch milliseconds (``…_ms``) in BIGINT columns; state is versioned bytes.

The migrations under ``migrations/`` create exactly these; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    false,
)

from monitor.store.alert_tables import alert as alert
from monitor.store.alert_tables import alert_event as alert_event
from monitor.store.alert_tables import deployment as deployment
from monitor.store.alert_tables import incident as incident
from monitor.store.alert_tables import incident_alert as incident_alert
from monitor.store.alert_tables import incident_column as incident_column
from monitor.store.alert_tables import incident_event as incident_event
from monitor.store.alert_tables import outbox as outbox
from monitor.store.alert_tables import receiver_state as receiver_state
from monitor.store.alert_tables import retraining_run as retraining_run
from monitor.store.alert_tables import silence as silence
from monitor.store.label_tables import estimate_state as estimate_state
from monitor.store.label_tables import join_share as join_share
from monitor.store.label_tables import joined_version as joined_version
from monitor.store.label_tables import label_account as label_account
from monitor.store.label_tables import outcome_commit as outcome_commit
from monitor.store.label_tables import outcome_reference as outcome_reference
from monitor.store.label_tables import outcome_slice as outcome_slice
from monitor.store.label_tables import outcome_window as outcome_window
from monitor.store.label_tables import pending as pending
from monitor.store.label_tables import performance_value as performance_value
from monitor.store.label_tables import term as term
from monitor.store.label_tables import truth as truth
from monitor.store.label_tables import version_comparison as version_comparison
from monitor.store.metadata import Serial as Serial
from monitor.store.metadata import metadata as metadata
from monitor.store.sign_in_tables import api_token as api_token
from monitor.store.sign_in_tables import audit as audit
from monitor.store.sign_in_tables import session as session

# --- position: which events have been taken in, by whom -----------------------------------------------------

partition_state = Table(
    "partition_state",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("topic_id", String(64), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner_token", String(64), nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("fetched", BigInteger, nullable=False),
    Column("counted", BigInteger, nullable=False),
    Column("late", BigInteger, nullable=False),
    Column("future", BigInteger, nullable=False),
    Column("dead_lettered", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column(
        "unpaired",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="requests and responses that wait for each other",
    ),
    Column(
        "paired",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="requests whose events are counted with their responses",
    ),
    Column("stamp_ms", BigInteger, comment="newest timestamp of the Kafka records that were read"),
    Column("max_event_ms", BigInteger),
    Column("last_event_at_ms", BigInteger, comment="wall clock when the last event arrived"),
    Column(
        "at_end_since_ms",
        BigInteger,
        comment="wall clock since when the partition is at its end; null: behind",
    ),
    Column("reached_end", Boolean, nullable=False, comment="has been at its end at least once"),
    Column("seen_at_ms", BigInteger, nullable=False, comment="wall clock of the last commit or heartbeat"),
    Column("stopped_reason", Text),
    PrimaryKeyConstraint("topic", "partition"),
)

partition_model = Table(
    "partition_model",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("model", String(256), nullable=False),
    Column("max_event_ms", BigInteger, nullable=False),
    Column("arrived_at_ms", BigInteger, nullable=False, comment="wall clock when that event arrived"),
    PrimaryKeyConstraint("model", "topic", "partition"),
)

gap = Table(
    "gap",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("from_offset", BigInteger, nullable=False),
    Column("to_offset", BigInteger, comment="null: unknown, the topic was created anew"),
    Column("reason", Text, nullable=False),
    Column("found_at_ms", BigInteger, nullable=False),
    Column("accepted_at_ms", BigInteger),
)

dedupe = Table(
    "dedupe",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("bucket_ms", BigInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False, comment="little-endian uint64"),
    Index("dedupe_bucket", "topic", "partition", "bucket_ms"),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False, comment="undecodable | future | contract | unpaired"),
    Column("reason", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary, nullable=False),
    Column(
        "value_bytes", BigInteger, nullable=False, comment="size of the original; larger than value if cut"
    ),
    Column("headers", Text, nullable=False, comment="JSON: [[name, base64], …]"),
    Column("timestamp_ms", BigInteger, comment="of the Kafka record"),
    Column("stored_at_ms", BigInteger, nullable=False),
    Column(
        "events",
        Integer,
        nullable=False,
        server_default="1",
        comment="what it counts for in the accounting of its partition",
    ),
    Column(
        "is_remembered",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="the ids of its events are; others of its message may be counted",
    ),
    Column(
        "status",
        String(16),
        nullable=False,
        server_default="waiting",
        comment="waiting | marked | replayed | refused",
    ),
    Column("marked_at_ms", BigInteger, comment="wall clock when somebody asked for a replay last"),
    Column("marked_by", String(256), comment="who did"),
    Column("marked_cause", Text, comment="why"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="replays that came to an end"),
    Column("replayed_at_ms", BigInteger, comment="wall clock of the latest replay"),
    Column("outcome", Text, comment="what became of its events when it was replayed"),
    Column("relayed_at_ms", BigInteger, comment="wall clock when it was sent on; null: not yet"),
    UniqueConstraint("topic", "partition", "offset"),
    Index("dead_letter_stored", "stored_at_ms"),
    Index("dead_letter_topic", "topic", "id"),
    Index("dead_letter_kind", "kind", "id"),
)
Index(
    "dead_letter_marked",
    dead_letter.c.id,
    sqlite_where=dead_letter.c.status == "marked",
    postgresql_where=dead_letter.c.status == "marked",
)
Index(
    "dead_letter_to_relay",
    dead_letter.c.id,
    sqlite_where=dead_letter.c.relayed_at_ms.is_(None),
    postgresql_where=dead_letter.c.relayed_at_ms.is_(None),
)

# --- requests and responses that come apart -----------------------------------------------------------------

half_message = Table(
    "half_message",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("pair", String(32), nullable=False, comment="digest of what both halves share"),
    Column("side", String(8), nullable=False, comment="request | response"),
    Column("status", String(8), nullable=False, comment="waiting | paired"),
    Column("format", String(32), nullable=False),
    Column("name", Text, nullable=False, comment="what both halves share, for people"),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary, nullable=False, comment="empty once it is paired"),
    Column("value_bytes", BigInteger, nullable=False),
    Column("headers", Text, nullable=False, comment="JSON: [[name, base64], …]"),
    Column("timestamp_ms", BigInteger, nullable=False, comment="of the Kafka record"),
    Column("stored_at_ms", BigInteger, nullable=False, comment="wall clock"),
    Column(
        "is_remembered",
        Boolean,
        nullable=False,
        comment="the ids of its events are: it was a dead letter, one whose events were told later",
    ),
    Column("paired_at_ms", BigInteger, comment="wall clock; remembered a while, to tell repetitions"),
    UniqueConstraint("pair", "side"),
)
Index(
    "half_waiting",
    half_message.c.topic,
    half_message.c.partition,
    half_message.c.side,
    sqlite_where=half_message.c.status == "waiting",
    postgresql_where=half_message.c.status == "waiting",
)
Index(
    "half_paired",
    half_message.c.topic,
    half_message.c.partition,
    half_message.c.paired_at_ms,
    sqlite_where=half_message.c.status == "paired",
    postgresql_where=half_message.c.status == "paired",
)

# --- what is watched ----------------------------------------------------------------------------------------

model_version = Table(
    "model_version",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("role", String(16), nullable=False),
    Column("first_slice_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("model", "version"),
)

model_column = Table(
    "model_column",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("name", String(512), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("source", String(16), nullable=False, comment="feature | prediction | score | latency | error"),
    Column("path", Text, comment="JSON list of keys of a nested feature; null: the name is the key"),
    PrimaryKeyConstraint("model", "version", "name"),
)

reference = Table(
    "reference",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("bytes", LargeBinary, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column(
        "metadata",
        Text,
        nullable=False,
        comment="JSON: source, range, training data hash, commit, MLflow run, labels",
    ),
    Column("created_at_ms", BigInteger, nullable=False),
    Index("reference_newest", "created_at_ms", "hash"),
)

reference_pointer = Table(
    "reference_pointer",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("from_ms", BigInteger, nullable=False, comment="first slice that is judged against it"),
    Column("promoted_at_ms", BigInteger, nullable=False),
    Column("promoted_by", String(256), nullable=False),
    PrimaryKeyConstraint("model", "version", "revision"),
    Index("reference_pointer_hash", "hash"),
)

counter = Table(
    "counter",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# --- state --------------------------------------------------------------------------------------------------

slice_profile = Table(
    "slice_profile",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("slice_ms", BigInteger, nullable=False),
    Column(
        "span_ms",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="length of what was added up, an hour or a day; 0: one slice",
    ),
    Column("reference_hash", String(64), comment="null: before the first reference"),
    Column("rows", BigInteger, nullable=False),
    Column("sources", Text, nullable=False, comment="JSON: {topic: {partition: [[from, to), …]}}"),
    Column("bytes", LargeBinary, nullable=False),
    Index("slice_profile_range", "model", "version", "slice_ms", "span_ms"),
)

window_state = Table(
    "window_state",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("window", String(32), nullable=False, comment="shape, as in the configuration: 1h, 1h/15m"),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("touched", BigInteger, nullable=False, comment="grows with every commit that adds to the window"),
    Column(
        "judged", BigInteger, nullable=False, comment="value of touched that the latest revision has seen"
    ),
    Column("revision", Integer, nullable=False, comment="0: not judged yet"),
    PrimaryKeyConstraint("model", "version", "window", "start_ms"),
)
Index(
    "window_state_dirty",
    window_state.c.end_ms,
    sqlite_where=window_state.c.touched != window_state.c.judged,
    postgresql_where=window_state.c.touched != window_state.c.judged,
)

judgement = Table(
    "judgement",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("window", String(32), nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("reference_hash", String(64)),
    Column("configuration_hash", String(64), nullable=False),
    Column("code_version", String(64), nullable=False),
    Column("sources", Text, nullable=False, comment="JSON: {topic: {partition: [[from, to), …]}}"),
    Column("excluded_rows", BigInteger, nullable=False, comment="rows of slices on another reference's bins"),
    Column("judged_at_ms", BigInteger, nullable=False),
    UniqueConstraint("model", "version", "window", "start_ms", "revision"),
)

result = Table(
    "result",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("judgement_id", BigInteger, nullable=False),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("window", String(32), nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("column", String(512), nullable=False),
    Column("segment", String(512), nullable=False, comment="empty: all rows; otherwise name=value"),
    Column("detector", String(64), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("m", BigInteger, nullable=False),
    Column("statistic", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("threshold_source", String(256), nullable=False),
    Column("evidence_log", Float),
    Column("psi", Float),
    Column("psi_debiased", Float),
    Column("psi_low", Float),
    Column("psi_high", Float),
    Column("js", Float),
    Column("hellinger", Float),
    Column("total_variation", Float),
    Column("linf", Float),
    Column("chi2", Float),
    Column("g", Float),
    Column("cramers_v", Float),
    Column("ks", Float),
    Column("wasserstein", Float),
    Column("wasserstein_error", Float),
    Column("moved", Text, nullable=False, comment="JSON: bins that moved most"),
    Column("explanation", Text, nullable=False),
    Column("budget", Float, comment="false alarms that it could cost"),
    Column("onset_at_ms", BigInteger, comment="when the drift began"),
    Column("attribution", Text, comment="JSON: where a change of the mean prediction comes from"),
    UniqueConstraint("model", "version", "window", "start_ms", "column", "segment", "detector", "revision"),
    Index("result_judgement", "judgement_id"),
    Index("result_range", "model", "start_ms"),
)


def _ledger(name: str) -> Table:
    """Ledger of what is judged in base windows: a chain of states for each model version."""
    return Table(
        name,
        metadata,
        Column("model", String(256), nullable=False),
        Column("version", String(256), nullable=False),
        Column("start_ms", BigInteger, nullable=False, comment="of the window that was taken in"),
        Column("end_ms", BigInteger, nullable=False),
        Column("reference_hash", String(64), nullable=False),
        Column("models", Integer, nullable=False, comment="model versions that shared the budget"),
        Column("spent", Float, nullable=False, comment="sum of the budgets of all streams"),
        Column("alarms", Integer, nullable=False),
        Column("state", LargeBinary, comment="of the detector afterwards; null: not kept any more"),
        Column(
            "is_pinned",
            Boolean,
            nullable=False,
            comment="the state is kept: the next window raised an alarm",
        ),
        PrimaryKeyConstraint("model", "version", "start_ms"),
        Index(f"{name}_end", "end_ms", "spent"),
    )


def _ledger_head(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("model", String(256), nullable=False),
        Column("version", String(256), nullable=False),
        Column("start_ms", BigInteger, nullable=False, comment="of the latest window in the ledger"),
        PrimaryKeyConstraint("model", "version"),
    )


ledger, ledger_head = _ledger("ledger"), _ledger_head("ledger_head")
outcome_ledger, outcome_ledger_head = _ledger("outcome_ledger"), _ledger_head("outcome_ledger_head")

# --- the weekly digest --------------------------------------------------------------------------------------

weekly_evidence = Table(
    "weekly_evidence",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("week_ms", BigInteger, nullable=False, comment="Monday 00:00 UTC"),
    Column(
        "from_ms", BigInteger, nullable=False, comment="first window; a new reference begins another part"
    ),
    Column("last_ms", BigInteger, nullable=False, comment="start of the latest window of the part"),
    Column("column", String(512), nullable=False),
    Column("segment", String(512), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("log_evalue", Float, nullable=False),
    Column("windows", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("psi", Float, nullable=False, comment="largest de-biased PSI of a window"),
    Column("summary", Text, nullable=False, comment="what moved most in that window; empty without evidence"),
    PrimaryKeyConstraint("model", "version", "week_ms", "from_ms", "column", "segment"),
    Index("weekly_evidence_week", "week_ms"),
)

digest = Table(
    "digest",
    metadata,
    Column("week_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("finished_at_ms", BigInteger, comment="wall clock; null: windows of the week are waited for"),
)

# --- agreements ---------------------------------------------------------------------------------------------

contract_revision = Table(
    "contract_revision",
    metadata,
    Column("model", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False, comment="SHA-256 of what is agreed"),
    Column("settings", Text, nullable=False, comment="JSON, as in the configuration"),
    Column("since_ms", BigInteger, nullable=False, comment="wall clock"),
    Column("changes", Text, nullable=False, comment="JSON: from the revision before"),
    PrimaryKeyConstraint("model", "revision"),
)
