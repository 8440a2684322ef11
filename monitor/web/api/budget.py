"""``/budget``: the false-alarm budget, what was spent of it, and what is left."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from monitor.config.alerts import PERIODS_MS
from monitor.store.engine import reading
from monitor.store.queries import budget as ledgers
from monitor.web.context import Context
from monitor.web.documents import InstantText, instant
from monitor.web.parameters import Asked, Instant


class ModelSpent(BaseModel):
    """What one model version could cost, and the alarms it raised."""

    model: str
    version: str
    windows: int = Field(description="Windows judged in the span.")
    spent: float = Field(description="False alarms that could be expected of them.")
    alarms: int = Field(description="Streams that raised an alarm, rightly or wrongly.")


class BudgetSpent(BaseModel):
    """The budget over everything watched, in a span of event time."""

    budget: str = Field(description="As configured: `1 per week`.")
    from_: InstantText | None = Field(
        serialization_alias="from", description="Start of the span; windows end after it."
    )
    to: InstantText | None = Field(description="End of the span; null: nothing was judged yet.")
    allowed: float = Field(description="False alarms that the budget allows in the span.")
    spent: float = Field(description="False alarms that could be expected of the windows judged in it.")
    left: float = Field(description="`allowed` less `spent`, at least 0.")
    alarms: int = Field(description="Streams that raised an alarm.")
    models: list[ModelSpent]


class BudgetAsked(Asked):
    """Parameters of the budget."""

    from_ms: Instant | None = Field(None, alias="from", description="Default: one period before `to`.")
    to_ms: Instant | None = Field(None, alias="to", description="Default: end of the newest judged window.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["budget"])

    @router.get("/budget", summary="The false-alarm budget: allowed, spent, left")
    def get_budget(asked: Annotated[BudgetAsked, Query()]) -> BudgetSpent:
        """Sum up what the windows of a span could cost."""
        stated = context.configuration.alerts.budget
        with reading(context.engine) as connection:
            newest = ledgers.newest_end_ms(connection)
            to_ms = asked.to_ms if asked.to_ms is not None else newest
            if to_ms is None:
                return BudgetSpent(
                    budget=str(stated), from_=None, to=None, allowed=0, spent=0, left=0, alarms=0, models=[]
                )
            from_ms = asked.from_ms if asked.from_ms is not None else to_ms - int(PERIODS_MS[stated.per])
            found = ledgers.spent(connection, from_ms, to_ms)
        allowed = stated.expected_in(max(0, to_ms - from_ms))
        total = math.fsum(row.spent for row in found)
        return BudgetSpent(
            budget=str(stated),
            from_=instant(from_ms),
            to=instant(to_ms),
            allowed=allowed,
            spent=total,
            left=max(0.0, allowed - total),
            alarms=sum(row.alarms for row in found),
            models=[ModelSpent(**vars(row)) for row in found],
        )

    return router
