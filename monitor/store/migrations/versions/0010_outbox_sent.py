"""Find the newest messages, and what a receiver was sent lately, without reading all that was ever sent."""

from __future__ import annotations

from alembic import op

revision = "0010_outbox_sent"
down_revision = "0009_incidents"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes."""
    op.create_index("outbox_newest", "outbox", ["created_at_ms", "id"])
    op.create_index("outbox_sent", "outbox", ["receiver", "state", "finished_at_ms"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("outbox_newest", "outbox")
    op.drop_index("outbox_sent", "outbox")
