"""The SQL tables of who may do what, and who did: sessions, API tokens, the audit log; see `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, text

from monitor.store.metadata import Serial, metadata

session = Table(
    "session",
    metadata,
    Column("id_hash", String(64), primary_key=True, comment="SHA-256 of what the browser keeps"),
    Column("name", String(256), nullable=False),
    Column("subject", String(256), nullable=False, comment="what the provider calls the person for good"),
    Column("role", String(16), nullable=False, comment="viewer | operator | admin"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("used_at_ms", BigInteger, nullable=False, comment="to the minute"),
    Column("expires_at_ms", BigInteger, nullable=False, comment="whatever happens"),
    Index("session_expires", "expires_at_ms"),
    comment="browsers that are signed in",
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("name", String(256), nullable=False),
    Column("hash", String(64), nullable=False, comment="SHA-256 of the token, which is 256 random bits"),
    Column("role", String(16), nullable=False, comment="viewer | operator | admin"),
    Column("created_by", String(256), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, comment="null: never"),
    Column("used_at_ms", BigInteger, comment="to the minute; null: never"),
    Column("revoked_at_ms", BigInteger, comment="null: not revoked"),
    Column("revoked_by", String(256)),
    Index("api_token_hash", "hash", unique=True),
    Index(
        "api_token_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_at_ms IS NULL"),
        postgresql_where=text("revoked_at_ms IS NULL"),
    ),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at_ms", BigInteger, nullable=False, comment="wall clock"),
    Column("actor", String(256), nullable=False, comment="name of a person or of a token"),
    Column("subject", String(256), nullable=False, comment="what the provider calls the person for good"),
    Column(
        "via", String(16), nullable=False, comment="session | token | proxy | anonymous | local | command"
    ),
    Column("role", String(16), nullable=False),
    Column("method", String(16), nullable=False),
    Column("path", String(1024), nullable=False),
    Column("address", String(64), nullable=False, comment="where the request came from"),
    Column("status", Integer, comment="of the answer; null: the process ended before there was one"),
    Column("detail", Text, comment="what was done, in words; null: the path says it all"),
    Index("audit_at", "at_ms"),
    Index("audit_actor", "actor", "id"),
    comment="what people and programs changed, or tried to",
)
