"""``/accounting``: where every event that was fetched went."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from monitor.store import positions
from monitor.store.engine import reading
from monitor.web.context import Context
from monitor.web.documents import InstantText, Page, instant
from monitor.web.paging import read_cursor, write_cursor
from monitor.web.parameters import Asked

PARTITIONS = 1_000


class Partition(BaseModel):
    """One partition: `fetched` is always the sum of the seven numbers after it."""

    topic: str
    partition: int
    kind: str = Field(description="`predictions` or `labels`.")
    fetched: int = Field(description="Messages that were read.")
    counted: int = Field(description="Events counted in a slice.")
    late: int = Field(description="Events later than the horizon, not counted in a slice.")
    future: int = Field(description="Events with a timestamp too far in the future, kept as dead letters.")
    dead_lettered: int = Field(description="Messages that cannot be read, kept as dead letters.")
    duplicates: int = Field(
        description="Events whose id had been seen; labels that said nothing newer than one before them."
    )
    unpaired: int = Field(description="Requests and responses alone, whose other half has not come yet.")
    paired: int = Field(description="Requests whose events are counted where their responses were.")
    matched: int | None = Field(None, description="Labels paired with a prediction. Null: no label topic.")
    waiting: int | None = Field(None, description="Labels whose prediction has not come yet.")
    corrected: int | None = Field(None, description="Labels that replaced an earlier one.")
    orphaned: int | None = Field(None, description="Labels whose prediction never came.")
    expired: int | None = Field(None, description="Labels later than the labels' horizon: not counted.")
    sampled_out: int | None = Field(None, description="Labels of predictions that were not kept for pairing.")
    next_offset: int = Field(description="Position: offset of the first message that was not read yet.")
    watermark: InstantText | None = Field(
        description="Newest event time less the default lateness; null: no event."
    )
    stopped_reason: str | None = Field(description="Why reading has stopped; null: it has not.")
    seen_at: InstantText | None = Field(description="When a reader last reported.")


class PartitionsAsked(Asked):
    """Parameters of the list of partitions."""

    cursor: str | None = Field(None, max_length=2_048, description="`next_cursor` of the page before.")
    limit: int = Field(PARTITIONS, ge=1, le=10_000, description="Most partitions of a page.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["accounting"])

    @router.get("/accounting", summary="Where the events of each partition went")
    def list_partitions(asked: Annotated[PartitionsAsked, Query()]) -> Page[Partition]:
        """At all times fetched = counted + late + future + dead_lettered + duplicates + unpaired + paired.

        Of label topics, counted = matched + waiting + corrected + orphaned + expired + sampled_out.
        """
        return page_of_partitions(context, asked)

    return router


def page_of_partitions(context: Context, asked: PartitionsAsked) -> Page[Partition]:
    """List partitions with what became of their events, by topic and number."""
    after = read_cursor(asked.cursor, "accounting", str, int)
    with reading(context.engine) as connection:
        rows = positions.accounting(connection)
    lateness_ms = context.configuration.defaults.lateness_ms
    items = []
    for row in rows:
        if after is None or (row["topic"], row["partition"]) > after:
            newest, seen = row.pop("max_event_ms"), row.pop("seen_at_ms")
            row.pop("at_end_since_ms", None)
            mark = None if newest is None else newest - lateness_ms
            items.append(Partition(**row, watermark=instant(mark), seen_at=instant(seen)))
    page = items[: asked.limit]
    more = len(items) > asked.limit
    cursor = write_cursor("accounting", page[-1].topic, page[-1].partition) if more else None
    return Page(items=page, next_cursor=cursor)
