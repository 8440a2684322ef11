"""Tells pages that something has changed: one question to the database for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool

from monitor.store.engine import reading
from monitor.store.tables import alert_event, incident, result
from monitor.web.context import Context
from monitor.web.problems import Refused
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

PERIOD_S = 2.0
HEARTBEAT_S = 15.0
SHARE_S = 0.25  # of each open page: all together load themselves four times a second at most
MOST_LISTENERS = 100  # of 200 requests at a time, see `monitor.web.serve`


class Changes:
    """Knows whether there is something new in the database.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._state: tuple[object, ...] = ()
        self._asked_at = float("-inf")
        self._lock = asyncio.Lock()
        self.listeners = 0

    @property
    def pause_s(self) -> float:
        """How long a page is left alone that was told: the longer, the more pages are open.

        A page that is told loads itself, which costs a hundred times what telling it does.
        """
        return SHARE_S * self.listeners

    async def state(self) -> tuple[object, ...]:
        """Give what changes whenever results or incidents do; asks the database every two seconds at most."""
        async with self._lock:
            if time.monotonic() - self._asked_at >= PERIOD_S:
                self._state = await run_in_threadpool(self._ask)
                self._asked_at = time.monotonic()
            return self._state

    def _ask(self) -> tuple[object, ...]:
        try:
            with reading(self._context.engine) as connection:
                newest = select(
                    select(func.max(result.c.id)).scalar_subquery(),
                    select(func.max(alert_event.c.id)).scalar_subquery(),
                    select(func.max(incident.c.updated_at_ms)).scalar_subquery(),
                )
                return tuple(connection.execute(newest).one())
        except Unavailable as error:
            logger.warning("pages are not told of changes: %s", error)
            return self._state


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(include_in_schema=False)
    changes = Changes(context)

    @router.get("/live")
    async def live() -> StreamingResponse:
        if changes.listeners >= MOST_LISTENERS:
            raise Refused(503, "too many pages are open", headers={"Retry-After": "60"})
        # Known before the page hears that it is live: what changes from then on is told.
        known = await changes.state()
        return StreamingResponse(_told(changes, known), media_type="text/event-stream")

    return router


async def _told(changes: Changes, known: tuple[object, ...]) -> AsyncIterator[str]:
    changes.listeners += 1
    try:
        said_at, told_at = time.monotonic(), float("-inf")
        yield "retry: 5000\n\n"
        while True:
            await asyncio.sleep(PERIOD_S)
            state, now = await changes.state(), time.monotonic()
            if state != known and now - told_at >= changes.pause_s:
                known, said_at, told_at = state, now, now
                yield "event: changed\ndata: 1\n\n"
            elif now - said_at >= HEARTBEAT_S:
                said_at = now
                yield ": still here\n\n"
    finally:
        changes.listeners -= 1
