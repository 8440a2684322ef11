"""``/models/{model}/contract``: what was agreed on the columns of a model, and when it changed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from monitor.contracts.revisions import revisions
from monitor.store.engine import reading
from monitor.web.context import Context
from monitor.web.documents import InstantText, Page
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Paged, PathText


class ContractChange(BaseModel):
    """One change from a revision to the next."""

    place: str = Field(description="Column and option, `columns.temp.max`; or what is said of the model.")
    breaking: bool = Field(description="Values that suited the revision before may violate this one.")
    summary: str


class ContractRevision(BaseModel):
    """What was agreed from one time to the next."""

    revision: int = Field(description="1 for the first, then counted up.")
    fingerprint: str = Field(description="SHA-256 of what is agreed.")
    since: InstantText | None = Field(
        description="When a window was judged by it first, by the clock on the wall."
    )
    settings: dict[str, Any] = Field(description="As under the model's name in `driftline.yaml`.")
    compatible: bool = Field(description="Whatever suited the revision before suits this one too.")
    changes: list[ContractChange] = Field(description="From the revision before, breaking ones first.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["contracts"])

    @router.get("/models/{model:path}/contract", summary="Revisions of a model's contract, newest first")
    def list_contract_revisions(model: PathText, asked: Annotated[Paged, Query()]) -> Page[ContractRevision]:
        """Every state of the contract that windows of the model were judged by; none without a contract."""
        after = read_cursor(asked.cursor, "contract", int)
        with reading(context.engine) as connection:
            found = revisions(connection, model, None if after is None else after[0], asked.limit + 1)
        page, last = cut(found, asked.limit)
        cursor = write_cursor("contract", last.revision) if last else None
        return Page(items=[ContractRevision(**one.as_dict()) for one in page], next_cursor=cursor)

    return router
