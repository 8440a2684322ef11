"""``/digest``: what drifted in a week, over everything watched."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from alerting.digest import document
from detectors.digest import WEEK_MS, week_of
from monitor.judging.digests import read_digest
from monitor.store import weeks
from monitor.store.engine import reading
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.documents import InstantText, instant
from monitor.web.parameters import Asked, Instant
from monitor.web.problems import Mistake, Refused


class DriftedStream(BaseModel):
    """One column and segment that drifted."""

    model: str
    version: str
    column: str
    segment: str = Field(description="Empty: all rows.")
    lane: str
    log_evalue: float = Field(description="Natural logarithm of the e-value of the week.")
    psi: float = Field(description="Largest de-biased population stability index of a window.")
    rows: int = Field(description="Rows of the week that were judged.")
    windows: int = Field(description="Windows of the week that were judged.")
    summary: str = Field(description="What moved most in the window with that index.")


class DigestDocument(BaseModel):
    """What drifted in one week."""

    week: InstantText = Field(description="Start: a Monday, 00:00 UTC.")
    until: InstantText = Field(description="End, not included.")
    finished: bool = Field(description="Whether no more windows of the week are waited for.")
    level: float = Field(description="As configured: `alerts.digest.level`.")
    streams: int = Field(description="Columns and segments that were watched, of all models.")
    listed: list[DriftedStream] = Field(description="Those that drifted, the most evidence first.")
    listed_total: int
    false_share_at_most: float = Field(
        description="Expected share of those listed that have not drifted, at most."
    )


class DigestAsked(Asked):
    """Parameters of the digest."""

    week: Instant | None = Field(
        None, description="Any instant of the week; default: the last week that is finished."
    )


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["digest"])

    @router.get(
        "/digest", summary="The weekly digest: what drifted, with few false ones", responses=also(404)
    )
    def get_digest(asked: Annotated[DigestAsked, Query()]) -> DigestDocument:
        """List what drifted in a week; of the running week what is known by now."""
        with reading(context.engine) as connection:
            week_ms = weeks.latest_finished(connection) if asked.week is None else week_of(asked.week)
            if week_ms is None:
                raise _none_yet(context.clock.now_ms())
            if instant(week_ms) is None or instant(week_ms + WEEK_MS) is None:
                what = "that week does not lie between the years 1 and 9999"
                raise Refused(422, what, [Mistake(where="query.week", what=what)])
            found = read_digest(connection, context.configuration, context.reference, week_ms)
        return DigestDocument(**document(found))

    return router


def _none_yet(now_ms: int) -> Refused:
    what = "no week is finished yet"
    allowed = f"an instant of a week, such as {instant(week_of(now_ms))}"
    return Refused(404, what, [Mistake(where="query.week", what=what, allowed=allowed)])
