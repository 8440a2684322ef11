"""Computes results once more from what is stored, for as long as somebody who waits for a page is patient."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitor.explain import Explained, Explainer
from monitor.web.context import Context
from schemas.errors import ProfileError, UnusableReference, UsageError

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Verification:
    """What came of it.

    Parameters
    ----------
    checked : sequence of Explained
        One for each result that was computed once more.
    failed : sequence of (int, str)
        Results that could not be, and why.
    left : int
        Results that time was too short for.
    took_s : float
    """

    checked: Sequence[Explained]
    failed: Sequence[tuple[int, str]]
    left: int
    took_s: float

    @property
    def is_identical(self) -> bool:
        """Whether everything that was computed came out the same."""
        return bool(self.checked) and not self.failed and all(one.is_identical for one in self.checked)

    @property
    def different(self) -> list[dict[str, Any]]:
        """Results that came out otherwise, as plain values."""
        return [one.as_dict() for one in self.checked if not one.is_identical]


class Verifier:
    """Recomputes results, for one visitor at a time.

    Parameters
    ----------
    context : Context
    patience_s : float
        After that no further result is begun.
    """

    def __init__(self, context: Context, patience_s: float = PATIENCE_S) -> None:
        self._context, self._patience_s = context, patience_s
        self._lock = threading.Lock()

    def verify(self, result_ids: Sequence[int]) -> Verification:
        """Compute results once more, in their order; the same as ``driftline explain``.

        Raises
        ------
        UsageError
            If it is being done for somebody else now.
        """
        if not self._lock.acquire(blocking=False):
            msg = "results are being recomputed for somebody else at the moment (try again soon)"
            raise UsageError(msg)
        try:
            return self._verified(result_ids)
        finally:
            self._lock.release()

    def _verified(self, result_ids: Sequence[int]) -> Verification:
        context, began_s = self._context, time.monotonic()
        explainer = Explainer(context.configuration, context.engine, context.clock)
        checked: list[Explained] = []
        failed: list[tuple[int, str]] = []
        for done, number in enumerate(result_ids):
            if done and time.monotonic() - began_s > self._patience_s:
                left = len(result_ids) - done
                return Verification(checked, failed, left, time.monotonic() - began_s)
            try:
                checked += explainer.explain(str(number))[1]
            except (ProfileError, UnusableReference, LookupError, UsageError) as error:
                failed.append((number, str(error)))
        return Verification(checked, failed, 0, time.monotonic() - began_s)
