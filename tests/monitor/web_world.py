"""A database filled the way the service fills it, and the API over it."""

import json
from dataclasses import asdict, fields

import numpy as np
import pyarrow as pa
from sqlalchemy import insert

from alerting.alert import step
from alerting.policy import AlertPolicy
from detectors.catalog import build as build_detector
from detectors.profile import Profile, profile_batch
from detectors.reference import build
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.incidents.recording import record
from monitor.judging.merging import merge_slices
from monitor.profiling import Pointer
from monitor.references.lifecycle import keep, promote
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.committing import Commit, PartitionDelta, SliceDelta, commit
from monitor.store.engine import immediate
from monitor.store.positions import Place, claim
from monitor.store.tables import judgement, result, slice_profile
from monitor.telemetry import Telemetry
from schemas.batch import INVALID, MISSING, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind, Source
from schemas.verdict import Effects
from tests.alerting.factory import play, window

MINUTE = 60_000
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOW_MS = START_MS + 3 * 3_600_000
X, SCORE, C = (
    ColumnSpec("x", Kind.NUMERIC),
    ColumnSpec("score", Kind.NUMERIC, Source.SCORE),
    ColumnSpec("c", Kind.CATEGORICAL),
)
ROWS = 100


def configuration(url="sqlite:///unused.db", **more):
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:1"},
            "database_url": url,
            "streams": [{"topic": "pp", "kind": "predictions"}],
            "defaults": {"windows": ["10m", "1h"], "lateness": "1m", "segments": ["c"]},
            "receivers": {
                "hook": {"type": "webhook", "url": "https://example.org/hook", "secret_env": "HOOK"}
            },
            "alerts": {"routes": [{"match": {}, "to": ["hook"]}]},
            **more,
        }
    )


def batch(minute, rows=ROWS, shift=0.0):
    """`rows` events of one minute: 4 missing and 2 invalid values of x."""
    rng = np.random.default_rng(minute)
    status = np.zeros((2, rows), np.uint8)
    status[0, :4], status[0, 4:6] = MISSING, INVALID
    numbers = np.vstack([rng.normal(shift, 1, rows), rng.random(rows)])
    categories = Categories(rng.integers(0, 3, rows).astype(np.int32), pa.array(["a", "b", "<b>&"]))
    return Batch(
        event_ms=np.full(rows, START_MS + minute * MINUTE),
        numeric=(X, SCORE),
        numbers=np.where(status == OK, numbers, 0.0),
        status=status,
        categorical=(C,),
        categories=(categories,),
        segments={"c": categories},
    )


class World:
    """Commits, references, judged windows and alerts in one database."""

    def __init__(self, url, **options):
        self.engine = engines.create(url)
        schema.upgrade(self.engine)
        self.clock = ManualClock(NOW_MS)
        self.telemetry = Telemetry()
        self.configuration = configuration(url, **options)
        self.pointers: dict[tuple[str, str], Pointer] = {}
        self.references = {}
        self._claim = claim(
            self.engine, Place("pp", 0), kind="predictions", topic_id="", low=0, high=0, start_at_end=False,
            now_ms=NOW_MS,
        )  # fmt: skip
        self._offset = self._seen = 0

    def add(self, minutes, model="m", version="1", *, dead=(), **options):
        """Commit one slice for each minute, counted on the bins of the version's reference if it has one."""
        pointer = self.pointers.get((model, version))
        binning, hash_ = (pointer.binning, pointer.hash) if pointer else (None, "")
        parts, specs, newest = [], {}, 0
        for minute in minutes:
            for slice_ms, profile in profile_batch(batch(minute, **options), MINUTE, binning, hash_).items():
                parts.append(SliceDelta(model, version, slice_ms, hash_, profile.rows, profile.to_bytes()))
                specs = {name: summary.spec for name, summary in profile.summaries.items()}
                newest = max(newest, slice_ms)
        rows = sum(part.rows for part in parts)
        delta = PartitionDelta(self._claim, self._offset, self._offset + rows + len(dead), rows + len(dead))
        delta.outcomes |= {"counted": rows, "dead_lettered": len(dead)}
        delta.max_event_ms = newest or None
        delta.models = {model: (newest, NOW_MS)} if parts else {}
        work = Commit(
            [delta],
            slices=parts,
            versions=[
                {"model": model, "version": version, "role": "champion", "first_slice_ms": parts[0].slice_ms,
                 "created_at_ms": NOW_MS}
            ] if parts else [],
            columns=[
                {"model": model, "version": version, "name": s.name, "kind": s.kind.value,
                 "source": s.source.value, "path": None}
                for s in specs.values()
            ],
            dead_letters=[
                {"topic": "pp", "partition": 0, "offset": self._offset + rows + i, "kind": kind,
                 "reason": "why", "key": None, "value": value[:1_048_576], "value_bytes": len(value),
                 "headers": json.dumps([["h", "aGk="], ["none", None]]), "timestamp_ms": NOW_MS,
                 "stored_at_ms": NOW_MS}
                for i, (kind, value) in enumerate(dead)
            ],
            references_seen=self._seen,
        )  # fmt: skip
        commit(self.engine, work, now_ms=NOW_MS)
        self._offset = delta.next_offset

    def learn(self, minutes, model="m", version="1", **options):
        """Make a reference of some minutes and promote it for the slices after them."""
        slices: dict[int, Profile] = {}
        for minute in minutes:
            slices |= profile_batch(batch(minute, **options), MINUTE)
        new = build(slices, slice_ms=MINUTE, window_ms=10 * MINUTE, segments=("c",))
        from_ms = max(slices) + MINUTE
        with immediate(self.engine) as connection:
            keep(connection, new, {"source": "stream"}, NOW_MS + self._seen)
            promote(
                connection, (model, version), new.hash, from_ms=from_ms, by="ann", now_ms=NOW_MS + self._seen
            )
        self._seen += 1
        self.pointers[model, version] = Pointer(from_ms, new.hash, new.binning)
        self.references[new.hash] = new
        return new

    def judge(self, minute, model="m", version="1", revision=1):
        """Judge the ten minutes from a minute on, with the real detector."""
        start_ms, pointer = START_MS + minute * MINUTE, self.pointers[model, version]
        end_ms = start_ms + 10 * MINUTE
        with immediate(self.engine) as connection:
            found = connection.execute(
                slice_profile.select().where(
                    slice_profile.c.model == model, slice_profile.c.version == version,
                    slice_profile.c.slice_ms >= start_ms, slice_profile.c.slice_ms < end_ms,
                )
            ).all()  # fmt: skip
            merged = merge_slices(found, {}, pointer)
            reference = self.references[pointer.hash]
            verdicts = build_detector("psi", {}).judge(
                reference.tensor, pointer.binning.tensor(merged.profile.counts)
            )
            identity = {
                "model": model, "version": version, "window": "10m", "start_ms": start_ms,
                "revision": revision,
            }  # fmt: skip
            id_ = connection.execute(
                insert(judgement).values(
                    **identity, end_ms=end_ms, rows=merged.rows, reference_hash=pointer.hash,
                    configuration_hash="f" * 64, code_version="0", sources=json.dumps(merged.sources),
                    excluded_rows=0, judged_at_ms=NOW_MS,
                )
            ).inserted_primary_key.id  # fmt: skip
            connection.execute(insert(result), [_row(id_, identity, v) for v in verdicts])
        return merged

    def alert(self, model="m", index=0):
        """Open an alert, with the message that its route asks for."""
        observation = window(index, ["x", "score"], model=model)
        made, changes = step(None, observation, AlertPolicy())
        assert made is not None
        with immediate(self.engine) as connection:
            record(connection, self.configuration, made, changes, NOW_MS)
        return made

    def resolved_alert(self, index):
        made, changes = play(window(index, ["x"]), *(window(index + i) for i in range(1, 4)))
        with immediate(self.engine) as connection:
            record(connection, self.configuration, made, changes, NOW_MS)
        return made


def _row(judgement_id, identity, verdict):
    names = ("column", "segment", "detector", "n", "m", "statistic", "threshold", "threshold_source",
             "explanation", "evidence_log")  # fmt: skip
    return {
        **identity,
        "judgement_id": judgement_id,
        **{name: getattr(verdict, name) for name in names},
        "lane": verdict.lane.value,
        "decision": verdict.decision.value,
        **({f.name: None for f in fields(Effects)} if verdict.effects is None else asdict(verdict.effects)),
        "moved": json.dumps([asdict(moved) for moved in verdict.moved]),
    }
