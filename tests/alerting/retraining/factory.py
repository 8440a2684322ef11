"""Requests and targets for tests."""

import importlib
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import TypeAdapter

from alerting.finding import Severity
from alerting.retraining.base import RetrainingTarget
from alerting.retraining.catalog import CATALOG, build
from alerting.retraining.request import Evidence, RetrainingRequest
from schemas.verdict import Lane

NOW_MS = 1_767_225_600_000
REQUEST = RetrainingRequest(
    id="00112233445566778899aabbccddeeff",
    model="churn",
    version="7",
    reason="f1 fell below its reference; the inputs explain a third of it",
    severity=Severity.PAGE,
    data_from=datetime(2025, 12, 1, tzinfo=UTC),
    data_to=datetime(2026, 1, 1, tzinfo=UTC),
    requested_at=datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC),
    incident_id="5f0c",
    incident_url="https://driftline.example/alerts/5f0c",
    evidence=(Evidence("f1", "", Lane.PERFORMANCE, None, 12.5, "f1: 0.61 instead of 0.74"),),
    segments=("origin=JFK",),
    columns=("f1", "distance"),
)
OTHER = replace(REQUEST, id="ffeeddccbbaa99887766554433221100")


def placed(values, address):
    return {
        key: text.replace("{server}", address) if isinstance(text, str) else text
        for key, text in values.items()
    }


def make(example, address, **changes) -> RetrainingTarget:
    raw = {**placed(example.options, address), **changes}
    options = TypeAdapter(CATALOG.options).validate_python(raw)
    return build("tried", options, dict(example.environment), lambda: NOW_MS)


def fake_of(cls, example):
    """The server of a target lives in a module of the same name as the target's."""
    name = cls.__module__.rpartition(".")[2]
    module = importlib.import_module(f"tests.alerting.retraining.fakes.{name}")
    return module.Server(dict(example.options), dict(example.environment))
