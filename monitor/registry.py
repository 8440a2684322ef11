"""What is known of model versions: their columns and references, in memory and in the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, select

from detectors.binning import Binning
from detectors.profile import Profile
from detectors.reference import Reference
from monitor.config import Configuration
from monitor.profiling import Key, ModelState, Pointer, SliceKey
from monitor.store.committing import Commit
from monitor.store.engine import reading
from monitor.store.positions import REFERENCES
from monitor.store.tables import counter, model_column, model_version, reference, reference_pointer
from schemas.column import ColumnSpec, Kind, Source


class Registry:
    """Model versions that this process has met.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    """

    def __init__(self, configuration: Configuration, engine: Engine) -> None:
        self._configuration, self._engine = configuration, engine
        self._states: dict[Key, ModelState] = {}
        self._specs: dict[Key, dict[str, ColumnSpec]] = {}
        self._versions: set[Key] = set()
        self._binnings: dict[str, Binning] = {}
        self._pointers: dict[Key, tuple[Pointer, ...]] = {}
        self.references_seen = 0

    def load(self) -> None:
        """Read everything from the database.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        self._states.clear()
        with reading(self._engine) as connection:
            self._specs = read_columns(connection)
            self._versions = _read_versions(connection)
            self._read_pointers(connection)

    def state_of(self, key: Key) -> ModelState:
        """State of a model version; made when it is first asked for."""
        state = self._states.get(key)
        if state is None:
            settings = self._configuration.for_model(key[0])
            state = ModelState(settings, self._specs.get(key, {}).values(), self._pointers.get(key, ()))
            self._states[key] = state
        return state

    def news(
        self, profiles: Iterable[tuple[SliceKey, Profile]], roles: Mapping[Key, str], now_ms: int
    ) -> dict[str, Any]:
        """Rows for model versions and columns that the database may not have yet."""
        versions: dict[Key, dict[str, Any]] = {}
        columns: list[dict[str, Any]] = []
        new: dict[Key, dict[str, ColumnSpec]] = {}
        for (model, version, slice_ms), profile in profiles:
            key = (model, version)
            if key not in self._versions:
                row = versions.setdefault(
                    key,
                    {"model": model, "version": version, "role": roles.get(key, "champion"),
                     "first_slice_ms": slice_ms, "created_at_ms": now_ms},
                )  # fmt: skip
                row["first_slice_ms"] = min(row["first_slice_ms"], slice_ms)
            known = self._specs.get(key, {})
            for name, summary in profile.summaries.items():
                if name not in known:
                    new.setdefault(key, {})[name] = summary.spec
        for (model, version), specs in new.items():
            columns += [
                {
                    "model": model,
                    "version": version,
                    "name": s.name,
                    "kind": s.kind.value,
                    "source": s.source.value,
                    "path": json.dumps(s.path) if s.path else None,
                }
                for s in specs.values()
            ]
        return {"versions": list(versions.values()), "columns": columns}

    def committed(self, work: Commit) -> None:
        """Take over what a commit registered; where another process was first, its columns win."""
        self._versions |= {(row["model"], row["version"]) for row in work.versions}
        changed = {(row["model"], row["version"]) for row in work.columns}
        if changed:
            with reading(self._engine) as connection:
                found = read_columns(connection, {model for model, _ in changed})
            for key in changed:
                self._specs[key] = found.get(key, {})
                if key in self._states:
                    self._states[key].restore(self._specs[key].values())

    def adopt_references(self, work: Commit) -> bool:
        """Take over references promoted since `work` was begun.

        Returns
        -------
        bool
            Whether the profiles of `work` are still on the right bins, and all model versions are still
            there. Profiles without bins are on the right ones: their counts move onto any.
        """
        with reading(self._engine) as connection:
            self._read_pointers(connection)
            if not self._versions <= _read_versions(connection):
                return False  # one was erased: what is known of it is to be registered anew
        work.references_seen = self.references_seen
        for key, state in self._states.items():
            state.pointers = self._pointers.get(key, ())
        for part in work.slices:
            pointer = self.state_of((part.model, part.version)).pointer_at(part.slice_ms)
            if part.reference_hash and (pointer is None or pointer.hash != part.reference_hash):
                return False
        return True

    def _read_pointers(self, connection: Connection) -> None:
        self.references_seen = (
            connection.execute(select(counter.c.value).where(counter.c.name == REFERENCES)).scalar() or 0
        )
        rows = connection.execute(select(reference_pointer).order_by("model", "version", "revision")).all()
        missing = {row.hash for row in rows} - self._binnings.keys()
        for hash_ in missing:
            data = connection.execute(select(reference.c.bytes).where(reference.c.hash == hash_)).scalar_one()
            self._binnings[hash_] = Reference.from_bytes(data).binning
        self._pointers = {}
        for row in rows:
            key = (row.model, row.version)
            pointer = Pointer(row.from_ms, row.hash, self._binnings[row.hash])
            self._pointers[key] = (*self._pointers.get(key, ()), pointer)


def _read_versions(connection: Connection) -> set[Key]:
    query = select(model_version.c.model, model_version.c.version)
    return {(row.model, row.version) for row in connection.execute(query)}


def read_columns(
    connection: Connection, models: Iterable[str] | None = None
) -> dict[Key, dict[str, ColumnSpec]]:
    """Registered columns of each model version; of all models, or of the given ones."""
    query = select(model_column)
    if models is not None:
        query = query.where(model_column.c.model.in_(list(models)))
    found: dict[Key, dict[str, ColumnSpec]] = {}
    for row in connection.execute(query):
        path = tuple(json.loads(row.path)) if row.path else ()
        spec = ColumnSpec(row.name, Kind(row.kind), Source(row.source), path)
        found.setdefault((row.model, row.version), {})[row.name] = spec
    return found
