"""Whether retraining helped: the version that came after a run, beside the one before."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select, tuple_, update

from alerting.alert import ChangeKind
from alerting.finding import epoch_ms
from alerting.retraining.guards import Standing
from detectors.before_after import BeforeAfter, Change, before_after
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.config.settings import LOWER_IS_BETTER
from monitor.incidents.recording import say
from monitor.references.offers import offer_of
from monitor.retraining.proposals import read_request
from monitor.store import deployments, incidents
from monitor.store.engine import immediate, reading
from monitor.store.tables import performance_value, retraining_run
from schemas.errors import Unavailable

logger = logging.getLogger("driftline.retraining")

WATCHED_FOR_MS = 30 * 86_400_000
CONCLUDED_WITHIN_MS = 7 * 86_400_000  # after that, whether the service was away or not
MOST_WINDOWS = 60
LOOKS = (5, 10, 20, 40, 60)
LEVEL = 1 - 0.05 / len(LOOKS)  # so that all looks together are wrong in one case of twenty at most
PORTION = 200
WATCHING = "watching"
BEGUN = (Standing.STARTED, Standing.SUCCEEDED, Standing.LOST)


class Watch:
    """Waits for the version that comes of a run, and says whether it does better.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
        Wall clock.

    Guarantees
    ----------
    Every watch ends: when one version does better, after the last look, or after 30 days. A run that cannot
    be compared stops no other.
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._failed: set[str] = set()

    def sweep(self) -> int:
        """Look at all runs of the last month whose watch goes on.

        Returns
        -------
        int
            Number of runs of which something new was said.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        now_ms, told, after = self._clock.now_ms(), 0, (0, "")
        while True:
            with reading(self._engine) as connection:
                rows = _watched(connection, now_ms, after)
            told += sum(self._look(row, now_ms) for row in rows)
            if len(rows) < PORTION:
                return told
            after = int(rows[-1].started_at_ms), str(rows[-1].id)

    def _look(self, row: Any, now_ms: int) -> bool:
        try:
            with reading(self._engine) as connection:
                found = self._outcome(connection, row, now_ms)
            return found is not None and self._write(row, found, now_ms)
        except Unavailable:
            raise
        except Exception:  # one run must not keep the others from being watched
            if row.id not in self._failed:
                logger.exception("the run of request %s cannot be watched", row.id)
            self._failed.add(row.id)
            return False

    def _outcome(self, connection: Connection, row: Any, now_ms: int) -> dict[str, Any] | None:
        """What is known by now; None while no other version has come, or nothing has changed."""
        known = json.loads(row.outcome) if row.outcome else {}
        came = deployments.next_of(connection, row.model, row.version, int(row.started_at_ms))
        if came is None or came.at_ms > now_ms:
            return None
        is_last_look = now_ms - row.started_at_ms >= WATCHED_FOR_MS
        found: dict[str, Any] = {
            "version": came.version,
            "deployed_at_ms": int(came.at_ms),
            "state": Change.UNCLEAR.value if is_last_look else WATCHING,
        }
        settings = self._configuration.for_model(row.model)
        begun_ms = int(row.started_at_ms)
        found["reference"] = offer_of(connection, settings, (row.model, came.version), begun_ms).words
        compared = self._compared(connection, row, came.version)
        if compared is not None:
            metric, kind, result = compared
            found |= {
                "metric": metric, "kind": kind, "before": result.before, "after": result.after,
                "low": result.low, "high": result.high, "windows": result.windows_after,
            }  # fmt: skip
            if result.change is not Change.UNCLEAR or result.windows_after >= LOOKS[-1]:
                found["state"] = result.change.value
        return found if found["state"] != known.get("state") else None

    def _compared(
        self, connection: Connection, row: Any, version: str
    ) -> tuple[str, str, BeforeAfter] | None:
        settings = self._configuration.for_model(row.model)
        shape = str(settings.windows[0])
        wanted = None if settings.performance is None else settings.performance.metric
        since_ms = epoch_ms(read_request(row.request).data_from)
        for kind in ("realised", "estimated"):
            before = _values(connection, row.model, row.version, shape, kind, since_ms)
            after = _values(connection, row.model, version, shape, kind, None)
            metrics = sorted({one.metric for one in before} & {one.metric for one in after})
            if not metrics:
                continue
            metric = str(wanted) if wanted in metrics else str(metrics[0])
            old, new = ([one.value for one in side if one.metric == metric] for side in (before, after))
            seen = max((look for look in LOOKS if look <= len(new)), default=0)
            better = metric not in LOWER_IS_BETTER
            found = before_after(old, new[:seen], higher_is_better=better, level=LEVEL)
            if found is not None:
                return metric, kind, found
        return None

    def _write(self, row: Any, found: dict[str, Any], now_ms: int) -> bool:
        r = retraining_run.c
        with immediate(self._engine) as connection:
            incidents.lock(connection)
            same = r.outcome.is_(None) if row.outcome is None else r.outcome == row.outcome
            statement = update(retraining_run).where(r.id == row.id, same)
            values = {"outcome": json.dumps(found, sort_keys=True), "updated_at_ms": now_ms}
            if connection.execute(statement.values(values)).rowcount != 1:
                return False  # somebody else was quicker
            known = incidents.load(connection, row.incident_id)
            if known is not None and known.alerts:
                words = words_of(row.model, found)
                say(connection, self._configuration, known, ChangeKind.RETRAINING, words, "driftline", now_ms)
        about = {"model": row.model, "version": found["version"], "incident": row.incident_id}
        logger.info("the version after retraining: %s", found["state"], extra=about)
        return True


def words_of(model: str, outcome: dict[str, Any]) -> str:
    """Say what came of a run.

    Examples
    --------
    >>> words_of("churn", {"version": "4", "state": "watching", "reference": "it has no reference yet"})
    'version 4 is in use and watched; it has no reference yet'
    >>> words_of("churn", {"version": "4", "state": "unclear"})
    'whether version 4 does better is not known: too few windows of it and of the one before'
    """
    version, state = outcome["version"], outcome["state"]
    if state == WATCHING:
        return "; ".join(
            [f"version {version} is in use and watched", *filter(None, [outcome.get("reference")])]
        )
    if "metric" not in outcome:
        return (
            f"whether version {version} does better is not known: too few windows of it and of the one before"
        )
    figures = f"{outcome['metric']} {outcome['after']:.3f}, before {outcome['before']:.3f}"
    interval = f"difference {outcome['low']:+.3f} to {outcome['high']:+.3f}"
    known = "from labels" if outcome["kind"] == "realised" else "estimated"
    does = "neither better nor worse for sure" if state == Change.UNCLEAR else state
    return f"version {version} does {does}: {figures} ({interval}, {known})"


def _watched(connection: Connection, now_ms: int, after: tuple[int, str]) -> Sequence[Any]:
    """Runs that a version may still come of, and those whose version is watched; the earliest first."""
    r = retraining_run.c
    waits = r.outcome.is_(None) & (r.started_at_ms > now_ms - WATCHED_FOR_MS)
    is_watched = r.outcome.like(f'%"state": "{WATCHING}"%')  # as `json.dumps` writes it
    query = select(retraining_run).where(
        r.state.in_([one.value for one in BEGUN]),
        r.started_at_ms > now_ms - WATCHED_FOR_MS - CONCLUDED_WITHIN_MS,
        waits | is_watched,
        tuple_(r.started_at_ms, r.id) > tuple_(*after),
    )
    return connection.execute(query.order_by(r.started_at_ms, r.id).limit(PORTION)).all()


def _values(
    connection: Connection, model: str, version: str, shape: str, kind: str, since_ms: int | None
) -> Sequence[Any]:
    """Measures of windows of all rows, the earliest first: a watch that goes on looks at the same again."""
    p = performance_value.c
    query = select(p.metric, p.value).where(
        p.model == model, p.version == version, p.window == shape, p.segment == "", p.kind == kind, p.n > 0
    )
    if since_ms is not None:
        query = query.where(p.start_ms >= since_ms)
    return connection.execute(query.order_by(p.start_ms, p.metric).limit(40 * MOST_WINDOWS)).all()
