"""What is said of the judging of one window beside its results: a line in the log, a span."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from monitor.config.values import write_instant
from monitor.judging.judgements import Due, Judged
from monitor.tracing.tracer import Span, span

logger = logging.getLogger("monitor.judging")


@dataclass
class Account:
    """The judging of one window; `rows` becomes known on the way."""

    due: Due
    what: str
    span: Span
    rows: int = 0
    _began_s: float = field(default_factory=time.perf_counter)

    def outcome(self, judged: Judged | None) -> None:
        """It was judged, or (None) it is to be judged later, or by somebody else.

        A window in which something was found gets a line at level info, the others at level debug.
        """
        self.span.set({"driftline.rows": self.rows, "driftline.is_judged": judged is not None})
        if judged is None:
            return
        about = {
            "model": self.due.key[0],
            "version": self.due.key[1],
            "window": self.due.shape,
            "start": write_instant(self.due.start_ms),
            "revision": judged.revision,
            "rows": self.rows,
            "duration_ms": round((time.perf_counter() - self._began_s) * 1_000),
            "drifted": len(judged.drifted),
        }
        level = logging.INFO if judged.drifted or judged.changes else logging.DEBUG
        logger.log(level, "window of %s judged", self.what, extra=about)


@contextmanager
def account_of(due: Due, what: str) -> Iterator[Account]:
    """Judge a window of events or outcomes as a span."""
    about = {
        "driftline.model": due.key[0],
        "driftline.version": due.key[1],
        "driftline.window": due.shape,
        "driftline.start": write_instant(due.start_ms) or "",
    }
    with span(f"judge window of {what}", about) as made:
        yield Account(due, what, made)
