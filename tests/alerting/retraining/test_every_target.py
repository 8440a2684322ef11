"""What holds for every retraining target that the catalog finds."""

import json
import logging
import random
import re
import urllib.parse
from typing import cast

import pytest
from pydantic import TypeAdapter, ValidationError

from alerting.http.addresses import PinnedTransport
from alerting.retraining.base import RetrainingTarget
from alerting.retraining.catalog import CATALOG, build, targets
from alerting.retraining.run import Run, RunState, web_link
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting.retraining.factory import NOW_MS, OTHER, REQUEST, fake_of, make, placed
from tests.alerting.retraining.spoilt import SpoiltWire
from tests.alerting.servers import Answer, LocalServer
from tests.kit.ports import free_port

NOWHERE = "http://127.0.0.1:1"
ROUNDS = 40
MACHINERY = {"base", "catalog", "credentials", "guards", "options", "request", "run", "sigv4"}
EXAMPLES = [
    pytest.param(cls, example, id=f"{name}-{number}")
    for name, cls in targets().items()
    for number, example in enumerate(cls.examples())
]
every_example = pytest.mark.parametrize(("cls", "example"), EXAMPLES)
# Where there is no pipeline to name: whoever takes the event decides.
TAKES_ANYTHING = {"argo_events", "retraining_webhook"}


@pytest.fixture
def server(cls, example):
    with fake_of(cls, example) as running:
        yield running


@pytest.fixture
def target(example, server):
    made = make(example, server.address)
    yield made
    made.close()


def sent_by(server) -> str:
    """All that was sent, as text without the escapes of forms, paths and JSON."""
    texts = [request.path + " " + request.body.decode() for request in server.requests]
    return urllib.parse.unquote_plus(" ".join(texts)).replace('\\"', '"')


@every_example
def test_a_file_without_certificates_is_refused(cls, example, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match=r"receivers\.tried\.ca_file: .* no certificates"):
            make(example, NOWHERE, ca_file=str(tmp_path / name))


def test_every_module_contributes_a_target():
    idle = [module.__name__ for module in CATALOG.modules() if not CATALOG.by(module)]
    assert {name.rpartition(".")[2] for name in idle} == MACHINERY


def test_all_the_systems_of_the_table_are_there():
    names = "airflow argo_events argo_workflows dagster databricks github_actions jenkins kubeflow prefect"
    assert list(targets()) == [*names.split(), "retraining_webhook", "sagemaker"]


@every_example
def test_options_survive_a_round_trip(cls, example):
    options = cls.Options.model_validate(placed(example.options, NOWHERE))
    assert cls.Options.model_validate_json(options.model_dump_json()) == options
    assert options.type == cls.type_name()
    assert cls.Options.model_json_schema()["additionalProperties"] is False
    assert json.loads(options.model_dump_json())["cooldown"] == "1d"


@every_example
def test_an_unknown_option_is_refused_by_name(cls, example):
    with pytest.raises(ValidationError, match="surprise"):
        cls.Options.model_validate({**placed(example.options, NOWHERE), "surprise": 1})


BAD_VALUES = [
    ("timeout_s", 0),
    ("timeout_s", 31),
    ("cooldown", "soon"),
    ("cooldown", "99999999999999999999w"),
    ("cooldown", 5),
    ("max_per_week", 0),
    ("min_labels", -1),
    ("approval", "maybe"),
    ("evidence", []),
    ("evidence", ["moods"]),
    ("url", "ftp://x.example/"),
    ("url", "not an address"),
    ("url", "https://ann:pass@x.example/"),
    ("ui_url", "javascript:alert(1)"),
]


@every_example
def test_values_that_cannot_be_meant_are_refused(cls, example):
    for name, value in BAD_VALUES:
        with pytest.raises(ValidationError, match=name) as caught:
            cls.Options.model_validate({**placed(example.options, NOWHERE), name: value})
        assert "pass@" not in str(caught.value)


@every_example
def test_secrets_come_from_the_environment_or_a_file_only(cls, example):
    fields = set(cls.Options.model_fields)
    bare = [name for name in fields if re.search("token|secret|password|key$", name)]
    assert all(name.endswith(("_env", "_file")) for name in bare)
    assert all(name.replace("_env", "_file") in fields for name in bare if name.endswith("_env"))


@every_example
def test_a_missing_secret_names_the_option_and_the_variable(cls, example):
    options = cls.Options.model_validate(placed(example.options, NOWHERE))
    for name in example.environment:
        rest = {key: text for key, text in example.environment.items() if key != name}
        with pytest.raises(ConfigurationError, match=rf"receivers\.tried\.\w+_env: .*{name} is not set"):
            build("tried", options, rest, lambda: NOW_MS)


@every_example
def test_a_secret_can_stand_in_a_file(cls, example, server, tmp_path):
    raw = placed(example.options, server.address)
    for key in [key for key in raw if key.endswith("_env")]:
        file = tmp_path / key
        file.write_text(example.environment[str(raw.pop(key))] + "\n")
        raw[key.replace("_env", "_file")] = str(file)
    made = build("tried", TypeAdapter(CATALOG.options).validate_python(raw), {}, lambda: NOW_MS)
    made.start(REQUEST)
    made.close()
    assert len(server.runs) == 1


@every_example
@pytest.mark.parametrize("bad", ["two\nlines", "nul\0", "not utf-8 \udcff"])
def test_a_secret_that_cannot_be_sent_is_refused_without_showing_it(cls, example, bad):
    for name in example.environment:
        options = cls.Options.model_validate(placed(example.options, NOWHERE))
        environment = {**example.environment, name: bad}
        with pytest.raises(ConfigurationError, match=r"receivers\.tried\.\w+") as caught:
            build("tried", options, environment, lambda: NOW_MS)
        assert bad not in str(caught.value)


@every_example
def test_the_run_is_told_what_to_train_and_why(cls, example, server, target):
    run = target.start(REQUEST)
    assert len(server.runs) == 1
    assert run.id
    sent = sent_by(server)
    for text in (REQUEST.id, "churn", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"):
        assert text in sent


@every_example
def test_the_link_is_one_that_a_browser_may_open(cls, example, server):
    elsewhere = make(example, server.address, ui_url="https://pages.example/ml/")
    page = elsewhere.follow(elsewhere.start(REQUEST)).url
    assert page == web_link(page)
    own = {"databricks", "github_actions", "retraining_webhook"}  # those answer with an address
    assert page.startswith("https://pages.example/ml" if cls.type_name() not in own else "https://")


@every_example
def test_the_same_request_starts_one_run(cls, example, server, target):
    runs = [target.follow(target.start(REQUEST)) for _ in range(3)]
    assert len({run.id for run in runs}) == 1
    if cls.idempotent or cls.can_find:
        assert len(server.runs) == 1


@every_example
def test_the_own_key_of_the_target_is_enough(cls, example, server, target):
    if cls.idempotent:
        runs = [target.launch(REQUEST) for _ in range(3)]
        assert len({run.id for run in runs}) == len(server.runs) == 1


@every_example
def test_another_request_starts_another_run(cls, example, server, target):
    first, second = target.start(REQUEST), target.start(OTHER)
    assert first.id != second.id
    assert len(server.runs) == 2


@every_example
def test_a_lost_answer_does_not_start_a_second_run(cls, example, server, target):
    server.launch_faults.append(Answer(drop=True, is_kept=True))
    with pytest.raises(RetryLater):
        target.start(REQUEST)
    assert len(server.runs) == 1
    again = target.start(REQUEST)
    assert again.id
    if cls.idempotent or cls.can_find:
        assert len(server.runs) == 1
        server.become(RunState.RUNNING)
        assert target.follow(again).state is (RunState.RUNNING if target.can_follow else RunState.UNKNOWN)


@every_example
def test_a_run_is_found_or_not(cls, example, server, target):
    assert target.find(REQUEST) is None
    target.start(REQUEST)
    assert (target.find(REQUEST) is not None) == cls.can_find
    assert target.find(OTHER) is None


@every_example
@pytest.mark.parametrize("end", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED])
def test_a_run_is_followed_to_its_end(cls, example, server, target, end):
    run = target.start(REQUEST)
    if not target.can_follow:
        assert target.follow(run) == run
        return
    seen = []
    for state in (RunState.QUEUED, RunState.RUNNING, end):
        if state in server.states:
            server.become(state)
            run = target.follow(run)
            seen.append((run.state, state))
    assert all(told is state for told, state in seen)
    assert RunState.RUNNING in server.states
    if end in server.states:
        asked = len(server.requests)
        assert target.follow(run) == run
        assert len(server.requests) == asked


@every_example
def test_a_run_that_was_deleted_is_of_unknown_state(cls, example, server, target):
    run = target.start(REQUEST)
    server.become(RunState.RUNNING)
    run = target.follow(run)
    server.runs.clear()
    assert target.follow(run).state is RunState.UNKNOWN


@every_example
def test_credentials_that_are_refused_are_final(cls, example, server, target):
    if not example.environment:
        return
    server.refuses_credentials = True
    for attempt in (lambda: target.start(REQUEST), target.check):
        if cls.type_name() == "retraining_webhook" and attempt == target.check:
            continue
        with pytest.raises(DeliveryError, match=r"credentials|accepted") as caught:
            attempt()
        assert not isinstance(caught.value, RetryLater)


@every_example
def test_a_pipeline_that_is_not_there_is_named(cls, example, server, target):
    if cls.type_name() in TAKES_ANYTHING:
        return
    server.has_pipeline = False
    for attempt in (target.check, lambda: target.start(REQUEST)):
        with pytest.raises(DeliveryError, match=r"there is no|no such") as caught:
            attempt()
        assert not isinstance(caught.value, RetryLater)
    assert not server.runs


@every_example
@pytest.mark.parametrize("status", [500, 503])
def test_trouble_of_the_target_is_tried_again(cls, example, server, target, status):
    server.launch_faults.append(Answer(status, "oops"))
    with pytest.raises(RetryLater, match=str(status)):
        target.start(REQUEST)
    target.start(REQUEST)
    assert len(server.runs) == 1


@every_example
@pytest.mark.parametrize("wish", ["7", "Thu, 01 Jan 2026 00:00:07 GMT"])
def test_a_wish_to_wait_is_heard(cls, example, server, target, wish):
    server.launch_faults.append(Answer(429, "slow down", {"Retry-After": wish}))
    with pytest.raises(RetryLater) as caught:
        target.start(REQUEST)
    assert caught.value.after_s == 7.0


@every_example
def test_a_refusal_is_final(cls, example, server, target):
    server.launch_faults.append(Answer(400, {"message": "no such thing"}))
    with pytest.raises(DeliveryError) as caught:
        target.start(REQUEST)
    assert not isinstance(caught.value, RetryLater)


@every_example
@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(hang=True)], ids=["reset", "slow"])
def test_an_unknown_outcome_is_tried_again(cls, example, server, answer):
    impatient = make(example, server.address, timeout_s=0.2)
    server.will(answer)
    with pytest.raises(RetryLater):
        impatient.start(REQUEST)
    impatient.close()


@every_example
def test_a_target_that_is_not_there_is_tried_again(cls, example):
    away = make(example, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RetryLater, match="no answer"):
        away.start(REQUEST)
    away.close()


@every_example
def test_inner_addresses_are_refused_unless_allowed(cls, example, server):
    outside = make(example, server.address, allow_private=False)
    for attempt in (lambda: outside.start(REQUEST), outside.check):
        with pytest.raises(DeliveryError, match="not a public address") as caught:
            attempt()
        assert not isinstance(caught.value, RetryLater)
    assert server.requests == []


@every_example
@pytest.mark.parametrize("status", [302, 308])
def test_redirects_are_not_followed(cls, example, server, target, status):
    server.will(Answer(status, headers={"Location": f"{server.address}/elsewhere"}))
    with pytest.raises(DeliveryError, match="redirects are not followed") as caught:
        target.start(REQUEST)
    assert not isinstance(caught.value, RetryLater)
    assert len(server.requests) == 1


@every_example
def test_proxies_of_the_environment_are_not_used(cls, example, server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    made = make(example, server.address)
    made.start(REQUEST)
    assert len(server.runs) == 1


@every_example
def test_a_check_starts_nothing(cls, example, server, target):
    assert target.check()
    assert server.runs == {}


@every_example
def test_secrets_show_up_nowhere(cls, example, server, target, caplog):
    caplog.set_level(logging.DEBUG)
    hidden = [text.removeprefix("whsec_") for text in example.environment.values()]
    said = [repr(target), repr(vars(target)), repr(target.options), target.fingerprint, target.check()]
    said.append(repr(target.start(REQUEST)))
    for status in (200, 400, 401, 403, 404, 409, 422, 429, 500):
        for path in (lambda: target.start(OTHER), target.check):
            with _Echo(status, hidden) as echo:
                server_of(target, echo.address)
                said += _words_of(path)
    said.append(caplog.text)
    assert not [text for text in hidden if any(text in line for line in said)]


class _Echo(LocalServer):
    """Answers with all that it was sent, as careless servers do, and with the secrets themselves."""

    def __init__(self, status, hidden):
        super().__init__()
        self.status, self.hidden = status, hidden

    def respond(self, request):
        said = f"{request.headers} {request.body[:100]!r} {self.hidden}"
        body = {"message": said, "__type": "Odd", "errors": [{"message": said}], "detail": [{"input": said}]}
        return Answer(self.status, body)


def server_of(target, address) -> None:
    """Aim a target that was made for one server at another."""
    target.http._base_url = address


def _words_of(attempt) -> list[str]:
    try:
        return [repr(attempt())]
    except DeliveryError as error:
        return [str(error), repr(error), repr(error.__cause__)]


NONSENSE = [
    "",
    "<html>Log in</html>",
    "null",
    "[]",
    "[" * 100_000,
    '{"data": []}',
    '"x"',
    '{"id": {}, "state": 3}',
]


@every_example
def test_answers_that_make_no_sense_are_only_ever_told(cls, example, server, target):
    run = target.start(REQUEST)
    for body in NONSENSE:
        for attempt in (lambda: target.start(OTHER), target.check, lambda: target.follow(run)):
            server.will(*[Answer(200, body)] * 4)
            assert _words_of(attempt)
            server.script.clear()


@every_example
def test_an_answer_with_one_odd_value_becomes_a_run_or_an_error(cls, example):
    rng = random.Random(cls.type_name())
    target = make(example, NOWHERE)
    for _ in range(ROUNDS):
        server = fake_of(cls, example)
        target.http._transport = cast(PinnedTransport, SpoiltWire(server, rng))
        _try_all(target, server, rng)


def _try_all(target, server, rng) -> None:
    run = Run(rng.choice(["build/101", "queue/1101", "101"]), "", RunState.RUNNING)
    for attempt in (target.check, lambda: target.observe(run), lambda: target.start(REQUEST)):
        assert _words_of(attempt)
        assert _words_of(lambda: target.follow(target.start(REQUEST)))
        server.become(rng.choice([state for state in RunState if state in server.states] or [run.state]))


@every_example
def test_huge_answers_are_not_read(cls, example, server, target):
    server.will(Answer(200, "x" * 1_100_000))
    with pytest.raises(RetryLater, match="larger than 1048576 bytes"):
        target.start(REQUEST)


@every_example
def test_the_fingerprint_follows_the_options(cls, example, server, target):
    assert target.fingerprint == make(example, server.address).fingerprint
    assert target.fingerprint != make(example, server.address, timeout_s=3).fingerprint


def test_every_target_says_what_it_can_do():
    told = {name: (cls.idempotent, cls.can_find) for name, cls in targets().items()}
    assert told == {
        "airflow": (True, False),
        "argo_events": (False, False),
        "argo_workflows": (True, True),
        "dagster": (False, True),
        "databricks": (True, False),
        "github_actions": (False, True),
        "jenkins": (False, True),
        "kubeflow": (False, True),
        "prefect": (True, False),
        "retraining_webhook": (True, False),
        "sagemaker": (True, False),
    }
    assert issubclass(targets()["airflow"], RetrainingTarget)
