"""Whether an incident may start retraining: evidence, labels, cooldown, budget, one run, approval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from alerting.retraining.options import TargetOptions
from schemas.duration import format_duration
from schemas.verdict import Lane

WEEK_MS = 7 * 86_400_000


class Standing(StrEnum):
    """How far a request to retrain is."""

    REFUSED = "refused"
    PROPOSED = "proposed"
    DUE = "due"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    REJECTED = "rejected"
    DRY_RUN = "dry_run"

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self not in IN_FLIGHT and self is not Standing.REFUSED

    @property
    def has_cost(self) -> bool:
        """Whether it counts for the cooldown and the budget: it was started, or will be."""
        return self in (*IN_FLIGHT, Standing.SUCCEEDED, Standing.FAILED, Standing.CANCELLED, Standing.LOST)


IN_FLIGHT = (Standing.PROPOSED, Standing.DUE, Standing.STARTED)


@dataclass(frozen=True)
class Earlier:
    """An earlier request of the same model to the same target."""

    standing: Standing
    created_at_ms: int


@dataclass(frozen=True)
class Case:
    """What speaks for and against.

    Parameters
    ----------
    lanes : tuple of Lane
        Lanes of the findings.
    labels : int
        Labels that have come in the range to train on.
    earlier : tuple of Earlier
        Requests of the last week or the cooldown, whichever is longer, except the one at hand.
    now_ms : int
        Wall clock.
    by_person : bool
        A person asks for it: evidence and approval are theirs.
    """

    lanes: tuple[Lane, ...]
    labels: int
    earlier: tuple[Earlier, ...]
    now_ms: int
    by_person: bool = False


@dataclass(frozen=True)
class Ruling:
    """What is done with a request, and why."""

    standing: Standing
    reason: str


def rule(options: TargetOptions, case: Case) -> Ruling:
    """Decide whether a run is started, waits for a person, is only recorded, or is not started.

    Parameters
    ----------
    options : TargetOptions
        Its guards.
    case : Case

    Examples
    --------
    >>> options = TargetOptions(type="airflow", min_labels=500)
    >>> rule(options, Case((Lane.PERFORMANCE,), 120, (), 0)).reason
    '120 of the 500 labels that are asked for have come'
    """
    for found in _objections(options, case):
        return Ruling(Standing.REFUSED, found)
    if options.dry_run:
        return Ruling(Standing.DRY_RUN, "dry run: nothing is started")
    if options.approval == "manual" and not case.by_person:
        return Ruling(Standing.PROPOSED, "waits for a person's approval")
    return Ruling(Standing.DUE, "asked for by a person" if case.by_person else "the evidence is enough")


def horizon_ms(options: TargetOptions) -> int:
    """How far back earlier requests matter, in milliseconds."""
    return max(WEEK_MS, options.cooldown // timedelta(milliseconds=1))


def _objections(options: TargetOptions, case: Case) -> Iterable[str]:
    if not case.by_person and set(options.evidence).isdisjoint(case.lanes):
        allowed, seen = ", ".join(options.evidence), ", ".join(case.lanes) or "none"
        yield f"no finding is of a kind that may start training ({allowed}); there are: {seen}"
    if case.labels < options.min_labels:
        yield f"{case.labels:,} of the {options.min_labels:,} labels that are asked for have come"
    earlier = [one for one in case.earlier if one.standing.has_cost]
    if options.one_in_flight and any(one.standing in IN_FLIGHT for one in earlier):
        yield "an earlier run of the model is still under way"
    if earlier:
        latest_ms = max(one.created_at_ms for one in earlier)
        cooldown_ms = options.cooldown // timedelta(milliseconds=1)
        left_ms = latest_ms + cooldown_ms - case.now_ms
        if left_ms > 0:
            left = format_duration(max(1, left_ms // 60_000) * 60_000)
            yield f"the cooldown of {format_duration(cooldown_ms)} goes on for {left}"
    in_week = sum(one.created_at_ms > case.now_ms - WEEK_MS for one in earlier)
    if in_week >= options.max_per_week:
        yield f"{in_week} runs were started within a week, {options.max_per_week} are allowed"
