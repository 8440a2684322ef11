"""Signed requests to any pipeline, against a server that checks signatures with code of its own."""

import base64

import pytest
from pydantic import ValidationError

from alerting.retraining.request import document
from alerting.retraining.run import RunState
from alerting.retraining.webhook import RetrainingWebhookTarget
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting.retraining.factory import NOW_MS, REQUEST, fake_of, make
from tests.alerting.servers import Answer

FOLLOWED, ROTATING = RetrainingWebhookTarget.examples()


@pytest.fixture
def server():
    with fake_of(RetrainingWebhookTarget, FOLLOWED) as running:
        yield running


@pytest.fixture
def target(server):
    return make(FOLLOWED, server.address)


def test_the_request_is_the_data_of_a_signed_message(server, target):
    run = target.start(REQUEST)
    assert server.runs["101"].body == {
        "type": "driftline.retraining.requested",
        "timestamp": "2026-01-01T00:00:05Z",
        "data": document(REQUEST),
    }
    headers = server.requests[0].headers
    assert headers["webhook-id"] == f"retraining-{REQUEST.id}"
    assert headers["webhook-timestamp"] == str(NOW_MS // 1_000)
    assert (run.id, run.url) == ("101", "https://ml.example/runs/101")


def test_while_rotating_both_secrets_sign():
    with fake_of(RetrainingWebhookTarget, ROTATING) as server:
        make(ROTATING, server.address).start(REQUEST)
        headers = server.requests[0].headers
    assert len(headers["webhook-signature"].split()) == 2


@pytest.mark.parametrize(
    "body", [None, "ok", {}, {"run_id": 7.5}, {"run_id": "a\nb"}, {"run_id": "x" * 300}, [1]]
)
def test_an_answer_need_not_name_a_run(server, target, body):
    server.will(Answer(202, body))
    run = target.start(REQUEST)
    assert (run.id, run.url, run.state) == (REQUEST.id, "", RunState.QUEUED)


def test_a_pipeline_that_tells_nothing_is_not_followed():
    with fake_of(RetrainingWebhookTarget, ROTATING) as server:
        target = make(ROTATING, server.address)
        run = target.start(REQUEST)
        assert not target.can_follow
        assert run.state is RunState.UNKNOWN
        assert target.follow(run) == run
        assert len(server.requests) == 1


def test_the_state_is_one_of_ours(server, target):
    run = target.start(REQUEST)
    server.will(Answer(200, {"state": "resting", "url": "javascript:1"}), Answer(200, {}))
    followed = target.follow(run)
    assert (followed.state, followed.url) == (RunState.UNKNOWN, run.url)
    with pytest.raises(RetryLater, match="holds no state"):
        target.follow(run)


def test_the_name_of_a_run_cannot_lead_elsewhere(server, target):
    server.will(Answer(202, {"run_id": "../admin?x=1#"}))
    run = target.start(REQUEST)
    target.follow(run)
    assert server.requests[-1].path == "/runs/..%2Fadmin%3Fx%3D1%23"


def test_410_is_final(server, target):
    server.will(Answer(410))
    with pytest.raises(DeliveryError, match="gone for good") as caught:
        target.start(REQUEST)
    assert not isinstance(caught.value, RetryLater)
    server.will(Answer(410))
    with pytest.raises(DeliveryError, match="gone for good"):
        target.check()


def test_an_address_with_a_token_comes_from_a_file_and_is_never_shown(server, tmp_path):
    file = tmp_path / "url"
    file.write_text(server.address.replace("http://", "http://ann:pa55@") + "/retrain")
    target = make(FOLLOWED, server.address, url=None, url_file=str(file))
    target.start(REQUEST)
    wanted = "Basic " + base64.b64encode(b"ann:pa55").decode()
    assert server.requests[0].headers["authorization"] == wanted
    assert "pa55" not in repr(vars(target)) + repr(target.options)
    assert server.address not in target.ui_url
    file.write_text("nonsense")
    with pytest.raises(ConfigurationError, match=r"receivers\.tried\.url: not an address"):
        make(FOLLOWED, server.address, url=None, url_file=str(file))


@pytest.mark.parametrize("secret", ["whsec_c2hvcnQ=", "whsec_" + "A" * 120, "not base64 at all!"])
def test_a_secret_that_is_none_is_refused_without_showing_it(secret):
    broken = type(FOLLOWED)(FOLLOWED.options, {**FOLLOWED.environment, "HOOK": secret})
    with pytest.raises(ConfigurationError, match="secret: not a webhook secret") as caught:
        make(broken, "http://x.example")
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": None},
        {"url_env": "U"},
        {"secret_env": None},
        {"status_url": "https://x.example/runs"},
        {"status_url": "ftp://x.example/{run_id}"},
        {"status_url": None},
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes):
    with pytest.raises(ValidationError):
        make(FOLLOWED, "http://x.example", **changes)


def test_the_path_of_an_address_that_has_none_is_no_secret(server, tmp_path):
    file = tmp_path / "url"
    file.write_text(f"{server.address}/")
    target = make(FOLLOWED, server.address, url=None, url_file=str(file))
    server.will(Answer(422, {"detail": "see wiki/retraining"}))
    with pytest.raises(DeliveryError, match="see wiki/retraining"):
        target.start(REQUEST)
