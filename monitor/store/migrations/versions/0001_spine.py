"""Create the tables of the first release: positions, models, state, results, alerts, deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_spine"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "alert",
        sa.Column(
            "id",
            sa.String(length=64),
            nullable=False,
            comment="deterministic: hash of cause and opening window",
        ),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column(
            "kind", sa.String(length=32), nullable=False, comment="drift | no_data | partition_stopped"
        ),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False, comment="page | warn | info"),
        sa.Column(
            "state",
            sa.String(length=16),
            nullable=False,
            comment="firing | acknowledged | resolved | retracted",
        ),
        sa.Column("column", sa.String(length=512), nullable=False),
        sa.Column("segment", sa.String(length=512), nullable=False),
        sa.Column(
            "opened_at_ms",
            sa.BigInteger(),
            nullable=False,
            comment="event time: end of the window that opened it",
        ),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("window_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("window_end_ms", sa.BigInteger(), nullable=False),
        sa.Column("onset_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("evidence_log", sa.Float(), nullable=True),
        sa.Column("threshold_log", sa.Float(), nullable=True),
        sa.Column(
            "sequence",
            sa.Integer(),
            nullable=False,
            comment="number of changes; the next change has sequence + 1",
        ),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column(
            "state_bytes", sa.LargeBinary(), nullable=False, comment="state of the alert's machine, versioned"
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("alert_open", "alert", ["model", "version", "state"], unique=False)
    op.create_table(
        "alert_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("alert_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column(
            "change",
            sa.String(length=16),
            nullable=False,
            comment="opened | updated | acknowledged | resolved | retracted",
        ),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("alert_id", "sequence"),
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="undecodable | future"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column(
            "value_bytes",
            sa.BigInteger(),
            nullable=False,
            comment="size of the original; larger than value if cut",
        ),
        sa.Column("headers", sa.Text(), nullable=False, comment="JSON: [[name, base64], …]"),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=True, comment="of the Kafka record"),
        sa.Column("stored_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("topic", "partition", "offset"),
    )
    op.create_table(
        "dedupe",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("bucket_ms", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False, comment="little-endian uint64"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("dedupe_bucket", "dedupe", ["topic", "partition", "bucket_ms"], unique=False)
    op.create_table(
        "gap",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("from_offset", sa.BigInteger(), nullable=False),
        sa.Column(
            "to_offset", sa.BigInteger(), nullable=True, comment="null: unknown, the topic was created anew"
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("found_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "judgement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("window", sa.String(length=32), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("reference_hash", sa.String(length=64), nullable=True),
        sa.Column("configuration_hash", sa.String(length=64), nullable=False),
        sa.Column("code_version", sa.String(length=64), nullable=False),
        sa.Column(
            "sources", sa.Text(), nullable=False, comment="JSON: {topic: {partition: [[from, to), …]}}"
        ),
        sa.Column(
            "excluded_rows",
            sa.BigInteger(),
            nullable=False,
            comment="rows of slices on another reference's bins",
        ),
        sa.Column("judged_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("model", "version", "window", "start_ms", "revision"),
    )
    op.create_table(
        "model_column",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column(
            "source",
            sa.String(length=16),
            nullable=False,
            comment="feature | prediction | score | latency | error",
        ),
        sa.Column(
            "path",
            sa.Text(),
            nullable=True,
            comment="JSON list of keys of a nested feature; null: the name is the key",
        ),
        sa.PrimaryKeyConstraint("model", "version", "name"),
    )
    op.create_table(
        "model_version",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("first_slice_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version"),
    )
    op.create_table(
        "outbox",
        sa.Column(
            "id",
            sa.String(length=64),
            nullable=False,
            comment="deterministic: hash of alert, sequence and receiver",
        ),
        sa.Column("alert_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("receiver", sa.String(length=256), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False, comment="JSON of the alert as it was at that change"),
        sa.Column(
            "state", sa.String(length=16), nullable=False, comment="waiting | delivered | superseded | dead"
        ),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(length=64), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_due", "outbox", ["state", "not_before_ms"], unique=False)
    op.create_index("outbox_order", "outbox", ["receiver", "alert_id", "sequence"], unique=False)
    op.create_table(
        "partition_model",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("max_event_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "arrived_at_ms", sa.BigInteger(), nullable=False, comment="wall clock when that event arrived"
        ),
        sa.PrimaryKeyConstraint("model", "topic", "partition"),
    )
    op.create_table(
        "partition_state",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("topic_id", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner_token", sa.String(length=64), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("fetched", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.BigInteger(), nullable=False),
        sa.Column("future", sa.BigInteger(), nullable=False),
        sa.Column("dead_lettered", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("max_event_ms", sa.BigInteger(), nullable=True),
        sa.Column(
            "last_event_at_ms",
            sa.BigInteger(),
            nullable=True,
            comment="wall clock when the last event arrived",
        ),
        sa.Column(
            "at_end_since_ms",
            sa.BigInteger(),
            nullable=True,
            comment="wall clock since when the partition is at its end; null: behind",
        ),
        sa.Column("reached_end", sa.Boolean(), nullable=False, comment="has been at its end at least once"),
        sa.Column(
            "seen_at_ms",
            sa.BigInteger(),
            nullable=False,
            comment="wall clock of the last commit or heartbeat",
        ),
        sa.Column("stopped_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("topic", "partition"),
    )
    op.create_table(
        "receiver_state",
        sa.Column("receiver", sa.String(length=256), nullable=False),
        sa.Column(
            "alert_id", sa.String(length=64), nullable=False, comment="empty: state of the receiver itself"
        ),
        sa.Column(
            "state", sa.Text(), nullable=False, comment="JSON, for example a Slack channel and message ts"
        ),
        sa.PrimaryKeyConstraint("receiver", "alert_id"),
    )
    op.create_table(
        "reference",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column(
            "metadata",
            sa.Text(),
            nullable=False,
            comment="JSON: source, range, training data hash, commit, MLflow run, labels",
        ),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "reference_pointer",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column(
            "from_ms", sa.BigInteger(), nullable=False, comment="first slice that is judged against it"
        ),
        sa.Column("promoted_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("promoted_by", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "revision"),
    )
    op.create_table(
        "result",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("judgement_id", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("window", sa.String(length=32), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("column", sa.String(length=512), nullable=False),
        sa.Column(
            "segment", sa.String(length=512), nullable=False, comment="empty: all rows; otherwise name=value"
        ),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("m", sa.BigInteger(), nullable=False),
        sa.Column("statistic", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("threshold_source", sa.String(length=256), nullable=False),
        sa.Column("evidence_log", sa.Float(), nullable=True),
        sa.Column("psi", sa.Float(), nullable=True),
        sa.Column("psi_debiased", sa.Float(), nullable=True),
        sa.Column("psi_low", sa.Float(), nullable=True),
        sa.Column("psi_high", sa.Float(), nullable=True),
        sa.Column("js", sa.Float(), nullable=True),
        sa.Column("hellinger", sa.Float(), nullable=True),
        sa.Column("total_variation", sa.Float(), nullable=True),
        sa.Column("linf", sa.Float(), nullable=True),
        sa.Column("chi2", sa.Float(), nullable=True),
        sa.Column("g", sa.Float(), nullable=True),
        sa.Column("cramers_v", sa.Float(), nullable=True),
        sa.Column("ks", sa.Float(), nullable=True),
        sa.Column("wasserstein", sa.Float(), nullable=True),
        sa.Column("wasserstein_error", sa.Float(), nullable=True),
        sa.Column("moved", sa.Text(), nullable=False, comment="JSON: bins that moved most"),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "model", "version", "window", "start_ms", "column", "segment", "detector", "revision"
        ),
    )
    op.create_index("result_judgement", "result", ["judgement_id"], unique=False)
    op.create_index("result_range", "result", ["model", "start_ms"], unique=False)
    op.create_table(
        "slice_profile",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("slice_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "reference_hash", sa.String(length=64), nullable=True, comment="null: before the first reference"
        ),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column(
            "sources", sa.Text(), nullable=False, comment="JSON: {topic: {partition: [[from, to), …]}}"
        ),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("slice_profile_range", "slice_profile", ["model", "version", "slice_ms"], unique=False)
    op.create_table(
        "window_state",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column(
            "window",
            sa.String(length=32),
            nullable=False,
            comment="shape, as in the configuration: 1h, 1h/15m",
        ),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "touched",
            sa.BigInteger(),
            nullable=False,
            comment="grows with every commit that adds to the window",
        ),
        sa.Column(
            "judged",
            sa.BigInteger(),
            nullable=False,
            comment="value of touched that the latest revision has seen",
        ),
        sa.Column("revision", sa.Integer(), nullable=False, comment="0: not judged yet"),
        sa.PrimaryKeyConstraint("model", "version", "window", "start_ms"),
    )
    op.create_index(
        "window_state_dirty",
        "window_state",
        ["end_ms"],
        unique=False,
        sqlite_where=sa.text("touched != judged"),
        postgresql_where=sa.text("touched != judged"),
    )


def downgrade() -> None:
    """Drop every table."""
    op.drop_index(
        "window_state_dirty",
        table_name="window_state",
        sqlite_where=sa.text("touched != judged"),
        postgresql_where=sa.text("touched != judged"),
    )
    op.drop_table("window_state")
    op.drop_index("slice_profile_range", table_name="slice_profile")
    op.drop_table("slice_profile")
    op.drop_index("result_range", table_name="result")
    op.drop_index("result_judgement", table_name="result")
    op.drop_table("result")
    op.drop_table("reference_pointer")
    op.drop_table("reference")
    op.drop_table("receiver_state")
    op.drop_table("partition_state")
    op.drop_table("partition_model")
    op.drop_index("outbox_order", table_name="outbox")
    op.drop_index("outbox_due", table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("model_version")
    op.drop_table("model_column")
    op.drop_table("judgement")
    op.drop_table("gap")
    op.drop_index("dedupe_bucket", table_name="dedupe")
    op.drop_table("dedupe")
    op.drop_table("dead_letter")
    op.drop_table("counter")
    op.drop_table("alert_event")
    op.drop_index("alert_open", table_name="alert")
    op.drop_table("alert")
