"""Gauges of what the database knows: watermarks, effect sizes, data quality, open alerts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import Connection

from monitor.config.alerts import PERIODS_MS
from monitor.judging.merging import merge_slices
from monitor.profiling import Pointer
from monitor.registry import read_columns
from monitor.store.engine import reading
from monitor.store.halves import unpaired_by_topic
from monitor.store.queries.alerts import open_by_model, open_total
from monitor.store.queries.budget import newest_end_ms, spent
from monitor.store.queries.latest import Latest, effects, latest_judgements, version_total
from monitor.store.queries.performance import latest_values
from monitor.store.queries.slices import Span, slice_index, slices
from monitor.store.queries.times import newest_events, watermarks
from monitor.version import code_version
from monitor.web.bins import binned_columns
from monitor.web.context import Context
from monitor.web.service_gauges import ServiceSnapshot, plain, read_service, service_families

MOST_SERIES = 2_000  # label sets (model, version, column); every family has one series for each
MOST_VERSIONS = 1_000
MOST_SLICES = 5_000
NEW_WINDOWS = 20  # windows whose quality is worked out in one refresh; the others follow in the next ones
RETIRED_AFTER = 24  # windows behind the newest version of the model

EFFECTS = {
    "psi": "Population stability index of the latest judged window, all rows.",
    "psi_debiased": "Population stability index less what chance alone gives.",
    "psi_low": "Lower end of the interval of the population stability index.",
    "psi_high": "Upper end of the interval of the population stability index.",
    "js": "Jensen-Shannon distance of the latest judged window, all rows.",
    "hellinger": "Hellinger distance of the latest judged window, all rows.",
    "total_variation": "Total variation distance of the latest judged window, all rows.",
    "linf": "Largest change of the share of one bin.",
    "chi2": "Chi-squared statistic of the latest judged window, all rows.",
    "g": "G statistic of the latest judged window, all rows.",
    "cramers_v": "Cramer's V of the latest judged window, all rows.",
    "ks": "Kolmogorov-Smirnov distance of the latest judged window, all rows.",
    "wasserstein": "Wasserstein distance in standard deviations of the reference.",
}
QUALITY = {
    "missing": "Share of rows without a value in the latest judged window.",
    "invalid": "Share of rows with an invalid value in the latest judged window.",
    "unseen": "Share of rows with a category that the reference does not have.",
}

Labels = tuple[str, str, str]
Shares = dict[str, dict[str, float]]
"""Share of rows by column, then by kind of quality."""


@dataclass
class Snapshot:
    """What the database said at one instant."""

    watermarks: dict[str, int] = field(default_factory=dict)
    newest_events: dict[str, int] = field(default_factory=dict)
    effects: dict[str, dict[Labels, float]] = field(default_factory=dict)
    quality: dict[str, dict[Labels, float]] = field(default_factory=dict)
    evidence: dict[tuple[str, str, str, str], float] = field(default_factory=dict)
    performance: dict[tuple[str, str, str, str], float] = field(default_factory=dict)
    coverage: dict[tuple[str, str], float] = field(default_factory=dict)
    unpaired: dict[str, int] = field(default_factory=dict)
    budget_spent: float | None = None
    alerts_open: int | None = None
    alerts_of_models: dict[tuple[str, str, str], int] = field(default_factory=dict)
    service: ServiceSnapshot = field(default_factory=ServiceSnapshot)
    dropped: int = 0


class Gauges:
    """Reads snapshots; remembers the quality of windows, which stays the same until they are judged again.

    Parameters
    ----------
    context : Context

    Notes
    -----
    Results hold effect sizes, but not how many rows were missing, invalid or unseen. Those are counted in the
    stored slices of the window: a merge, but only once for each judgement, and of few windows at a time.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._quality: dict[int, Shares] = {}

    def read(self) -> Snapshot:
        """Read a snapshot.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        context = self._context
        with reading(context.engine) as connection:
            marks = watermarks(connection, context.configuration, context.clock.now_ms())
            latest = _current(latest_judgements(connection, self._shape_of, MOST_VERSIONS))
            snapshot = Snapshot(alerts_open=open_total(connection))
            snapshot.watermarks = dict(sorted(marks.items())[:MOST_SERIES])
            snapshot.dropped = len(marks) - len(snapshot.watermarks)
            snapshot.dropped += max(0, version_total(connection) - MOST_VERSIONS)  # at least one each
            snapshot.newest_events = newest_events(connection, list(snapshot.watermarks))
            by_model = open_by_model(connection, MOST_SERIES + 1)
            snapshot.alerts_of_models = dict(by_model[:MOST_SERIES])
            snapshot.dropped += len(by_model) - len(snapshot.alerts_of_models)
            snapshot.service = read_service(connection, context.configuration)
            snapshot.unpaired = unpaired_by_topic(connection, MOST_SERIES)
            snapshot.budget_spent = self._spent(connection)
            shown = self._add_effects(connection, latest, snapshot)
            self._add_quality(connection, latest, shown, snapshot)
            self._add_performance(connection, snapshot)
        return snapshot

    def _spent(self, connection: Connection) -> float:
        """What the windows of the budget's latest period could cost."""
        newest = newest_end_ms(connection)
        if newest is None:
            return 0.0
        period_ms = int(PERIODS_MS[self._context.configuration.alerts.budget.per])
        return math.fsum(row.spent for row in spent(connection, newest - period_ms, newest))

    def _shape_of(self, model: str) -> str:
        return str(self._context.configuration.for_model(model).windows[0])

    def _add_effects(self, connection: Connection, latest: list[Latest], snapshot: Snapshot) -> set[Labels]:
        of = {row.judgement_id: row for row in latest}
        values: dict[Labels, dict[str, float]] = {}
        evidence: dict[tuple[str, str, str, str], float] = {}
        for row in effects(connection, list(of), tuple(EFFECTS)):
            labels = (of[row.judgement_id].model, of[row.judgement_id].version, row.column)
            found = values.setdefault(labels, {})
            if row.evidence_log is not None:
                # Several watches of quality may look at a column: the one that found most.
                known = evidence.get((*labels, row.lane), row.evidence_log)
                evidence[*labels, row.lane] = max(known, row.evidence_log)
            for name in EFFECTS:
                if getattr(row, name) is not None:
                    found.setdefault(name, getattr(row, name))
        shown = sorted(values)[:MOST_SERIES]
        snapshot.dropped += len(values) - len(shown)
        for name in EFFECTS:
            snapshot.effects[name] = {key: values[key][name] for key in shown if name in values[key]}
        kept = set(shown)
        snapshot.evidence = {key: value for key, value in evidence.items() if key[:3] in kept}
        return set(shown)

    def _add_quality(
        self, connection: Connection, latest: list[Latest], shown: set[Labels], snapshot: Snapshot
    ) -> None:
        self._quality = {
            row.judgement_id: self._quality[row.judgement_id]
            for row in latest
            if row.judgement_id in self._quality
        }
        for row in [row for row in latest if row.judgement_id not in self._quality][:NEW_WINDOWS]:
            self._quality[row.judgement_id] = self._shares_of(connection, row)
        snapshot.quality = {name: {} for name in QUALITY}
        for row in latest:
            for column, shares in self._quality.get(row.judgement_id, {}).items():
                labels = (row.model, row.version, column)
                if labels in shown:
                    for name, share in shares.items():
                        snapshot.quality[name][labels] = share

    def _add_performance(self, connection: Connection, snapshot: Snapshot) -> None:
        rows = latest_values(connection, self._shape_of, MOST_VERSIONS)
        snapshot.dropped += max(0, len(rows) - MOST_SERIES)
        for row in rows[:MOST_SERIES]:
            snapshot.performance[row.model, row.version, row.metric, row.kind] = row.value
            if row.coverage is not None:
                snapshot.coverage[row.model, row.version] = row.coverage

    def _shares_of(self, connection: Connection, judged: Latest) -> Shares:
        """Shares of missing, invalid and unseen values of each column of a judged window."""
        if judged.reference_hash is None:
            return {}
        span = Span(judged.model, judged.start_ms, judged.end_ms, judged.version)
        index = slice_index(connection, span, MOST_SLICES + 1)
        if len(index) > MOST_SLICES:
            return {}
        reference = self._context.reference(connection, judged.reference_hash)
        pointer = Pointer(0, judged.reference_hash, reference.binning)
        specs = read_columns(connection, [judged.model]).get((judged.model, judged.version), {})
        rows = slices(connection, [id_ for id_, _ in index])
        profile = merge_slices(rows, specs, pointer, samples=False).profile
        return {
            binned.spec.name: {
                name: number / profile.rows
                for name, number in (
                    ("missing", binned.missing),
                    ("invalid", binned.invalid),
                    ("unseen", binned.unseen),
                )
                if number is not None
            }
            for binned in binned_columns(profile, reference, 0)
            if profile.rows
        }


def _current(latest: Iterable[Latest]) -> list[Latest]:
    """Leave out versions that have had no window for long while others of the model had."""
    rows = list(latest)
    newest: dict[str, int] = {}
    for row in rows:
        newest[row.model] = max(newest.get(row.model, row.end_ms), row.end_ms)
    return [
        row for row in rows if newest[row.model] - row.end_ms <= RETIRED_AFTER * (row.end_ms - row.start_ms)
    ]


def families(snapshot: Snapshot | None) -> list[GaugeMetricFamily]:
    """Write a snapshot as metric families; without one, only what is known without the database."""
    found = [plain("build_info", "Version of the running code.", ["version"], {(code_version(),): 1})]
    state = "Whether the database could be read for the gauges below (1) or not (0)."
    found.append(plain("state_up", state, [], {(): 0 if snapshot is None else 1}))
    known = snapshot or Snapshot()
    marks = {(model,): mark / 1_000 for model, mark in known.watermarks.items()}
    help_text = "Event time before which no more events of a model are waited for."
    found.append(plain("watermark_timestamp_seconds", help_text, ["model"], marks))
    newest = {(model,): at_ms / 1_000 for model, at_ms in known.newest_events.items()}
    text = "Event time of the newest prediction of a model."
    found.append(plain("newest_event_timestamp_seconds", text, ["model"], newest))
    by_column = ["model", "version", "column"]
    for name, text in EFFECTS.items():
        found.append(plain(f"drift_{name}", text, by_column, known.effects.get(name, {})))
    for name, text in QUALITY.items():
        found.append(plain(f"{name}_ratio", text, by_column, known.quality.get(name, {})))
    text = "Natural logarithm of the evidence collected for drift of all rows; an alarm at 0 or more."
    found.append(plain("evidence_log", text, [*by_column, "lane"], known.evidence))
    text = "Measures of performance of the latest window: estimated without labels, realised with them."
    by_metric = ["model", "version", "metric", "kind"]
    found.append(plain("performance_ratio", text, by_metric, known.performance))
    text = "Share of the predictions of the latest judged window that have a label."
    found.append(plain("label_coverage_ratio", text, ["model", "version"], known.coverage))
    text = "Requests and responses that came alone and wait for each other."
    unpaired = {(topic,): number for topic, number in known.unpaired.items()}
    found.append(plain("unpaired_messages", text, ["topic"], unpaired))
    budget = {} if known.budget_spent is None else {(): known.budget_spent}
    text = "False alarms that could be expected of the windows judged in the latest period of the budget."
    found.append(plain("alert_budget_spent", text, [], budget))
    alerts = {} if known.alerts_open is None else {(): known.alerts_open}
    found.append(plain("alerts_open", "Alerts that are firing or acknowledged.", [], alerts))
    text = "Alerts of a model that are firing or acknowledged."
    found.append(plain("model_alerts_open", text, ["model", "lane", "severity"], known.alerts_of_models))
    found += service_families(None if snapshot is None else known.service)
    dropped = {} if snapshot is None else {(): snapshot.dropped}
    text = "Label sets left out of the gauges above because there are too many."
    found.append(plain("series_dropped", text, [], dropped))
    return found
