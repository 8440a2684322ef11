"""The windows of a model version, counted and with their outcomes, several in each pass over the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from detectors.outcomes import RECORD, Records
from detectors.prepared import Prepared
from detectors.quality.facts import Facts
from detectors.ruled import RuleCounts
from detectors.sample import Sample
from monitor.backtest.objective import ObjectiveWatch
from monitor.backtest.outcomes import WindowOutcomes
from monitor.backtest.plan import Job
from monitor.frames.samples import TableSamples
from monitor.references.lifecycle import Span

MOST_COUNTS = 20_000_000  # kept at a time; more take further passes over the table
_COUNTS_OF_A_RECORD = -(-RECORD.itemsize // 8)
_NO_RECORDS: Records = np.zeros(0, RECORD)


class Window(NamedTuple):
    """What is known of one window.

    Parameters
    ----------
    start_ms, end_ms : int
    facts : Facts
        All rows.
    sample : Sample
        Some of them.
    records : records
        Outcomes, as they are known when these are judged.
    ruled : RuleCounts
        What the rows break of the contract.
    """

    start_ms: int
    end_ms: int
    facts: Facts
    sample: Sample
    records: Records
    ruled: RuleCounts


def windows_of(job: Job, objective: ObjectiveWatch | None = None) -> Iterator[Window]:
    """Read the windows of a model version, in order of time.

    Parameters
    ----------
    job : Job
    objective : ObjectiveWatch, optional
        Is told of outcomes before the windows that know of them.
    """
    spec = job.spec
    if objective is not None:
        objective.begin(int(job.starts[0]))
    together = max(1, MOST_COUNTS // _size(job) - spec.length_ms // spec.every_ms)
    for at in range(0, len(job.starts), together):
        starts = job.starts[at : at + together].tolist()
        span = Span(starts[0], starts[-1] + spec.length_ms)
        one_pass = _Pass(job, objective)
        one_pass.read(span)
        picked = one_pass.samples.windows(np.array(starts), spec.length_ms)
        if objective is not None:
            objective.read_until(span.to_ms)
        for start in starts:
            yield one_pass.window(start, picked[start])


def _size(job: Job) -> int:
    """Memory of a window, in counts."""
    binning = job.reference.binning
    size = len(binning.groups) * int(binning.offsets[-1])
    size = max(size, job.sampled_rows * len(binning.columns))
    if job.of_outcomes is not None:
        size = max(size, job.of_outcomes.most_records * _COUNTS_OF_A_RECORD)
    return size


class _Pass:
    """One pass over the table: what lies in a span of it."""

    def __init__(self, job: Job, objective: ObjectiveWatch | None) -> None:
        settings = job.history.settings
        self._job, self._objective = job, objective
        self.samples = TableSamples(settings.slice_ms, settings.slice_sample_rows, job.spec.every_ms)
        self._contract = settings.build_contract()
        self.panes: dict[int, Facts] = {}
        self._ruled: dict[int, RuleCounts] = {}
        self.outcomes = None if job.of_outcomes is None else WindowOutcomes(job.spec)

    def read(self, span: Span) -> None:
        """Count all batches."""
        of_outcomes = self._job.of_outcomes
        batches = self._job.history.batches(span)
        for batch in batches:
            self.samples.add(batch)
            binning, every_ms = self._job.reference.binning, self._job.spec.every_ms
            self._count(Prepared(batch, binning, every_ms, self._contract))
            if self.outcomes is not None and of_outcomes is not None:
                news = of_outcomes.outcomes.of(batch, batches.part)
                self.outcomes.add(news)
                if self._objective is not None:
                    self._objective.add(news)

    def window(self, start_ms: int, sample: Sample) -> Window:
        """Put a window of the span together."""
        end_ms = start_ms + self._job.spec.length_ms
        facts, panes = (
            Facts.nothing(self._job.reference.binning),
            range(start_ms, end_ms, self._job.spec.every_ms),
        )
        for pane in panes:
            if (known := self.panes.get(pane)) is not None:
                facts = facts.plus(known)
        records = _NO_RECORDS if self.outcomes is None else self.outcomes.of(start_ms)
        ruled = RuleCounts.sum(self._ruled[pane] for pane in panes if pane in self._ruled)
        facts = replace(facts, sample=sample, is_whole=self._job.is_whole(start_ms, end_ms))
        return Window(start_ms, end_ms, facts, sample, records, ruled)

    def _count(self, prepared: Prepared) -> None:
        for section in prepared.sections:
            new = Facts.of_section(prepared, section, self._job.reference.binning)
            known = self.panes.get(section.slice_ms)
            self.panes[section.slice_ms] = new if known is None else known.plus(new)
            broken = RuleCounts.of_section(prepared, section, self._contract)
            before = self._ruled.get(section.slice_ms)
            self._ruled[section.slice_ms] = broken if before is None else RuleCounts.sum((before, broken))
