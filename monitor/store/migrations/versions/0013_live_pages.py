"""Know whether an incident has changed without reading all of them: open pages ask every two seconds."""

from __future__ import annotations

from alembic import op

revision = "0013_live_pages"
down_revision = "0012_sign_in"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("incident_updated", "incident", ["updated_at_ms"])


def downgrade() -> None:
    """Remove it."""
    op.drop_index("incident_updated", "incident")
