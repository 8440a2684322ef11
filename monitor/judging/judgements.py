"""What every judgement of a window has in common: which window, what is stored, what follows from it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert

from alerting.alert import step
from alerting.finding import Kind, WindowObservation
from monitor.config import Configuration
from monitor.incidents.recording import record
from monitor.profiling import Key
from monitor.store import alerts
from monitor.store.queries.slices import slices_between
from monitor.store.tables import judgement
from monitor.telemetry import AlertChanged
from monitor.version import code_version
from schemas.verdict import QUALITY_PREFIX, Decision, Stream, Verdict, without_alarms
from schemas.window import WindowSpec

AGAIN = "{}: as judged first; too long ago to collect the evidence again"
MOST_WINDOWS = 500  # judged in one sweep
EXAMPLES = "examples"
EFFECTS = (
    "psi", "psi_debiased", "psi_low", "psi_high", "js", "hellinger", "total_variation", "linf", "chi2", "g",
    "cramers_v", "ks", "wasserstein", "wasserstein_error",
)  # fmt: skip


@dataclass(frozen=True)
class Due:
    """One window that is to be judged, as it stood when it was read."""

    key: Key
    spec: WindowSpec
    start_ms: int
    touched: int
    judged: int
    revision: int
    suffix: str = ""

    @property
    def shape(self) -> str:
        """How the window is named in results: ``1h``, or ``1h+1d`` for what came of it a day later."""
        return f"{self.spec}{self.suffix}"

    @property
    def end_ms(self) -> int:
        """First instant after the window."""
        return self.start_ms + self.spec.length_ms


@dataclass(frozen=True)
class Judged:
    """A window that was judged; `drifted` are its findings, `changes` what happened to alerts."""

    due: Due
    revision: int
    drifted: tuple[Verdict, ...]
    changes: tuple[str, ...]


def by_kind(verdicts: Iterable[Verdict]) -> dict[Kind, list[Verdict]]:
    """Verdicts on events by the kind of the incident that they speak to."""
    found: dict[Kind, list[Verdict]] = {Kind.DRIFT: [], Kind.QUALITY: []}
    for verdict in verdicts:
        is_quality = verdict.detector.startswith(QUALITY_PREFIX)
        found[Kind.QUALITY if is_quality else Kind.DRIFT].append(verdict)
    return found


@dataclass(frozen=True)
class Recomputed:
    """A window that was judged once more.

    Parameters
    ----------
    rows : list of dict
        Rows of the table ``result`` as they come out now.
    same_events : bool
        The stored slices were made of the same stretches of Kafka as then.
    state_is_kept : bool
        The evidence from before the window is still stored.
    same_configuration : bool
        The configuration of the model has not changed since.
    is_of_sums : bool
        Slices were added up to hours or days meanwhile, without the samples of their rows.
    """

    rows: list[dict[str, Any]]
    same_events: bool
    state_is_kept: bool
    same_configuration: bool
    is_of_sums: bool = False


class Overtaken(Exception):  # noqa: N818 - rolls a transaction back
    """Another process has judged the same window."""


def observe(
    connection: Connection, configuration: Configuration, observation: WindowObservation, now_ms: int
) -> tuple[AlertChanged, ...]:
    """Let a window speak to the incident of its model version, and write what follows."""
    before = alerts.load_for(connection, observation)
    after, changes = step(before, observation, configuration.alerts.policy)
    if after is None or (after is before and not changes):
        return ()
    record(connection, configuration, after, changes, now_ms)
    return tuple(
        AlertChanged(after.model, str(after.lane), str(after.severity), str(c.kind)) for c in changes
    )


def as_before(verdicts: list[Verdict], alarmed: Collection[Stream]) -> list[Verdict]:
    """Keep the alarms of the judgement before, whatever the evidence of this window on its own."""
    return [
        replace(
            verdict, decision=Decision.DRIFT, explanation=verdict.explanation or AGAIN.format(verdict.column)
        )
        if verdict.stream in alarmed
        else verdict
        for verdict in without_alarms(verdicts, but=alarmed)
    ]


def identity(due: Due) -> dict[str, Any]:
    """Columns that say which window it is."""
    return {"model": due.key[0], "version": due.key[1], "window": due.shape, "start_ms": due.start_ms}


def insert_judgement(
    connection: Connection,
    due: Due,
    *,
    rows: int,
    excluded_rows: int,
    reference_hash: str | None,
    configuration_hash: str,
    sources: str,
    now_ms: int,
) -> int:
    """Store what a window was judged with; returns the number of the judgement."""
    values = {
        **identity(due), "end_ms": due.end_ms, "revision": due.revision + 1, "rows": rows,
        "reference_hash": reference_hash, "configuration_hash": configuration_hash,
        "code_version": code_version(), "sources": sources, "excluded_rows": excluded_rows,
        "judged_at_ms": now_ms,
    }  # fmt: skip
    return int(connection.execute(insert(judgement).values(values).returning(judgement.c.id)).scalar_one())


def result_rows(judgement_id: int, due: Due, verdicts: Collection[Verdict]) -> list[dict[str, Any]]:
    """Rows of the table ``result`` for all verdicts on anything."""
    return [_result_row(judgement_id, due, verdict) for verdict in verdicts if verdict.n or verdict.m]


def _behind(verdict: Verdict) -> str | None:
    """What is behind a verdict, as JSON: an attribution, or examples of events that broke a rule."""
    if verdict.examples:
        return json.dumps({EXAMPLES: [example.plain() for example in verdict.examples]})
    return None if verdict.attribution is None else json.dumps(asdict(verdict.attribution))


def examples_in(attribution: str | None) -> list[dict[str, Any]]:
    """Examples that were stored with a result."""
    return [] if attribution is None else list(json.loads(attribution).get(EXAMPLES, ()))


def attribution_in(attribution: str | None) -> dict[str, Any] | None:
    """Attribution that was stored with a result."""
    found: dict[str, Any] | None = None if attribution is None else json.loads(attribution)
    return None if found is None or EXAMPLES in found else found


def _result_row(judgement_id: int, due: Due, verdict: Verdict) -> dict[str, Any]:
    effects = verdict.effects
    return {
        **identity(due),
        "judgement_id": judgement_id,
        "revision": due.revision + 1,
        "column": verdict.column,
        "segment": verdict.segment,
        "detector": verdict.detector,
        "lane": verdict.lane.value,
        "decision": verdict.decision.value,
        "n": verdict.n,
        "m": verdict.m,
        "statistic": verdict.statistic,
        "threshold": verdict.threshold,
        "threshold_source": verdict.threshold_source,
        "evidence_log": verdict.evidence_log,
        **{name: None if effects is None else getattr(effects, name) for name in EFFECTS},
        "moved": json.dumps([asdict(moved) for moved in verdict.moved]),
        "attribution": _behind(verdict),
        "explanation": verdict.explanation,
        "budget": verdict.budget,
        "onset_at_ms": verdict.onset_ms,
    }


def read_slices(connection: Connection, due: Due) -> list[Any]:
    """Stored slices of a window."""
    return slices_between(connection, due.key, due.start_ms, due.end_ms)
