"""Kubeflow Pipelines: no key of its own, so runs are found by their name."""

import pytest

from alerting.retraining.kubeflow import KubeflowTarget
from alerting.retraining.request import document
from alerting.retraining.run import RunState
from tests.alerting.retraining.factory import REQUEST, fake_of, make
from tests.alerting.retraining.fakes.server import query_of
from tests.alerting.servers import Answer

OPEN, SHARED = KubeflowTarget.examples()


@pytest.mark.parametrize("example", [OPEN, SHARED], ids=["open", "shared"])
def test_the_request_is_a_parameter_of_the_pipeline(example):
    with fake_of(KubeflowTarget, example) as server:
        run = make(example, server.address).start(REQUEST)
        body = server.runs[run.id].body
    assert body["runtime_config"] == {"parameters": {"retraining": document(REQUEST)}}
    wanted = {"pipeline_id", "pipeline_version_id"} if example is SHARED else {"pipeline_id"}
    assert set(body["pipeline_version_reference"]) == wanted
    assert ("experiment_id" in body) is (example is SHARED)
    prefix = "/pipeline" if example is SHARED else ""
    assert run.url == f"{server.address}{prefix}/#/runs/details/{run.id}"
    assert run.state is RunState.QUEUED


def test_runs_are_looked_for_within_the_experiment():
    with fake_of(KubeflowTarget, SHARED) as server:
        make(SHARED, server.address).find(REQUEST)
        query = query_of(server.requests[0])
    assert query["experiment_id"] == SHARED.options["experiment_id"]
    assert query["page_size"] == "1"


def test_why_a_run_failed_is_told():
    failed = {"run_id": "r", "state": "FAILED", "error": {"code": 13, "message": "out of memory"}}
    with fake_of(KubeflowTarget, OPEN) as server:
        target = make(OPEN, server.address)
        run = target.start(REQUEST)
        server.will(Answer(200, failed))
        assert target.follow(run).detail == "out of memory"
