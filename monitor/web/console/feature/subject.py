"""What a page about a model version is of: which version, range, segments and columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from sqlalchemy import Connection, select

from detectors.reference import Reference
from monitor.config.settings import ModelSettings
from monitor.registry import read_columns
from monitor.store.queries.judged import Stream, judged_columns, newest_window
from monitor.store.queries.references import pointers
from monitor.store.queries.slice_counts import first_slice
from monitor.store.queries.slices import newest_slice
from monitor.store.tables import model_version
from monitor.web.context import Context
from monitor.web.documents import instant
from monitor.web.parameters import Asked, QueryText, read_query_instant
from monitor.web.problems import Mistake, Refused, not_found
from schemas.column import ColumnSpec
from schemas.duration import UNITS_MS
from schemas.window import WindowSpec

DEFAULT_WINDOWS = 60
LONGEST_DEFAULT_MS, SHORTEST_DEFAULT_MS = 90 * UNITS_MS["d"], 2 * UNITS_MS["d"]
_OF_A_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?")


def read_moment(value: Any) -> int | None:
    """Read an instant of a form, which is UTC and does not say so; empty for none.

    Examples
    --------
    >>> read_moment("2026-01-01T00:00"), read_moment("2026-01-01T00:00:00Z"), read_moment("")
    (1767225600000, 1767225600000, None)
    """
    if value in ("", None):
        return None
    if isinstance(value, str) and _OF_A_FORM.fullmatch(value):
        value = f"{value}Z"
    return read_query_instant(value)


Moment = Annotated[
    int | None,
    BeforeValidator(read_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""RFC 3339, epoch milliseconds, or what a field of a form gives; empty for the default."""

Choice = Annotated[QueryText | None, BeforeValidator(lambda value: value or None)]
"""A name that a form offers; empty for the default."""


class RangeAsked(Asked):
    """Parameters of a page about a model version."""

    from_ms: Moment = Field(None, alias="from", description="Start of the range.")
    to_ms: Moment = Field(None, alias="to", description="End of the range, not included.")
    version: Choice = Field(None, description="Version; default: the one with the newest events.")


@dataclass(frozen=True)
class Subject:
    """A model version over a range of event time.

    Parameters
    ----------
    model, version : str
    versions : list of str
        All of them, the newest first.
    from_ms, to_ms : int
        Range ``[from_ms, to_ms)``.
    settings : ModelSettings
    registered : dict of str to ColumnSpec
        Columns that events have.
    judged : dict of str to (float, float, int)
        Columns that were compared with a reference in the latest window: PSI de-biased and as measured, rows.
    judged_ms : int
        Start of that window; 0 without one.
    watched : frozenset of str
        All columns that something was said of there, such as ``rows``.
    reference : Reference or None
        In force at the end of the range; None before the first.
    reference_hash : str
        Empty for none.
    """

    model: str
    version: str
    versions: list[str]
    from_ms: int
    to_ms: int
    settings: ModelSettings
    registered: dict[str, ColumnSpec]
    judged: dict[str, tuple[float, float, int]]
    judged_ms: int
    watched: frozenset[str]
    reference: Reference | None
    reference_hash: str

    @property
    def window(self) -> WindowSpec:
        """Shape of the windows that are judged."""
        return self.settings.windows[0]

    @property
    def stream(self) -> Stream:
        """Judged windows of the range."""
        return Stream(self.model, self.version, str(self.window), self.from_ms, self.to_ms)

    @property
    def columns(self) -> list[str]:
        """Names of all columns that something is known of."""
        return sorted(self.registered.keys() | self.watched)

    @property
    def segments(self) -> list[str]:
        """Labels of the groups of rows that are counted apart, ``name=value``."""
        return [] if self.reference is None else [label for label in self.reference.binning.groups if label]

    @property
    def segment_columns(self) -> list[str]:
        """Columns whose values are segments."""
        return list(self.settings.segments)

    @property
    def parameters(self) -> dict[str, object]:
        """Range and version as parameters of an address."""
        return {"from": _written(self.from_ms), "to": _written(self.to_ms), "version": self.version}

    def tolerance(self, column: str) -> float:
        """Population stability index of a column that is not worth anybody's time."""
        own = self.settings.columns.get(column)
        return self.settings.tolerance_psi if own is None or own.tolerance_psi is None else own.tolerance_psi

    def check_column(self, column: str, where: str) -> None:
        """Refuse a column that nothing is known of.

        Raises
        ------
        Refused
            404 with the nearest name.
        """
        if column not in self.registered and column not in self.watched:
            raise not_found(column, "column", where, self.columns)

    def check_segment(self, segment: str) -> None:
        """Refuse a segment that is not counted apart.

        Raises
        ------
        Refused
            404 with the nearest name.
        """
        if segment and segment not in self.segments:
            raise not_found(segment, "segment", "query.segment", self.segments)


def subject_of(context: Context, connection: Connection, model: str, asked: RangeAsked) -> Subject:
    """Read what a page is about.

    Raises
    ------
    Refused
        If there is no such model or version, or the range is empty.
    """
    settings = context.configuration.for_model(model)
    versions = _versions(connection, model)
    if not versions:
        raise not_found(model, "model", "path.model")
    version = versions[0] if asked.version is None else asked.version
    if version not in versions:
        raise not_found(version, "version", "query.version", versions)
    newest = newest_window(connection, model, version, str(settings.windows[0]))
    from_ms, to_ms = _range(connection, (model, version), settings, asked, newest)
    said = {} if newest is None else judged_columns(connection, newest.id)
    hash_ = _reference_hash(connection, model, version, to_ms)
    return Subject(
        model,
        version,
        versions,
        from_ms,
        to_ms,
        settings,
        read_columns(connection, [model]).get((model, version), {}),
        {name: psi for name, psi in said.items() if psi is not None},
        0 if newest is None else newest.start_ms,
        frozenset(said),
        context.reference(connection, hash_) if hash_ else None,
        hash_,
    )


def _versions(connection: Connection, model: str) -> list[str]:
    v = model_version.c
    query = select(v.version).where(v.model == model).order_by(v.first_slice_ms.desc(), v.version.desc())
    return list(connection.execute(query).scalars())


def _range(
    connection: Connection, key: tuple[str, str], settings: ModelSettings, asked: RangeAsked, newest: Any
) -> tuple[int, int]:
    """Range that is asked for; by default sixty windows up to the newest one, or since the first event."""
    to_ms = asked.to_ms
    if to_ms is None:
        last = newest_slice(connection, *key)
        known = [] if last is None else [last + settings.slice_ms]
        to_ms = max([*known, *([] if newest is None else [newest.end_ms])], default=0)
    usual = DEFAULT_WINDOWS * settings.windows[0].every_ms
    usual = min(max(usual, SHORTEST_DEFAULT_MS), LONGEST_DEFAULT_MS)
    every_ms = settings.windows[0].every_ms
    from_ms = asked.from_ms
    if from_ms is None:
        first = first_slice(connection, *key)
        known_ms = to_ms - usual if first is None or asked.to_ms is not None else max(to_ms - usual, first)
        from_ms = known_ms // every_ms * every_ms
    if from_ms >= to_ms:
        what = "the range is empty: from must lie before to"
        raise Refused(422, what, [Mistake(where="query.from", what=what, allowed=f"before {instant(to_ms)}")])
    return from_ms, to_ms


def _reference_hash(connection: Connection, model: str, version: str, to_ms: int) -> str:
    """Reference in force at the end of the range, else the first one after it; empty for none."""
    rows = pointers(connection, model, {version})
    in_force = [row for row in rows if row.from_ms < to_ms]
    return str((in_force[-1] if in_force else rows[0]).hash) if rows else ""


def _written(at_ms: int) -> str | None:
    text = instant(at_ms)
    return None if text is None else text.replace(".000Z", "Z")


def values_of(segments: Iterable[str], by: str) -> list[str]:
    """Segments of one segment column.

    Examples
    --------
    >>> values_of(["origin=EWR", "carrier=UA", "origin=a=b"], "origin")
    ['origin=EWR', 'origin=a=b']
    """
    return [label for label in segments if label.partition("=")[0] == by]
