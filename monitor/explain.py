"""Why a result or an alert says what it says: evidence, formula, inputs, provenance, and all once more."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from alerting.alert import Alert
from alerting.finding import epoch_ms
from detectors.catalog import detectors
from detectors.quality.catalog import watches
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.judging.contracts import formula
from monitor.judging.judge import Judge
from monitor.judging.judgements import EFFECTS, attribution_in, examples_in
from monitor.performance.judge import OutcomeJudge
from monitor.store import alerts
from monitor.store.engine import reading
from monitor.store.tables import judgement, result
from monitor.telemetry import Telemetry
from monitor.web.documents import instant
from schemas.errors import UsageError
from schemas.verdict import QUALITY_PREFIX

_ALERT_ID = re.compile(r"[0-9a-f]{32}")
COMPARED = (
    "lane", "decision", "n", "m", "statistic", "threshold", "threshold_source", "evidence_log", "budget",
    "onset_at_ms", *EFFECTS, "moved", "explanation",
    "attribution",
)  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """One result, with everything behind it.

    Parameters
    ----------
    stored : dict
        The result as it is stored, with its window and provenance.
    formula : str
        How the statistic comes about.
    differences : dict of str to (stored, recomputed)
        Fields that came out otherwise; empty: identical, bit for bit.
    why_different : tuple of str
        What is known of the reasons.
    """

    stored: dict[str, Any]
    formula: str
    differences: dict[str, tuple[Any, Any]]
    why_different: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether computing it once more gave the same."""
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **self.stored,
            "formula": self.formula,
            "identical": self.is_identical,
            "differences": {
                name: {"stored": a, "recomputed": b} for name, (a, b) in self.differences.items()
            },
            "why_different": list(self.why_different),
        }


class Explainer:
    """Explains results and alerts of a database.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._judge = Judge(configuration, engine, clock, Telemetry())
        self._outcomes = OutcomeJudge(configuration, engine, clock, Telemetry())

    def explain(self, id_: str) -> tuple[Alert | None, list[Explained]]:
        """Explain a result by its number, or an alert by its id: the results that support it.

        Raises
        ------
        UsageError
            If there is neither.
        Unavailable
            If the database is away.
        """
        with reading(self._engine) as connection:
            alert, ids = self._find(connection, id_)
            rows = [_result(connection, number) for number in ids]
        return alert, [self._explained(row) for row in rows]

    def _find(self, connection: Connection, id_: str) -> tuple[Alert | None, list[int]]:
        if id_.isdecimal() and len(id_) < 19:
            if connection.execute(select(result.c.id).where(result.c.id == int(id_))).first() is None:
                msg = f"there is no result {id_} (results have the numbers that the API and alerts give)"
                raise UsageError(msg)
            return None, [int(id_)]
        alert = alerts.load(connection, id_) if _ALERT_ID.fullmatch(id_) else None
        if alert is None:
            msg = f"{id_[:64]!r} is neither the number of a result nor the id of an alert"
            raise UsageError(msg)
        return alert, [
            number for finding in alert.leading for number in _supporting(connection, alert, finding)
        ]

    def _explained(self, row: Any) -> Explained:
        judge = self._outcomes if "+" in row.window else self._judge
        again = judge.recompute(row.judgement_id)
        found = next(
            (
                new
                for new in again.rows
                if (new["column"], new["segment"], new["detector"]) == (row.column, row.segment, row.detector)
            ),
            None,
        )
        differences = {
            name: (getattr(row, name), None if found is None else found[name])
            for name in COMPARED
            if found is None or getattr(row, name) != found[name]
        }
        reasons = []
        if differences and not again.same_events:
            reasons.append("events came after this judgement, or slices are gone: see the later revision")
        if differences and again.is_of_sums:
            reasons.append(
                "slices were added up to hours or days, and samples of rows are gone (keep.slices)"
            )
        if differences and not again.state_is_kept:
            reasons.append("the evidence from before this window is not stored any more")
        if differences and not again.same_configuration:
            reasons.append("the configuration of the model has changed since")
        return Explained(_stored(row), formula_of(row.detector), differences, tuple(reasons))


def _supporting(connection: Connection, alert: Alert, finding: Any) -> list[int]:
    r = result.c
    query = (
        select(func.max(r.id))
        .join(judgement, judgement.c.id == r.judgement_id)
        .where(
            r.model == alert.model, r.version == alert.version, r.column == finding.column,
            r.segment == finding.segment, r.detector == finding.detector,
            r.start_ms == epoch_ms(finding.window_start), judgement.c.end_ms == epoch_ms(finding.window_end),
        )
    )  # fmt: skip
    found = connection.execute(query).scalar()
    return [] if found is None else [int(found)]


def _result(connection: Connection, number: int) -> Any:
    j = judgement.c
    query = select(
        result,
        j.end_ms,
        j.reference_hash,
        j.configuration_hash,
        j.code_version,
        j.judged_at_ms,
        j.sources,
        j.rows,
    ).join(judgement, j.id == result.c.judgement_id)
    return connection.execute(query.where(result.c.id == number)).one()


def formula_of(name: str) -> str:
    """Say what a detector compares; one that is not there any more can only be named.

    Examples
    --------
    >>> formula_of("no-such-detector")
    'detector no-such-detector is not part of this version'
    """
    if (of_rule := formula(name)) is not None:
        return of_rule
    if name.startswith(QUALITY_PREFIX) and (watch := watches().get(name.removeprefix(QUALITY_PREFIX))):
        return watch.formula
    kind = detectors().get(name)
    return f"detector {name} is not part of this version" if kind is None else kind.formula


def _stored(row: Any) -> dict[str, Any]:
    same = (
        "id", "model", "version", "window", "revision", "column", "segment", "detector", "lane",
        "decision", "n", "m", "statistic", "threshold", "threshold_source", "evidence_log", "budget",
        "explanation", "rows", "reference_hash", "configuration_hash", "code_version",
    )  # fmt: skip
    return {
        **{name: getattr(row, name) for name in same},
        "window_start": instant(row.start_ms),
        "window_end": instant(row.end_ms),
        "onset_at": instant(row.onset_at_ms),
        "judged_at": instant(row.judged_at_ms),
        "effect": {name: getattr(row, name) for name in EFFECTS},
        "moved": json.loads(row.moved),
        "attribution": attribution_in(row.attribution),
        "examples": [
            {"event_time": instant(one.pop("event_ms")), **one} for one in examples_in(row.attribution)
        ],
        "sources": json.loads(row.sources),
    }
