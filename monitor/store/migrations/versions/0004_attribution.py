"""Keep where a change of the mean prediction comes from beside the result that it explains."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_attribution"
down_revision = "0003_digest"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "result",
        sa.Column(
            "attribution",
            sa.Text(),
            nullable=True,
            comment="JSON: where a change of the mean prediction comes from",
        ),
    )
