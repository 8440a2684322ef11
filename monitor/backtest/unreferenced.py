"""Windows from before the reference, which only the contract can judge, as the service does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from detectors.prepared import Prepared
from detectors.ruled import RuleCounts
from monitor.backtest.plan import Job
from monitor.judging.contracts import judge_contract
from monitor.references.lifecycle import Span
from schemas.contract import Contract
from schemas.verdict import Verdict


class RuledWindow(NamedTuple):
    """A window, and what the contract says of it."""

    start_ms: int
    end_ms: int
    verdicts: list[Verdict]


def ruled_windows(job: Job, contract: Contract) -> Iterator[RuledWindow]:
    """Judge the windows before the reference of a model version, in order of time."""
    spec, starts = job.spec, job.unreferenced.tolist()
    if not starts:
        return
    panes: dict[int, RuleCounts] = {}
    for batch in job.history.batches(Span(starts[0], starts[-1] + spec.length_ms)):
        prepared = Prepared(batch, None, spec.every_ms, contract)
        for section in prepared.sections:
            new = RuleCounts.of_section(prepared, section, contract)
            known = panes.get(section.slice_ms)
            panes[section.slice_ms] = new if known is None else RuleCounts.sum((known, new))
    for start in starts:
        end = start + spec.length_ms
        counts = RuleCounts.sum(panes[at] for at in range(start, end, spec.every_ms) if at in panes)
        yield RuledWindow(start, end, judge_contract(contract, counts))
