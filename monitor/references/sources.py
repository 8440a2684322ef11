"""References made on demand: of a table, or of a stretch of the stream; with where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from detectors.reference import Reference
from monitor.config.settings import ModelSettings
from monitor.frames import reference_from_file
from monitor.profiling import Key
from monitor.references.configured import recipe_of, sha256_of
from monitor.references.lifecycle import Span, keep, learn_stretch
from monitor.registry import read_columns
from monitor.store.engine import reading
from monitor.store.queries.references import reference_of
from schemas.column import ColumnSpec

Made = tuple[Reference, dict[str, Any]]


def of_table(
    database: Engine, model: str, version: str | None, settings: ModelSettings, source: str | Path
) -> Made:
    """Make a reference of a CSV or Parquet file.

    Parameters
    ----------
    database : Engine
        Where the stream's columns are registered; their kinds win.
    version : str, optional
        Where the table has a column ``version``, other rows are left out.

    Returns
    -------
    reference : Reference
    metadata : dict
        File, SHA-256 of its bytes, model, version, range.

    Raises
    ------
    UsageError, UnusableReference
        If the file cannot be read, or makes no reference.
    """
    digest = sha256_of(source)
    specs = _registered(database, model, version)
    made = reference_from_file(source, settings, specs, model=model, version=version)
    metadata = {"source": "file", "file": Path(source).name, "training_data_sha256": digest}
    if version is None:
        metadata["recipe"] = recipe_of(digest, model, settings, specs)
    return made, metadata | _identity(model, version, made.from_ms, made.to_ms)


def of_stream(database: Engine, key: Key, settings: ModelSettings, span: Span) -> Made:
    """Make a reference of a stretch of the stream; see `of_table`.

    Raises
    ------
    UnusableReference
        If it has too few rows, or some that are on the bins of a reference already.
    """
    with reading(database) as connection:
        specs = read_columns(connection, {key[0]}).get(key, {})
        made = learn_stretch(connection, key, settings, span, specs)
    return made, {"source": "stream"} | _identity(*key, span.from_ms, span.to_ms)


def keep_new(connection: Connection, made: Reference, metadata: dict[str, Any], now_ms: int) -> bool:
    """Store a reference; returns whether the same one was stored already, with other notes perhaps."""
    known = reference_of(connection, made.hash) is not None
    keep(connection, made, metadata, now_ms)
    return known


def _identity(model: str, version: str | None, from_ms: int, to_ms: int) -> dict[str, Any]:
    named = {"model": model} if version is None else {"model": model, "version": version}
    return named | {"from_ms": from_ms, "to_ms": to_ms}


def _registered(database: Engine, model: str, version: str | None) -> dict[str, ColumnSpec]:
    """Columns as the stream knows them: of the version, or of whichever version has each."""
    with reading(database) as connection:
        found = read_columns(connection, {model})
    if version is not None and (model, version) in found:
        return found[model, version]
    return {name: spec for key in sorted(found) for name, spec in found[key].items()}
