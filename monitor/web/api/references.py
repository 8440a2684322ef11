"""``/references``: what model versions are compared with."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from detectors.reference import Reference
from monitor.store.engine import reading
from monitor.store.queries.references import reference_of, references, uses
from monitor.web.bins import BinDocument, Binned, documents
from monitor.web.context import Context
from monitor.web.documents import InstantText, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import NoParameters, Paged, PathText
from monitor.web.problems import not_found


class Use(BaseModel):
    """A model version that is, or was, judged against a reference."""

    model: str
    version: str
    revision: int = Field(description="1 for the first reference of the version, then counted up.")
    since: InstantText | None = Field(description="First slice that is judged against it.")
    promoted_at: InstantText | None
    promoted_by: str


class ReferenceDocument(BaseModel):
    """One reference; never changes."""

    hash: str = Field(description="SHA-256 of its bytes.")
    rows: int
    created_at: InstantText | None
    metadata: dict[str, Any] = Field(description="Where it comes from.")
    used_by: list[Use]


class ReferenceColumn(BaseModel):
    """One column of a reference."""

    name: str
    kind: str
    source: str
    count: int = Field(description="Rows with a valid value.")
    missing: int
    invalid: int
    bins: list[BinDocument]


class ReferenceDetail(ReferenceDocument):
    """One reference with its columns and bins."""

    from_: InstantText | None = Field(alias="from", description="Start of its rows, in event time.")
    to: InstantText | None
    windows: int = Field(description="Windows of its own, which show how much windows differ without drift.")
    segments: list[str] = Field(description="Segments that are counted apart.")
    columns: list[ReferenceColumn]


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["references"])

    @router.get("/references", summary="References, newest first")
    def list_references(asked: Annotated[Paged, Query()]) -> Page[ReferenceDocument]:
        """Every reference that was ever made, and which model versions use it."""
        return page_of_references(context, asked)

    @router.get("/references/{hash}", summary="One reference with its bins")
    def get_reference(hash: PathText, asked: Annotated[NoParameters, Query()]) -> ReferenceDetail:
        """Columns, bins and shares of one reference."""
        return reference_detail(context, hash)

    return router


def page_of_references(context: Context, asked: Paged) -> Page[ReferenceDocument]:
    """List references, newest first, each with the model versions that use it."""
    after = read_cursor(asked.cursor, "references", int, str)
    with reading(context.engine) as connection:
        rows, last = cut(references(connection, after, asked.limit + 1), asked.limit)
        used = uses(connection, [row.hash for row in rows])
    cursor = write_cursor("references", last.created_at_ms, last.hash) if last else None
    items = [ReferenceDocument(**_common(row, used)) for row in rows]
    return Page(items=items, next_cursor=cursor)


def reference_detail(context: Context, hash_: str) -> ReferenceDetail:
    """Describe one reference with its columns and bins.

    Raises
    ------
    Refused
        If there is none of that hash.
    """
    with reading(context.engine) as connection:
        row = reference_of(connection, hash_)
        if row is None:
            raise not_found(hash_, "reference", "path.hash")
        used = uses(connection, [hash_])
    reference = Reference.from_bytes(bytes(row.bytes))
    return ReferenceDetail.model_validate({**_common(row, used), **_contents(reference)})


def _common(row: Any, used: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "hash": row.hash,
        "rows": row.rows,
        "created_at": instant(row.created_at_ms),
        "metadata": json.loads(row.metadata),
        "used_by": [_use(pointer) for pointer in used.get(row.hash, [])],
    }


def _use(row: Any) -> Use:
    return Use(
        model=row.model,
        version=row.version,
        revision=row.revision,
        since=instant(row.from_ms),
        promoted_at=instant(row.promoted_at_ms),
        promoted_by=row.promoted_by,
    )


def _contents(reference: Reference) -> dict[str, Any]:
    return {
        "from": instant(reference.from_ms),
        "to": instant(reference.to_ms),
        "windows": len(reference.window_starts),
        "segments": [label for label in reference.binning.groups if label],
        "columns": _columns(reference),
    }


def _columns(reference: Reference) -> list[ReferenceColumn]:
    binning, found = reference.binning, []
    for i, (spec, bins) in enumerate(zip(binning.columns, binning.bins, strict=True)):
        counts = reference.counts[0, int(binning.offsets[i]) : int(binning.offsets[i + 1])]
        binned = Binned(spec, bins, counts, counts)
        found.append(
            ReferenceColumn(
                name=spec.name,
                kind=spec.kind,
                source=spec.source,
                count=binned.valid,
                missing=binned.missing,
                invalid=binned.invalid,
                bins=documents(binned),
            )
        )
    return found
