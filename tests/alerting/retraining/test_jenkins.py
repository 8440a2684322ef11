"""Jenkins: the queue, the build, crumbs, and finding a build by its parameter."""

import pytest
from pydantic import ValidationError

from alerting.retraining.jenkins import JenkinsTarget
from alerting.retraining.run import Run, RunState
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import REQUEST, fake_of, make
from tests.alerting.servers import Answer

PLAIN, FOLDER = JenkinsTarget.examples()


@pytest.fixture
def server():
    with fake_of(JenkinsTarget, PLAIN) as running:
        yield running


@pytest.fixture
def target(server):
    return make(PLAIN, server.address)


def test_an_item_in_the_queue_becomes_a_build(server, target):
    run = target.start(REQUEST)
    assert (run.id, run.url) == ("queue/1101", f"{server.address}/job/retrain-churn/")
    assert target.follow(run).detail == "Waiting for next available executor"
    server.become(RunState.RUNNING)
    run = target.follow(run)
    assert (run.id, run.url) == ("build/101", f"{server.address}/job/retrain-churn/101/")
    assert server.runs["101"].body["driftline_data_to"] == "2026-01-01T00:00:00Z"


def test_an_item_that_jenkins_has_forgotten_is_found_among_the_builds(server, target):
    run = target.start(REQUEST)
    server.become(RunState.SUCCEEDED)
    server.remembers_items = False
    followed = target.follow(run)
    assert (followed.id, followed.state) == ("build/101", RunState.SUCCEEDED)


def test_an_item_that_was_taken_out_of_the_queue(server, target):
    run = target.start(REQUEST)
    server.will(Answer(200, {"id": 1101, "cancelled": True, "why": None}))
    assert target.follow(run).state is RunState.CANCELLED


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING, RunState.FAILED])
def test_a_request_is_found_in_the_queue_and_among_the_builds(server, target, state):
    target.launch(REQUEST)
    server.become(state)
    assert target.find(REQUEST).state is state


def test_items_of_other_jobs_are_not_taken_for_ours(server, target):
    target.launch(REQUEST)
    other = make(PLAIN, server.address, job="other")
    server.will(Answer(200, {"items": [server._item(server.runs["101"])]}), Answer(200, {"builds": []}))
    assert other.find(REQUEST) is None


def test_a_crumb_is_asked_for_where_it_is_wanted(server, target):
    server.wants_crumb = True
    assert target.start(REQUEST).id == "queue/1101"
    assert len(server.runs) == 1


def test_a_403_without_crumbs_is_a_missing_right(server, target):
    server.launch_faults.append(Answer(403, "<html>missing Job/Build</html>"))
    with pytest.raises(DeliveryError, match="give this user or token the right") as caught:
        target.start(REQUEST)
    assert not isinstance(caught.value, RetryLater)


@pytest.mark.parametrize(
    "crumb",
    [{"crumbRequestField": "a\r\nb", "crumb": "c"}, {"crumbRequestField": "a", "crumb": "c\n"}],
)
def test_a_crumb_that_is_no_header_is_not_sent(server, target, crumb):
    server.wants_crumb = True
    server.will(Answer(200, {}), Answer(200, {}), Answer(403), Answer(200, crumb))
    with pytest.raises(DeliveryError, match="403"):
        target.start(REQUEST)


def test_an_answer_without_a_place_in_the_queue_may_be_looked_up_later(server, target):
    server.launch_faults.append(Answer(201, None, is_kept=True))
    with pytest.raises(RetryLater, match="which item of the queue"):
        target.start(REQUEST)
    assert target.start(REQUEST).id == "queue/1101"
    assert len(server.runs) == 1


def test_a_job_must_declare_the_parameters(server, target):
    server.declared = {"driftline_model"}
    with pytest.raises(DeliveryError, match="does not declare the parameters driftline_data_from, "):
        target.check()
    server.is_buildable = False
    with pytest.raises(DeliveryError, match="cannot be built: enable it"):
        target.check()


def test_folders_and_spaces_of_a_job():
    with fake_of(JenkinsTarget, FOLDER) as server:
        run = make(FOLDER, server.address).start(REQUEST)
        assert run.url == f"{server.address}/job/ml/job/retrain%20churn/"
        assert server.requests[-1].path == "/job/ml/job/retrain%20churn/buildWithParameters"
        assert set(server.runs["101"].body) == {"ID", "REQUEST"}


@pytest.mark.parametrize("result", ["UNSTABLE", "NOT_BUILT", "ODD"])
def test_results(server, target, result):
    build = {"number": 5, "building": False, "result": result}
    server.will(Answer(200, build))
    followed = target.follow(Run("build/5", "", RunState.RUNNING))
    wanted = {"UNSTABLE": RunState.FAILED, "NOT_BUILT": RunState.CANCELLED, "ODD": RunState.UNKNOWN}
    assert followed.state is wanted[result]


def test_one_parameter_takes_the_id():
    with pytest.raises(ValidationError, match="no parameter takes id"):
        make(PLAIN, "http://x.example", parameters={"MODEL": "model"})
