"""References that the configuration names as a file: ``reference: {file: train.parquet}``.

They are built when a model version is seen for the first time, and in force from its first event on. The same
file with the same settings is built once, however many versions and restarts there are: what it was built of
is remembered with the reference.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from detectors.reference import Reference
from monitor.config.settings import ModelSettings
from monitor.frames import reference_from_file
from monitor.profiling import Key
from monitor.references.lifecycle import keep, load, promote
from monitor.store.engine import immediate, reading
from monitor.store.tables import reference
from schemas.column import ColumnSpec
from schemas.errors import UnusableReference, UsageError

logger = logging.getLogger(__name__)

Specs = Mapping[str, ColumnSpec]
_Signature = tuple[int, int]


class ConfiguredReferences:
    """Builds configured references; a file that cannot be used is complained of once, until it changes.

    Parameters
    ----------
    engine : Engine
    folder : Path
        Where relative paths start, see `monitor.config.Configuration.folder`.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._digests: dict[tuple[Path, _Signature], str] = {}
        self._refused: dict[Key, _Signature | None] = {}

    def build(self, key: Key, settings: ModelSettings, specs: Specs, now_ms: int) -> Reference | None:
        """Build and promote the first reference of a model version.

        Returns
        -------
        Reference or None
            None if the file cannot be used, which is logged, or somebody else was first.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        path = self._folder / (settings.reference.file or "")
        signature = _signature(path)
        if key in self._refused and self._refused[key] == signature:
            return None
        try:
            digest = None if signature is None else self._digest(path, signature)
            made = build_configured(
                self._engine, key, settings, specs, now_ms, self._folder, training_data_sha256=digest
            )
        except (UsageError, UnusableReference) as error:
            self._refused[key] = signature
            about = {"model": key[0], "version": key[1]}
            logger.error("no reference: %s", error, extra=about)  # noqa: TRY400 - no fault of ours
            return None
        self._refused.pop(key, None)
        return made

    def _digest(self, path: Path, signature: _Signature) -> str:
        known = (path, signature)
        if known not in self._digests:
            self._digests[known] = sha256_of(path)
        return self._digests[known]


def build_configured(
    engine: Engine,
    key: Key,
    settings: ModelSettings,
    specs: Specs,
    now_ms: int,
    folder: Path,
    *,
    training_data_sha256: str | None = None,
) -> Reference | None:
    """Build the reference of a model version from its configured file, in force from the first event on.

    Parameters
    ----------
    specs : mapping of str to ColumnSpec
        Columns that the stream has registered; their kinds win.
    folder : Path
        Where a relative path starts.
    training_data_sha256 : str, optional
        SHA-256 of the file, if it is known.

    Returns
    -------
    Reference or None
        The reference now in force, if this call put it there.

    Raises
    ------
    UsageError, UnusableReference
        If the file cannot be read, or makes no reference.
    Unavailable
        If the database is away.
    """
    path = folder / (settings.reference.file or "")
    digest = training_data_sha256 or sha256_of(path)
    recipe = recipe_of(digest, key[0], settings, specs)
    with reading(engine) as connection:
        made = _built_before(connection, recipe)
    if made is None:
        made = reference_from_file(path, settings, specs, model=key[0])
    metadata = {
        "source": "file",
        "file": str(settings.reference.file),
        "training_data_sha256": digest,
        "recipe": recipe,
        "model": key[0],
        "from_ms": made.from_ms,
        "to_ms": made.to_ms,
    }
    with immediate(engine) as connection:
        keep(connection, made, metadata, now_ms)
        if not promote(connection, key, made.hash, from_ms=0, by="driftline", now_ms=now_ms, only_first=True):
            return None
    return made


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises
    ------
    UsageError
        If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error} (a CSV or Parquet file is needed)"
        raise UsageError(msg) from error


def recipe_of(digest: str, model: str, settings: ModelSettings, specs: Specs) -> str:
    """SHA-256 of everything that the bytes of a reference made from a file depend on."""
    parts = {
        "file": digest,
        "model": model,
        "slice_ms": settings.slice_ms,
        "window_ms": settings.windows[0].length_ms,
        "segments": settings.segments,
        "max_segment_values": settings.max_segment_values,
        "max_columns": settings.max_columns,
        "task": settings.task,
        "kinds": {name: column.kind for name, column in settings.columns.items() if column.kind},
        "columns": sorted((spec.name, spec.kind, spec.source, spec.path) for spec in specs.values()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _built_before(connection: Connection, recipe: str) -> Reference | None:
    noted = reference.c.metadata.contains(f'"recipe": "{recipe}"', autoescape=True)
    query = select(reference.c.hash).where(noted)
    found = connection.execute(query.limit(1)).scalar()
    return None if found is None else load(connection, found)


def _signature(path: Path) -> _Signature | None:
    """What changes when a file does; None if it is not there."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
