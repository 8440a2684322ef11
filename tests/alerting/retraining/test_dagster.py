"""Dagster: answers are judged by their type, since the status is 200 for almost everything."""

import pytest

from alerting.retraining.dagster import DagsterTarget
from alerting.retraining.request import document
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import REQUEST, fake_of, make
from tests.alerting.servers import Answer

PLAIN, CLOUD = DagsterTarget.examples()


@pytest.fixture
def server():
    with fake_of(DagsterTarget, PLAIN) as running:
        yield running


@pytest.fixture
def target(server):
    return make(PLAIN, server.address)


def launched(type_name, **fields):
    return Answer(200, {"data": {"launchRun": {"__typename": type_name, **fields}}})


def test_the_request_stands_in_the_tags(server, target):
    run = target.start(REQUEST)
    assert run.url == f"{server.address}/runs/{run.id}"
    body = server.runs[run.id].body
    assert body["runConfigData"] == {}
    assert {tag["key"]: tag["value"] for tag in body["executionMetadata"]["tags"]} == {
        "driftline/request_id": REQUEST.id,
        "driftline/model": "churn",
        "driftline/version": "7",
        "driftline/trigger": "incident",
        "driftline/incident_id": "5f0c",
        "driftline/incident_url": "https://driftline.example/alerts/5f0c",
        "driftline/data_from": "2025-12-01T00:00:00Z",
        "driftline/data_to": "2026-01-01T00:00:00Z",
    }


def test_the_request_stands_in_the_run_configuration_where_that_is_wanted():
    with fake_of(DagsterTarget, CLOUD) as server:
        run = make(CLOUD, server.address).start(REQUEST)
        config = server.runs[run.id].body["runConfigData"]
        assert config == {"ops": {"train": {"config": {"retraining": document(REQUEST)}}}}


@pytest.mark.parametrize(
    ("answer", "words", "is_final"),
    [
        (launched("UnauthorizedError", message="no"), "the right to launch runs", True),
        (
            launched("RunConfigValidationInvalid", errors=[{"message": "Missing ops"}]),
            "check config_path.: Missing ops",
            True,
        ),
        (launched("ConflictingExecutionParamsError", message="both"), "ConflictingExecution.*both", True),
        (launched("PythonError", message="grpc"), "PythonError: grpc", False),
        (launched("</script>", message="?"), "GraphQL error: \\?", True),
        (Answer(200, {"errors": [{"message": "Unknown type"}]}), "GraphQL error: Unknown type", True),
        (Answer(400, {"errors": [{"message": "Unknown type"}]}), "GraphQL error: Unknown type", True),
        (Answer(200, {"data": None}), "holds no launchRun", False),
    ],
)
def test_what_an_answer_means(server, target, answer, words, is_final):
    server.launch_faults.append(answer)
    with pytest.raises(DeliveryError, match=words) as caught:
        target.start(REQUEST)
    assert isinstance(caught.value, RetryLater) is not is_final


def test_the_token_of_dagster_plus_or_of_a_proxy(server):
    token = {"token_env": "DAGSTER_TOKEN"}
    make(CLOUD, server.address).check()
    make(CLOUD, server.address, **token, authorization="bearer").check()
    sent = [request.headers for request in server.requests]
    assert sent[0]["dagster-cloud-api-token"] == sent[1]["authorization"].removeprefix("Bearer ")
