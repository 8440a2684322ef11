"""PostgreSQL keeps the large tables by months of event time, so that old months can be dropped."""

from __future__ import annotations

from alembic import op

revision = "0017_months"
down_revision = "0016_spans"
branch_labels = None
depends_on = None

# Table: its column with the event time, its unique constraints and its indexes.
TABLES: dict[str, tuple[str, dict[str, list[str]], dict[str, list[str]]]] = {
    "slice_profile": (
        "slice_ms",
        {},
        {"slice_profile_range": ["model", "version", "slice_ms", "span_ms"]},
    ),
    "outcome_slice": (
        "slice_ms",
        {},
        {
            "outcome_slice_range": ["model", "version", "slice_ms", "span_ms"],
            "outcome_slice_commit": ["commit_id"],
        },
    ),
    "judgement": (
        "start_ms",
        {"judgement_model_version_window_start_ms_revision_key": [
            "model", "version", "window", "start_ms", "revision",
        ]},
        {},
    ),
    "result": (
        "start_ms",
        {"result_model_version_window_start_ms_column_segment_detecto_key": [
            "model", "version", "window", "start_ms", "column", "segment", "detector", "revision",
        ]},
        {"result_judgement": ["judgement_id"], "result_range": ["model", "start_ms"]},
    ),
}  # fmt: skip


def upgrade() -> None:
    """Put the rows of each table into one that is partitioned; all of them into its default partition."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, (by, unique, indexes) in TABLES.items():
        _replace(table, f"PARTITION BY RANGE ({by})", ["id", by], unique, indexes, has_partitions=True)


def downgrade() -> None:
    """Put the rows of all partitions into one table."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, (_, unique, indexes) in TABLES.items():
        _replace(table, "", ["id"], unique, indexes, has_partitions=False)


def _replace(
    table: str,
    kind: str,
    key: list[str],
    unique: dict[str, list[str]],
    indexes: dict[str, list[str]],
    *,
    has_partitions: bool,
) -> None:
    op.execute(f"CREATE TABLE {table}_new (LIKE {table} INCLUDING DEFAULTS INCLUDING COMMENTS) {kind}")
    if has_partitions:
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table}_new DEFAULT")
    op.execute(f"INSERT INTO {table}_new SELECT * FROM {table}")  # noqa: S608
    op.execute(f"ALTER SEQUENCE {table}_id_seq OWNED BY {table}_new.id")
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE {table}_new RENAME TO {table}")
    op.create_primary_key(f"{table}_pkey", table, key)
    for name, columns in unique.items():
        op.create_unique_constraint(name, table, columns)
    for name, columns in indexes.items():
        op.create_index(name, table, columns)
