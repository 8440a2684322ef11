"""A later version, as far as one that runs already can tell: its tables have more than today's code knows."""

from __future__ import annotations

from sqlalchemy import Engine, text

from monitor.store import schema
from monitor.store.engine import immediate
from monitor.store.tables import metadata

REVISION = "9999_later"


def expand(engine: Engine) -> None:
    """Do what a migration may: add a table, and to each one columns that nobody has to know, and an index."""
    with immediate(engine) as connection:
        connection.execute(text("CREATE TABLE later (id INTEGER PRIMARY KEY, note TEXT NOT NULL)"))
        for name in metadata.tables:
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN later_note TEXT"))
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN later_number BIGINT NOT NULL DEFAULT 7"))
            connection.execute(text(f"CREATE INDEX {name}_later ON {name} (later_number)"))
        connection.execute(text("UPDATE alembic_version SET version_num = :name"), {"name": REVISION})


def close_to(engine: Engine, oldest: int) -> None:
    """Say that only programs from a revision on may run."""
    with immediate(engine) as connection:
        connection.execute(
            text("UPDATE counter SET value = :oldest WHERE name = :name"),
            {"oldest": oldest, "name": schema.OLDEST_PROGRAM},
        )


def check(engine: Engine) -> None:
    """Every row that is there, of whatever version, has what the later version added."""
    with immediate(engine) as connection:
        for name in metadata.tables:
            number = connection.execute(
                text(f"SELECT count(*) FROM {name} WHERE later_number <> 7 OR later_note IS NOT NULL")
            )
            assert number.scalar_one() == 0, name
