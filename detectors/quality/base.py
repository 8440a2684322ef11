"""What a watch of data quality is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from detectors.base import Moment, Step
from detectors.quality.facts import Example, Facts
from detectors.reference import Reference
from schemas.verdict import QUALITY_PREFIX


class Watch(ABC):
    """One way in which events go wrong. A subclass in a file of this package is found by the catalog.

    Attributes
    ----------
    name : str
        Unique over all watches.
    formula : str
        What is compared with what, in a line, for ``driftline explain``.
    by_segment : bool
        Whether segments are judged too, or all rows only.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    by_segment: ClassVar[bool] = True

    @property
    def detector(self) -> str:
        """Name that verdicts bear."""
        return f"{QUALITY_PREFIX}{self.name}"

    @abstractmethod
    def columns(self, reference: Reference) -> tuple[str, ...]:
        """Columns that can be watched against a reference, in a fixed order."""

    @abstractmethod
    def step(self, reference: Reference, facts: Facts, state: bytes, moment: Moment) -> Step:
        """Judge the next window of a series.

        Parameters
        ----------
        reference : Reference
        facts : Facts
            Of the window.
        state : bytes
            What the step before returned; empty for the first window after a new reference.
        moment : Moment
            Its budget is ``[segments, columns]``; ``[1, columns]`` where segments are not judged.

        Returns
        -------
        Step
            A verdict in the lane ``quality`` for each segment and column, with `detector` as its detector and
            its budget filled in.

        Guarantees
        ----------
        The verdicts and the new state depend on the arguments alone. All numbers are finite. The expected
        number of false alarms up to any time is at most the sum of the budgets.
        """

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Example, ...]:
        """Situations for the suite; at least one."""
