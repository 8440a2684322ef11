"""Airflow: tokens that expire, names that are taken, and its two APIs."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from alerting.retraining.airflow import AirflowOptions, AirflowTarget
from alerting.retraining.request import document
from alerting.retraining.run import RunState
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import OTHER, REQUEST, fake_of, make
from tests.alerting.servers import Answer

PASSWORD, TOKEN, OLD = AirflowTarget.examples()
NAME = f"driftline-{REQUEST.id}"


@pytest.fixture
def server():
    with fake_of(AirflowTarget, PASSWORD) as running:
        yield running


@pytest.fixture
def target(server):
    made = make(PASSWORD, server.address)
    yield made
    made.close()


def test_the_request_is_the_conf_of_the_run(server, target):
    run = target.start(REQUEST)
    assert run.id == NAME
    assert run.url == f"{server.address}/dags/retrain_churn/runs/{NAME}"
    assert server.runs[NAME].body == {
        "dag_run_id": NAME,
        "conf": document(REQUEST),
        "note": f"{REQUEST.reason} {REQUEST.incident_url}",
        "logical_date": None,
    }


def test_a_run_of_that_name_is_taken_for_ours_as_it_is_now(server, target):
    target.start(REQUEST)
    server.become(RunState.RUNNING)
    assert target.start(REQUEST).state is RunState.RUNNING


def test_a_conflict_with_something_else_is_no_run(server, target):
    server.will(
        Answer(201, {"access_token": "token-of-a-user"}), Answer(409, {"detail": "the DAG is being parsed"})
    )
    with pytest.raises(RetryLater, match="409: the DAG is being parsed"):
        target.start(REQUEST)


def test_one_token_is_used_until_it_expires(server, target):
    run = target.start(REQUEST)
    target.follow(run)
    assert server.logins == 1
    server.expire()
    assert target.follow(run).state is RunState.QUEUED
    assert server.logins == 2


def test_a_token_that_expires_while_a_run_is_created_is_renewed(server, target):
    target.check()
    server.expire()
    target.start(REQUEST)
    assert server.logins == 2
    assert list(server.runs) == [NAME]


def test_a_right_that_is_missing_is_told_after_one_new_token(server, target):
    target.check()
    server.will(
        Answer(403, {"detail": "Forbidden"}), Answer(201, {"access_token": "token-of-a-user"}), Answer(403)
    )
    with pytest.raises(DeliveryError, match="give this user or token the right"):
        target.start(REQUEST)


def test_what_the_server_did_not_like_of_the_login_is_not_repeated(server):
    wrong = make(PASSWORD, server.address, username="someone else")
    with pytest.raises(DeliveryError, match="Invalid credentials") as caught:
        wrong.check()
    assert "battery" not in str(caught.value)


def test_airflow_2_has_another_path_and_page():
    with fake_of(AirflowTarget, OLD) as server:
        target = make(OLD, server.address)
        run = target.start(REQUEST)
        assert run.url == f"{server.address}/dags/retrain_churn/grid?dag_run_id={NAME}"
        assert "logical_date" not in server.runs[NAME].body
        assert [request.path for request in server.requests] == ["/api/v1/dags/retrain_churn/dagRuns"]


@pytest.mark.parametrize(("example", "api", "words"), [(OLD, 3, "api: 2"), (TOKEN, 2, "api: 3")])
def test_the_other_version_is_suggested(example, api, words):
    with fake_of(AirflowTarget, example) as server:
        changed = make(example, server.address, api=api)
        with pytest.raises(DeliveryError, match=words):
            changed.check()


def test_the_documented_example_is_accepted():
    example = {"type": "airflow", "url": "http://127.0.0.1:8080", "dag_id": "retrain_flight_delay"}
    login = {"username": "a", "password_env": "P", "cooldown": "1d"}
    options = AirflowOptions.model_validate({**example, **login})
    assert options.cooldown == timedelta(days=1)


def test_a_paused_dag_is_noticed(server, target):
    server.is_paused = True
    assert target.check() == "DAG retrain_churn exists, but is paused: its runs wait"


def test_a_token_in_a_file_may_be_replaced(tmp_path):
    file = tmp_path / "token"
    file.write_text("old\n")
    with fake_of(AirflowTarget, TOKEN) as server:
        target = make(TOKEN, server.address, token_env=None, token_file=str(file))
        with pytest.raises(DeliveryError, match="credentials"):
            target.start(REQUEST)
        file.write_text(server.secret)
        target.start(OTHER)
        file.unlink()
        with pytest.raises(DeliveryError, match=r"token_file: file .* cannot be read"):
            target.start(REQUEST)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"username": "a"},
        {"password_env": "P"},
        {"username": "a", "token_env": "T"},
        {"username": "a", "password_env": "P", "token_env": "T"},
        {"token_env": "T", "api": 4},
        {"token_env": "T", "dag_id": "a\nb"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        AirflowOptions.model_validate(
            {"type": "airflow", "url": "https://x.example", "dag_id": "d", **options}
        )
