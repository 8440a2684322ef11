"""The objective of a model, window by window: what the labels that were known by then say of its metric."""

from __future__ import annotations

import numpy as np

from alerting.finding import WindowObservation
from detectors.outcomes import EVERYTHING, RECORD, Records, joined, negated
from monitor.backtest.history import History
from monitor.backtest.outcomes import News, Outcomes, Sum
from monitor.performance.objectives import objective_of, observation_of, ranges_of
from monitor.references.lifecycle import Span


class RecentOutcomes:
    """Outcomes of all rows over a range up to the end of a window, which moves on.

    Parameters
    ----------
    length_ms : int
        Of the range; slices that begin before it are no longer in it.
    every_ms : int
        How often a window ends.
    """

    def __init__(self, length_ms: int, every_ms: int) -> None:
        self._length, self._every = length_ms, every_ms
        self._changes = Sum()
        self._now: Records = np.zeros(0, RECORD)

    def add(self, news: News) -> None:
        """Take in what becomes known, and note when it leaves the range."""
        gone_ms = (news.slice_ms + self._length) // self._every * self._every + self._every
        at = np.flatnonzero((news.records["segment"] == EVERYTHING) & (news.known_ms < gone_ms))
        come = news.records[at]
        self._changes.add(
            np.concatenate((news.known_ms[at], gone_ms[at])), np.concatenate((come, negated(come)))
        )

    def at(self, end_ms: int) -> Records:
        """Outcomes of the range up to the end of a window; not before the one that was asked for last."""
        self._now = joined([self._now.tobytes(), self._changes.take(end_ms).tobytes()])
        return self._now


class ObjectiveWatch:
    """Measures the objective of one model version.

    Parameters
    ----------
    history : History
        Of a model with an objective.
    outcomes : Outcomes
    """

    def __init__(self, history: History, outcomes: Outcomes) -> None:
        options, window = history.settings.performance, history.settings.windows[0]
        if options is None:
            msg = "there is no objective"
            raise ValueError(msg)
        self._history, self._outcomes = history, outcomes
        lengths = ranges_of(options, window.length_ms)
        self._window_ms, self._longest_ms = window.length_ms, max(lengths)
        self._long, self._short = (RecentOutcomes(length_ms, window.every_ms) for length_ms in lengths)
        self._read_ms = 0

    def begin(self, first_ms: int) -> None:
        """Take in what lies before the first window that is judged."""
        for news in self._outcomes.between(Span(first_ms - self._longest_ms, first_ms)):
            self.add(news)
        self.read_until(first_ms)

    def add(self, news: News) -> None:
        """Take in what becomes known; of the time that was read before, nothing is new."""
        at = np.flatnonzero(news.slice_ms >= self._read_ms)
        new = News(news.slice_ms[at], news.known_ms[at], news.records[at])
        self._long.add(new)
        self._short.add(new)

    def read_until(self, to_ms: int) -> None:
        """Note that everything before an instant was taken in."""
        self._read_ms = to_ms

    def observe(self, start_ms: int) -> WindowObservation | None:
        """Say how the metric stands after a window; None where it is not defined."""
        end_ms = start_ms + self._window_ms
        long, short = self._long.at(end_ms), self._short.at(end_ms)
        found = objective_of(self._history.settings, long, short, self._outcomes.terms.texts)
        return None if found is None else observation_of(found, self._history.key, start_ms, end_ms)
