"""Remember what was agreed on the columns of a model, and when it changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_contract_revisions"
down_revision = "0007_halves"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "contract_revision",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False, comment="SHA-256 of what is agreed"),
        sa.Column("settings", sa.Text(), nullable=False, comment="JSON, as in the configuration"),
        sa.Column("since_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column("changes", sa.Text(), nullable=False, comment="JSON: from the revision before"),
        sa.PrimaryKeyConstraint("model", "revision"),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("contract_revision")
