"""References: which model version uses which from when on, what is in one, and what two have in common."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from detectors.reference import Reference
from monitor.store.engine import reading
from monitor.store.queries.lineage import promotions, unused
from monitor.store.queries.references import references
from monitor.web.api.references import reference_detail
from monitor.web.charting.forms import Form, given
from monitor.web.console.fields import FieldText
from monitor.web.console.references.charts import bins_chart
from monitor.web.console.references.difference import differences
from monitor.web.console.shell import Shell
from monitor.web.context import Context
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, PathText
from monitor.web.problems import not_found
from schemas.errors import UnusableReference

HERE = "/configuration"
LISTED = 100
OFFERED = 100  # references to compare with


class LineageAsked(Asked):
    """Parameters of the list."""

    model: FieldText = Field(None, description="Only versions of this model.")
    cursor: str | None = Field(None, max_length=2_048, description="Where the page before ended.")


class ReferenceAsked(Asked):
    """Parameters of the page of one reference."""

    column: FieldText = Field(None, description="Column whose bins are drawn; default: the first.")


class ComparedAsked(Asked):
    """Parameters of the comparison of two references."""

    old: str = Field(max_length=64, description="Hash of the one before.")
    new: str = Field(max_length=64, description="Hash of the one after.")
    column: FieldText = Field(None, description="Column whose bins are drawn.")


class BinsAsked(Asked):
    """Parameters of the chart of a column's bins."""

    column: str = Field(max_length=1_024, description="Name of the column.")
    new: FieldText = Field(None, description="Hash of a reference to put beside it.")


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    @router.get("/configuration/references")
    def lineage(request: Request, asked: Annotated[LineageAsked, Query()]) -> Response:
        after = read_cursor(asked.cursor, "promotions", str, str, int)
        with reading(context.engine) as connection:
            rows, last = cut(promotions(connection, asked.model, after, LISTED + 1), LISTED)
            idle = unused(connection, OFFERED)
        cursor = write_cursor("promotions", last.model, last.version, last.revision) if last else None
        return shell.page(
            request,
            "references.html",
            HERE,
            rows=[(row, json.loads(row.metadata)) for row in rows],
            unused=idle,
            next_cursor=cursor,
            is_first=asked.cursor is None,
            asked=asked,
        )

    @router.get("/configuration/references/compare")
    def compared(request: Request, asked: Annotated[ComparedAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            old, new = (_reference(context, connection, hash_) for hash_ in (asked.old, asked.new))
        found = differences(old, new)
        column = asked.column or next((one.name for one in found if one.psi is not None), None)
        if column is not None and column not in old.binning.index:
            raise not_found(column, "column", "query.column", old.binning.index)
        sides = [(hash_, one) for hash_, one in ((asked.old, old), (asked.new, new))]
        return shell.page(
            request, "compared.html", HERE, found=found, sides=sides, column=column, asked=asked
        )

    @router.get("/configuration/references/{hash}")
    def reference(request: Request, hash: PathText, asked: Annotated[ReferenceAsked, Query()]) -> Response:
        found = reference_detail(context, hash)
        names = [one.name for one in found.columns]
        if asked.column is not None and asked.column not in names:
            raise not_found(asked.column, "column", "query.column", names)
        with reading(context.engine) as connection:
            others = [row for row in references(connection, None, OFFERED + 1) if row.hash != hash]
        return shell.page(
            request,
            "reference.html",
            HERE,
            reference=found,
            column=asked.column or next(iter(names), None),
            others=[(row, json.loads(row.metadata)) for row in others[:OFFERED]],
        )

    @router.get("/configuration/references/{hash}/charts/bins.{form}")
    def bins(hash: PathText, form: Form, asked: Annotated[BinsAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            found = _reference(context, connection, hash)
            other = None if asked.new is None else _reference(context, connection, asked.new)
        if asked.column not in found.binning.index:
            raise not_found(asked.column, "column", "query.column", found.binning.index)
        return given(bins_chart(found, asked.column, other), form)

    return router


def _reference(context: Context, connection: Connection, hash_: str) -> Reference:
    try:
        return context.reference(connection, hash_)
    except UnusableReference:
        raise not_found(hash_, "reference", "path.hash") from None
