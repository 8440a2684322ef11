"""Where every event that was fetched went, and whether the numbers add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from monitor.labels.pairing import FATES
from monitor.store.engine import reading
from monitor.store.positions import OUTCOMES
from monitor.store.queries.pipeline import gaps
from monitor.web.api.accounting import Partition, PartitionsAsked, page_of_partitions
from monitor.web.console.pipeline.stopped import stopped_of
from monitor.web.console.shell import Shell

HERE = "/events"
LISTED = 200
OF_LABELS = tuple(name for name in FATES if name != "duplicates")  # those are an outcome of their own


class AccountingAsked(PartitionsAsked):
    """Parameters of the page."""

    limit: int = Field(LISTED, ge=1, le=1_000, description="Most partitions of a page.")


@dataclass(frozen=True)
class Sum:
    """A sum that has to hold.

    Parameters
    ----------
    topic : str
    partition : int or None
        None: of all that are listed.
    whole : int
        What there is.
    parts : tuple of int
        Where it went.
    """

    topic: str
    partition: int | None
    whole: int
    parts: tuple[int, ...]

    @property
    def difference(self) -> int:
        """How many are missing from the parts; below 0: counted twice. 0: it adds up."""
        return self.whole - sum(self.parts)


def identities(partitions: list[Partition]) -> list[Sum]:
    """Fetched = the sum of the outcomes, of each partition.

    Notes
    -----
    Of a label topic, `counted` is given without repetitions: the fates add up to that.
    """
    return [
        Sum(one.topic, one.partition, one.fetched, tuple(getattr(one, name) for name in OUTCOMES))
        for one in partitions
    ]


def label_identities(partitions: list[Partition]) -> list[Sum]:
    """Counted = the sum of the fates, of each partition of a label topic."""
    return [
        Sum(one.topic, one.partition, one.counted, tuple(getattr(one, name) or 0 for name in OF_LABELS))
        for one in partitions
        if one.kind == "labels"
    ]


def total(sums: list[Sum]) -> Sum:
    """Add sums up."""
    parts = zip(*(one.parts for one in sums), strict=True)
    return Sum("all", None, sum(one.whole for one in sums), tuple(sum(part) for part in parts))


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    @router.get("/events/accounting")
    def accounting(request: Request, asked: Annotated[AccountingAsked, Query()]) -> Response:
        page = page_of_partitions(context, asked)
        with reading(context.engine) as connection:
            lost = gaps(connection)
        tables = [
            (
                "Events",
                "fetched",
                OUTCOMES,
                identities(page.items),
                "Every message that was fetched is in exactly one of the other columns.",
            ),
            (
                "Labels",
                "counted",
                OF_LABELS,
                label_identities(page.items),
                "Every label that was counted has exactly one fate.",
            ),
        ]
        return shell.page(
            request,
            "accounting.html",
            HERE,
            tables=[(*table, total(table[3])) for table in tables if table[3]],
            stopped=stopped_of(page.items),
            gaps=lost,
            page=page,
            is_first=asked.cursor is None,
        )

    return router
