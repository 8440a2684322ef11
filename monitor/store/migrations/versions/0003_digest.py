"""Keep the evidence of whole weeks, and which weeks are finished."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_digest"
down_revision = "0002_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of the weekly digest."""
    op.create_table(
        "weekly_evidence",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("week_ms", sa.BigInteger(), nullable=False, comment="Monday 00:00 UTC"),
        sa.Column(
            "from_ms",
            sa.BigInteger(),
            nullable=False,
            comment="first window; a new reference begins another part",
        ),
        sa.Column(
            "last_ms", sa.BigInteger(), nullable=False, comment="start of the latest window of the part"
        ),
        sa.Column("column", sa.String(length=512), nullable=False),
        sa.Column("segment", sa.String(length=512), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("log_evalue", sa.Float(), nullable=False),
        sa.Column("windows", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("psi", sa.Float(), nullable=False, comment="largest de-biased PSI of a window"),
        sa.Column(
            "summary",
            sa.Text(),
            nullable=False,
            comment="what moved most in that window; empty without evidence",
        ),
        sa.PrimaryKeyConstraint("model", "version", "week_ms", "from_ms", "column", "segment"),
    )
    op.create_index("weekly_evidence_week", "weekly_evidence", ["week_ms"])
    op.create_table(
        "digest",
        sa.Column("week_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "finished_at_ms",
            sa.BigInteger(),
            comment="wall clock; null: windows of the week are waited for",
        ),
        sa.PrimaryKeyConstraint("week_ms"),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("digest")
    op.drop_index("weekly_evidence_week", table_name="weekly_evidence")
    op.drop_table("weekly_evidence")
