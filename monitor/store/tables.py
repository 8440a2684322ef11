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
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData()
# SQLite gives rowids only to INTEGER primary keys.
Serial = BigInteger().with_variant(Integer, "sqlite")

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
    Column("attempts", Integer, nullable=False, server_default="0", comment="replays that came to an end"),
    Column("replayed_at_ms", BigInteger, comment="wall clock of the latest replay"),
    Column("outcome", Text, comment="what became of its events when it was replayed"),
    Column("relayed_at_ms", BigInteger, comment="wall clock when it was sent on; null: not yet"),
    UniqueConstraint("topic", "partition", "offset"),
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
    Column("reference_hash", String(64), comment="null: before the first reference"),
    Column("rows", BigInteger, nullable=False),
    Column("sources", Text, nullable=False, comment="JSON: {topic: {partition: [[from, to), …]}}"),
    Column("bytes", LargeBinary, nullable=False),
    Index("slice_profile_range", "model", "version", "slice_ms"),
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

# --- labels and outcomes ------------------------------------------------------------------------------------

pending = Table(
    "pending",
    metadata,
    Column("key", BigInteger, nullable=False, comment="hash of the model and the event id"),
    Column("version_id", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False, comment="latest time of a label that counts"),
    Column("payload", LargeBinary, nullable=False, comment="see monitor.labels.packing.packed"),
    PrimaryKeyConstraint("key", "version_id"),
    comment="predictions whose label may still come, or may still be corrected",
    sqlite_with_rowid=False,
)

truth = Table(
    "truth",
    metadata,
    Column("key", BigInteger, nullable=False, comment="hash of the model and the event id"),
    Column("until_ms", BigInteger, nullable=False, comment="event time at which it may be forgotten"),
    Column("status", Integer, nullable=False, comment="0 matched, 1 waiting, 5 expired"),
    Column("payload", LargeBinary, nullable=False, comment="see monitor.labels.packing.LABEL"),
    PrimaryKeyConstraint("key"),
    comment="labels in force",
    sqlite_with_rowid=False,
)

joined_version = Table(
    "joined_version",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="hash of all that follows"),
    Column("model_id", BigInteger, nullable=False, comment="hash of the model"),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("slice_ms", BigInteger, nullable=False, comment="length of the slices of its predictions"),
    Column("positive", Text, nullable=False, comment="name of the positive class"),
)

label_account = Table(
    "label_account",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=False, comment="hash of topic and partition"),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("matched", "waiting", "corrected", "duplicates", "orphaned", "expired", "sampled_out")
    ),
)

join_share = Table(
    "join_share",
    metadata,
    Column("model", String(256), nullable=False),
    Column("from_ms", BigInteger, nullable=False, comment="first slice that it holds for"),
    Column("share", Float, nullable=False, comment="share of the event ids that are kept for pairing"),
    PrimaryKeyConstraint("model", "from_ms"),
)

term = Table(
    "term",
    metadata,
    Column("hash", BigInteger, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False, comment="class, or name=value of a segment"),
)

outcome_commit = Table(
    "outcome_commit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("sources", Text, nullable=False, comment="JSON: {topic: {partition: [[from, to), …]}}"),
)

outcome_slice = Table(
    "outcome_slice",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("slice_ms", BigInteger, nullable=False, comment="of the predictions"),
    Column("format", Integer, nullable=False),
    Column("commit_id", BigInteger, nullable=False),
    Column("records", LargeBinary, nullable=False, comment="see detectors.outcomes.RECORD"),
    Index("outcome_slice_range", "model", "version", "slice_ms"),
)

outcome_window = Table(
    "outcome_window",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("window", String(32), nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("touched", BigInteger, nullable=False, comment="grows with every commit that adds to the window"),
    Column("judged", BigInteger, nullable=False, comment="value of touched that was judged last"),
    Column("estimated", BigInteger, nullable=False, comment="value of touched that was estimated last"),
    Column("digest", String(64), comment="SHA-256 of the outcomes that were judged last"),
    Column("revision", Integer, nullable=False, comment="0: not judged yet"),
    PrimaryKeyConstraint("model", "version", "window", "start_ms"),
)
Index(
    "outcome_window_dirty",
    outcome_window.c.end_ms,
    sqlite_where=outcome_window.c.touched != outcome_window.c.judged,
    postgresql_where=outcome_window.c.touched != outcome_window.c.judged,
)

outcome_reference = Table(
    "outcome_reference",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column(
        "reference_hash", String(64), nullable=False, comment="reference of the events that it belongs to"
    ),
    Column("hash", String(64), nullable=False),
    Column("bytes", LargeBinary, nullable=False),
    Column("labels", BigInteger, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("model", "version", "reference_hash"),
)

performance_value = Table(
    "performance_value",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("window", String(32), nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("segment", String(512), nullable=False),
    Column("kind", String(16), nullable=False, comment="estimated | realised | covariate | concept"),
    Column("metric", String(128), nullable=False),
    Column("value", Float, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("n", BigInteger, nullable=False),
    Column("coverage", Float, comment="labelled share of the predictions; of realised values"),
    Column("computed_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("model", "version", "window", "start_ms", "segment", "kind", "metric"),
)

estimate_state = Table(
    "estimate_state",
    metadata,
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("reference_hash", String(64), nullable=False, comment="reference of outcomes"),
    Column("start_ms", BigInteger, nullable=False, comment="of the latest window that was reconciled"),
    Column("state", LargeBinary, nullable=False, comment="conformal bands of each metric"),
    PrimaryKeyConstraint("model", "version", "reference_hash"),
)

version_comparison = Table(
    "version_comparison",
    metadata,
    Column("model", String(256), nullable=False),
    Column("champion", String(256), nullable=False),
    Column("challenger", String(256), nullable=False),
    Column("metric", String(32), nullable=False),
    Column("from_ms", BigInteger, nullable=False, comment="first event time that both have"),
    Column("until_ms", BigInteger, nullable=False, comment="event time up to which outcomes are taken in"),
    Column("state", LargeBinary, nullable=False, comment="of the confidence sequence"),
    PrimaryKeyConstraint("model", "champion", "challenger", "metric"),
)

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

# --- alerts and deliveries ----------------------------------------------------------------------------------

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
)

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

receiver_state = Table(
    "receiver_state",
    metadata,
    Column("receiver", String(256), nullable=False),
    Column("alert_id", String(64), nullable=False, comment="empty: state of the receiver itself"),
    Column("state", Text, nullable=False, comment="JSON, for example a Slack channel and message ts"),
    PrimaryKeyConstraint("receiver", "alert_id"),
)
