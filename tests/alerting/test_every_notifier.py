"""What holds for every notifier that the catalog finds."""

import importlib.util
import json
import logging
import re
from urllib.parse import urlsplit

import pytest
from pydantic import TypeAdapter, ValidationError

from alerting.finding import instant
from alerting.held import held_notice
from alerting.notifiers.base import Notifier
from alerting.notifiers.catalog import CATALOG, build, notifiers
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting import digests
from tests.alerting.factory import notices, window
from tests.alerting.servers import Answer, LocalServer
from tests.alerting.smtp_server import SmtpServer
from tests.kit.ports import free_port

# Apprise imports it where the interpreter still has it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

NOW_MS = 1_767_225_600_000
NOWHERE = "http://127.0.0.1:1"
MACHINERY = {"base", "catalog"}


def examples(*, that_ask_to_wait=False):
    return [
        pytest.param(cls, example, id=f"{name}-{number}", marks=needs(example.needs))
        for name, cls in notifiers().items()
        for number, example in enumerate(cls.examples())
        if example.can_ask_to_wait or not that_ask_to_wait
    ]


def needs(module):
    is_missing = bool(module) and importlib.util.find_spec(module) is None
    return pytest.mark.skipif(is_missing, reason=f"the extra with {module} is not installed")


every_example = pytest.mark.parametrize(("cls", "example"), examples())
DIGEST = digests.notice(digests.drifted())
OPENED, UPDATED, RESOLVED = notices(window(0, ["age"]), window(1, ["score"]), window(2), window(3), window(4))


class Receiver(LocalServer):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def respond(self, request):
        return Answer(200, self.body or "ok")


@pytest.fixture
def server(example):
    users = dict(zip(["driftline"], example.environment.values(), strict=False))
    with SmtpServer(users) if example.server == "smtp" else Receiver(dict(example.answer)) as running:
        yield running


def placed(values, address):
    parts = urlsplit(address)
    names = {"{server}": address, "{host}": str(parts.hostname), "{port}": str(parts.port)}
    return {
        key: re.sub(r"\{(server|host|port)\}", lambda name: names[name[0]], text)
        if isinstance(text, str)
        else text
        for key, text in values.items()
    }


def make(example, address, **changes) -> Notifier:
    raw = {**placed(example.options, address), **changes}
    options = TypeAdapter(CATALOG.options).validate_python(raw)
    return build("tried", options, placed(example.environment, address), lambda: NOW_MS)


@pytest.fixture
def notifier(example, server):
    made = make(example, server.address)
    yield made
    made.close()


def test_every_module_contributes_a_notifier():
    idle = [module.__name__ for module in CATALOG.modules() if not CATALOG.by(module)]
    assert {name.rpartition(".")[2] for name in idle} == MACHINERY


@every_example
def test_options_survive_a_round_trip(cls, example):
    options = cls.Options.model_validate(placed(example.options, NOWHERE))
    assert cls.Options.model_validate_json(options.model_dump_json()) == options
    assert options.type == cls.type_name()
    assert cls.Options.model_json_schema()["additionalProperties"] is False


@every_example
def test_an_unknown_option_is_refused_by_name(cls, example):
    with pytest.raises(ValidationError, match="surprise"):
        cls.Options.model_validate({**placed(example.options, NOWHERE), "surprise": 1})


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
    raw, environment = placed(example.options, server.address), placed(example.environment, server.address)
    for key in [key for key in raw if key.endswith("_env")]:
        file = tmp_path / key
        file.write_text(environment[str(raw.pop(key))] + "\n")
        raw[key.replace("_env", "_file")] = str(file)
    made = build("tried", cls.Options.model_validate(raw), {}, lambda: NOW_MS)
    made.send(OPENED, None)
    made.close()
    assert len(server.requests) == 1


@every_example
def test_an_incident_is_told_from_its_beginning_to_its_end(cls, example, server, notifier):
    state = None
    for notice in (OPENED, UPDATED, RESOLVED):
        state = notifier.send(notice, state)
        assert state is None or json.loads(json.dumps(state)) == state
    sent = b" ".join(request.body for request in server.requests).decode()
    assert "churn" in sent
    assert "Resolved" in sent or "resolved" in sent


@every_example
def test_the_same_notice_can_be_sent_again(cls, example, server, notifier):
    first = notifier.send(OPENED, None)
    assert notifier.send(OPENED, first) == first


@every_example
def test_a_digest_is_told_and_can_be_told_again(cls, example, server, notifier):
    for _ in range(2):
        notifier.send_digest(DIGEST)
    sent = [request.body.decode() for request in server.requests]
    assert len(sent) == 2
    assert all("age: 62 % of rows" in body and "churn" in body for body in sent)


@every_example
def test_a_list_of_what_was_held_back_is_for_those_who_read(cls, example, server, notifier):
    held = held_notice([OPENED, UPDATED, RESOLVED], "tried", "20 per hour", instant(NOW_MS))
    if not cls.reads_lists:
        with pytest.raises(DeliveryError, match="reads no lists"):
            notifier.send_list(held)
        return
    notifier.send_list(held)
    (request,) = server.requests
    assert "1 more incident was held back by the limit of 20 per hour" in request.body.decode()
    assert "page, resolved: churn v1: score drifted" in request.body.decode()


@every_example
def test_trouble_with_a_digest_is_told_apart_as_with_alerts(cls, example, server, notifier):
    server.will(Answer(503, "oops"), Answer(400, "no"))
    with pytest.raises(RetryLater):
        notifier.send_digest(DIGEST)
    with pytest.raises(DeliveryError) as caught:
        notifier.send_digest(DIGEST)
    assert not isinstance(caught.value, RetryLater)


@every_example
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_trouble_of_the_receiver_is_tried_again(cls, example, server, notifier, status):
    server.will(Answer(status, "oops"))
    with pytest.raises(RetryLater):
        notifier.send(OPENED, None)


@pytest.mark.parametrize(("cls", "example"), examples(that_ask_to_wait=True))
@pytest.mark.parametrize("wish", ["7", "Thu, 01 Jan 2026 00:00:07 GMT"])
def test_a_wish_to_wait_is_heard(cls, example, server, notifier, wish):
    server.will(Answer(429, "slow down", {"Retry-After": wish}))
    with pytest.raises(RetryLater) as caught:
        notifier.send(OPENED, None)
    assert caught.value.after_s == 7.0


@every_example
def test_a_refusal_is_final(cls, example, server, notifier):
    server.will(Answer(400, "no"))
    with pytest.raises(DeliveryError) as caught:
        notifier.send(OPENED, None)
    assert not isinstance(caught.value, RetryLater)


@every_example
@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(hang=True)], ids=["reset", "slow"])
def test_an_unknown_outcome_is_tried_again(cls, example, server, answer):
    impatient = make(example, server.address, timeout_s=0.2)
    server.will(answer)
    with pytest.raises(RetryLater):
        impatient.send(OPENED, None)
    impatient.close()


@every_example
def test_a_receiver_that_is_not_there_is_tried_again(cls, example):
    away = make(example, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RetryLater):
        away.send(OPENED, None)
    away.close()


@every_example
def test_a_check_tells_nobody_anything(cls, example, server, notifier):
    assert notifier.check()
    assert not any(b"churn" in request.body for request in server.requests)


@every_example
def test_secrets_show_up_nowhere(cls, example, server, notifier, caplog):
    caplog.set_level(logging.DEBUG)
    hidden = [text.removeprefix("whsec_") for text in placed(example.environment, server.address).values()]
    said = [
        repr(notifier),
        repr(vars(notifier)),
        repr(notifier.options),
        notifier.fingerprint,
        notifier.check(),
    ]
    faults = [
        Answer(500, "x"),
        Answer(401, "x"),
        Answer(403, "x"),
        Answer(404, "x"),
        Answer(429, "x"),
        Answer(drop=True),
    ]
    for fault in faults:
        server.will(fault)
        with pytest.raises(DeliveryError) as caught:
            notifier.send(OPENED, None)
        said += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    said.append(caplog.text)
    assert not [text for text in hidden if any(text in line for line in said)]


@every_example
def test_the_fingerprint_follows_the_options(cls, example, server, notifier):
    assert notifier.fingerprint == make(example, server.address).fingerprint
    assert notifier.fingerprint != make(example, server.address, timeout_s=3).fingerprint
