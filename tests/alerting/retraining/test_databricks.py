"""Databricks: ends of runs, and parameters that a job must declare."""

import pytest

from alerting.retraining.databricks import DatabricksTarget
from alerting.retraining.run import RunState
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import REQUEST, fake_of, make
from tests.alerting.servers import Answer

PLAIN = DatabricksTarget.examples()[0]


@pytest.fixture
def server():
    with fake_of(DatabricksTarget, PLAIN) as running:
        yield running


@pytest.fixture
def target(server):
    return make(PLAIN, server.address)


def test_a_job_is_run_with_parameters_and_a_token(server, target):
    run = target.start(REQUEST)
    assert server.runs["101"].body == {
        "job_id": 1042,
        "job_parameters": {
            "driftline_model": "churn",
            "driftline_version": "7",
            "driftline_data_from": "2025-12-01T00:00:00Z",
            "driftline_data_to": "2026-01-01T00:00:00Z",
        },
        "idempotency_token": f"driftline-{REQUEST.id}",
    }
    assert run.url == f"{server.address}/jobs/1042/runs/101"
    assert target.follow(run).url == "https://dbc.example/?o=1#job/1042/run/101"


def test_parameters_that_the_job_does_not_declare_are_named(server, target):
    server.declared = {"driftline_model", "driftline_version"}
    missing = "driftline_data_from, driftline_data_to"
    with pytest.raises(DeliveryError, match=f"does not declare the parameters {missing}"):
        target.check()


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("SUCCESS_WITH_FAILURES", RunState.SUCCEEDED),
        ("CANCELED", RunState.CANCELLED),
        ("SKIPPED", RunState.FAILED),
        ("CLUSTER_ERROR", RunState.FAILED),
    ],
)
def test_how_a_run_can_end(server, target, code, state):
    run = target.start(REQUEST)
    details = {"code": code, "message": "see the log"}
    ended = {"run_id": 101, "status": {"state": "TERMINATED", "termination_details": details}}
    server.will(Answer(200, ended))
    followed = target.follow(run)
    assert (followed.state, followed.detail) == (state, f"{code}: see the log")
    assert followed.url == run.url


def test_a_400_that_says_something_else_is_an_error(server, target):
    run = target.start(REQUEST)
    server.will(Answer(400, {"error_code": "FEATURE_DISABLED", "message": "no jobs here"}))
    with pytest.raises(DeliveryError, match="no jobs here") as caught:
        target.follow(run)
    assert not isinstance(caught.value, RetryLater)
