"""A fleet of any size in a database, written in bulk: what pages read, not what detectors make of it."""

from dataclasses import dataclass

from sqlalchemy import text

from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate
from monitor.telemetry import Telemetry

DAY_MS = 86_400_000
END_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOW_MS = END_MS + 3_600_000

# Models are numbered from 0 on. Every 8th has an open incident (severity, state by turns), every 9th has no
# reference yet, every 11th has been silent for 3 days, every 10th has a second version.
STATEMENTS = (
    """INSERT INTO partition_state (topic, partition, kind, topic_id, epoch, owner_token, next_offset,
    fetched,
    counted, late, future, dead_lettered, duplicates, reached_end, seen_at_ms)
    SELECT CASE p / 8 WHEN 0 THEN 'pp' ELSE 'll' END, p % 8,
    CASE p / 8 WHEN 0 THEN 'predictions' ELSE 'labels' END,
    '', 1, '', 0, 0, 0, 0, 0, 0, 0, true, :now FROM parts""",
    """INSERT INTO partition_model (topic, partition, model, max_event_ms, arrived_at_ms)
    SELECT 'pp', p, name, :now - 1000 * p - 60000 * (i % 30) - (i % 11 = 5) * 3 * 86400000,
    :now - 1000 * p - 60000 * (i % 30) - (i % 11 = 5) * 3 * 86400000 FROM models, parts WHERE p < 8""",
    """INSERT INTO model_version (model, version, role, first_slice_ms, created_at_ms)
    SELECT name, '1', 'champion', :begin, :begin FROM models
    UNION ALL SELECT name, '2', 'challenger', :begin, :begin FROM models WHERE i % 10 = 0""",
    """INSERT INTO reference_pointer (model, version, revision, hash, from_ms, promoted_at_ms, promoted_by)
    SELECT v.model, v.version, 1, 'h', :begin, :begin, 'ann'
    FROM model_version v JOIN models m ON m.name = v.model
    WHERE i % 9 != 7""",
    """INSERT INTO slice_profile (model, version, slice_ms, reference_hash, rows, sources, bytes)
    SELECT model, version, start_ms, 'h', 1000, '{}', zeroblob(200) FROM model_version, windows""",
    """INSERT INTO window_state (model, version, "window", start_ms, end_ms, touched, judged, revision)
    SELECT model, version, :window, start_ms, start_ms + :length, 1, 1, 1 FROM model_version, windows""",
    """INSERT INTO judgement (model, version, "window", start_ms, end_ms, revision, rows, reference_hash,
    configuration_hash, code_version, sources, excluded_rows, judged_at_ms)
    SELECT model, version, :window, start_ms, start_ms + :length, 1, 1000 + i % 100, 'h', 'c', '0',
    '{"pp": {"0": [[0, 1000]]}}', 0, :now
    FROM model_version v JOIN models m ON m.name = v.model, windows WHERE i % 9 != 7""",
    """INSERT INTO result (judgement_id, model, version, "window", start_ms, revision, "column", segment,
    detector,
    lane, decision, n, m, statistic, threshold, threshold_source, moved, explanation)
    SELECT id, model, version, "window", start_ms, 1, 'x', '', 'psi', 'features', 'ok', 1, 1, 0, 0, '',
    '[]', ''
    FROM judgement""",
    """INSERT INTO ledger (model, version, start_ms, end_ms, reference_hash, models, spent, alarms,
    is_pinned)
    SELECT model, version, start_ms, end_ms, 'h', 1, 0.00001, 0, false FROM judgement""",
    """INSERT INTO outcome_ledger (model, version, start_ms, end_ms, reference_hash, models, spent,
    alarms, is_pinned)
    SELECT model, version, start_ms, end_ms, 'h', 1, 0.000005, 0, false FROM judgement""",
    """INSERT INTO outcome_window (model, version, "window", start_ms, end_ms, touched, judged,
    estimated, revision)
    SELECT model, version, "window", start_ms, end_ms, 1, start_ms < :labelled, 1, 1 FROM judgement""",
    """INSERT INTO performance_value (model, version, "window", start_ms, segment, kind, metric, value,
    n, coverage,
    computed_at_ms)
    SELECT model, version, "window", start_ms, '', kind, metric, 0.9 - (start_ms / :length) % 7 / 100.0,
    1000,
    CASE kind WHEN 'realised' THEN 0.95 END, :now
    FROM judgement, (SELECT 'estimated' AS kind UNION ALL SELECT 'realised'),
    (SELECT 'accuracy' AS metric UNION ALL SELECT 'f1') WHERE kind = 'estimated' OR start_ms < :labelled""",
    """INSERT INTO alert (id, model, version, kind, lane, severity, state, "column", segment, opened_at_ms,
    updated_at_ms, closed_at_ms, window_start_ms, window_end_ms, sequence, summary, state_bytes)
    SELECT 'open' || i, name, '1', 'drift', 'features', severity, state, 'x', '', :end - day, :now, NULL,
    :end - 3 * day, :end - day, 1, name || ' v1: x drifted', zeroblob(0) FROM troubled
    UNION ALL SELECT 'over' || k || '-' || i, name, '1', 'drift', 'features',
    CASE i % 3 WHEN 0 THEN 'page' WHEN 1 THEN 'warn' ELSE 'info' END, 'resolved', 'x', '',
    :end - 20 * k * day,
    :now, :end - (20 * k - 1) * day, :end - 20 * k * day, :end - (20 * k - 1) * day, 2,
    name || ' v1: x drifted',
    zeroblob(0) FROM models, (SELECT 1 AS k UNION ALL SELECT 2 UNION ALL SELECT 3), days WHERE i % 4 = 1""",
    """INSERT INTO incident (id, model, version, kind, severity, state, start_ms, latest_start_ms,
    opened_at_ms,
    closed_at_ms, updated_at_ms, sequence, summary, record_bytes)
    SELECT id, model, version, kind, severity, state, window_start_ms, window_start_ms, opened_at_ms,
    closed_at_ms,
    updated_at_ms, 1, summary, zeroblob(0) FROM alert""",
    "INSERT INTO incident_alert (alert_id, incident_id, model) SELECT id, id, model FROM alert",
    """INSERT INTO dead_letter (topic, partition, "offset", kind, reason, value, value_bytes, headers,
    stored_at_ms)
    SELECT 'pp', 0, i, 'undecodable', 'why', zeroblob(500), 500, '[]', :now - i * 600000 FROM models""",
)
SERIES = """WITH RECURSIVE
    numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < :models),
    models AS (SELECT i, 'model-' || substr('00000' || i, -5) AS name FROM numbers),
    parts(p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM parts WHERE p < 15),
    days AS (SELECT 86400000 AS day),
    windows(start_ms) AS (SELECT :begin UNION ALL SELECT start_ms + :length FROM windows
        WHERE start_ms + :length < :end),
    troubled AS (SELECT i, name, day,
    CASE i / 8 % 3 WHEN 0 THEN 'page' WHEN 1 THEN 'warn' ELSE 'info' END AS severity,
        CASE i / 24 % 3 WHEN 0 THEN 'firing' WHEN 1 THEN 'pending' ELSE 'acknowledged' END AS state
        FROM models, days WHERE i % 8 = 3) """


@dataclass
class Fleet:
    """A database with many models; SQLite, without statistics on its tables, as the service leaves them."""

    url: str
    models: int
    days: int
    window: str = "1d"
    length_ms: int = DAY_MS

    def __post_init__(self):
        self.engine, self.clock, self.telemetry = engines.create(self.url), ManualClock(NOW_MS), Telemetry()
        self.configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "127.0.0.1:1"},
                "database_url": self.url,
                "streams": [{"topic": "pp", "kind": "predictions"}, {"topic": "ll", "kind": "labels"}],
                "defaults": {"slice": "1h", "windows": [self.window]},
                "models": {"model-00001": {"performance": {"metric": "f1", "slo": 0.5}}},
            }
        )
        schema.upgrade(self.engine)

    def fill(self):
        values = {
            "models": self.models, "begin": END_MS - self.days * DAY_MS, "end": END_MS, "now": NOW_MS,
            "length": self.length_ms, "window": self.window, "labelled": END_MS - 2 * DAY_MS,
        }  # fmt: skip
        with immediate(self.engine) as connection:
            for statement in STATEMENTS:
                target, separator, rest = statement.partition("SELECT")
                used = {name: value for name, value in values.items() if f":{name}" in SERIES + statement}
                connection.execute(text(f"{target}{SERIES}{separator}{rest}"), used)
