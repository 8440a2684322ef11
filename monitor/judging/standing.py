"""Where each model version stands: learning, with how much is missing, or ready; what waits to be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from monitor.config import Configuration
from monitor.config.settings import ModelSettings
from monitor.config.values import write_instant
from monitor.frames import reference_from_file
from monitor.profiling import Key
from monitor.store.queries.models import VersionRow, models
from monitor.store.queries.pipeline import changed_windows
from schemas.column import ColumnSpec
from schemas.errors import UnusableReference, UsageError

PORTION = 500
LARGEST_TRIED_BYTES = 64 << 20


@dataclass(frozen=True)
class ModelStanding:
    """One model version.

    Parameters
    ----------
    state : str
        ``learning`` or ``ready``.
    detail : str
        What is missing, or since when it is judged.
    problem : str or None
        Why it cannot become ready.
    watermark : str or None
        How far event time has come.
    windows_waiting : int
        Windows that are complete and not judged yet.
    """

    model: str
    version: str
    state: str
    detail: str
    problem: str | None
    rows: int
    watermark: str | None
    last_event: str | None
    windows_waiting: int
    open_alerts: int
    reference: str | None


def standings(
    connection: Connection,
    configuration: Configuration,
    marks: Mapping[str, int],
    columns: Mapping[Key, Mapping[str, ColumnSpec]],
) -> list[ModelStanding]:
    """Describe all model versions, by name.

    Parameters
    ----------
    marks : mapping of str to int
        Watermark of each model, see `monitor.store.queries.times.watermarks`.
    columns : mapping
        Registered columns of each version.
    """
    found: list[ModelStanding] = []
    after: str | None = None
    waiting = _waiting(connection, marks)
    while rows := models(connection, after, PORTION):
        after = rows[-1].model
        for row in rows:
            settings, mark = configuration.for_model(row.model), marks.get(row.model)
            for version in row.versions:
                key = (row.model, version.version)
                detail, problem = _detail(
                    version, settings, mark, configuration.folder, row.model, columns.get(key, {})
                )
                found.append(
                    ModelStanding(
                        model=row.model,
                        version=version.version,
                        state="learning" if version.reference_hash is None else "ready",
                        detail=detail,
                        problem=problem,
                        rows=version.rows,
                        watermark=write_instant(mark),
                        last_event=write_instant(row.last_event_ms),
                        windows_waiting=waiting.get(key, 0) if version.reference_hash else 0,
                        open_alerts=row.open_alerts,
                        reference=version.reference_hash,
                    )
                )
    return found


def _waiting(connection: Connection, marks: Mapping[str, int]) -> dict[Key, int]:
    """Windows that have changed since they were judged and are complete.

    Those that begin before the first reference of their version are left out: they cannot be judged.
    """
    found: dict[Key, int] = {}
    for row in changed_windows(connection):
        mark = marks.get(row.model)
        if mark is not None and row.end_ms <= mark:
            key = (row.model, row.version)
            found[key] = found.get(key, 0) + int(row.windows)
    return found


def _detail(
    version: VersionRow,
    settings: ModelSettings,
    mark: int | None,
    folder: Path,
    model: str,
    specs: Mapping[str, ColumnSpec],
) -> tuple[str, str | None]:
    """What is missing or holds since when; and why the version cannot become ready."""
    if version.reference_hash is not None:
        since = version.reference_from_ms
        return f"judged from {write_instant(since)} on" if since else "judged from its first event on", None
    if settings.reference.file is not None:
        problem = file_problem(folder / settings.reference.file, settings, specs, model)
        return f"waits for {settings.reference.file}", problem
    wanted, missing = settings.reference, []
    if version.rows < wanted.min_rows:
        missing.append(f"{wanted.min_rows - version.rows} more rows")
    end_ms = wanted.to_ms if wanted.span_ms is None else version.first_slice_ms + wanted.span_ms
    if end_ms is not None and (mark is None or mark < end_ms):
        missing.append(f"events after {write_instant(end_ms + settings.lateness_ms)}")
    return f"needs {' and '.join(missing)}" if missing else "is about to get its reference", None


def file_problem(
    path: Path, settings: ModelSettings, specs: Mapping[str, ColumnSpec], model: str
) -> str | None:
    """Why a configured file makes no reference; None if it does, or is too large to try it here."""
    try:
        if path.exists() and path.stat().st_size > LARGEST_TRIED_BYTES:
            return None
        reference_from_file(path, settings, specs, model=model)
    except (UsageError, UnusableReference) as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"
    return None
