"""Keep predictions until their labels come, what came of them, and what is said about it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_labels"
down_revision = "0004_attribution"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of the join, of outcomes and of performance."""
    op.create_table(
        "join_share",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False, comment="first slice that it holds for"),
        sa.Column(
            "share", sa.Float(), nullable=False, comment="share of the event ids that are kept for pairing"
        ),
        sa.PrimaryKeyConstraint("model", "from_ms"),
    )
    op.create_table(
        "joined_version",
        sa.Column(
            "id", sa.BigInteger(), autoincrement=False, nullable=False, comment="hash of all that follows"
        ),
        sa.Column("model_id", sa.BigInteger(), nullable=False, comment="hash of the model"),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column(
            "slice_ms", sa.BigInteger(), nullable=False, comment="length of the slices of its predictions"
        ),
        sa.Column("positive", sa.Text(), nullable=False, comment="name of the positive class"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "label_account",
        sa.Column(
            "place",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="hash of topic and partition",
        ),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("matched", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("corrected", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("orphaned", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("sampled_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("place"),
    )
    op.create_table(
        "outcome_commit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "sources", sa.Text(), nullable=False, comment="JSON: {topic: {partition: [[from, to), …]}}"
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "outcome_ledger",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False, comment="of the window that was taken in"),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("reference_hash", sa.String(length=64), nullable=False),
        sa.Column("models", sa.Integer(), nullable=False, comment="model versions that shared the budget"),
        sa.Column("spent", sa.Float(), nullable=False, comment="sum of the budgets of all streams"),
        sa.Column("alarms", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.LargeBinary(),
            nullable=True,
            comment="of the detector afterwards; null: not kept any more",
        ),
        sa.Column(
            "is_pinned",
            sa.Boolean(),
            nullable=False,
            comment="the state is kept: the next window raised an alarm",
        ),
        sa.PrimaryKeyConstraint("model", "version", "start_ms"),
    )
    op.create_table(
        "outcome_ledger_head",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False, comment="of the latest window in the ledger"),
        sa.PrimaryKeyConstraint("model", "version"),
    )
    op.create_table(
        "estimate_state",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("reference_hash", sa.String(length=64), nullable=False, comment="reference of outcomes"),
        sa.Column(
            "start_ms",
            sa.BigInteger(),
            nullable=False,
            comment="of the latest window that was reconciled",
        ),
        sa.Column("state", sa.LargeBinary(), nullable=False, comment="conformal bands of each metric"),
        sa.PrimaryKeyConstraint("model", "version", "reference_hash"),
    )
    op.create_table(
        "outcome_reference",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column(
            "reference_hash",
            sa.String(length=64),
            nullable=False,
            comment="reference of the events that it belongs to",
        ),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("labels", sa.BigInteger(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "reference_hash"),
    )
    op.create_table(
        "outcome_slice",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("slice_ms", sa.BigInteger(), nullable=False, comment="of the predictions"),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("commit_id", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False, comment="see detectors.outcomes.RECORD"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outcome_slice_range", "outcome_slice", ["model", "version", "slice_ms"], unique=False)
    op.create_table(
        "outcome_window",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("window", sa.String(length=32), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "touched",
            sa.BigInteger(),
            nullable=False,
            comment="grows with every commit that adds to the window",
        ),
        sa.Column("judged", sa.BigInteger(), nullable=False, comment="value of touched that was judged last"),
        sa.Column(
            "estimated", sa.BigInteger(), nullable=False, comment="value of touched that was estimated last"
        ),
        sa.Column(
            "digest",
            sa.String(length=64),
            nullable=True,
            comment="SHA-256 of the outcomes that were judged last",
        ),
        sa.Column("revision", sa.Integer(), nullable=False, comment="0: not judged yet"),
        sa.PrimaryKeyConstraint("model", "version", "window", "start_ms"),
    )
    op.create_index(
        "outcome_window_dirty",
        "outcome_window",
        ["end_ms"],
        unique=False,
        sqlite_where=sa.text("touched != judged"),
        postgresql_where=sa.text("touched != judged"),
    )
    op.create_table(
        "pending",
        sa.Column("key", sa.BigInteger(), nullable=False, comment="hash of the model and the event id"),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False, comment="latest time of a label that counts"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="see monitor.labels.packing.packed"),
        sa.PrimaryKeyConstraint("key", "version_id"),
        comment="predictions whose label may still come, or may still be corrected",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "performance_value",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("window", sa.String(length=32), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("segment", sa.String(length=512), nullable=False),
        sa.Column(
            "kind", sa.String(length=16), nullable=False, comment="estimated | realised | covariate | concept"
        ),
        sa.Column("metric", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column(
            "coverage",
            sa.Float(),
            nullable=True,
            comment="labelled share of the predictions; of realised values",
        ),
        sa.Column("computed_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "window", "start_ms", "segment", "kind", "metric"),
    )
    op.create_table(
        "term",
        sa.Column("hash", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False, comment="class, or name=value of a segment"),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "truth",
        sa.Column("key", sa.BigInteger(), nullable=False, comment="hash of the model and the event id"),
        sa.Column(
            "until_ms", sa.BigInteger(), nullable=False, comment="event time at which it may be forgotten"
        ),
        sa.Column("status", sa.Integer(), nullable=False, comment="0 matched, 1 waiting, 5 expired"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="see monitor.labels.packing.LABEL"),
        sa.PrimaryKeyConstraint("key"),
        comment="labels in force",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "version_comparison",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("champion", sa.String(length=256), nullable=False),
        sa.Column("challenger", sa.String(length=256), nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False, comment="first event time that both have"),
        sa.Column(
            "until_ms",
            sa.BigInteger(),
            nullable=False,
            comment="event time up to which outcomes are taken in",
        ),
        sa.Column("state", sa.LargeBinary(), nullable=False, comment="of the confidence sequence"),
        sa.PrimaryKeyConstraint("model", "champion", "challenger", "metric"),
    )


def downgrade() -> None:
    """Remove them."""
    for name in (
        "version_comparison",
        "performance_value",
        "estimate_state",
        "outcome_reference",
        "outcome_ledger_head",
        "outcome_ledger",
        "outcome_window",
        "outcome_slice",
        "outcome_commit",
        "term",
        "join_share",
        "label_account",
        "joined_version",
        "truth",
        "pending",
    ):
        op.drop_table(name)
