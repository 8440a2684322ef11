"""Takes the tables out of a database again, for tests whose others want them."""

from pathlib import Path

from sqlalchemy import text

from monitor.store import engine as engines


def take_out_tables(url: str) -> None:
    """Leave nothing in a database; a file of SQLite is gone."""
    engine = engines.create(url)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).unlink()
    else:
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
