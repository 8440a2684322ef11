"""Remember who asked for a replay of a dead letter, and what a request did that is in the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_who_replayed"
down_revision = "0013_live_pages"
branch_labels = None
depends_on = None

COLUMNS = (
    ("dead_letter", "marked_at_ms", sa.BigInteger(), "wall clock when somebody asked for a replay last"),
    ("dead_letter", "marked_by", sa.String(length=256), "who did"),
    ("dead_letter", "marked_cause", sa.Text(), "why"),
    ("audit", "detail", sa.Text(), "what was done, in words; null: the path says it all"),
)


def upgrade() -> None:
    """Add the columns; of what was before, nobody knows."""
    for table, name, type_, comment in COLUMNS:
        op.add_column(table, sa.Column(name, type_, nullable=True, comment=comment))


def downgrade() -> None:
    """Remove them."""
    for table, name, *_ in reversed(COLUMNS):
        op.drop_column(table, name)
