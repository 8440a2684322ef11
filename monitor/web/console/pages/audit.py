"""The audit log: who changed what, through the console, the API, or on the command line."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from monitor.store import audit as stored
from monitor.store.engine import reading
from monitor.web.console.shell import Shell
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, SegmentText

HERE = "/configuration"
LISTED = 100


class AuditAsked(Asked):
    """Parameters of the log."""

    actor: SegmentText = Field("", description="Only what this one did.")
    cursor: str | None = Field(None, max_length=2_048, description="Where the page before ended.")


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    @router.get("/configuration/audit")
    def audit(request: Request, asked: Annotated[AuditAsked, Query()]) -> Response:
        after = read_cursor(asked.cursor, "audit", int)
        with reading(context.engine) as connection:
            before = None if after is None else after[0]
            found = stored.listed(connection, asked.actor or None, before, LISTED + 1)
        rows, _ = cut(found, LISTED)
        following = write_cursor("audit", rows[-1].id) if len(found) > LISTED else None
        values: dict[str, Any] = {
            "rows": rows,
            "actor": asked.actor,
            "following": following,
            "is_first": after is None,
        }
        keep_days = context.configuration.http.audit_keep_ms // 86_400_000
        return shell.page(request, "audit.html", HERE, keep_days=keep_days, **values)

    return router
