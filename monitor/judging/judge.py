"""Judges windows that are due: merge their slices, compare with the reference, store results and alerts.

Everything here reads and writes the database only, and may be called by anybody at any time, any number of
times: a window is judged in one transaction that begins with a compare-and-set on its state.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, exists, insert, select

from alerting.finding import Kind, WindowObservation
from detectors.base import Step
from detectors.digest import week_of
from detectors.events import judge_events
from detectors.quality.facts import Facts
from detectors.reference import Reference
from detectors.ruled import RuleCounts
from monitor.clock import Clock
from monitor.config import Configuration, ModelSettings
from monitor.config.per_model import PerModel
from monitor.contracts import revisions
from monitor.contracts.configured import of_settings
from monitor.judging.account import Account, account_of
from monitor.judging.budget import event_budget
from monitor.judging.contracts import judge_contract, observation_of
from monitor.judging.judgements import (
    MOST_WINDOWS,
    Due,
    Judged,
    Overtaken,
    Recomputed,
    by_kind,
    insert_judgement,
    observe,
    read_slices,
    result_rows,
)
from monitor.judging.merging import Merged, merge_slices
from monitor.judging.outlooks import NO_OUTLOOK, Outlook, entry_of, outlook_of, permitted
from monitor.judging.tidying import JudgedSpan, Tidier
from monitor.judging.unreferenced import UnreferencedWindows
from monitor.judging.weeks import part_of
from monitor.judging.window_rows import must_wait, take
from monitor.profiling import Key, Pointer
from monitor.references.configured import ConfiguredReferences
from monitor.references.lifecycle import ReferenceCache, learn_and_promote, pointer_at, pointers_of
from monitor.registry import read_columns
from monitor.store import ledgers, weeks
from monitor.store.deployments import first_slice_ms
from monitor.store.engine import immediate, reading
from monitor.store.ledgers import EVENTS
from monitor.store.queries.times import watermarks
from monitor.store.tables import (
    judgement,
    model_version,
    reference_pointer,
    result,
    window_state,
)
from monitor.telemetry import AlertChanged, Telemetry, WindowJudged
from schemas.column import ColumnSpec
from schemas.verdict import Decision, Verdict
from schemas.window import WindowSpec

logger = logging.getLogger(__name__)


class Judge:
    """Judges what is due.

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
        self._configuration, self._engine, self._clock, self._telemetry = (
            configuration,
            engine,
            clock,
            telemetry,
        )
        self._references = ReferenceCache()
        self._configured = ConfiguredReferences(engine, configuration.folder)
        self._detector = PerModel(configuration, ModelSettings.build_detector)
        self._contract = PerModel(configuration, ModelSettings.build_contract)
        self._noted: set[str] = set()
        self._unreferenced = UnreferencedWindows(configuration, engine, clock, telemetry)
        self._tidier = Tidier(configuration, engine, clock, self._references)
        self._has_labels = any(stream.kind == "labels" for stream in configuration.streams)

    # --- what is due ----------------------------------------------------------------------------------------

    def sweep(self, models: Collection[str] | None = None) -> list[Judged]:
        """Learn references and judge windows that are due, of some models or of all.

        Raises
        ------
        Unavailable
            If the database is away; nothing is lost by calling again.
        """
        now_ms = self._clock.now_ms()
        with reading(self._engine) as connection:
            marks = watermarks(connection, self._configuration, now_ms, models)
            unlearned = self._without_reference(connection, marks)
            specs = read_columns(connection, set(marks)) if models is not None else read_columns(connection)
        done: list[Judged] = []
        for key in unlearned:
            known = specs.get(key, {})
            done += self._unreferenced.judge(key, self._contract(key[0]), marks[key[0]], known)
            settings = self._configuration.for_model(key[0])
            if settings.reference.file is not None:
                learned = self._configured.build(key, settings, known, now_ms)
            else:
                learned = learn_and_promote(self._engine, key, settings, marks[key[0]], known, now_ms)
            if learned is None:
                self._tidier.note_learning(key, marks[key[0]], known)
            else:
                about = {"model": key[0], "version": key[1], "rows": learned.rows}
                logger.info("reference %s was learned", learned.hash[:12], extra=about)
        with reading(self._engine) as connection:
            found = self._due(connection, marks)
            pointers = {
                key: pointers_of(connection, self._references, key) for key in {due.key for due in found}
            }
        self._note_contracts({due.key[0] for due in found})
        for due in found:
            if self._stop.is_set():
                break
            pointer = pointer_at(pointers[due.key], due.start_ms)
            judged = None if pointer is None else self.judge(due, pointer, specs.get(due.key, {}))
            if judged is not None:
                done.append(judged)
        return done

    def _note_contracts(self, models: Collection[str]) -> None:
        """Remember what windows of some models are going to be judged by, once for each state of it."""
        for model in sorted(set(models) - self._noted):
            contract = of_settings(self._configuration.for_model(model), model)
            made = revisions.note(self._engine, model, contract, self._clock.now_ms())
            if made is not None:
                logger.info("revision %d of its contract", made.revision, extra={"model": model})
            self._noted.add(model)

    def _without_reference(self, connection: Connection, marks: Mapping[str, int]) -> list[Key]:
        pointers = exists().where(
            reference_pointer.c.model == model_version.c.model,
            reference_pointer.c.version == model_version.c.version,
        )
        rows = connection.execute(select(model_version.c.model, model_version.c.version).where(~pointers))
        return [(row.model, row.version) for row in rows if row.model in marks]

    def _due(self, connection: Connection, marks: Mapping[str, int]) -> list[Due]:
        """Windows that have changed since they were judged and are complete, oldest first."""
        w = window_state.c
        pointers = exists().where(
            reference_pointer.c.model == w.model,
            reference_pointer.c.version == w.version,
            reference_pointer.c.from_ms <= w.start_ms,
        )
        query = select(window_state).where(
            w.touched != w.judged, w.end_ms <= max(marks.values(), default=0), pointers
        )
        if len(marks) == 1:
            query = query.where(w.model == next(iter(marks)))
        rows = connection.execute(query.order_by(w.end_ms, w.start_ms.desc(), w.model, w.version))
        due = (row for row in rows if row.model in marks and row.end_ms <= marks[row.model])
        return [
            Due((r.model, r.version), WindowSpec.parse(r.window), r.start_ms, r.touched, r.judged, r.revision)
            for r in islice(due, MOST_WINDOWS)
        ]

    # --- one window -----------------------------------------------------------------------------------------

    def judge(self, due: Due, pointer: Pointer, specs: Mapping[str, ColumnSpec]) -> Judged | None:
        """Judge one window.

        Returns
        -------
        Judged or None
            None if the window changed, or somebody else judged it, since `due` was read.
        """
        with account_of(due, "events") as account:
            judged = self._judge(due, pointer, specs, account)
            account.outcome(judged)
        return judged

    def _judge(
        self, due: Due, pointer: Pointer, specs: Mapping[str, ColumnSpec], account: Account
    ) -> Judged | None:
        settings = self._configuration.for_model(due.key[0])
        is_base = due.spec == settings.windows[0]
        with reading(self._engine) as connection:
            if is_base and must_wait(connection, window_state, due, pointer.from_ms):
                return None
            merged = merge_slices(read_slices(connection, due), specs, pointer)
            reference = self._references.get(connection, pointer.hash)
            outlook = self._outlook(connection, due, pointer) if is_base else NO_OUTLOOK
            is_whole = _is_whole(connection, due)
        account.rows = merged.profile.rows
        stepped = self._step(due, reference, merged, outlook, is_whole=is_whole)
        ruled = judge_contract(self._contract(due.key[0]), RuleCounts.of(merged.profile))
        try:
            changes = self._write(due, pointer, merged, outlook, stepped, ruled, is_base=is_base)
        except Overtaken:
            return None
        self._telemetry.emit(WindowJudged(due.key[0], None))
        for change in changes:
            self._telemetry.emit(change)
        if is_base:
            self._tidier.note_judged(JudgedSpan(due.key, due.start_ms, due.end_ms, pointer, specs))
        every = [*stepped.verdicts, *ruled]
        drifted = tuple(verdict for verdict in every if verdict.decision is Decision.DRIFT)
        return Judged(due, due.revision + 1, drifted, tuple(change.change for change in changes))

    def _write(
        self,
        due: Due,
        pointer: Pointer,
        merged: Merged,
        outlook: Outlook,
        stepped: Step,
        ruled: list[Verdict],
        *,
        is_base: bool,
    ) -> tuple[AlertChanged, ...]:
        """Store a judgement, the state behind it and what follows from it, in one transaction.

        Raises
        ------
        Overtaken
            If the window changed, or somebody else judged it; nothing was written.
        """
        with immediate(self._engine) as connection:
            if not take(connection, window_state, due):
                raise Overtaken
            if outlook.is_next and stepped.state:
                entry = entry_of(due, pointer.hash, outlook, stepped)
                if not ledgers.append(connection, due.key, entry, outlook.head_ms):
                    raise Overtaken
                weeks.save_part(connection, list(outlook.week))
            id_ = self._insert_judgement(connection, due, pointer, merged)
            rows = result_rows(id_, due, [*stepped.verdicts, *ruled])
            connection.execute(insert(result), rows)
            return self._alert(connection, due, pointer, stepped.verdicts, ruled) if is_base else ()

    # --- once more ------------------------------------------------------------------------------------------

    def recompute(self, judgement_id: int) -> Recomputed:
        """Judge a window once more as it was judged, from the stored slices; writes nothing.

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
            key = (row.model, row.version)
            spec = WindowSpec.parse(row.window)
            due = Due(key, spec, row.start_ms, 0, 0, row.revision - 1)
            specs = read_columns(connection, [row.model]).get(key, {})
            if row.reference_hash is None:
                return self._recompute_rules(row, due, specs)
            reference = self._references.get(connection, row.reference_hash)
            pointer = Pointer(0, row.reference_hash, reference.binning)
            merged = merge_slices(read_slices(connection, due), specs, pointer)
            is_base = spec == self._configuration.for_model(row.model).windows[0]
            outlook = self._outlook_back_then(connection, due, pointer) if is_base else NO_OUTLOOK
            is_whole = _is_whole(connection, due)
        stepped = self._step(due, reference, merged, outlook, is_whole=is_whole)
        ruled = judge_contract(self._contract(due.key[0]), RuleCounts.of(merged.profile))
        rows = result_rows(judgement_id, due, [*stepped.verdicts, *ruled])
        return self._recomputed(row, rows, merged, state_is_kept=outlook.state is not None)

    def _recompute_rules(self, row: Any, due: Due, specs: Mapping[str, ColumnSpec]) -> Recomputed:
        merged, ruled = self._unreferenced.recompute(due, self._contract(due.key[0]), specs)
        return self._recomputed(row, result_rows(row.id, due, ruled), merged, state_is_kept=True)

    def _recomputed(
        self, row: Any, rows: list[dict[str, Any]], merged: Merged, *, state_is_kept: bool
    ) -> Recomputed:
        return Recomputed(
            rows,
            json.dumps(merged.sources, separators=(",", ":")) == row.sources,
            state_is_kept,
            self._configuration.hash_for(row.model) == row.configuration_hash,
            merged.is_of_sums,
        )

    def _outlook_back_then(self, connection: Connection, due: Due, pointer: Pointer) -> Outlook:
        """What a window was judged with."""
        mine = ledgers.at(connection, due.key, due.start_ms)
        if mine is None or due.revision > 0:
            return self._outlook(connection, due, pointer)
        entries = ledgers.chain(connection, due.key, due.start_ms, pointer.hash)
        state = b""
        for entry in entries:
            state = entry.state if entry.state is not None else self._replayed(connection, due, entry, state)
        return Outlook(state, mine.models, True, due.start_ms, frozenset())

    def _replayed(self, connection: Connection, due: Due, entry: ledgers.Entry, state: bytes) -> bytes:
        """State after a window whose state is not kept, from the state before it and the stored slices."""
        earlier = replace(due, start_ms=entry.start_ms)
        reference = self._references.get(connection, entry.reference_hash)
        pointer = Pointer(0, entry.reference_hash, reference.binning)
        specs = read_columns(connection, [due.key[0]]).get(due.key, {})
        merged = merge_slices(read_slices(connection, earlier), specs, pointer)
        outlook = Outlook(state, entry.models, True, None, frozenset())
        is_whole = _is_whole(connection, earlier)
        return self._step(earlier, reference, merged, outlook, is_whole=is_whole).state

    # --- parts of judging -----------------------------------------------------------------------------------

    def _outlook(self, connection: Connection, due: Due, pointer: Pointer) -> Outlook:
        """What a window is judged with besides its counts."""
        outlook = outlook_of(connection, due, pointer.hash, EVENTS)
        if not outlook.is_next:
            return outlook
        before = ledgers.before(connection, due.key, due.start_ms)
        return replace(outlook, week=self._finished_week(connection, due, pointer, before))

    def _finished_week(
        self, connection: Connection, due: Due, pointer: Pointer, before: ledgers.Entry | None
    ) -> tuple[dict[str, Any], ...]:
        """Evidence that ends with the window before: a week is over, or there is a new reference."""
        if before is None:
            return ()
        if before.reference_hash == pointer.hash and week_of(before.start_ms) == week_of(due.start_ms):
            return ()
        reference = self._references.get(connection, before.reference_hash)
        return tuple(part_of(connection, due.key, str(due.spec), before.state, reference.tensor))

    def _step(
        self, due: Due, reference: Reference, merged: Merged, outlook: Outlook, *, is_whole: bool
    ) -> Step:
        """Let the detector judge a window; only the first judgement of the next window can raise an alarm."""
        detector = self._detector(due.key[0])
        budget = event_budget(
            self._configuration.alerts,
            due.spec.length_ms,
            outlook.models,
            detector,
            reference,
            of_outcomes=False if self._has_labels else None,
        )
        sample = merged.sample
        stepped = judge_events(
            detector,
            reference,
            replace(Facts.of(merged.profile, sample), is_whole=is_whole),
            sample,
            outlook.state or b"",
            start_ms=due.start_ms,
            end_ms=due.end_ms,
            budget=budget,
        )
        return permitted(stepped, outlook)

    def _insert_judgement(self, connection: Connection, due: Due, pointer: Pointer, merged: Merged) -> int:
        return insert_judgement(
            connection,
            due,
            rows=merged.profile.rows,
            excluded_rows=merged.excluded_rows,
            reference_hash=pointer.hash,
            configuration_hash=self._configuration.hash_for(due.key[0]),
            sources=json.dumps(merged.sources, separators=(",", ":")),
            now_ms=self._clock.now_ms(),
        )

    def _alert(
        self,
        connection: Connection,
        due: Due,
        pointer: Pointer,
        verdicts: list[Verdict],
        ruled: list[Verdict],
    ) -> tuple[AlertChanged, ...]:
        kinds = by_kind(verdicts)
        observation = WindowObservation.of(
            *due.key,
            due.start_ms,
            due.end_ms,
            kinds[Kind.DRIFT],
            revision=due.revision + 1,
            reference_hash=pointer.hash,
        )
        together = [*ruled, *kinds[Kind.QUALITY]]
        quality = observation_of(due, together, self._contract(due.key[0]), pointer.hash)
        now_ms = self._clock.now_ms()
        return (
            *observe(connection, self._configuration, observation, now_ms),
            *observe(connection, self._configuration, quality, now_ms),
        )

    def tidy(self, models: Collection[str] = ()) -> None:
        """Replace the partial profiles of the slices of windows judged since the last call by their sums.

        Of the given models, of which no other evaluator takes care, also those of open windows if they are
        very many.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        self._tidier.tidy(models)


def _is_whole(connection: Connection, due: Due) -> bool:
    """Whether the version sent events before the window, or from its beginning on."""
    first_ms = first_slice_ms(connection, *due.key)
    return first_ms is None or first_ms <= due.start_ms
