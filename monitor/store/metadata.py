"""What all tables share."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData()
# SQLite gives rowids only to INTEGER primary keys.
Serial = BigInteger().with_variant(Integer, "sqlite")
