"""Prefect: the key, the parameter, and where its pages are."""

import pytest
from pydantic import ValidationError

from alerting.retraining.prefect import PrefectOptions, PrefectTarget
from alerting.retraining.request import document
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.retraining.factory import REQUEST, fake_of, make

PLAIN = PrefectTarget.examples()[0]
CLOUD = "https://api.prefect.cloud/api/accounts/a1/workspaces/w2"


@pytest.fixture
def server():
    with fake_of(PrefectTarget, PLAIN) as running:
        yield running


def test_the_request_is_one_parameter_of_the_flow(server):
    run = make(PLAIN, server.address).start(REQUEST)
    assert run.url == f"{server.address}/runs/flow-run/{run.id}"
    body = server.runs[run.id].body
    assert body["parameters"] == {"retraining": document(REQUEST)}
    assert body["tags"] == ["driftline", "churn"]


def test_a_flow_with_other_parameters_is_told(server):
    with pytest.raises(
        DeliveryError, match="does not take the request in its parameter other: Error"
    ) as caught:
        make(PLAIN, server.address, parameter="other").start(REQUEST)
    assert not isinstance(caught.value, RetryLater)


def test_a_paused_deployment_is_noticed(server):
    server.is_paused = True
    assert make(PLAIN, server.address).check() == "deployment retrain/churn exists, but is paused"


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://prefect:4200/api", "http://prefect:4200"),
        ("http://prefect:4200/api/", "http://prefect:4200"),
        (CLOUD, "https://app.prefect.cloud/account/a1/workspace/w2"),
    ],
)
def test_the_pages_are_where_prefect_has_them(url, page):
    assert make(PLAIN, "", url=url).ui_url == page
    assert make(PLAIN, "", url=url, ui_url="https://p.example/").ui_url == "https://p.example"


@pytest.mark.parametrize(
    "options",
    [
        {"deployment": "churn"},
        {"deployment": "a/b/c"},
        {"username": "a"},
        {"password_env": "P"},
        {"username": "a", "password_env": "P", "token_env": "T"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        PrefectOptions.model_validate(
            {"type": "prefect", "url": "https://x.example", "deployment": "f/d", **options}
        )
