"""Previews of a policy: backtests over stored slices, one at a time, kept in memory for a while.

Guarantees
----------
One preview runs at a time in a process, for `DEADLINE_S` at most; the latest `KEPT` are remembered. The
database is only read, and nobody is told anything.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from monitor.backtest import Backtest, Progress
from monitor.backtest.stored import backtest_stored
from monitor.backtest.stored_content import Wanted
from monitor.clock import Clock
from monitor.config import Configuration
from schemas.errors import DriftlineError, UsageError

logger = logging.getLogger(__name__)

KEPT = 8
DEADLINE_S = 900.0
ID_BYTES = 9

State = Literal["running", "done", "failed", "stopped"]


class Halted(Exception):  # noqa: N818 - reads as what happened
    """A preview was stopped, or has come to its deadline."""


@dataclass
class Preview:
    """One preview.

    Attributes
    ----------
    id : str
    today, changed : Configuration
        The policy as applied, and the one that is tried.
    wanted : Wanted
    asked : dict
        Fields of the form that asked for it.
    started_at_ms : int
    state : str
    side : str
        Which of the two is being judged: ``today`` or ``changed``.
    done, total : int
        Windows judged of that side.
    problem : str
        Why it failed.
    found_today, found_changed : Backtest or None
    seconds : float
        How long it took.
    """

    id: str
    today: Configuration
    changed: Configuration
    wanted: Wanted
    asked: dict[str, str | None]
    started_at_ms: int
    state: State = "running"
    side: str = "today"
    done: int = 0
    total: int = 0
    problem: str = ""
    found_today: Backtest | None = None
    found_changed: Backtest | None = None
    seconds: float = 0.0
    is_unwanted: threading.Event = field(default_factory=threading.Event)

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        if self.state == "done":
            return 1.0
        part = self.done / self.total if self.total else 0.0
        return (part + (1.0 if self.side == "changed" else 0.0)) / 2


class Previews:
    """Starts previews, and remembers them.

    Parameters
    ----------
    clock : Clock
        How far event time has come.
    deadline_s : float
        Longest time of a preview.
    """

    def __init__(self, clock: Clock, deadline_s: float = DEADLINE_S) -> None:
        self._clock, self._deadline_s = clock, deadline_s
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Preview] = OrderedDict()

    @property
    def running(self) -> Preview | None:
        """The one that runs."""
        with self._lock:
            return next((one for one in self._known.values() if one.state == "running"), None)

    def get(self, id_: str) -> Preview | None:
        """Find a preview; None if it was forgotten, or belongs to another process."""
        with self._lock:
            return self._known.get(id_)

    def start(
        self, today: Configuration, changed: Configuration, wanted: Wanted, asked: dict[str, str | None]
    ) -> Preview:
        """Start a preview.

        Raises
        ------
        UsageError
            If another one runs.
        """
        with self._lock:
            if any(one.state == "running" for one in self._known.values()):
                msg = "another preview runs; wait until it is done, or stop it"
                raise UsageError(msg)
            made = Preview(
                secrets.token_urlsafe(ID_BYTES), today, changed, wanted, asked, self._clock.now_ms()
            )
            self._known[made.id] = made
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        threading.Thread(target=self._run, args=(made,), name="preview", daemon=True).start()
        return made

    def stop(self, id_: str) -> None:
        """Let a preview end at the next window."""
        found = self.get(id_)
        if found is not None:
            found.is_unwanted.set()

    def _run(self, preview: Preview) -> None:
        began = time.monotonic()

        def progress(done: int, total: int) -> None:
            preview.done, preview.total = done, total
            if preview.is_unwanted.is_set():
                msg = "it was stopped"
                raise Halted(msg)
            if time.monotonic() - began > self._deadline_s:
                msg = f"it took longer than {self._deadline_s / 60:g} minutes (choose a shorter range)"
                raise Halted(msg)

        try:
            preview.found_today = self._judge(preview, preview.today, progress)
            preview.side, preview.done = "changed", 0
            preview.found_changed = self._judge(preview, preview.changed, progress)
        except Halted as error:
            preview.problem = str(error)
            preview.state = "stopped" if preview.is_unwanted.is_set() else "failed"
        except DriftlineError as error:
            preview.problem = str(error).splitlines()[0].removeprefix("--stored: ")
            preview.state = "failed"
        except Exception:
            logger.exception("a preview failed")
            preview.problem = "this is a fault of Driftline; its log says more"
            preview.state = "failed"
        else:
            preview.state = "done"
        finally:
            preview.seconds = time.monotonic() - began

    def _judge(self, preview: Preview, configuration: Configuration, progress: Progress) -> Backtest:
        return backtest_stored(configuration, preview.wanted, clock=self._clock, progress=progress)
