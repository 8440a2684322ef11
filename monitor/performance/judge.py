"""Judges what came of the predictions of a window, once its labels have been waited for.

A window of events is judged when its events are complete; this is the other half, a while later: are more of
the predictions wrong than the reference's were at the same age, do labels look otherwise, or stay away. Like
`monitor.judging.judge` it reads and writes the database only, and each window is judged in one transaction
that begins with a compare-and-set.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from alerting.finding import WindowObservation
from detectors.base import Moment, Step
from detectors.outcome_reference import OutcomeReference, up_to_age
from detectors.outcome_windows import judge_outcomes
from detectors.outcomes import Records
from monitor.clock import Clock
from monitor.config import Configuration, ModelSettings
from monitor.config.per_model import PerModel
from monitor.judging.account import Account, account_of
from monitor.judging.judgements import (
    Due,
    Judged,
    Overtaken,
    Recomputed,
    insert_judgement,
    observe,
    result_rows,
)
from monitor.judging.merging import joined_sources
from monitor.judging.outlooks import Outlook, entry_of, outlook_of, permitted
from monitor.judging.window_rows import is_row_of, must_wait, take
from monitor.performance.estimates import Estimates, replace_values
from monitor.performance.figures import Figures, figures_of
from monitor.performance.objectives import tell_objective
from monitor.performance.outcomes import by_kind, outcome_budget, wait_ms
from monitor.performance.references import OutcomeReferences, in_force
from monitor.performance.tidying import tidy_outcomes
from monitor.performance.versions import Versions
from monitor.profiling import Key
from monitor.store import ledgers
from monitor.store.engine import immediate, reading
from monitor.store.ledgers import OUTCOMES
from monitor.store.queries.outcomes import sources_between, window_outcomes
from monitor.store.queries.times import watermarks
from monitor.store.tables import joined_version, judgement, outcome_window, result
from monitor.telemetry import AlertChanged, Telemetry, WindowJudged
from schemas.duration import format_duration
from schemas.verdict import Decision, Verdict
from schemas.window import WindowSpec

logger = logging.getLogger(__name__)

MOST_WINDOWS = 500  # judged in one sweep
RENEWED_EVERY_S = 60.0  # at most, of a window that was judged
MOST_RENEWED = 100_000  # windows that are remembered


class OutcomeJudge:
    """Judges outcomes that are due.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    telemetry : Telemetry
    stop : threading.Event, optional
        A sweep ends between two windows once it is set.
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        clock: Clock,
        telemetry: Telemetry,
        stop: threading.Event | None = None,
    ) -> None:
        self._stop = stop or threading.Event()
        self._configuration, self._engine = configuration, engine
        self._clock, self._telemetry = clock, telemetry
        self._references = OutcomeReferences(engine, configuration.folder)
        self._estimates = Estimates(configuration, engine, clock)
        self._versions = Versions(configuration, engine, clock)
        self._detector = PerModel(configuration, ModelSettings.build_detector)
        self._early_warning = PerModel(configuration, ModelSettings.build_early_warning)
        self._renewed: dict[tuple[str, str, int], float] = {}
        self._has_labels = any(stream.kind == "labels" for stream in configuration.streams)

    # --- what is due ----------------------------------------------------------------------------------------

    def sweep(self, models: Collection[str] | None = None) -> list[Judged]:
        """Learn references of outcomes and judge windows that are due, of some models or of all.

        Raises
        ------
        Unavailable
            If the database is away; nothing is lost by calling again.
        """
        if not self._has_labels:
            return []
        now_ms = self._clock.now_ms()
        with reading(self._engine) as connection:
            events = watermarks(connection, self._configuration, now_ms, models)
            marks = self._with_labels(connection, events, now_ms)
            keys = [
                (row.model, row.version)
                for row in connection.execute(
                    select(joined_version.c.model, joined_version.c.version).distinct()
                )
                if row.model in events
            ]
        for key in keys:
            settings = self._configuration.for_model(key[0])
            learned = self._references.learn(key, settings, marks.get(key[0]), now_ms)
            if learned is not None:
                logger.info("model %s version %s: reference of %d labels", *key, learned.labels)
        with reading(self._engine) as connection:
            references = {key: self._references.of(connection, key) for key in keys}
            found = self._due(connection, marks, references)
        self._estimates.sweep(events, references)
        for change in self._versions.sweep(marks):
            self._telemetry.emit(change)
        done = []
        for due in found:
            if self._stop.is_set():
                break
            reference = in_force(references[due.key], due.start_ms)
            judged = None if reference is None else self.judge(due, reference)
            if judged is not None:
                done.append(judged)
            tidy_outcomes(self._engine, due.key, due.start_ms, due.end_ms)
        return done

    def _with_labels(self, connection: Connection, events: Mapping[str, int], now_ms: int) -> dict[str, int]:
        """Event time up to which both predictions and labels of each model have come."""
        labels = watermarks(connection, self._configuration, now_ms, list(events), kind="labels")
        return {model: min(mark, labels[model]) for model, mark in events.items() if model in labels}

    def _due(
        self,
        connection: Connection,
        marks: Mapping[str, int],
        references: Mapping[Key, Sequence[OutcomeReference]],
    ) -> list[Due]:
        w = outcome_window.c
        query = (
            select(outcome_window)
            .where(w.touched != w.judged, w.end_ms <= max(marks.values(), default=0))
            .order_by(w.end_ms, w.start_ms.desc(), w.model, w.version)
        )
        due = (row for row in connection.execute(query) if self._is_due(row, marks, references))
        return [self._as_due(row) for row in islice(due, MOST_WINDOWS)]

    def _is_due(
        self, row: Any, marks: Mapping[str, int], references: Mapping[Key, Sequence[OutcomeReference]]
    ) -> bool:
        reference = in_force(references.get((row.model, row.version), ()), row.start_ms)
        if reference is None or row.model not in marks:
            return False
        settings = self._configuration.for_model(row.model)
        rests_until = self._renewed.get((row.model, row.version, row.start_ms), 0.0)
        if row.revision and self._clock.monotonic() < rests_until:
            return False
        is_base = row.window == str(settings.windows[0])
        return bool(is_base and row.end_ms + wait_ms(settings) <= marks[row.model])

    def _as_due(self, row: Any) -> Due:
        suffix = f"+{format_duration(wait_ms(self._configuration.for_model(row.model)))}"
        spec = WindowSpec.parse(row.window)
        return Due(
            (row.model, row.version), spec, row.start_ms, row.touched, row.judged, row.revision, suffix
        )

    # --- one window -----------------------------------------------------------------------------------------

    def judge(self, due: Due, reference: OutcomeReference) -> Judged | None:
        """Judge the outcomes of one window.

        Returns
        -------
        Judged or None
            None if the window changed, or somebody else judged it, since `due` was read, or if nothing that
            counts as evidence has changed: then only the figures are renewed.
        """
        with account_of(due, "outcomes") as account:
            judged = self._judge(due, reference, account)
            account.outcome(judged)
        return judged

    def _judge(self, due: Due, reference: OutcomeReference, account: Account) -> Judged | None:
        with reading(self._engine) as connection:
            if must_wait(connection, outcome_window, due, reference.judged_from_ms):
                return None
            records = window_outcomes(connection, due.key, due.start_ms, due.end_ms)
            digest = hashlib.sha256(up_to_age(records, reference.age).tobytes()).hexdigest()
            is_known = due.revision > 0 and digest == _digest(connection, due)
            outlook = outlook_of(connection, due, reference.hash, OUTCOMES)
            figures = figures_of(
                connection, self._configuration, self._estimates, due, reference, records,
                is_news=not is_known, now_ms=self._clock.now_ms(),
            )  # fmt: skip
        account.rows = len(records)
        stepped = None if is_known else self._step(due, reference, records, outlook)
        if due.revision:
            self._note_renewed(due)
        try:
            changes = self._write(due, reference, figures, digest, outlook, stepped)
        except Overtaken:
            return None
        if stepped is None:
            return None
        self._telemetry.emit(WindowJudged(due.key[0], None))
        for change in changes:
            self._telemetry.emit(change)
        told = self._promised(due.key[0], stepped.verdicts)
        drifted = tuple(verdict for verdict in told if verdict.decision is Decision.DRIFT)
        return Judged(due, due.revision + 1, drifted, tuple(change.change for change in changes))

    def _write(
        self,
        due: Due,
        reference: OutcomeReference,
        figures: Figures,
        digest: str,
        outlook: Outlook,
        stepped: Step | None,
    ) -> tuple[AlertChanged, ...]:
        """Store a judgement, the state behind it and what follows from it, in one transaction.

        Raises
        ------
        Overtaken
            If the window changed, or somebody else judged it; nothing was written.
        """
        with immediate(self._engine) as connection:
            if not take(connection, outcome_window, due, revisions=int(stepped is not None), digest=digest):
                raise Overtaken
            replace_values(connection, due, "realised", figures.realised)
            if figures.reconciled is not None and due.revision == 0:
                figures.reconciled.store(connection, due)
            if stepped is None:
                return ()
            if outlook.is_next and stepped.state:
                entry = entry_of(due, reference.hash, outlook, stepped)
                if not ledgers.append(connection, due.key, entry, outlook.head_ms, OUTCOMES):
                    raise Overtaken
            id_ = insert_judgement(
                connection,
                due,
                rows=figures.predictions,
                excluded_rows=0,
                reference_hash=reference.hash,
                configuration_hash=self._configuration.hash_for(due.key[0]),
                sources=figures.sources,
                now_ms=self._clock.now_ms(),
            )
            connection.execute(insert(result), result_rows(id_, due, stepped.verdicts))
            now_ms = self._clock.now_ms()
            changes: tuple[AlertChanged, ...] = ()
            for kind, verdicts in by_kind(self._promised(due.key[0], stepped.verdicts)).items():
                observation = WindowObservation.of(
                    *due.key,
                    due.start_ms,
                    due.end_ms,
                    verdicts,
                    revision=due.revision + 1,
                    reference_hash=reference.hash,
                    kind=kind,
                )
                changes += observe(connection, self._configuration, observation, now_ms)
            return changes + tell_objective(connection, self._configuration, due, figures.objective, now_ms)

    # --- parts of judging -----------------------------------------------------------------------------------

    def _step(self, due: Due, reference: OutcomeReference, records: Records, outlook: Outlook) -> Step:
        """Let the detectors judge a window; only the first judgement of the next one can raise an alarm."""
        settings, detector = self._configuration.for_model(due.key[0]), self._detector(due.key[0])
        budget = outcome_budget(
            self._configuration.alerts, settings, detector, reference, due.spec.length_ms, outlook.models
        )
        moment, rules = Moment(due.start_ms, due.end_ms, budget), settings.fairness_rules()
        early = self._early_warning(due.key[0])
        stepped = judge_outcomes(detector, reference, records, outlook.state or b"", moment, early, rules)
        return permitted(stepped, outlook)

    def _promised(self, model: str, verdicts: list[Verdict]) -> list[Verdict]:
        """Verdicts without those of early warning, which raise no alert."""
        early = {detector.name for detector in self._early_warning(model)} - {self._detector(model).name}
        return [verdict for verdict in verdicts if verdict.detector not in early]

    def _note_renewed(self, due: Due) -> None:
        """Let a judged window rest: labels of a month touch all windows of it at every commit."""
        while len(self._renewed) >= MOST_RENEWED:
            self._renewed.pop(next(iter(self._renewed)))
        self._renewed[*due.key, due.start_ms] = self._clock.monotonic() + RENEWED_EVERY_S

    # --- once more ------------------------------------------------------------------------------------------

    def recompute(self, judgement_id: int) -> Recomputed:
        """Judge a window once more as it was judged, from the stored outcomes; writes nothing.

        Raises
        ------
        LookupError
            If there is no such judgement.
        Unavailable
            If the database is away.
        """
        with reading(self._engine) as connection:
            row = connection.execute(select(judgement).where(judgement.c.id == judgement_id)).one_or_none()
            if row is None:
                msg = f"there is no judgement {judgement_id}"
                raise LookupError(msg)
            base, _, suffix = row.window.partition("+")
            key = (row.model, row.version)
            due = Due(key, WindowSpec.parse(base), row.start_ms, 0, 0, row.revision - 1, f"+{suffix}")
            reference = self._references.get(connection, row.reference_hash)
            records = window_outcomes(connection, due.key, due.start_ms, due.end_ms)
            outlook = self._outlook_back_then(connection, due, reference)
            sources = joined_sources(sources_between(connection, key, due.start_ms, due.end_ms))
        stepped = self._step(due, reference, records, outlook)
        return Recomputed(
            result_rows(judgement_id, due, stepped.verdicts),
            sources == row.sources,
            outlook.state is not None,
            self._configuration.hash_for(row.model) == row.configuration_hash,
        )

    def _outlook_back_then(self, connection: Connection, due: Due, reference: OutcomeReference) -> Outlook:
        """What a window was judged with."""
        mine = ledgers.at(connection, due.key, due.start_ms, OUTCOMES)
        if mine is None or due.revision > 0:
            return outlook_of(connection, due, reference.hash, OUTCOMES)
        state = b""
        for entry in ledgers.chain(connection, due.key, due.start_ms, reference.hash, OUTCOMES):
            if entry.state is not None:
                state = entry.state
                continue
            earlier = Due(due.key, due.spec, entry.start_ms, 0, 0, 0, due.suffix)
            outlook = Outlook(state, entry.models, True, None, frozenset())
            records = window_outcomes(connection, due.key, earlier.start_ms, earlier.end_ms)
            state = self._step(earlier, reference, records, outlook).state
        return Outlook(state, mine.models, True, due.start_ms, frozenset())


def _digest(connection: Connection, due: Due) -> str | None:
    query = select(outcome_window.c.digest).where(is_row_of(outcome_window, due))
    found: str | None = connection.execute(query).scalar()
    return found
