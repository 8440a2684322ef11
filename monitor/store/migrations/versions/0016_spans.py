"""Slices of counts and outcomes can be hours and days; commits that no outcomes name any more are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016_spans"
down_revision = "0015_pages"
branch_labels = None
depends_on = None

RANGE = ["model", "version", "slice_ms"]
COMMENT = "length of what was added up, an hour or a day; 0: one slice"


def upgrade() -> None:
    """Add the columns and the index."""
    for table in ("slice_profile", "outcome_slice"):
        span = sa.Column("span_ms", sa.BigInteger(), nullable=False, server_default="0", comment=COMMENT)
        op.add_column(table, span)
        op.drop_index(f"{table}_range", table_name=table)
        op.create_index(f"{table}_range", table, [*RANGE, "span_ms"])
    op.create_index("outcome_slice_commit", "outcome_slice", ["commit_id"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("outcome_slice_commit", table_name="outcome_slice")
    for table in ("outcome_slice", "slice_profile"):
        op.drop_index(f"{table}_range", table_name=table)
        op.drop_column(table, "span_ms")
        op.create_index(f"{table}_range", table, RANGE)
