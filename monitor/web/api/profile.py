"""``/models/{model}/profile``: the merged profile of any range of event time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from detectors.profile import Profile
from detectors.reference import Reference
from monitor.judging.merging import Merged, Merging
from monitor.profiling import Pointer
from monitor.registry import read_columns
from monitor.store.engine import reading
from monitor.store.queries.models import column_names, model_exists
from monitor.store.queries.references import pointers
from monitor.store.queries.slices import Span, newest_slice, slice_index, slices, widened
from monitor.web.bins import BinDocument, Binned, binned_columns, documents
from monitor.web.context import Context
from monitor.web.documents import InstantText, Number, instant
from monitor.web.parameters import Asked, Instant, PathText, QueryText, SegmentText
from monitor.web.problems import Mistake, Refused, not_found
from schemas.column import ColumnSpec
from schemas.duration import UNITS_MS

MOST_SLICES = 12_000  # a week of minutes, and some
AT_ONCE = 2  # profiles merged at the same time; merging is work for the processor
PATIENCE_S = 20.0
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
DEFAULT_MS = UNITS_MS["d"]


class ColumnProfile(BaseModel):
    """One column over the range."""

    name: str
    kind: str = Field(description="`numeric`, `categorical` or `vector`.")
    source: str = Field(description="`feature`, `prediction`, `score`, `latency` or `error`.")
    count: int = Field(description="Rows with a valid value.")
    missing: int = Field(description="Rows without a value.")
    invalid: int = Field(description="Rows with a value of the wrong type, or not finite.")
    unseen: int | None = Field(description="Rows with a category that the reference does not have.")
    min: Number = Field(
        description="Null for segments and for columns that are not numeric, like the next three."
    )
    max: Number
    mean: Number
    quantiles: dict[str, Number] | None = Field(description="Approximate: rank error about 2 %.")
    distinct: int | None = Field(
        description="Different values, estimated: error about 5 %. Null for segments."
    )
    reference_missing_share: Number = Field(description="Share of the reference's rows without a value.")
    bins: list[BinDocument] = Field(
        description="On the bins of the reference; without one, on bins chosen for this answer."
    )


class ProfileDocument(BaseModel):
    """Merged profile of a range."""

    model: str
    version: str | None = Field(description="Null: all versions.")
    versions: list[str] = Field(description="Versions with rows in the range.")
    segment: str
    from_: InstantText | None = Field(
        alias="from", description="Start of the range, rounded down to a slice."
    )
    to: InstantText | None = Field(description="End of the range, rounded up to a slice; not included.")
    count: int = Field(description="Rows of the range, all columns and segments.")
    segment_count: int = Field(description="Rows of the segment that could be merged.")
    excluded: int = Field(description="Rows counted on the bins of another reference: not in the columns.")
    straddling: int = Field(
        description="Values that an edge of the reference could not be told from; normally 0."
    )
    slices: int = Field(description="Stored slices that were merged.")
    reference_hash: str | None = Field(description="Reference whose bins these are; null: none yet.")
    columns: list[ColumnProfile]


class ProfileAsked(Asked):
    """Parameters of a profile."""

    from_ms: Instant | None = Field(None, alias="from", description="Start; default: a day before the end.")
    to_ms: Instant | None = Field(None, alias="to", description="End; default: behind the newest slice.")
    column: QueryText | None = Field(None, description="Only this column.")
    segment: SegmentText = Field("", description="Only rows of this segment, `name=value`.")
    version: QueryText | None = Field(None, description="Only this version; default: all, merged.")


@dataclass(frozen=True)
class Found:
    """What was read for one answer."""

    merged: Merged
    versions: list[str]
    reference: Reference | None
    reference_hash: str | None


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["profile"])
    room = threading.BoundedSemaphore(AT_ONCE)

    @router.get("/models/{model:path}/profile", summary="Merged profile of any range")
    def get_profile(model: PathText, asked: Annotated[ProfileAsked, Query()]) -> ProfileDocument:
        """Counts, moments, quantiles and bins of every column, from stored slices."""
        with _place_in(room), reading(context.engine) as connection:
            if not model_exists(connection, model):
                raise not_found(model, "model", "path.model")
            span = _span(context, connection, model, asked)
            _check_column(connection, model, asked.column)
            found = _read(context, connection, span)
        return _document(span, asked, found)

    return router


@contextmanager
def _place_in(room: threading.BoundedSemaphore) -> Iterator[None]:
    if not room.acquire(timeout=PATIENCE_S):
        raise Refused(503, "too many profiles are being merged", headers={"Retry-After": "5"})
    try:
        yield
    finally:
        room.release()


def _span(context: Context, connection: Connection, model: str, asked: ProfileAsked) -> Span:
    """Range in whole slices; in whole hours or days where they were added up."""
    slice_ms = context.configuration.for_model(model).slice_ms
    to_ms = asked.to_ms
    if to_ms is None:
        newest = newest_slice(connection, model, asked.version)
        to_ms = 0 if newest is None else newest + slice_ms
    from_ms = to_ms - DEFAULT_MS if asked.from_ms is None else asked.from_ms
    if from_ms >= to_ms:
        what = "the range is empty: from must lie before to"
        raise Refused(422, what, [Mistake(where="query.from", what=what, allowed=f"before {instant(to_ms)}")])
    whole = Span(model, from_ms // slice_ms * slice_ms, -(-to_ms // slice_ms) * slice_ms, asked.version)
    return widened(connection, whole)


def _check_column(connection: Connection, model: str, column: str | None) -> None:
    if column is not None:
        known = column_names(connection, model)
        if column not in known:
            raise not_found(column, "column", "query.column", known)


def _read(context: Context, connection: Connection, span: Span) -> Found:
    index = slice_index(connection, span, MOST_SLICES + 1)
    if len(index) > MOST_SLICES:
        what = f"the range holds more than {MOST_SLICES} stored slices"
        mistake = Mistake(where="query.from", what=what, allowed="a shorter range, or one version")
        raise Refused(422, what, [mistake])
    versions = sorted({version for _, version in index})
    known = {span.version} if span.version is not None else set(versions)
    pointer, reference = _newest_reference(context, connection, span, known)
    merging = Merging(_specs(connection, span.model, versions), pointer, samples=False)
    for row in slices(connection, [id_ for id_, _ in index]):
        merging.add(row)
    return Found(merging.finish(), versions, reference, pointer.hash if pointer else None)


def _newest_reference(
    context: Context, connection: Connection, span: Span, versions: set[str]
) -> tuple[Pointer | None, Reference | None]:
    """Reference in force at the end of the range, promoted last; else the first one after it."""
    rows = pointers(connection, span.model, versions)
    in_force = [row for row in rows if row.from_ms < span.to_ms]
    chosen = in_force[-1] if in_force else (rows[0] if rows else None)
    if chosen is None:
        return None, None
    reference = context.reference(connection, chosen.hash)
    return Pointer(chosen.from_ms, chosen.hash, reference.binning), reference


def _specs(connection: Connection, model: str, versions: list[str]) -> dict[str, ColumnSpec]:
    """Registered columns; where versions disagree, the last one by name wins."""
    registered = read_columns(connection, [model])
    found: dict[str, ColumnSpec] = {}
    for version in versions:
        found |= registered.get((model, version), {})
    return found


def _document(span: Span, asked: ProfileAsked, found: Found) -> ProfileDocument:
    profile = found.merged.profile
    if asked.segment not in profile.groups:
        raise not_found(asked.segment, "segment", "query.segment", [g for g in profile.groups if g])
    group = profile.groups.index(asked.segment)
    columns = [
        _column(profile, binned, group)
        for binned in binned_columns(profile, found.reference, group)
        if asked.column is None or binned.spec.name == asked.column
    ]
    return ProfileDocument.model_validate(
        {
            "model": span.model,
            "version": span.version,
            "versions": found.versions,
            "segment": asked.segment,
            "from": instant(span.from_ms),
            "to": instant(span.to_ms),
            "count": found.merged.rows,
            "segment_count": int(profile.group_rows[group]),
            "excluded": found.merged.excluded_rows,
            "straddling": found.merged.straddling,
            "slices": len(found.merged.slice_ids),
            "reference_hash": found.reference_hash,
            "columns": columns,
        }
    )


def _column(profile: Profile, binned: Binned, group: int) -> ColumnProfile:
    # Moments and sketches are kept of all rows only.
    summary = profile.summaries.get(binned.spec.name) if group == 0 else None
    quantiles = summary.quantile(list(QUANTILES)) if summary else None
    has_numbers = summary is not None and quantiles is not None
    return ColumnProfile(
        name=binned.spec.name,
        kind=binned.spec.kind,
        source=binned.spec.source,
        count=binned.valid,
        missing=binned.missing,
        invalid=binned.invalid,
        unseen=binned.unseen,
        min=summary.lowest if summary and has_numbers else None,
        max=summary.highest if summary and has_numbers else None,
        mean=summary.mean if summary else None,
        quantiles=None if quantiles is None else dict(zip(map(str, QUANTILES), quantiles, strict=True)),
        distinct=round(summary.distinct.estimate()) if summary else None,
        reference_missing_share=binned.reference_share(-2),
        bins=documents(binned),
    )
