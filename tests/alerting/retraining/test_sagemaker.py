"""SageMaker: its errors come with status 400 and have to be told apart by name."""

import pytest
from pydantic import ValidationError

from alerting.retraining.run import RunState
from alerting.retraining.sagemaker import SageMakerTarget
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import REQUEST, fake_of, make
from tests.alerting.servers import Answer

PLAIN, SESSION = SageMakerTarget.examples()


@pytest.fixture
def server():
    with fake_of(SageMakerTarget, PLAIN) as running:
        yield running


@pytest.fixture
def target(server):
    return make(PLAIN, server.address)


def test_an_execution_is_started_with_our_token(server, target):
    run = target.start(REQUEST)
    body = server.runs[run.id].body
    assert body["ClientRequestToken"] == REQUEST.id
    assert {"Name": "driftline_model", "Value": "churn"} in body["PipelineParameters"]
    assert run.url == ""
    assert target.follow(run).state is RunState.RUNNING


@pytest.mark.parametrize(
    ("kind", "words", "is_final"),
    [
        ("ThrottlingException", "ThrottlingException: why", False),
        ("ResourceLimitExceeded", "ResourceLimitExceeded: why", False),
        ("com.amazonaws.sagemaker#ConflictException", "ConflictException: why", False),
        ("AccessDeniedException", "allow sagemaker:StartPipelineExecution", True),
        ("ExpiredTokenException", "put a new one", False),
        ("ValidationException:http://x", "declares all parameters.: why", True),
        ("SomethingNew", "SomethingNew: why", True),
        ("<b>", "answered 400: why", True),
    ],
)
def test_what_an_error_means(server, target, kind, words, is_final):
    server.launch_faults.append(Answer(400, {"__type": kind, "message": "why"}))
    with pytest.raises(DeliveryError, match=words) as caught:
        target.start(REQUEST)
    assert isinstance(caught.value, RetryLater) is not is_final
    assert "<b>" not in str(caught.value)


def test_too_many_requests_pass_whatever_the_error_is_called(server, target):
    server.launch_faults.append(Answer(429, {"__type": "SomethingNew"}, {"Retry-After": "30"}))
    with pytest.raises(RetryLater) as caught:
        target.start(REQUEST)
    assert caught.value.after_s == 30.0


def test_why_an_execution_failed_is_told(server, target):
    run = target.start(REQUEST)
    server.will(Answer(200, {"PipelineExecutionStatus": "Failed", "FailureReason": "Step Train failed"}))
    followed = target.follow(run)
    assert (followed.state, followed.detail) == (RunState.FAILED, "Step Train failed")


def test_a_wrong_secret_key_is_told(server):
    server.environment["AWS_SECRET_ACCESS_KEY"] = "another"
    with pytest.raises(DeliveryError, match="access key is not accepted"):
        make(PLAIN, server.address).check()


def test_the_address_is_that_of_the_region():
    target = make(PLAIN, "", url=None)
    assert target.api_url() == "https://api.sagemaker.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    "changes",
    [
        {"region": "moon"},
        {"region": "eu-1.evil.example/"},
        {"pipeline": "a b"},
        {"parameters": {"x": "document"}},
        {"secret_access_key_env": None},
        {"access_key_id_file": "also.txt"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes):
    with pytest.raises(ValidationError):
        make(PLAIN, "http://x.example", **changes)
