"""A world of predictions and labels for tests: real ingest, both judges, and a clock turned by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from sqlalchemy import text

from detectors.outcome_reference import OutcomeReference
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.ingest import Ingest
from monitor.judging.judge import Judge
from monitor.judging.judgements import Due, Judged
from monitor.performance.judge import OutcomeJudge
from monitor.performance.references import OutcomeReferences
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.positions import ensure_counters
from monitor.telemetry import Telemetry
from schemas.window import WindowSpec

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
WINDOW = 10  # minutes
WAIT = 5  # minutes that labels are waited for
SHAPE = "10m+5m"
LEARNED = 60  # minutes of the reference


class OutcomeWorld:
    """One ingest process, both judges, a broker in memory and a clock that is turned by hand.

    Parameters
    ----------
    url : str
        Of an empty database.
    members : int
        Ingest processes.
    partitions : int
        Of each topic.
    more
        Further defaults of models; `alerts`, `models` and `keep` are sections of their own.
    """

    def __init__(
        self,
        url: str,
        *,
        members: int = 1,
        partitions: int = 1,
        alerts: dict[str, Any] | None = None,
        models: dict[str, Any] | None = None,
        keep: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.clock = ManualClock(START_MS + 30 * 86_400_000)
        self.engine = engines.create(url)
        schema.upgrade(self.engine)
        ensure_counters(self.engine)
        self.configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": url,
                "streams": [{"topic": "pp", "kind": "predictions"}, {"topic": "ll", "kind": "labels"}],
                "defaults": {
                    "windows": ["10m"], "slice": "5m", "lateness": "1m", "horizon": "60d",
                    "reference": {"first": "1h"}, "labels": {"wait": "5m", "horizon": "2h"},
                    "segments": ["origin"], **more,
                },
                "models": models or {},
                "alerts": {"routes": [{"match": {}, "to": ["hook"]}], **(alerts or {})},
                "receivers": {
                    "hook": {"type": "webhook", "url": "https://example.org/x", "secret_env": "HOOK"}
                },
                "ingest": {"workers": 1},
                "keep": keep or {},
            }
        )  # fmt: skip
        self.broker = MemoryBroker()
        self.partitions = partitions
        for topic in ("pp", "ll"):
            self.broker.create_topic(topic, partitions)
        self.parts = (self.engine, self.clock, Telemetry())
        self.members = []
        for _ in range(members):
            source = MemorySource(self.broker, self.clock)
            self.members.append(Ingest(self.configuration, self.engine, source, *self.parts[1:]))
            self.members[-1].begin()
        self.judge = Judge(self.configuration, *self.parts)
        self.outcomes = OutcomeJudge(self.configuration, *self.parts)
        self.rng = np.random.default_rng(7)
        self.sent = 0
        self.serial = 0

    # --- events ---------------------------------------------------------------------------------------------

    def send(self, first_minute: int, minutes: int, **options: Any) -> list[dict[str, Any]]:
        """Produce predictions of consecutive minutes with their labels, and take them in; see `predict`."""
        found = self.predict(first_minute, minutes, **options)
        self.tell(found)
        self.take_in()
        return found

    def predict(
        self,
        first_minute: int,
        minutes: int,
        *,
        wrong: float = 0.1,
        labelled: float = 0.9,
        delay: tuple[int, int] = (20, 200),
        per_minute: int = 8,
        model: str = "churn",
        version: str = "1",
        role: str = "champion",
        outputs: Callable[[np.random.Generator], tuple[dict[str, Any], Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """Produce predictions; returns the labels that are to come, None where there is none.

        Parameters
        ----------
        wrong : float
            Share of wrong predictions.
        labelled : float
            Share of predictions with a label.
        delay : tuple of int
            Least and largest delay of the labels, seconds.
        outputs : callable, optional
            Draws a prediction's outputs and its label; default: one of two classes without a score.
        """
        labels: list[dict[str, Any]] = []
        for i in range(minutes * per_minute):
            at_ms = START_MS + first_minute * MINUTE_MS + i * MINUTE_MS // per_minute
            made, truth = outputs(self.rng) if outputs else self._class(wrong)
            event = {
                "event_id": f"e{self.serial}", "model": model, "version": version, "role": role,
                "timestamp": at_ms, **made,
                "features": {"age": int(self.rng.integers(20, 60)), "origin": "EWR" if i % 2 else "JFK"},
            }  # fmt: skip
            self.append("pp", event)
            label_ms = at_ms + 1_000 * int(self.rng.integers(*delay))
            label = {"event_id": event["event_id"], "model": model, "timestamp": label_ms, "label": truth}
            if self.rng.random() < labelled:
                labels.append(label)
            self.serial += 1
        return labels

    def _class(self, wrong: float) -> tuple[dict[str, Any], Any]:
        truth = int(self.rng.random() < 0.4)
        return {"prediction": 1 - truth if self.rng.random() < wrong else truth}, truth

    def tell(self, labels: list[dict[str, Any]], **changed: Any) -> None:
        """Produce labels."""
        for label in labels:
            self.append("ll", {**label, **changed})

    def correct(self, labels: list[dict[str, Any]], *, right: bool, later_ms: int = 1_000) -> None:
        """Say all labels once more, a bit later and the other way round or as they are."""
        for label in labels:
            said = label["label"] if right else 1 - label["label"]
            self.append("ll", {**label, "timestamp": label["timestamp"] + later_ms, "label": said})

    def append(self, topic: str, event: dict[str, Any]) -> None:
        """Produce one event."""
        partition = sum(str(event["event_id"]).encode()) % self.partitions
        self.broker.append(topic, partition, json.dumps(event).encode(), timestamp_ms=self.clock.now_ms())
        self.sent += 1

    def beat(self, minute: int, *topics: str, model: str = "churn") -> None:
        """Let the time of topics come to a minute, by a single event in each partition."""
        for topic in topics or ("pp", "ll"):
            for partition in range(self.partitions):
                event: dict[str, Any] = {
                    "event_id": f"beat{self.serial}", "model": model,
                    "timestamp": START_MS + minute * MINUTE_MS,
                }  # fmt: skip
                what = {"version": "1", "prediction": 0, "features": {"age": 40, "origin": "EWR"}}
                value = json.dumps(event | (what if topic == "pp" else {"label": 0})).encode()
                self.broker.append(topic, partition, value, timestamp_ms=self.clock.now_ms())
                self.serial += 1
                self.sent += 1
        self.take_in()

    def take_in(self) -> None:
        """Fetch all there is, and commit."""
        for _ in range(300):
            for member in self.members:
                member.step()
                member.commit()
            if self.rows("SELECT sum(next_offset) FROM partition_state") == [(self.sent,)]:
                break
            self.clock.advance(10)

    def idle(self, minutes: int) -> None:
        """Let time pass while nothing comes."""
        for _ in range(minutes):
            self.clock.advance(MINUTE_MS)
            for member in self.members:
                member.step()
                member.commit()

    # --- judging --------------------------------------------------------------------------------------------

    def sweep(self) -> list[Judged]:
        """Let both judges look; what was judged of outcomes."""
        self.judge.sweep()
        return self.outcomes.sweep()

    def judged(self) -> list[int]:
        """Minutes of the windows whose outcomes are judged by a sweep."""
        return [(one.due.start_ms - START_MS) // MINUTE_MS for one in self.sweep()]

    def reference(self) -> OutcomeReference:
        """Reference of outcomes of the model."""
        with reading(self.engine) as connection:
            found = OutcomeReferences(self.engine, self.configuration.folder).of(connection, ("churn", "1"))
        return found[0]

    def due(self, minute: int) -> Due:
        """A window as it stands now, to be judged."""
        ((touched, judged, revision),) = self.rows(
            f"SELECT touched, judged, revision FROM outcome_window WHERE start_ms = {at(minute)}"
        )
        return Due(
            ("churn", "1"), WindowSpec.parse("10m"), at(minute), touched, judged, revision, f"+{WAIT}m"
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with reading(self.engine) as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def said(self) -> list[tuple[Any, ...]]:
        """All results of outcomes."""
        return self.rows(
            'SELECT start_ms, "column", segment, revision, lane, decision, n, m, statistic, evidence_log, '
            f"budget, onset_at_ms, explanation, moved FROM result WHERE \"window\" = '{SHAPE}' "
            'ORDER BY start_ms, "column", segment, revision'
        )

    def decision(self, minute: int, column: str, revision: int = 1, segment: str = "") -> str:
        """Decision on one stream."""
        ((found,),) = self.rows(
            f"SELECT decision FROM result WHERE \"window\" = '{SHAPE}' AND \"column\" = '{column}' "
            f"AND segment = '{segment}' AND start_ms = {at(minute)} AND revision = {revision} "
            "AND detector NOT IN ('ddm', 'adwin')"
        )
        return str(found)

    def alerts(self, kind: str = "performance") -> list[tuple[Any, ...]]:
        """Lane, severity and state of incidents of a kind."""
        return self.rows(
            f"SELECT lane, severity, state FROM alert WHERE kind = '{kind}' ORDER BY opened_at_ms"
        )

    def close(self) -> None:
        """End all members."""
        for member in self.members:
            member.leave()
        self.engine.dispose()


def at(minute: int) -> int:
    """Epoch milliseconds of a minute of the test."""
    return START_MS + minute * MINUTE_MS
