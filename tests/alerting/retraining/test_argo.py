"""Argo Workflows and Argo Events."""

import json

import pytest
from pydantic import ValidationError

from alerting.retraining.argo_events import ArgoEventsOptions, ArgoEventsTarget
from alerting.retraining.argo_workflows import ArgoWorkflowsTarget
from alerting.retraining.request import document
from alerting.retraining.run import RunState
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import REQUEST, fake_of, make
from tests.alerting.servers import Answer

TEMPLATE, OF_CLUSTER = ArgoWorkflowsTarget.examples()
SOURCE, ENDPOINT = ArgoEventsTarget.examples()
NAME = f"driftline-{REQUEST.id}"


@pytest.fixture
def server():
    with fake_of(ArgoWorkflowsTarget, TEMPLATE) as running:
        yield running


@pytest.fixture
def target(server):
    return make(TEMPLATE, server.address)


def test_a_workflow_is_submitted_from_a_template(server, target):
    run = target.start(REQUEST)
    body = server.runs[NAME].body
    assert (body["resourceKind"], body["resourceName"]) == ("WorkflowTemplate", "retrain-churn")
    given = dict(text.split("=", 1) for text in body["submitOptions"]["parameters"])
    assert given["driftline_model"] == "churn"
    assert json.loads(given["driftline_document"]) == document(REQUEST)
    assert run.url == f"{server.address}/workflows/ml/{NAME}"


def test_a_409_for_the_name_gives_the_workflow(server, target):
    target.start(REQUEST)
    server.become(RunState.RUNNING)
    assert target.launch(REQUEST).state is RunState.RUNNING


def test_a_409_for_something_else_passes(server, target):
    server.launch_faults.append(Answer(409, {"message": "the object has been modified"}))
    with pytest.raises(RetryLater, match="answered 409: the object has been modified"):
        target.start(REQUEST)
    assert target.start(REQUEST).id == NAME


@pytest.mark.parametrize(("phase", "state"), [("Error", RunState.FAILED), ("Odd", RunState.UNKNOWN)])
def test_phases(server, target, phase, state):
    run = target.start(REQUEST)
    server.will(
        Answer(200, {"metadata": {"name": NAME}, "status": {"phase": phase, "message": "pod deleted"}})
    )
    followed = target.follow(run)
    assert (followed.state, followed.detail) == (state, "pod deleted")


def test_names_that_kubernetes_would_not_take_are_refused():
    for name in ("namespace", "template"):
        with pytest.raises(ValidationError, match=name):
            make(TEMPLATE, "http://x.example", **{name: "../secrets"})


@pytest.mark.parametrize(
    ("example", "path"), [(SOURCE, "/retrain"), (ENDPOINT, "/api/v1/events/ml/driftline")]
)
def test_an_event_names_the_workflow_that_may_come_of_it(example, path):
    with fake_of(ArgoEventsTarget, example) as server:
        run = make(example, server.address).start(REQUEST)
        (request,) = server.requests
    assert request.path == path
    assert request.headers["x-driftline-request-id"] == REQUEST.id
    assert json.loads(request.body)["name"] == NAME
    assert json.loads(request.body)["retraining"] == document(REQUEST)
    assert (run.id, run.state) == (NAME, RunState.UNKNOWN)


def test_a_full_queue_of_events_passes():
    with fake_of(ArgoEventsTarget, ENDPOINT) as server:
        server.will(Answer(503, {"message": "operation queue full"}))
        with pytest.raises(RetryLater, match="operation queue full"):
            make(ENDPOINT, server.address).start(REQUEST)


def test_a_check_counts_the_bindings():
    with fake_of(ArgoEventsTarget, ENDPOINT) as server:
        assert make(ENDPOINT, server.address).check() == "1 event bindings in namespace ml"
        server.refuses_credentials = True
        with pytest.raises(DeliveryError, match="credentials"):
            make(ENDPOINT, server.address).check()


def test_a_discriminator_needs_a_namespace():
    with pytest.raises(ValidationError, match="discriminator given without namespace"):
        ArgoEventsOptions(type="argo_events", url="https://x.example", discriminator="d")
