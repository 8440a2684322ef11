"""What ``driftline status`` says, gathered beside the pages that show it: none of them waits for it long.

Guarantees
----------
One gathering at a time in a process, and one every few seconds at most, however many pages are open.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from monitor.status import Status, gather
from monitor.store.positions import Place
from monitor.web.context import Context
from schemas.errors import DriftlineError

logger = logging.getLogger(__name__)

FRESH_S = 5.0
WAIT_S = 0.15
NOT_ASKED = "Kafka is not asked by this page"


@dataclass(frozen=True)
class Standing:
    """How the service stood at an instant.

    Parameters
    ----------
    status : Status or None
        None as long as it is being gathered, or if that failed.
    at_ms : int
        When, by the wall clock.
    problem : str
        Why it could not be gathered; empty if it could.
    """

    status: Status | None
    at_ms: int
    problem: str = ""


class StandingNow:
    """Gathers the status, and keeps the latest.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._latest = Standing(None, 0)
        self._gathered_at = float("-inf")
        self._running: threading.Thread | None = None

    def get(self) -> Standing:
        """Give the latest status, waiting a moment for a new one where it is old."""
        with self._lock:
            if time.monotonic() - self._gathered_at < FRESH_S:
                return self._latest
            if self._running is None or not self._running.is_alive():
                self._running = threading.Thread(target=self._gather, name="status", daemon=True)
                self._running.start()
            running = self._running
        running.join(WAIT_S)
        return self._latest

    def _gather(self) -> None:
        context = self._context
        now_ms = context.clock.now_ms()
        ends: dict[Place, int] | str = NOT_ASKED
        try:
            found = Standing(gather(context.engine, context.configuration, now_ms, ends), now_ms)
        except DriftlineError as error:
            found = Standing(None, now_ms, str(error).splitlines()[0])
        except Exception as error:  # a page must not wait for it for ever
            logger.exception("the status could not be gathered")
            found = Standing(None, now_ms, type(error).__name__)
        self._latest, self._gathered_at = found, time.monotonic()
