"""GitHub Actions: runs that are told of at once, found by their name, or not to be found."""

import pytest
from pydantic import ValidationError

from alerting.retraining.github_actions import GitHubActionsOptions, GitHubActionsTarget
from alerting.retraining.request import document
from alerting.retraining.run import RunState
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import REQUEST, fake_of, make
from tests.alerting.retraining.fakes.github_actions import PAGE
from tests.alerting.retraining.fakes.server import query_of
from tests.alerting.servers import Answer

WORKFLOW, EVENT = GitHubActionsTarget.examples()


@pytest.fixture
def server():
    with fake_of(GitHubActionsTarget, WORKFLOW) as running:
        yield running


@pytest.fixture
def target(server):
    return make(WORKFLOW, server.address)


def test_github_tells_which_run_it_started(server, target):
    run = target.start(REQUEST)
    assert (run.id, run.url) == ("101", f"{PAGE}101")
    body = server.runs["101"].body
    assert body["inputs"]["driftline_data_from"] == "2025-12-01T00:00:00Z"
    assert body["ref"] == "main"


def test_a_server_that_is_too_old_to_tell_is_asked_again_without_that_wish(server, target):
    server.knows_run_details = False
    run = target.start(REQUEST)
    assert run.id == f"request-{REQUEST.id}"
    assert run.state is RunState.QUEUED
    assert target.follow(run).id == "101"
    assert len(server.runs) == 1


def test_an_event_becomes_a_run_when_github_lists_it():
    with fake_of(GitHubActionsTarget, EVENT) as server:
        server.is_listed = False
        target = make(EVENT, server.address)
        run = target.start(REQUEST)
        assert target.follow(run) == run
        server.is_listed = True
        found = target.follow(run)
        assert (found.id, found.url) == ("101", f"{PAGE}101")
        assert server.runs["101"].body == {
            "event_type": "retrain",
            "client_payload": {"retraining": document(REQUEST)},
        }


def test_only_runs_since_the_request_are_searched(server, target):
    target.find(REQUEST)
    query = query_of(server.requests[0])
    assert query == {"event": "workflow_dispatch", "per_page": "100", "created": ">=2025-12-31T23:55:05Z"}


def test_inputs_that_the_workflow_does_not_declare_are_told(server, target):
    server.launch_faults.append(Answer(422, {"message": 'Unexpected inputs provided: ["driftline_id"]'}))
    with pytest.raises(DeliveryError, match="declares all inputs: Unexpected inputs") as caught:
        target.start(REQUEST)
    assert not isinstance(caught.value, RetryLater)


def test_a_limit_of_requests_passes(server, target):
    server.will(Answer(403, {"message": "You have exceeded a secondary rate limit"}, {"Retry-After": "60"}))
    with pytest.raises(RetryLater) as caught:
        target.start(REQUEST)
    assert caught.value.after_s == 60


def test_a_workflow_that_was_disabled_is_noticed(server, target):
    server.state = "disabled_inactivity"
    with pytest.raises(DeliveryError, match=r"not active \(disabled_inactivity\): enable it"):
        target.check()


@pytest.mark.parametrize(
    ("status", "conclusion", "state"),
    [
        ("waiting", None, RunState.QUEUED),
        ("in_progress", None, RunState.RUNNING),
        ("completed", "timed_out", RunState.FAILED),
        ("completed", "startup_failure", RunState.FAILED),
        ("completed", "skipped", RunState.CANCELLED),
        ("completed", "something new", RunState.UNKNOWN),
    ],
)
def test_what_a_run_can_be(server, target, status, conclusion, state):
    run = target.start(REQUEST)
    server.will(
        Answer(200, {"id": 101, "status": status, "conclusion": conclusion, "html_url": "javascript:1"})
    )
    followed = target.follow(run)
    assert (followed.state, followed.url) == (state, "")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"workflow": "w.yaml", "event_type": "e"},
        {"workflow": "w.yaml", "repository": "models"},
        {"workflow": "w.yaml", "inputs": {"x": "mood"}},
        {"workflow": "w.yaml", "inputs": {}},
        {"event_type": "e" * 101},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        GitHubActionsOptions.model_validate(
            {"type": "github_actions", "repository": "a/b", "token_env": "T", **options}
        )
