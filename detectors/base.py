"""What a detector is: a frozen set of parameters that judges windows against a reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from detectors.tensor import FloatArray, IntArray, ReferenceCounts
from schemas.verdict import Verdict


@dataclass(frozen=True)
class Example:
    """A situation in which a detector promises something; the suite holds it to that.

    Parameters
    ----------
    parameters : mapping of str to object
        Parameters to build the detector with.
    reference : ReferenceCounts
        What the windows are judged against.
    null : IntArray
        ``[T, S, C, K]``: T windows without drift.
    shifted : IntArray
        ``[T, S, C, K]``: T windows in which `shifted_column` has drifted from the first on.
    shifted_column : str
        Column of the planted shift, found in the segment of all rows.
    false_alarm_rate : float
        Largest share of the judged null (window, segment, column) that may come out as drift.
    delay : int
        Windows, counted from 1, within which the planted shift must have been found.
    """

    parameters: Mapping[str, object]
    reference: ReferenceCounts
    null: IntArray
    shifted: IntArray
    shifted_column: str
    false_alarm_rate: float
    delay: int


@dataclass(frozen=True)
class Moment:
    """Which window is being judged, and what it may cost.

    Parameters
    ----------
    start_ms, end_ms : int
        The window, epoch milliseconds.
    budget : FloatArray
        ``[S, C]``: expected number of false alarms that each stream may cost in this window; fixed before the
        window is looked at.
    """

    start_ms: int
    end_ms: int
    budget: FloatArray


class Step(NamedTuple):
    """What a step found, and the state to go on from."""

    verdicts: list[Verdict]
    state: bytes


class Detector(ABC):
    """One way to decide whether windows have drifted; subclasses are frozen dataclasses of their parameters.

    A subclass in a module of this package is found by `detectors.catalog` and needs no registration. It
    checks the values of its parameters in ``__post_init__`` and raises `schemas.errors.UsageError` with the
    parameter's name and what is allowed.

    Attributes
    ----------
    name : str
        Name in configuration files and results, unique over all detectors.
    formula : str
        What is compared with what, in a line, for ``driftline explain``.
    """

    name: ClassVar[str]
    formula: ClassVar[str] = "the statistic against its threshold (docs/detectors.md)"

    @abstractmethod
    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window.

        Parameters
        ----------
        reference : ReferenceCounts
            Counts of the reference; not changed.
        window : IntArray
            ``[S, C, K]`` counts on the reference's layout; not changed.

        Returns
        -------
        list of Verdict
            One for each segment and column; all columns of the first segment, then those of the second, and
            so on.

        Raises
        ------
        UsageError
            If the window does not lie on the reference's layout.

        Guarantees
        ----------
        The same arguments give the same verdicts; all numbers in a verdict are finite.
        """

    def step(self, reference: ReferenceCounts, window: IntArray, state: bytes, moment: Moment) -> Step:
        """Judge the next window of a series.

        A detector that carries evidence from window to window overrides this; the others judge each window on
        its own and have no state.

        Parameters
        ----------
        reference, window
            As for `judge`.
        state : bytes
            What the step before returned; empty for the first window after a new reference.
        moment : Moment
            Later than that of the step before.

        Guarantees
        ----------
        The verdicts and the new state depend on the arguments alone.
        """
        return Step(self.judge(reference, window), b"")

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Example, ...]:
        """Situations in which the detector promises a false-alarm rate and a delay; at least one."""

    def parameters(self) -> dict[str, Any]:
        """Parameters by name; `detectors.catalog.build` makes an equal detector of them."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]  # every subclass is a dataclass
        return {name: getattr(self, name) for name in names}
