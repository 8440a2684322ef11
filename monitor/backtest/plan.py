"""What a backtest has to do: which windows of which model versions are judged, and against what."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors.outcome_reference import OutcomeReference
from detectors.reference import Reference
from detectors.sample import MOST_ROWS
from detectors.tensor import IntArray
from monitor.backtest.history import History
from monitor.backtest.objective import ObjectiveWatch
from monitor.backtest.outcomes import Outcomes
from monitor.backtest.references import NothingToJudge, event_reference, outcome_reference
from monitor.backtest.survey import Slices, Survey
from monitor.config import Configuration
from monitor.config.values import write_instant
from monitor.performance.outcomes import wait_ms
from monitor.references.lifecycle import first_stretch
from schemas.errors import UnusableReference
from schemas.window import WindowSpec

FOREVER_MS = 1 << 62
RECORDS_OF_A_ROW = 3  # for all rows and for each of its segments: what was predicted, and what of it was true


@dataclass(frozen=True)
class OutcomeJob:
    """What is needed to judge the outcomes of a model version.

    Parameters
    ----------
    outcomes : Outcomes
    reference : OutcomeReference
    until_ms : int
        Time of the newest event or label: no window is judged whose labels are waited for beyond it. Without
        times of labels, all have been there in time.
    most_records : int
        Of a window, about.
    waited_ms : int
        How long after the end of a window its outcomes are judged; 0 without times of labels.
    """

    outcomes: Outcomes
    reference: OutcomeReference
    until_ms: int
    most_records: int
    waited_ms: int

    def is_due(self, start_ms: int, end_ms: int, waited_ms: int) -> bool:
        """Whether a window is judged."""
        return start_ms >= self.reference.judged_from_ms and end_ms + waited_ms <= self.until_ms


@dataclass(frozen=True)
class Job:
    """A model version with its references and the windows to judge, in order.

    Parameters
    ----------
    history : History
    reference : Reference
    starts : IntArray
        First instants of the windows.
    sampled_rows : int
        Of a window, at most.
    of_outcomes : OutcomeJob or None
        None where there are no labels, or too few.
    unreferenced : IntArray
        First instants of the windows before the reference that are judged by the contract alone.
    newest_ms : int
        Time of the newest event of the table.
    oldest_ms : int
        Start of the first slice of the version.
    """

    history: History
    reference: Reference
    starts: IntArray
    sampled_rows: int
    of_outcomes: OutcomeJob | None
    unreferenced: IntArray
    newest_ms: int
    oldest_ms: int

    @property
    def spec(self) -> WindowSpec:
        """Shape of the windows."""
        return self.history.settings.windows[0]

    def is_whole(self, start_ms: int, end_ms: int) -> bool:
        """Whether the table has all of a window: the first and the last one may be cut off."""
        has_end = end_ms <= self.newest_ms + self.history.settings.slice_ms
        return has_end and self.oldest_ms <= start_ms

    def objective(self) -> ObjectiveWatch | None:
        """Watch the objective of the model; None if there is none, or there are no labels."""
        if self.of_outcomes is None or self.history.settings.performance is None:
            return None
        return ObjectiveWatch(self.history, self.of_outcomes.outcomes)


def plan(
    history: History, slices: Slices, newest_ms: int, folder: Path
) -> tuple[Job, UnusableReference | None]:
    """Learn the references of a model version, and find out which windows are to be judged.

    Parameters
    ----------
    history : History
    slices : Slices
        Where it has rows.
    newest_ms : int
        Time of the newest event of the table.
    folder : Path
        Where the path of a configured file starts.

    Returns
    -------
    Job, UnusableReference or None
        And why its outcomes cannot be judged though there are labels.

    Raises
    ------
    NothingToJudge
        If there are too few rows for a reference, or none after it.
    UsageError, UnusableReference
        If the configured file makes no reference.
    """
    settings = history.settings
    spec = settings.windows[0]
    reference, first_ms = event_reference(history, slices, folder)
    starts = window_starts(slices.starts, spec, first_ms)
    if not len(starts):
        until = write_instant(reference.to_ms)
        msg = f"there are no rows after the reference, which ends at {until} (shorten reference.first)"
        raise NothingToJudge(msg)
    in_panes = np.bincount((slices.starts - slices.starts[0]) // spec.length_ms, slices.rows)
    most_rows = int(in_panes.max())
    sampled = min(MOST_ROWS, most_rows) if settings.sample_per_minute else 0
    of_outcomes, reason = None, None
    try:
        of_outcomes = _outcome_job(history, reference, newest_ms, most_rows, folder)
    except UnusableReference as error:
        reason = error
    is_ruled = settings.reference.file is None and settings.build_contract().is_agreed
    before = window_starts(slices.starts, spec, -FOREVER_MS) if is_ruled else np.zeros(0, np.int64)
    unreferenced, oldest_ms = before[before < first_ms], int(slices.starts[0])
    job = Job(history, reference, starts, sampled, of_outcomes, unreferenced, newest_ms, oldest_ms)
    return job, reason


def _outcome_job(
    history: History, reference: Reference, newest_ms: int, most_rows: int, folder: Path
) -> OutcomeJob | None:
    labels = history.labels
    if labels is None:
        return None
    outcomes = Outcomes(history)
    learned = outcome_reference(history, outcomes, reference, folder)
    until_ms = FOREVER_MS if labels.newest_ms is None else max(newest_ms, labels.newest_ms)
    of_rows = most_rows * RECORDS_OF_A_ROW * (1 + len(history.settings.segments))
    usual = max(len(records) for records in learned.windows)
    waited_ms = 0 if labels.newest_ms is None else wait_ms(history.settings)
    return OutcomeJob(outcomes, learned, until_ms, min(usual, of_rows), waited_ms)


def window_starts(slices: IntArray, spec: WindowSpec, first_ms: int) -> IntArray:
    """Starts of the windows from `first_ms` on that hold a slice with rows, in order.

    Examples
    --------
    >>> window_starts(np.array([0, 60_000, 300_000]), WindowSpec.parse("2m/1m"), 0).tolist()
    [0, 60000, 240000, 300000]
    """
    newest = np.unique(slices // spec.every_ms * spec.every_ms)
    back = np.arange(0, spec.length_ms, spec.every_ms)
    starts = np.unique((newest[:, None] - back).ravel())
    return np.asarray(starts[starts >= first_ms])


@dataclass(frozen=True)
class Sharing:
    """When each model version of the table got its reference, in order: from then on it shares the budget."""

    since_ms: tuple[int, ...]

    @classmethod
    def of(cls, survey: Survey, configuration: Configuration) -> Sharing:
        """Work it out for all model versions of a table, those that are not judged too."""
        found = []
        for key, slices in survey.slices.items():
            settings = configuration.for_model(key[0])
            if settings.reference.file is not None:
                found.append(int(slices.starts[0]))
            elif (span := first_stretch(slices.starts, slices.rows, settings)) is not None:
                found.append(span.to_ms)
        return cls(tuple(sorted(found)))

    def at(self, at_ms: int) -> int:
        """Model versions that share the budget at an instant of event time."""
        return max(1, bisect_right(self.since_ms, at_ms))
