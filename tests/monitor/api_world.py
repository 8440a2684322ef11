"""One database with something of everything that the API tells of, and the application over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from fastapi import FastAPI
from sqlalchemy import Engine, delete, select, update

from alerting.alert import step
from alerting.policy import Match
from alerting.retraining.catalog import targets
from alerting.silences import Silence
from monitor.config import Configuration
from monitor.door import Door, Sent
from monitor.incidents.recording import record
from monitor.store import silences
from monitor.store.alerts import load_for
from monitor.store.engine import immediate, reading
from monitor.store.tables import incident, outbox, reference_pointer, retraining_run
from monitor.web.app import create_app
from tests.alerting.factory import window
from tests.alerting.retraining.factory import placed
from tests.monitor.outcome_world import START_MS, OutcomeWorld

HOSTILE = "a/b <i>é</i>"
LEARNED, JUDGED = 60, 40  # minutes
OTHERS = [f"p{number}" for number in range(10)]  # models with an incident each
HOUR_MS = 3_600_000
HOOK = {"type": "webhook", "url": "https://example.org/hook", "secret_env": "HOOK"}
CHURN = {
    "task": "binary_classification",
    "positive_label": 1,
    "columns": {"age": {"min": 0, "max": 58}},
    "performance": {"metric": "recall", "slo": 0.5},
}
DEFAULTS = {"windows": ["10m"], "slice": "5m", "lateness": "1m", "horizon": "60d", "segments": ["origin"]}


class Accepting:
    """A way into Kafka that takes everything."""

    def send(self, topic: str, messages: Sequence[Sent]) -> None:
        """Take messages."""


class ApiWorld:
    """Predictions and labels of two versions, judged; alerts, messages, requests for training, dead letters.

    Parameters
    ----------
    url : str
        Of an empty database.
    http : dict
        Options of the section `http`.
    """

    def __init__(self, url: str, **http: Any) -> None:
        self._outcomes = OutcomeWorld(url, models={"churn": CHURN})
        self.engine: Engine = self._outcomes.engine
        self.clock, self.telemetry = self._outcomes.clock, self._outcomes.parts[2]
        self._stream()
        self.configuration = self._configured(url, http)
        self._incidents()

    def _stream(self) -> None:
        made = self._outcomes
        made.broker.append("pp", 0, b"\xff\0", timestamp_ms=START_MS)
        made.sent += 1
        for version, role in (("1", "champion"), ("2", "challenger")):
            made.send(0, LEARNED + JUDGED, version=version, role=role)
        made.beat(LEARNED + JUDGED + 30)
        made.send(0, 10, model=HOSTILE)
        made.sweep()

    def _configured(self, url: str, http: dict[str, Any]) -> Configuration:
        training = placed(targets()["airflow"].examples()[0].options, "http://127.0.0.1:1")
        return Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": url,
                "streams": [
                    {"topic": "pp", "kind": "predictions", "format": "auto"},
                    {"topic": "ll", "kind": "labels", "format": "auto"},
                ],
                "defaults": DEFAULTS,
                "models": {"churn": CHURN},
                "receivers": {"hook": HOOK, "train": {**training, "approval": "manual"}},
                "alerts": {
                    "routes": [{"match": {}, "to": ["hook", "train"]}],
                    "group": {"wait": "0s", "across_models": False},
                },
                "http": {"events": {"predictions": "pp", "labels": "ll"}, **http},
            }
        )

    def _incidents(self) -> None:
        for model in ("churn", HOSTILE, *OTHERS):
            observation = window(0, ["age", "score"], model=model)
            with immediate(self.engine) as connection:
                before = load_for(connection, observation)
                alert, changes = step(before, observation, self.configuration.alerts.policy)
                assert alert is not None
                record(connection, self.configuration, alert, changes, self.clock.now_ms())
        with immediate(self.engine) as connection:
            connection.execute(update(outbox).where(outbox.c.receiver == "hook").values(state="dead"))

    def app(self) -> FastAPI:
        """Make the application."""
        door = cast("Door", Accepting())
        return create_app(self.configuration, self.engine, self.telemetry, self.clock, door=door)

    def examples(self) -> dict[str, dict[str, Any]]:
        """Parameters and bodies that mean something here, by operation; each decision has its own object."""
        incidents = [{"id": id_} for id_ in self.ids(incident.c.id, incident.c.model.in_(OTHERS))]
        unasked = self._unasked(OTHERS[-1])
        runs = [{"id": id_} for id_ in self.ids(retraining_run.c.id, retraining_run.c.state == "proposed")]
        failed, started = self._moved(runs[0], "failed"), self._moved(runs[1], "started")
        hash_ = self.ids(reference_pointer.c.hash, reference_pointer.c.model == "churn")[0]
        model, version = {"model": "churn"}, {"model": "churn", "version": "1"}
        day = {**model, "from": "2026-01-01", "to": "2026-01-02"}
        return {
            "list_results": day,
            "get_profile": day,
            "get_performance": day,
            "list_performance_windows": day,
            "list_comparisons": model,
            "compare_versions": {**day, "champion": "1", "challenger": "2"},
            "get_fairness": {**day, "segment": "origin"},
            "list_contract_revisions": model,
            "get_reference_offer": version,
            "promote_reference": {**version, "body": {"hash": hash_}},
            "get_reference": {"hash": hash_},
            "get_alert": incidents[0],
            "acknowledge_alert": incidents[0],
            "resolve_alert": incidents[1],
            "silence_alert": incidents[2],
            "get_incident": incidents[3],
            "acknowledge_incident": incidents[3],
            "resolve_incident": incidents[4],
            "silence_incident": incidents[5],
            "comment_on_incident": {**incidents[6], "body": {"text": "it was the sensor"}},
            "add_silence": {"body": {"for": "1h", "match": {"model": "price-*"}}},
            "end_silence": {"id": self._silenced()},
            "resend_delivery": {"id": self.ids(outbox.c.id, outbox.c.state == "dead")[0]},
            "resend_deliveries": {"body": {"receiver": "hook"}},
            "add_deployment": {"body": {"model": "churn", "version": "2"}},
            "get_digest": {"week": "2026-01-01"},
            "get_dead_letter": {"id": 1},
            "replay_dead_letters": {"body": {"ids": [1]}},
            "get_training_request": runs[2],
            "approve_training": runs[2],
            "reject_training": runs[3],
            "retry_training": failed,
            "report_training": {**started, "body": {"state": "succeeded"}},
            "ask_for_training": {"body": unasked},
        }

    def ids(self, column: Any, *where: Any) -> list[str]:
        """Read one column, in order."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(column).where(*where).order_by(column)).scalars())

    def _unasked(self, model: str) -> dict[str, str]:
        """Make up a run that nobody has asked for yet."""
        with immediate(self.engine) as connection:
            connection.execute(delete(retraining_run).where(retraining_run.c.model == model))
        id_ = self.ids(incident.c.id, incident.c.model == model)[0]
        return {"incident": id_, "receiver": "train", "model": model}

    def _moved(self, run: dict[str, str], state: str) -> dict[str, str]:
        values = {"state": state, "run_id": "r", "attempts": 1}
        with immediate(self.engine) as connection:
            connection.execute(update(retraining_run).where(retraining_run.c.id == run["id"]).values(values))
        return run

    def _silenced(self) -> str:
        now_ms = self.clock.now_ms()
        silence = Silence("f" * 16, Match(model=("other",)), now_ms, now_ms + HOUR_MS, "ann", "known")
        with immediate(self.engine) as connection:
            silences.add(connection, silence, now_ms)
        return silence.id

    def close(self) -> None:
        """End what was begun."""
        self._outcomes.close()
