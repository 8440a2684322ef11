"""Versions of a model side by side: which does better on the same events, and how surely.

Both versions' outcomes are compared slice by slice of event time, once their labels have been waited for, in
order of time and each once. So the interval and the verdict hold at all times at once, however often somebody
looks. The confidence sequence is the asymptotic one: at small differences it needs an eighth of the labels of
the exact one, and begins with 30 slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from sqlalchemy import Connection, Engine, select

from alerting.finding import Finding, Kind, WindowObservation, instant
from detectors.comparison import Comparison, PairedSums, Standing, compare
from detectors.outcomes import RECORD, Records
from detectors.paired_slices import Loss, absolute_error, cost_of, paired, right, squared_error
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.config.settings import LOWER_IS_BETTER, ModelSettings
from monitor.judging.judgements import observe
from monitor.labels.pending import hashes_of
from monitor.performance.outcomes import task_of, versions_of, wait_ms
from monitor.store.engine import immediate, reading
from monitor.store.queries.outcomes import windows_between
from monitor.store.sql import upsert
from monitor.store.tables import version_comparison
from monitor.telemetry import AlertChanged
from schemas.verdict import Lane

UNITS_A_WINDOW = 12  # slices of a comparison in one base window
TYPICAL_ROWS_OF = 50  # slices that tell how many rows a usual one has
DETECTOR = "confidence_sequence"
METRICS = ("accuracy", "brier", "cost", "mae")
NOTHING: Records = np.zeros(0, RECORD)


@dataclass(frozen=True)
class Compared:
    """Two versions, and what is known of their difference, challenger − champion."""

    model: str
    champion: str
    challenger: str
    metric: str
    from_ms: int
    until_ms: int
    comparison: Comparison | None


def metric_of(settings: ModelSettings, records: Records) -> str:
    """What versions are compared by: costs where there are any, otherwise what suits the task."""
    if settings.performance is not None and settings.performance.costs:
        return "cost"
    return "mae" if task_of(settings, records) == "regression" else "accuracy"


def loss_of(settings: ModelSettings, metric: str) -> Loss:
    """What is summed up."""
    if metric == "cost":
        costs = None if settings.performance is None else settings.performance.cost_matrix()
        matrix = {
            (_hash(predicted), _hash(label)): cost for (predicted, label), cost in (costs or {}).items()
        }
        return cost_of(matrix)
    return {"accuracy": right, "brier": squared_error, "mae": absolute_error}[metric]


def compare_range(
    connection: Connection,
    settings: ModelSettings,
    model: str,
    versions: tuple[str, str],
    metric: str | None,
    from_ms: int,
    to_ms: int,
) -> Compared:
    """Compare champion and challenger over a range; see `detectors.comparison`.

    Parameters
    ----------
    versions : (str, str)
        Champion and challenger.
    metric : str, optional
        One of `METRICS`; default: `metric_of`.
    """
    sides = _sides(connection, settings, model, versions, from_ms, to_ms)
    if metric is None:
        metric = metric_of(settings, _any(sides))
    rows, differences = paired(*_aligned(sides), loss_of(settings, metric))
    sums = PairedSums(reach=inf, slice_rows=_usual(rows)).added(rows, differences)
    found = compare(sums, higher_is_better=metric not in LOWER_IS_BETTER)
    return Compared(model, *versions, metric, from_ms, to_ms, found)


def _hash(name: str) -> int:
    return int(hashes_of([name]).view(np.int64)[0])


def unit_ms(settings: ModelSettings) -> int:
    """Length of the slices of a comparison."""
    window = settings.windows[0].length_ms
    return max(window // UNITS_A_WINDOW // settings.slice_ms, 1) * settings.slice_ms


def _sides(
    connection: Connection,
    settings: ModelSettings,
    model: str,
    versions: Iterable[str],
    from_ms: int,
    to_ms: int,
) -> list[dict[int, Records]]:
    unit = unit_ms(settings)
    return [windows_between(connection, (model, v), from_ms, to_ms, unit) for v in versions]


def _any(sides: list[dict[int, Records]]) -> Records:
    return next((records for side in sides for records in side.values()), NOTHING)


def _aligned(sides: list[dict[int, Records]]) -> tuple[list[Records], list[Records]]:
    """Slices that both have, in order of time."""
    champion, challenger = sides
    common = sorted(champion.keys() & challenger.keys())
    return [champion[start] for start in common], [challenger[start] for start in common]


def _usual(rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    first = rows[rows > 0][:TYPICAL_ROWS_OF]
    return max(float(np.median(first)), 1.0) if len(first) else 1.0


class Versions:
    """Compares the champion of each model with the versions that run beside it, and tells when to go back.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock

    def sweep(self, marks: Mapping[str, int]) -> list[AlertChanged]:
        """Take in outcomes whose labels have been waited for.

        Parameters
        ----------
        marks : mapping of str to int
            Event time up to which predictions and labels of each model have come.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        changes: list[AlertChanged] = []
        for model, mark_ms in marks.items():
            with reading(self._engine) as connection:
                roles = versions_of(connection, model)
            champions = [version for version, role in roles.items() if role == "champion"]
            if len(roles) < 2 or not champions:
                continue
            champion = champions[-1]
            for at, version in enumerate(roles):
                if version != champion:
                    is_older = at < list(roles).index(champion)
                    changes += self._advance(model, champion, version, mark_ms, is_older=is_older)
        return changes

    def _advance(
        self, model: str, champion: str, challenger: str, mark_ms: int, *, is_older: bool
    ) -> list[AlertChanged]:
        """Take in the next slices of a pair."""
        settings = self._configuration.for_model(model)
        unit = unit_ms(settings)
        until_ms = (mark_ms - wait_ms(settings)) // unit * unit
        with reading(self._engine) as connection:
            known = _known(connection, model, champion, challenger)
            from_ms = 0 if known is None else known.until_ms
            if until_ms <= from_ms:
                return []
            sides = _sides(connection, settings, model, (champion, challenger), from_ms, until_ms)
            slices = _aligned(sides)
        if not slices[0]:
            return []
        metric = metric_of(settings, _any(sides)) if known is None else known.metric
        rows, differences = paired(*slices, loss_of(settings, metric))
        before = PairedSums(reach=inf, slice_rows=_usual(rows)) if known is None else known.sums
        after = before.added(rows, differences)
        first = min(sides[0].keys() & sides[1].keys()) if known is None else known.first_ms
        row = {
            "model": model, "champion": champion, "challenger": challenger, "metric": metric,
            "from_ms": first, "until_ms": until_ms, "state": after.to_bytes(),
        }  # fmt: skip
        with immediate(self._engine) as connection:
            again = _known(connection, model, champion, challenger)
            if (None if again is None else again.until_ms) != (None if known is None else known.until_ms):
                return []  # somebody else was quicker
            upsert(connection, version_comparison, [row])
            if not is_older:
                return []
            found = compare(after, higher_is_better=metric not in LOWER_IS_BETTER)
            return self._tell(connection, (model, champion), challenger, metric, found, (first, until_ms))

    def _tell(
        self,
        connection: Connection,
        key: tuple[str, str],
        older: str,
        metric: str,
        found: Comparison | None,
        span: tuple[int, int],
    ) -> list[AlertChanged]:
        """Recommend to go back to an older version that does better, as long as it does."""
        is_better = found is not None and found.standing is Standing.BETTER
        findings = (_finding(older, metric, found, span),) if is_better and found is not None else ()
        observation = WindowObservation(*key, *span, findings=findings, kind=Kind.ROLLBACK)
        return list(observe(connection, self._configuration, observation, self._clock.now_ms()))


@dataclass(frozen=True)
class _Known:
    metric: str
    first_ms: int
    until_ms: int
    sums: PairedSums


def _known(connection: Connection, model: str, champion: str, challenger: str) -> _Known | None:
    c = version_comparison.c
    row = connection.execute(
        select(version_comparison).where(c.model == model, c.champion == champion, c.challenger == challenger)
    ).first()
    if row is None:
        return None
    return _Known(row.metric, row.from_ms, row.until_ms, PairedSums.from_bytes(bytes(row.state)))


def comparisons(connection: Connection, model: str) -> list[Compared]:
    """What is known of the versions of a model that have run beside each other."""
    c = version_comparison.c
    rows = connection.execute(
        select(version_comparison).where(c.model == model).order_by(c.champion, c.challenger)
    )
    return [
        Compared(
            model, row.champion, row.challenger, row.metric, row.from_ms, row.until_ms,
            compare(
                PairedSums.from_bytes(bytes(row.state)), higher_is_better=row.metric not in LOWER_IS_BETTER
            ),
        )
        for row in rows
    ]  # fmt: skip


def _finding(older: str, metric: str, found: Comparison, span: tuple[int, int]) -> Finding:
    text = (
        f"version {older} does better on the same events: {metric} {found.difference:+.3g} "
        f"({found.low:+.3g} to {found.high:+.3g}) with {found.n} labels; going back is recommended"
    )
    return Finding(
        f"version {older}",
        "",
        Lane.PERFORMANCE,
        DETECTOR,
        instant(span[0]),
        instant(span[1]),
        statistic=found.difference,
        threshold=0.0,
        explanation=text,
    )
