"""Add requests and responses that wait for each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_halves"
down_revision = "0006_dead_letters"
branch_labels = None
depends_on = None

KINDS, NEW_KINDS = "undecodable | future", "undecodable | future | contract | unpaired"
STATUSES = {
    "half_waiting": ("waiting", ["topic", "partition", "side"]),
    "half_paired": ("paired", ["topic", "partition", "paired_at_ms"]),
}


def upgrade() -> None:
    """Create the table, and count what is in it by partition."""
    op.create_table(
        "half_message",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pair", sa.String(length=32), nullable=False, comment="digest of what both halves share"),
        sa.Column("side", sa.String(length=8), nullable=False, comment="request | response"),
        sa.Column("status", sa.String(length=8), nullable=False, comment="waiting | paired"),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="what both halves share, for people"),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=False, comment="empty once it is paired"),
        sa.Column("value_bytes", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False, comment="JSON: [[name, base64], …]"),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False, comment="of the Kafka record"),
        sa.Column("stored_at_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column(
            "is_remembered",
            sa.Boolean(),
            nullable=False,
            comment="the ids of its events are: it was a dead letter, one whose events were told later",
        ),
        sa.Column(
            "paired_at_ms",
            sa.BigInteger(),
            nullable=True,
            comment="wall clock; remembered a while, to tell repetitions",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("pair", "side"),
    )
    for name, (status, columns) in STATUSES.items():
        which = sa.text(f"status = '{status}'")
        op.create_index(
            name, "half_message", columns, unique=False, sqlite_where=which, postgresql_where=which
        )
    for name, comment in (
        ("unpaired", "requests and responses that wait for each other"),
        ("paired", "requests whose events are counted with their responses"),
    ):
        op.add_column(
            "partition_state",
            sa.Column(name, sa.BigInteger(), nullable=False, server_default="0", comment=comment),
        )
    op.add_column(
        "partition_state",
        sa.Column(
            "stamp_ms",
            sa.BigInteger(),
            nullable=True,
            comment="newest timestamp of the Kafka records that were read",
        ),
    )
    _comment_on_kind(NEW_KINDS)


def downgrade() -> None:
    """Remove them; requests and responses that still wait are lost."""
    _comment_on_kind(KINDS)
    for name in ("stamp_ms", "paired", "unpaired"):
        op.drop_column("partition_state", name)
    op.drop_table("half_message")


def _comment_on_kind(comment: str) -> None:
    if op.get_bind().dialect.name == "postgresql":  # SQLite keeps no comments
        op.alter_column("dead_letter", "kind", existing_type=sa.String(length=16), comment=comment)
