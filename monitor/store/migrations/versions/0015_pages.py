"""Open pages about many models: who uses a reference, the newest references, messages and dead letters."""

from __future__ import annotations

from alembic import op

revision = "0015_pages"
down_revision = "0014_who_replayed"
branch_labels = None
depends_on = None

INDEXES = (
    ("reference_pointer_hash", "reference_pointer", ["hash"]),
    ("reference_newest", "reference", ["created_at_ms", "hash"]),
    ("outbox_receiver_newest", "outbox", ["receiver", "created_at_ms", "id"]),
    ("outbox_state_newest", "outbox", ["state", "created_at_ms", "id"]),
    ("dead_letter_topic", "dead_letter", ["topic", "id"]),
    ("dead_letter_kind", "dead_letter", ["kind", "id"]),
)


def upgrade() -> None:
    """Create the indexes."""
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Remove them."""
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table)
