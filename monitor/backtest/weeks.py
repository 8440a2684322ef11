"""Evidence of whole weeks of all model versions, for their digests."""

from __future__ import annotations

from typing import Any

from alerting.digest import Digest
from detectors.digest import week_of
from monitor.backtest.judges import Judged
from monitor.backtest.plan import Job
from monitor.config import Configuration
from monitor.judging.digests import digest_of
from monitor.judging.weeks import rows_of, words
from schemas.verdict import Verdict


class Weeks:
    """Takes in the judged events of model versions, one after the other.

    Parameters
    ----------
    configuration : Configuration
        Which part of what is listed may be false.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._level = configuration.alerts.digest.level
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._latest: Judged | None = None
        self._most: dict[tuple[str, str], Verdict] = {}

    def take(self, job: Job, window: Judged) -> None:
        """Take in the next window of a model version."""
        if not window.state:
            return
        if self._latest is not None and week_of(self._latest.start_ms) != week_of(window.start_ms):
            self.close(job)
        self._latest = window
        for verdict in window.verdicts:
            stream = verdict.column, verdict.segment
            if _debiased(verdict) > _debiased(self._most.get(stream)):
                self._most[stream] = verdict

    def close(self, job: Job) -> None:
        """Keep what there is of the week of the latest window; no more of it is to come."""
        state = None if self._latest is None else self._latest.state
        for row in rows_of(job.history.key, state, job.reference.tensor, self._words):
            self._rows.setdefault(row["week_ms"], []).append(row)
        self._latest, self._most = None, {}

    def digests(self) -> tuple[Digest, ...]:
        """What would have been listed, week by week."""
        return tuple(
            digest_of(week_ms, self._rows[week_ms], self._level, is_finished=True)
            for week_ms in sorted(self._rows)
        )

    def _words(self, _start_ms: int, column: str, segment: str) -> str:
        most = self._most.get((column, segment))
        return "" if most is None else words(column, segment, most.moved)


def _debiased(verdict: Verdict | None) -> float:
    """De-biased index of a verdict; below 0 without one."""
    if verdict is None:
        return -1.0
    return -1.0 if verdict.effects is None else verdict.effects.psi_debiased
