"""Judges the windows of a model version and what came of them, one after the other, as the service does."""

from __future__ import annotations

from typing import NamedTuple

from detectors.base import Moment, Step
from detectors.events import judge_events
from detectors.outcome_windows import judge_outcomes
from monitor.backtest.plan import Job, OutcomeJob, Sharing
from monitor.backtest.windows import Window
from monitor.config import Configuration
from monitor.judging.budget import event_budget
from monitor.judging.contracts import judge_contract
from monitor.performance.outcomes import outcome_budget, wait_ms
from schemas.verdict import Verdict, without_alarms
from schemas.window import WindowSpec


class Judged(NamedTuple):
    """A judged window.

    `state` is that of the detector afterwards, None if it did not take the window in; `ruled` says what the
    contract does.
    """

    start_ms: int
    end_ms: int
    verdicts: list[Verdict]
    state: bytes | None
    ruled: tuple[Verdict, ...] = ()


class EventJudge:
    """Judges the events of windows.

    Parameters
    ----------
    job : Job
    configuration : Configuration
    sharing : Sharing
    of_outcomes : bool or None
        False: a part of the budget is for outcomes, see `monitor.judging.budget`; None: all is for events.
    """

    def __init__(
        self, job: Job, configuration: Configuration, sharing: Sharing, *, of_outcomes: bool | None
    ) -> None:
        self._job, self._alerts, self._sharing = job, configuration.alerts, sharing
        self._of_outcomes = of_outcomes
        self._detector = job.history.settings.build_detector()
        self._contract = job.history.settings.build_contract()
        self._evidence = _Evidence(job.spec)

    def judge(self, window: Window) -> Judged:
        """Judge the next window."""
        is_step = self._job.spec.is_apart(window.start_ms)
        budget = event_budget(
            self._alerts,
            self._job.spec.length_ms,
            self._sharing.at(window.end_ms) if is_step else 0,
            self._detector,
            self._job.reference,
            of_outcomes=self._of_outcomes,
        )
        found = judge_events(
            self._detector,
            self._job.reference,
            window.facts,
            window.sample,
            self._evidence.state,
            start_ms=window.start_ms,
            end_ms=window.end_ms,
            budget=budget,
        )
        judged = self._evidence.after(window, found)
        return judged._replace(ruled=tuple(judge_contract(self._contract, window.ruled)))


class OutcomeJudge:
    """Judges what came of the predictions of windows; early warning, which alerts nobody, is left out.

    Parameters
    ----------
    job : Job
    mine : OutcomeJob
    configuration : Configuration
    sharing : Sharing
    """

    def __init__(self, job: Job, mine: OutcomeJob, configuration: Configuration, sharing: Sharing) -> None:
        self._mine, self._alerts, self._sharing = mine, configuration.alerts, sharing
        self._settings, self._spec = job.history.settings, job.spec
        self._wait_ms = wait_ms(self._settings)
        self._detector = self._settings.build_detector()
        self._rules = self._settings.fairness_rules()
        self._evidence = _Evidence(job.spec)

    def judge(self, window: Window) -> Judged | None:
        """Judge the next window; None if nothing was predicted in it, or its outcomes are not due."""
        if not len(window.records) or not self._mine.is_due(window.start_ms, window.end_ms, self._wait_ms):
            return None
        reference = self._mine.reference
        is_step = self._spec.is_apart(window.start_ms)
        models = self._sharing.at(window.end_ms + self._wait_ms) if is_step else 0
        budget = outcome_budget(
            self._alerts, self._settings, self._detector, reference, self._spec.length_ms, models
        )
        moment = Moment(window.start_ms, window.end_ms, budget)
        found = judge_outcomes(
            self._detector, reference, window.records, self._evidence.state, moment, fairness=self._rules
        )
        return self._evidence.after(window, found)


class _Evidence:
    """State of a detector from window to window: those that overlap the one before add nothing to it."""

    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        self.state = b""

    def after(self, window: Window, found: Step) -> Judged:
        """Take a window in; only one that is apart may raise an alarm of what is collected."""
        if self._spec.is_apart(window.start_ms) or not found.state:
            self.state = found.state
            return Judged(window.start_ms, window.end_ms, found.verdicts, found.state)
        return Judged(window.start_ms, window.end_ms, without_alarms(found.verdicts), None)
