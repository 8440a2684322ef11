"""Sum up the budget of a week and count the dead letters of a day without reading all there ever were."""

from __future__ import annotations

from alembic import op

revision = "0011_fleet"
down_revision = "0010_outbox_sent"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes."""
    op.create_index("ledger_end", "ledger", ["end_ms", "spent"])
    op.create_index("outcome_ledger_end", "outcome_ledger", ["end_ms", "spent"])
    op.create_index("dead_letter_stored", "dead_letter", ["stored_at_ms"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("dead_letter_stored", "dead_letter")
    op.drop_index("outcome_ledger_end", "outcome_ledger")
    op.drop_index("ledger_end", "ledger")
