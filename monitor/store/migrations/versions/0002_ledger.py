"""Keep what detectors carry from window to window, and what each window could cost of the alarm budget."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_ledger"
down_revision = "0001_spine"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of the ledger, and two columns of results."""
    op.create_table(
        "ledger",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False, comment="of the window that was taken in"),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("reference_hash", sa.String(length=64), nullable=False),
        sa.Column("models", sa.Integer(), nullable=False, comment="model versions that shared the budget"),
        sa.Column("spent", sa.Float(), nullable=False, comment="sum of the budgets of all streams"),
        sa.Column("alarms", sa.Integer(), nullable=False),
        sa.Column("state", sa.LargeBinary(), comment="of the detector afterwards; null: not kept any more"),
        sa.Column(
            "is_pinned",
            sa.Boolean(),
            nullable=False,
            comment="the state is kept: the next window raised an alarm",
        ),
        sa.PrimaryKeyConstraint("model", "version", "start_ms"),
    )
    op.create_table(
        "ledger_head",
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False, comment="of the latest window in the ledger"),
        sa.PrimaryKeyConstraint("model", "version"),
    )
    with op.batch_alter_table("result") as table:
        table.add_column(sa.Column("budget", sa.Float(), comment="false alarms that it could cost"))
        table.add_column(sa.Column("onset_at_ms", sa.BigInteger(), comment="when the drift began"))


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("result") as table:
        table.drop_column("onset_at_ms")
        table.drop_column("budget")
    op.drop_table("ledger_head")
    op.drop_table("ledger")
