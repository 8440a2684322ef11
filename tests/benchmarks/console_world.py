"""What makes pages of the console slow: models with many windows, full inboxes and outboxes, dead letters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, insert, text, update

from alerting.alert import step
from alerting.finding import WindowObservation
from alerting.policy import AlertPolicy
from detectors.profile import Profile, profile_batch
from detectors.reference import Reference, build
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.incidents.recording import record
from monitor.references.lifecycle import keep, promote
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate
from monitor.store.tables import judgement, model_column, model_version, reference_pointer, slice_profile
from monitor.telemetry import Telemetry
from schemas.attribution import Attribution, Part, PartKind
from schemas.batch import MISSING, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind, Source
from schemas.duration import format_duration
from tests.alerting.factory import finding, window
from tests.monitor.fleet_world import DAY_MS, END_MS, NOW_MS, Fleet

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
ROWS = 500  # of a slice
VARIANTS = 48  # slices that are made; the others repeat them
SEGMENT, SEGMENTS = "site", 8
PORTION = 2_000


@dataclass(frozen=True)
class Deep:
    """A model with many windows.

    Parameters
    ----------
    name : str
    features : int
        A third of them are categories.
    slice_ms, window_ms : int
    judged_segments : int
        Segments that results are stored of.
    """

    name: str
    features: int
    slice_ms: int
    window_ms: int
    judged_segments: int

    @property
    def numeric(self) -> tuple[ColumnSpec, ...]:
        """Numeric columns; the last two are the score and the latency."""
        some = range(self.features - self.features // 3)
        return (
            *(ColumnSpec(f"number_{i:02}", Kind.NUMERIC) for i in some),
            ColumnSpec("score", Kind.NUMERIC, Source.SCORE),
            ColumnSpec("latency_ms", Kind.NUMERIC, Source.LATENCY),
        )

    @property
    def categorical(self) -> tuple[ColumnSpec, ...]:
        """Columns of categories; the first is the segment."""
        others = (ColumnSpec(f"class_{i:02}", Kind.CATEGORICAL) for i in range(self.features // 3 - 1))
        return (ColumnSpec(SEGMENT, Kind.CATEGORICAL), *others)

    def slice_of(self, at_ms: int, seed: int, reference: Reference | None = None, hash_: str = "") -> Profile:
        """Make a slice of random rows."""
        rng = np.random.default_rng(seed)
        numbers = rng.normal(0.2 * np.sin(seed / 8), 1, (len(self.numeric), ROWS))
        status = np.where(rng.random(numbers.shape) < 0.01, np.uint8(MISSING), np.uint8(OK))
        names = pa.array([f"value {i}" for i in range(SEGMENTS)])
        columns = [
            Categories(rng.integers(0, SEGMENTS, ROWS).astype(np.int32), names) for _ in self.categorical
        ]
        batch = Batch(
            event_ms=np.full(ROWS, at_ms),
            numeric=self.numeric,
            numbers=np.where(status == OK, numbers, 0.0),
            status=status.astype(np.uint8),
            categorical=self.categorical,
            categories=tuple(columns),
            segments={SEGMENT: columns[0]},
        )
        binning = None if reference is None else reference.binning
        return profile_batch(batch, self.slice_ms, binning, hash_)[at_ms]


HOURLY = Deep("hourly", 30, HOUR_MS, HOUR_MS, 4)
MINUTES = Deep("minutes", 12, MINUTE_MS, 5 * MINUTE_MS, 1)

WINDOWS = """WITH RECURSIVE windows(start_ms) AS (SELECT :begin UNION ALL
    SELECT start_ms + :length FROM windows WHERE start_ms + :length < :end) """
JUDGEMENTS = """INSERT INTO judgement (model, version, "window", start_ms, end_ms, revision, rows,
    reference_hash, configuration_hash, code_version, sources, excluded_rows, judged_at_ms)
    SELECT :model, '1', :window, start_ms, start_ms + :length, 1, 5000, :hash, 'c', '0',
    '{"pp": {"0": [[0, 5000]]}}', 0, :end FROM windows"""
OUTCOMES = """INSERT INTO performance_value (model, version, "window", start_ms, segment, kind, metric, value,
    low, high, n, coverage, computed_at_ms)
    SELECT :model, '1', :window, start_ms, segment, kind, metric, 0.9 - start_ms / :length % 7 / 100.0, 0.8,
    0.95, 5000, CASE kind WHEN 'realised' THEN 0.95 END, :end
    FROM windows, (SELECT 'estimated' AS kind UNION ALL SELECT 'realised'),
    (SELECT 'accuracy' AS metric UNION ALL SELECT 'f1' UNION ALL SELECT 'log_loss'),
    (SELECT '' AS segment UNION ALL SELECT :by || '=value 0' UNION ALL SELECT :by || '=value 1')"""
LEDGER = """INSERT INTO ledger (model, version, start_ms, end_ms, reference_hash, models, spent, alarms,
    is_pinned) SELECT :model, '1', start_ms, start_ms + :length, :hash, 1, 0.0001, 0, false FROM windows"""
RESULTS = """INSERT INTO result (judgement_id, model, version, "window", start_ms, revision, "column",
    segment, detector, lane, decision, n, m, statistic, threshold, threshold_source, evidence_log, psi,
    psi_debiased, psi_low, psi_high, moved, explanation, attribution)
    WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i < :segments),
    kinds(detector, lane) AS (VALUES ('edetector', 'features'), ('quality.missing', 'quality'),
    ('quality.unseen', 'quality')),
    judged AS (SELECT *, 0.03 + start_ms / 3600000 % 50 / 1000.0 AS psi FROM judgement WHERE model = :model)
    SELECT j.id, j.model, '1', j."window", j.start_ms, 1, c.name, CASE i WHEN 0 THEN '' ELSE
    :by || '=value ' || (i - 1) END, detector, CASE WHEN c.source = 'feature' THEN lane ELSE
    'predictions' END, CASE WHEN (j.start_ms / 86400000 + length(c.name)) % 23 = 0 THEN 'ongoing' ELSE 'ok'
    END, 5000, 90000, 0.1, 0.2, 'policy', 1.5, psi, psi - 0.01, psi - 0.02, psi + 0.02,
    '[{"label": "[0.1, 0.5)", "reference_share": 0.1, "share": 0.12, "psi": 0.001}]',
    c.name || ': PSI of the window beside the reference, and what moved in it, in a sentence of usual length',
    CASE WHEN c.source = 'score' AND i = 0 AND detector = 'edetector' THEN :attribution END
    FROM judged j JOIN model_column c ON c.model = j.model, number, kinds
    WHERE i = 0 OR detector = 'edetector'"""
MESSAGES = """INSERT INTO outbox (id, alert_id, sequence, receiver, payload, state, attempts, not_before_ms,
    lease_until_ms, created_at_ms, finished_at_ms)
    WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :messages),
    one AS (SELECT payload FROM outbox LIMIT 1)
    SELECT printf('%064x', i), 'a' || (i / 9), i % 9, CASE i % 3 WHEN 0 THEN 'hook' WHEN 1 THEN 'oncall' ELSE
    'chat' END, payload, CASE WHEN i % 50 = 1 THEN 'dead' WHEN i % 50 = 2 THEN 'waiting' ELSE 'delivered' END,
    1, :now - 60000 * i, 0, :now - 60000 * i, CASE WHEN i % 50 = 2 THEN NULL ELSE :now - 60000 * i END
    FROM number, one"""
LETTERS = """INSERT INTO dead_letter (topic, partition, "offset", kind, reason, value, value_bytes, headers,
    stored_at_ms, status, relayed_at_ms)
    WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :letters)
    SELECT 'topic-' || (i % 4), i % 8, i, CASE WHEN i % 1000 = 7 THEN 'future' ELSE 'undecodable' END,
    CASE WHEN i % 20000 = 11 THEN 'a rare reason' ELSE
    'not JSON: unexpected character in column ' || (i % 40) END,
    zeroblob(500), 500, '[]', :now - 20000 * (:letters - i), CASE WHEN i % 5000 = 3 THEN 'marked'
    ELSE 'waiting' END, :now FROM number"""
PARTITIONS = """INSERT INTO partition_state (topic, partition, kind, topic_id, epoch, owner_token,
    next_offset, fetched, counted, late, future, dead_lettered, duplicates, reached_end, seen_at_ms)
    WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i < 31)
    SELECT 'topic-' || (i % 4), i / 4, 'predictions', '', 1, '', 0, 0, 0, 0, 0, 0, 0, true, :now
    FROM number"""

REFERENCES = """INSERT INTO reference (hash, bytes, rows, metadata, created_at_ms)
    WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :number)
    SELECT printf('%064x', i), zeroblob(20000), 1000, '{"source": "stream"}', :now - 1000 * i FROM number"""
BACKLOG = """UPDATE window_state SET touched = touched + 1
    WHERE start_ms = :newest AND substr(model, -1) IN ('0', '2', '4', '6', '8')"""


def attribution(deep: Deep) -> str:
    """Say where a change of the score comes from, as it is stored with a result."""
    features = [one.name for one in (*deep.numeric[:-2], *deep.categorical)]
    parts = tuple(
        Part(
            PartKind.FEATURE,
            name,
            0.001 * i,
            0.0005 * i,
            0.002 * i,
            0.001,
            0.001,
            f"more rows with {name} >= 1",
        )
        for i, name in enumerate(features)
    )
    made = Attribution("score", 500, 5_000, 0.2, 0.25, 0.05, 0.04, 0.06, parts, 0.001, "the mean score rose")
    return json.dumps(asdict(made))


def configured(url: str) -> Configuration:
    """Name what the worlds here hold."""
    hook = {"type": "webhook", "url": "https://example.org/hook", "secret_env": "HOOK"}
    models = {
        one.name: {
            "slice": format_duration(one.slice_ms), "segments": [SEGMENT],
            "windows": [format_duration(one.window_ms), "1d"], "performance": {"metric": "f1", "slo": 0.5},
        }
        for one in (HOURLY, MINUTES)
    }  # fmt: skip
    streams = [{"topic": name, "kind": "predictions"} for name in ("pp", *(f"topic-{i}" for i in range(4)))]
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:1"},
            "database_url": url,
            "streams": streams,
            "models": models,
            "receivers": {"hook": hook, "oncall": hook, "chat": hook},
            "alerts": {
                "routes": [{"match": {}, "to": ["hook"]}],
                "group": {"wait": "0s", "across_models": False},
            },
        }
    )


class DeepWorld:
    """A database with the models `HOURLY` and `MINUTES`, over some days.

    Parameters
    ----------
    url : str
        Of SQLite.
    days : int
    """

    def __init__(self, url: str, days: int) -> None:
        self.engine, self.clock, self.telemetry = engines.create(url), ManualClock(NOW_MS), Telemetry()
        self.configuration, self.days = configured(url), days
        schema.upgrade(self.engine)

    def fill(self) -> None:
        """Write both models."""
        for deep in (HOURLY, MINUTES):
            with immediate(self.engine) as connection:
                self._fill(connection, deep)

    def _fill(self, connection: Connection, deep: Deep) -> None:
        begin_ms = END_MS - self.days * DAY_MS
        before = {at: deep.slice_of(at, i) for i, at in enumerate(self._starts(deep, begin_ms, VARIANTS))}
        made = build(before, slice_ms=deep.slice_ms, window_ms=deep.window_ms, segments=(SEGMENT,))
        keep(connection, made, {"source": "stream"}, begin_ms)
        promote(connection, (deep.name, "1"), made.hash, from_ms=begin_ms, by="ann", now_ms=begin_ms)
        about = {"model": deep.name, "version": "1"}
        version = {**about, "role": "champion", "first_slice_ms": begin_ms, "created_at_ms": begin_ms}
        connection.execute(insert(model_version), version)
        columns = (*deep.numeric, *deep.categorical)
        connection.execute(
            insert(model_column),
            [{**about, "name": s.name, "kind": s.kind.value, "source": s.source.value} for s in columns],
        )
        parts = [deep.slice_of(begin_ms, 100 + i, made, made.hash).to_bytes() for i in range(VARIANTS)]
        sliced = {**about, "reference_hash": made.hash, "rows": ROWS, "sources": "{}"}
        starts = range(begin_ms, END_MS, deep.slice_ms)
        for first in range(0, len(starts), PORTION):
            rows = [
                {**sliced, "slice_ms": at, "bytes": parts[at // deep.slice_ms % VARIANTS]}
                for at in starts[first : first + PORTION]
            ]
            connection.execute(insert(slice_profile), rows)
        values = {
            **about, "window": format_duration(deep.window_ms), "begin": begin_ms, "end": END_MS,
            "length": deep.window_ms, "hash": made.hash, "by": SEGMENT, "segments": deep.judged_segments,
            "attribution": attribution(deep),
        }  # fmt: skip
        for statement in (JUDGEMENTS, OUTCOMES, LEDGER):
            run(connection, statement, values, WINDOWS)
        run(connection, RESULTS, values)

    @staticmethod
    def _starts(deep: Deep, end_ms: int, number: int) -> list[int]:
        return [end_ms - (number - i) * deep.slice_ms for i in range(number)]


class TroubledWorld:
    """A database with many incidents, messages and dead letters.

    Parameters
    ----------
    url : str
        Of SQLite.
    incidents, findings, messages, letters : int
        How many; `findings` of the incident of the model ``wide``.
    """

    def __init__(self, url: str, *, incidents: int, findings: int, messages: int, letters: int) -> None:
        self.engine, self.clock, self.telemetry = engines.create(url), ManualClock(NOW_MS), Telemetry()
        self.configuration = configured(url)
        self._numbers = {"messages": messages, "letters": letters, "now": NOW_MS}
        self._incidents, self._findings = incidents, findings
        self.wide = ""
        schema.upgrade(self.engine)

    def fill(self) -> None:
        """Write everything."""
        with immediate(self.engine) as connection:
            for number in range(self._incidents):
                self._open(connection, window(number % 50, [f"column {number}"], model=f"model-{number:05}"))
            found = [finding(f"column {i % 60}", segment="" if i < 60 else f"site=value {i // 60}")
                     for i in range(self._findings)]  # fmt: skip
            self.wide = self._open(connection, window(0, found, model="wide"))
            for statement in (MESSAGES, LETTERS, PARTITIONS):
                run(connection, statement, self._numbers)

    def _open(self, connection: Connection, observation: WindowObservation) -> str:
        alert, changes = step(None, observation, AlertPolicy())
        if alert is None:
            msg = f"{observation.model}: no alert was opened"
            raise RuntimeError(msg)
        record(connection, self.configuration, alert, changes, NOW_MS)
        return alert.id


def fill_references(fleet: Fleet, number: int) -> str:
    """Let all versions of a fleet use one reference, and store others that nobody uses; its hash."""
    slices = {i * HOUR_MS: HOURLY.slice_of(i * HOUR_MS, i) for i in range(VARIANTS)}
    made = build(slices, slice_ms=HOUR_MS, window_ms=HOUR_MS, segments=(SEGMENT,))
    with immediate(fleet.engine) as connection:
        keep(connection, made, {"source": "stream", "model": "model-00001"}, NOW_MS)
        connection.execute(update(reference_pointer).values(hash=made.hash))
        connection.execute(update(judgement).values(reference_hash=made.hash))
        run(connection, REFERENCES, {"number": number, "now": NOW_MS})
    return made.hash


def fill_backlog(fleet: Fleet) -> None:
    """Let the newest window of every second model wait to be judged."""
    with immediate(fleet.engine) as connection:
        run(connection, BACKLOG, {"newest": END_MS - DAY_MS})


def run(connection: Connection, statement: str, values: Mapping[str, object], series: str = "") -> None:
    """Execute a statement with those of the values that it names, a series of rows before its SELECT."""
    target, separator, rest = statement.partition("SELECT")
    whole = f"{target}{series}{separator}{rest}" if series else statement
    connection.execute(text(whole), {name: value for name, value in values.items() if f":{name}" in whole})
