"""Sign people in, give tokens to programs, remember who did what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_sign_in"
down_revision = "0011_fleet"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables of sessions, API tokens and the audit log."""
    op.create_table(
        "session",
        sa.Column(
            "id_hash", sa.String(length=64), primary_key=True, comment="SHA-256 of what the browser keeps"
        ),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column(
            "subject",
            sa.String(length=256),
            nullable=False,
            comment="what the provider calls the person for good",
        ),
        sa.Column("role", sa.String(length=16), nullable=False, comment="viewer | operator | admin"),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=False, comment="to the minute"),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False, comment="whatever happens"),
        comment="browsers that are signed in",
    )
    op.create_index("session_expires", "session", ["expires_at_ms"])
    op.create_table(
        "api_token",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column(
            "hash",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of the token, which is 256 random bits",
        ),
        sa.Column("role", sa.String(length=16), nullable=False, comment="viewer | operator | admin"),
        sa.Column("created_by", sa.String(length=256), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True, comment="null: never"),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=True, comment="to the minute; null: never"),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True, comment="null: not revoked"),
        sa.Column("revoked_by", sa.String(length=256), nullable=True),
    )
    op.create_index("api_token_hash", "api_token", ["hash"], unique=True)
    live = sa.text("revoked_at_ms IS NULL")
    op.create_index(
        "api_token_name", "api_token", ["name"], unique=True, sqlite_where=live, postgresql_where=live
    )
    op.create_table(
        "audit",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False, comment="wall clock"),
        sa.Column("actor", sa.String(length=256), nullable=False, comment="name of a person or of a token"),
        sa.Column(
            "subject",
            sa.String(length=256),
            nullable=False,
            comment="what the provider calls the person for good",
        ),
        sa.Column(
            "via",
            sa.String(length=16),
            nullable=False,
            comment="session | token | proxy | anonymous | local | command",
        ),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False, comment="where the request came from"),
        sa.Column(
            "status",
            sa.Integer(),
            nullable=True,
            comment="of the answer; null: the process ended before there was one",
        ),
        comment="what people and programs changed, or tried to",
    )
    op.create_index("audit_at", "audit", ["at_ms"])
    op.create_index("audit_actor", "audit", ["actor", "id"])


def downgrade() -> None:
    """Remove them."""
    for table in ("audit", "api_token", "session"):
        op.drop_table(table)
