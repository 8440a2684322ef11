"""Runs a backtest: surveys the table, learns references, judges every window, and keeps what follows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from alerting.finding import Kind, WindowObservation
from monitor.backtest.history import History, labels_of_events
from monitor.backtest.incidents import Incidents
from monitor.backtest.judges import EventJudge, Judged, OutcomeJudge
from monitor.backtest.plan import Job, OutcomeJob, Sharing, plan
from monitor.backtest.references import NothingToJudge
from monitor.backtest.report import Backtest
from monitor.backtest.survey import Survey, fallback_model, opener
from monitor.backtest.unreferenced import RuledWindow, ruled_windows
from monitor.backtest.weeks import Weeks
from monitor.backtest.windows import windows_of
from monitor.config import Configuration
from monitor.judging.contracts import graded
from monitor.judging.judgements import by_kind
from monitor.performance.outcomes import by_kind as outcomes_by_kind
from schemas.contract import Contract
from schemas.verdict import Verdict

if TYPE_CHECKING:
    from monitor.backtest.survey import TableLike

Progress = Callable[[int, int], None]


def backtest(
    events: TableLike,
    configuration: Configuration,
    *,
    labels: TableLike | None = None,
    model: str | None = None,
    progress: Progress | None = None,
) -> Backtest:
    """Judge a table of past events as the service would have judged them.

    Parameters
    ----------
    events : DataFrame, Table, or path of a CSV or Parquet file
        One row an event, in any order; needs ``timestamp``. Each (model, version) is judged on its own. With
        ``prediction`` and ``label`` outcomes are judged too, ``label_timestamp`` says when labels were told.
    configuration : Configuration
        Its Kafka, database and receivers are not touched.
    labels : DataFrame, Table, or path, optional
        ``event_id``, ``label`` and perhaps ``label_timestamp``, in place of a column ``label`` of the events.
        Of several labels of an event the latest that was known counts, of equally late ones the first.
    model : str, optional
        Judge this model only. For a table without a column ``model``: what its rows are of; default: the only
        entry of ``models``.
    progress : callable, optional
        Called with the number of windows judged and that of all windows.

    Raises
    ------
    UsageError
        If a table cannot be read, or has no row that can be judged.
    UnusableReference
        If the configured reference file makes no reference.

    Notes
    -----
    The stated budget is shared equally by the model versions of the table that have a reference by then. Rows
    are taken as they are: late events count where they belong, and repeated event ids are not looked for. Of
    the values of a segment, those that are told apart in outcomes are the first that the table has.

    Guarantees
    ----------
    Memory grows with the number of windows up to `monitor.backtest.windows.MOST_COUNTS` counts, not with the
    number of rows; a frame and a table of labels are held in memory.
    """
    opened = opener(events)
    first = opened(configuration.defaults)
    survey = Survey.of(first, configuration, fallback_model(first, configuration, model))
    told = labels_of_events(first, None if labels is None else opener(labels)(configuration.defaults))
    wanted = [key for key in sorted(survey.slices) if model is None or key[0] == model]
    if not wanted:
        there = ", ".join(sorted({key[0] for key in survey.slices})[:10]) or "no rows at all"
        msg = f"has no rows of model {model!r} (there are: {there})" if survey.slices else "has no rows"
        raise first.wrong(msg)
    jobs, skipped = [], []
    for key in wanted:
        settings = configuration.for_model(key[0])
        history = History(opened(settings), key, settings, told)
        try:
            job, reason = plan(history, survey.slices[key], survey.newest_ms, configuration.folder)
        except NothingToJudge as error:
            skipped.append(f"model {key[0]!r} version {key[1]!r}: {error}")
            continue
        jobs.append(job)
        if reason is not None:
            skipped.append(f"outcomes of model {key[0]!r} version {key[1]!r}: {reason}")
    if not jobs:
        raise first.wrong("; ".join(skipped))
    run = _Run(configuration, Sharing.of(survey, configuration), jobs, progress or silent)
    return run.finish(tuple(skipped))


class _Run:
    """Judges what is planned, one model version after the other.

    Parameters
    ----------
    configuration : Configuration
    sharing : Sharing
    jobs : sequence of Job
    progress : callable
    """

    def __init__(
        self, configuration: Configuration, sharing: Sharing, jobs: Sequence[Job], progress: Progress
    ) -> None:
        self._configuration, self._sharing, self._jobs = configuration, sharing, jobs
        self._progress, self._total = progress, sum(len(job.starts) for job in jobs)
        self._incidents, self._weeks = Incidents(configuration), Weeks(configuration)
        self._results = self._done = 0
        self._spent: list[float] = []
        is_configured = any(stream.kind == "labels" for stream in configuration.streams)
        has_labels = is_configured or any(job.history.labels is not None for job in jobs)
        self._of_outcomes = False if has_labels else None

    def finish(self, skipped: tuple[str, ...]) -> Backtest:
        """Judge all windows, and say what was found."""
        jobs = self._jobs
        self._progress(0, self._total)
        for job in jobs:
            self._judge(job)
        self._incidents.play()
        from_ms = min(int(job.starts[0]) for job in jobs)
        to_ms = max(int(job.starts[-1]) + job.spec.length_ms for job in jobs)
        return Backtest(
            models=tuple(dict.fromkeys(job.history.key[0] for job in jobs)),
            windows=self._total,
            results=self._results,
            from_ms=from_ms,
            to_ms=to_ms,
            allowed=self._configuration.alerts.budget.expected_in(to_ms - from_ms),
            spent=math.fsum(self._spent),
            alerts=self._incidents.alerts,
            incidents=self._incidents.incidents,
            deliveries=self._incidents.deliveries,
            skipped=skipped,
            digests=self._weeks.digests(),
            retraining=self._incidents.retraining,
        )

    def _judge(self, job: Job) -> None:
        events = EventJudge(job, self._configuration, self._sharing, of_outcomes=self._of_outcomes)
        mine, outcomes = job.of_outcomes, None
        if mine is not None:
            outcomes = OutcomeJudge(job, mine, self._configuration, self._sharing)
        objective, contract = job.objective(), job.history.settings.build_contract()
        for ruled in ruled_windows(job, contract):
            self._note(ruled.verdicts)
            self._tell(job, ruled, ruled.verdicts, Kind.QUALITY, "", contract)
        for window in windows_of(job, objective):
            judged = events.judge(window)
            self._take_events(job, judged, contract)
            self._weeks.take(job, judged)
            came = None if outcomes is None else outcomes.judge(window)
            if came is not None and mine is not None:
                self._take_outcomes(job, mine, came)
                known_ms = window.end_ms + mine.waited_ms
                self._incidents.labels.note(job.history.key, window.start_ms, known_ms, window.records)
                observed = None if objective is None else objective.observe(window.start_ms)
                if observed is not None:
                    self._incidents.take(observed, mine.waited_ms)
            self._done += 1
            self._progress(self._done, self._total)
        self._weeks.close(job)

    def _take_events(self, job: Job, judged: Judged, contract: Contract) -> None:
        self._note([*judged.verdicts, *judged.ruled])
        kinds = by_kind(judged.verdicts)
        kinds[Kind.QUALITY] = [*judged.ruled, *kinds[Kind.QUALITY]]
        for kind, verdicts in kinds.items():
            self._tell(job, judged, verdicts, kind, job.reference.hash, contract)

    def _take_outcomes(self, job: Job, mine: OutcomeJob, judged: Judged) -> None:
        self._note(judged.verdicts)
        for kind, verdicts in outcomes_by_kind(judged.verdicts).items():
            self._tell(job, judged, verdicts, kind, mine.reference.hash, waited_ms=mine.waited_ms)

    def _note(self, verdicts: Sequence[Verdict]) -> None:
        """Count results, and what they cost."""
        self._results += sum(1 for verdict in verdicts if verdict.n or verdict.m)
        self._spent += [verdict.budget for verdict in verdicts if verdict.budget is not None]

    def _tell(
        self,
        job: Job,
        judged: Judged | RuledWindow,
        verdicts: list[Verdict],
        kind: Kind,
        hash_: str,
        contract: Contract | None = None,
        waited_ms: int = 0,
    ) -> None:
        window = judged.start_ms, judged.end_ms
        seen = WindowObservation.of(*job.history.key, *window, verdicts, reference_hash=hash_, kind=kind)
        self._incidents.take(seen if contract is None else graded(seen, contract), waited_ms)


def silent(_done: int, _total: int) -> None:
    """Tell nobody."""
