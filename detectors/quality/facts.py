"""What watches of data quality look at in a window."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from detectors.arrivals import Arrivals
from detectors.binning import Binning, NumericBins
from detectors.prepared import Prepared, Section
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.sample import Sample
from detectors.tensor import FloatArray, IntArray
from schemas.batch import MISSING, OK
from schemas.column import Kind


@dataclass(frozen=True)
class Facts:
    """What is known of the rows of a window, or of those of a reference.

    Parameters
    ----------
    counts : int64 array [groups, bins]
        On the bins of the reference.
    lowest, highest : float64 array [columns]
        Smallest and largest value of each numeric column of the reference; inf and -inf where there is none.
    unknown : frozenset of str
        Columns with values that the reference does not know.
    arrivals : Arrivals
        How the rows arrived.
    sample : Sample
        Some of the rows; empty where they are not known.
    is_whole : bool
        All of the window is known: not so of the first one that a version sends events in, nor of the last
        one of a table, of which rows may be missing.
    """

    counts: IntArray
    lowest: FloatArray
    highest: FloatArray
    unknown: frozenset[str] = frozenset()
    arrivals: Arrivals = field(default_factory=Arrivals)
    sample: Sample = field(default_factory=lambda: Sample(0))
    is_whole: bool = True

    @classmethod
    def nothing(cls, binning: Binning) -> Facts:
        """Know of no rows."""
        none = np.full(len(binning.columns), np.inf)
        return cls(np.zeros((len(binning.groups), int(binning.offsets[-1])), np.int64), none, -none)

    @classmethod
    def of(cls, profile: Profile, sample: Sample | None = None) -> Facts:
        """Take from a profile on the bins of the reference what watches look at.

        Parameters
        ----------
        profile : Profile
        sample : Sample, optional
            Of its rows; default: its own.
        """
        binning = profile.binning
        if binning is None:
            return cls(profile.counts, np.zeros(0), np.zeros(0))
        new = cls.nothing(binning)
        unknown = set()
        for name, summary in profile.summaries.items():
            at = binning.index.get(name)
            if at is None:
                if summary.ok + summary.invalid:
                    unknown.add(name)
            elif summary.spec.kind is Kind.NUMERIC and summary.ok:
                new.lowest[at], new.highest[at] = summary.lowest, summary.highest
        return replace(
            new,
            counts=profile.counts,
            unknown=frozenset(unknown),
            arrivals=profile.arrivals,
            sample=profile.sample if sample is None else sample,
        )

    @classmethod
    def of_section(cls, prepared: Prepared, section: Section, binning: Binning) -> Facts:
        """Take the same from rows that were prepared with the bins of the reference; but for a sample."""
        new = cls.nothing(binning)
        rows, batch = slice(section.start, section.stop), prepared.batch
        unknown = set()
        for spec, values, status in zip(batch.numeric, batch.numbers, batch.status, strict=True):
            at = binning.index.get(spec.name)
            if at is None:
                if (status[rows] != MISSING).any():
                    unknown.add(spec.name)
            elif isinstance(binning.bins[at], NumericBins):
                there = values[rows][status[rows] == OK]
                if len(there):
                    new.lowest[at], new.highest[at] = there.min(), there.max()
        for i, spec in enumerate(batch.categorical):
            if spec.name not in binning.index and (prepared.category_status(i, section) != MISSING).any():
                unknown.add(spec.name)
        for spec, status in batch.vectors:
            if spec.name not in binning.index and (status[rows] != MISSING).any():
                unknown.add(spec.name)
        return replace(new, counts=prepared.counts(section), unknown=frozenset(unknown))

    def plus(self, other: Facts) -> Facts:
        """Add those of other rows, but for the sample."""
        return replace(
            self,
            counts=self.counts + other.counts,
            lowest=np.minimum(self.lowest, other.lowest),
            highest=np.maximum(self.highest, other.highest),
            unknown=self.unknown | other.unknown,
        )


@dataclass(frozen=True)
class Example:
    """A situation in which a watch promises something; the suite holds it to that.

    Parameters
    ----------
    reference : Reference
    null : tuple of Facts
        Windows in which nothing is wrong, one after the other.
    shifted : tuple of Facts
        Windows in which `column` is wrong from the first on.
    column : str
        Column of the finding, in the segment of all rows.
    delay : int
        Windows, counted from 1, within which it must have been found at a budget of 1e-4 a window.
    """

    reference: Reference
    null: tuple[Facts, ...]
    shifted: tuple[Facts, ...]
    column: str
    delay: int
