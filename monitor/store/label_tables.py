"""The SQL tables of labels, outcomes and performance; see `monitor.store.tables`."""

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
)

from monitor.store.metadata import Serial, metadata

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
    Column(
        "span_ms",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="length of what was added up, an hour or a day; 0: one slice",
    ),
    Column("format", Integer, nullable=False),
    Column("commit_id", BigInteger, nullable=False),
    Column("records", LargeBinary, nullable=False, comment="see detectors.outcomes.RECORD"),
    Index("outcome_slice_range", "model", "version", "slice_ms", "span_ms"),
    Index("outcome_slice_commit", "commit_id"),
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
