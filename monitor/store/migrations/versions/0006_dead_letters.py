"""Let dead letters be replayed and sent on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006_dead_letters"
down_revision = "0005_labels"
branch_labels = None
depends_on = None

COLUMNS: tuple[sa.Column[Any], ...] = (
    sa.Column(
        "events",
        sa.Integer(),
        nullable=False,
        server_default="1",
        comment="what it counts for in the accounting of its partition",
    ),
    sa.Column(
        "is_remembered",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        comment="the ids of its events are; others of its message may be counted",
    ),
    sa.Column(
        "status",
        sa.String(length=16),
        nullable=False,
        server_default="waiting",
        comment="waiting | marked | replayed | refused",
    ),
    sa.Column(
        "attempts", sa.Integer(), nullable=False, server_default="0", comment="replays that came to an end"
    ),
    sa.Column("replayed_at_ms", sa.BigInteger(), nullable=True, comment="wall clock of the latest replay"),
    sa.Column("outcome", sa.Text(), nullable=True, comment="what became of its events when it was replayed"),
    sa.Column(
        "relayed_at_ms",
        sa.BigInteger(),
        nullable=True,
        comment="wall clock when it was sent on; null: not yet",
    ),
)
INDEXES = {"dead_letter_marked": "status = 'marked'", "dead_letter_to_relay": "relayed_at_ms IS NULL"}


def upgrade() -> None:
    """Add the columns, and indexes of what is still to be done."""
    for column in COLUMNS:
        op.add_column("dead_letter", column)
    for name, which in INDEXES.items():
        op.create_index(
            name,
            "dead_letter",
            ["id"],
            unique=False,
            sqlite_where=sa.text(which),
            postgresql_where=sa.text(which),
        )


def downgrade() -> None:
    """Remove them."""
    for name in INDEXES:
        op.drop_index(name, table_name="dead_letter")
    for column in COLUMNS:
        op.drop_column("dead_letter", column.name)
