"""Watches of what a single window shows: so improbable that the budget allows an alarm at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

from detectors.base import Moment, Step
from detectors.quality.base import Watch
from detectors.quality.facts import Facts
from detectors.quality.latches import Latches
from detectors.quality.telling import told
from detectors.reference import Reference
from detectors.tensor import BoolArray, FloatArray, IntArray


class Look(NamedTuple):
    """What a window shows of each column.

    Parameters
    ----------
    log_probability : FloatArray
        ``[C]``: logarithm of the probability of such a window while nothing is wrong, at most 0.
    is_normal : BoolArray
        ``[C]``: it shows the opposite of what is watched for.
    rows : IntArray
        ``[C]``: rows that were looked at.
    """

    log_probability: FloatArray
    is_normal: BoolArray
    rows: IntArray


class SurpriseWatch(Watch):
    """Raises an alarm when a window is less probable than the budget b.

    Notes
    -----
    With a probability P that is right or too large, P < b happens in a window with a probability of at most
    b: the expected number of false alarms is at most the sum of the budgets. Nothing is collected over
    windows.
    """

    by_segment: ClassVar[bool] = False
    source: ClassVar[str] = "false-alarm budget; a window alone"

    @abstractmethod
    def look(self, reference: Reference, facts: Facts, moment: Moment) -> Look:
        """Say how probable a window is."""

    @abstractmethod
    def words(self, reference: Reference, facts: Facts, column: str, rows: int) -> str:
        """Say what has happened to a column."""

    def step(self, reference: Reference, facts: Facts, state: bytes, moment: Moment) -> Step:
        """Judge the next window."""
        columns = self.columns(reference)
        latches = Latches.from_bytes(state, len(columns), moment.start_ms)
        found = self.look(reference, facts, moment)
        budget = np.where(latches.is_open, 0.0, moment.budget.ravel())
        with np.errstate(divide="ignore"):
            evidence = np.log(budget) - found.log_probability
        verdicts = told(
            self.detector,
            ("",),
            columns,
            latches,
            evidence_log=evidence,
            is_alarm=evidence > 0,
            is_normal=found.is_normal,
            rows=found.rows,
            known=np.full(len(columns), reference.rows),
            budget=budget,
            source=self.source,
            moment=moment,
            explain=lambda i: self.words(reference, facts, columns[i], int(found.rows[i])),
        )
        return Step(verdicts, latches.to_bytes())
