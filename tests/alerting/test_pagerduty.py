"""PagerDuty's Events API v2: a server that knows its rules, and its moods."""

import json

import pytest
from pydantic import ValidationError

from alerting.alert import State
from alerting.finding import Severity
from alerting.notifiers.catalog import build
from alerting.notifiers.pagerduty import ACTIONS, PAGERDUTY, SEVERITIES, PagerDutyOptions, event_of
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting import digests, stories
from tests.alerting.servers import Answer, LocalServer
from tests.alerting.stories import MISTAKEN, OPENED, RESOLVED, RETRACTED, RISEN

KEY = "e93facc04764012d7bfb002500d5d1a6"
MAX_EVENT_BYTES = 512_000


class PagerDutyServer(LocalServer):
    """Keeps alerts by their ``dedup_key`` and refuses what the documentation says is refused."""

    def __init__(self):
        super().__init__()
        self.alerts = {}
        self.changes = []

    def respond(self, request):
        event = json.loads(request.body)
        problems = [*self.problems(request.path, event)]
        if problems:
            return Answer(
                400, {"status": "invalid event", "message": "Event object is invalid", "errors": problems}
            )
        if request.path == "/v2/change/enqueue":
            self.changes.append(event)
        else:
            self.take(event)
        return Answer(202, {"status": "success", "message": "Event processed", "dedup_key": "k"})

    def take(self, event):
        key, action = event["dedup_key"], event["event_action"]
        if action == "trigger":
            known = self.alerts.get(key, "resolved")
            self.alerts[key] = "triggered" if known == "resolved" else known
        elif key in self.alerts:
            self.alerts[key] = f"{action}d".replace("ee", "e")

    def problems(self, path, event):
        if event.get("routing_key") != KEY:
            yield "'routing_key' is invalid"
        if len(json.dumps(event)) > MAX_EVENT_BYTES:
            yield "event is too large"
        payload = event["payload"]
        if not 0 < len(payload["summary"]) <= 1_024:
            yield "'summary' has to have 1 to 1024 characters"
        if path == "/v2/enqueue":
            if not 0 < len(event["dedup_key"]) <= 255:
                yield "'dedup_key' has to have 1 to 255 characters"
            if event["event_action"] not in ("trigger", "acknowledge", "resolve"):
                yield "'event_action' is invalid"
            if payload["severity"] not in ("critical", "error", "warning", "info"):
                yield "'severity' is invalid"
            if not payload["source"]:
                yield "'source' is missing"


@pytest.fixture
def server():
    with PagerDutyServer() as running:
        yield running


def make(server, key=KEY, **options):
    fields = {"routing_key_env": "K", "base_url": server.address, "allow_private": True, **options}
    return build("oncall", PagerDutyOptions(type="pagerduty", **fields), {"K": key}, lambda: 0)


def sent(server, number=-1):
    return json.loads(server.requests[number].body)


def test_an_alert_there_follows_the_incident(server):
    notifier = make(server)
    seen = stories.acknowledged()
    for notice, state in [
        (OPENED, "triggered"),
        (seen, "acknowledged"),
        (OPENED, "acknowledged"),
        (RESOLVED, "resolved"),
    ]:
        assert notifier.send(notice, None) is None
        assert server.alerts == {OPENED.alert.id: state}


def test_the_event_says_what_and_where(server):
    make(server).send(RISEN, None)
    event = sent(server)
    assert event["dedup_key"] == RISEN.alert.id
    payload = event["payload"]
    assert payload["summary"].startswith("churn v1: score drifted (PSI 0.40, 0.37–0.44)")
    assert (payload["severity"], payload["source"], payload["component"]) == ("critical", "churn v1", "score")
    assert (payload["group"], payload["class"]) == ("churn", "drift")
    assert payload["timestamp"] == "2026-01-01T10:10:00Z"
    assert payload["custom_details"]["What changed"] == ["Update: severity rose from info to page: score"]
    assert any(line.startswith("age: PSI 0.40") for line in payload["custom_details"]["Columns"])
    assert event["links"] == []


def test_the_link_goes_to_the_console(server):
    notice = stories.acknowledged()
    make(server).send(notice, None)
    assert sent(server)["links"][0]["href"] == notice.url
    assert sent(server)["client_url"] == notice.url


def test_a_retraction_resolves(server):
    notifier = make(server)
    notifier.send(MISTAKEN, None)
    notifier.send(RETRACTED, None)
    assert list(server.alerts.values()) == ["resolved"]


def test_only_the_end_of_an_incident_pages_nobody(server):
    make(server).send(RESOLVED, None)
    assert server.alerts == {}


def test_what_has_not_fired_is_not_told(server):
    make(server).send(stories.pending(), None)
    assert server.requests == []


def test_a_digest_is_a_change_event(server):
    make(server).send_digest(digests.notice(digests.drifted()))
    (change,) = server.changes
    assert change["payload"]["summary"].startswith("Weekly digest: 1 of 240 streams drifted")
    assert "event_action" not in change
    assert server.alerts == {}


def test_the_worst_names_are_taken(server):
    make(server).send(stories.enormous(), None)
    (state,) = server.alerts.values()
    assert state == "triggered"
    assert "\\u202e" not in server.requests[0].body.decode()


def test_a_lost_answer_does_no_harm(server):
    notifier, impatient = make(server), make(server, timeout_s=0.2)
    server.will(Answer(drop=True, is_kept=True), Answer(hang=True))
    for one in (notifier, impatient):
        with pytest.raises(RetryLater):
            one.send(OPENED, None)
    notifier.send(OPENED, None)
    assert len(server.alerts) == 1


@pytest.mark.parametrize(("status", "after_s"), [(429, 30.0), (429, None), (500, None), (503, None)])
def test_limits_and_trouble_are_tried_again(server, status, after_s):
    headers = {"Retry-After": "30"} if after_s else {}
    server.will(Answer(status, {"message": "Too many"}, headers))
    with pytest.raises(RetryLater, match=str(status)) as caught:
        make(server).send(OPENED, None)
    assert caught.value.after_s == after_s


def test_a_refusal_says_why_without_the_key(server):
    reason = f"Event object is invalid: {KEY} is unknown"
    server.will(Answer(400, {"status": "invalid event", "message": reason}))
    with pytest.raises(DeliveryError, match=r"answered 400.*Event object is invalid") as caught:
        make(server).send(OPENED, None)
    assert not isinstance(caught.value, RetryLater)
    assert KEY not in str(caught.value)


def test_another_key_is_refused_by_the_server_itself(server):
    with pytest.raises(DeliveryError, match="400"):
        make(server, key="0" * 32).send(OPENED, None)


def test_a_private_address_has_to_be_meant(server):
    with pytest.raises(DeliveryError, match="not a public address"):
        make(server, allow_private=False).send(OPENED, None)


def test_the_check_tells_nobody_anything(server):
    assert "cannot be checked without posting" in make(server).check()
    assert server.requests == []


@pytest.mark.parametrize("key", ["has space", "ключ", 'x"y'])
def test_a_key_that_is_none_is_refused_without_showing_it(server, key):
    with pytest.raises(ConfigurationError, match=r"receivers\.oncall\.routing_key") as caught:
        make(server, key=key)
    assert key not in str(caught.value)


def test_every_state_and_severity_has_its_own():
    assert set(SEVERITIES) == set(Severity)
    assert set(ACTIONS) == set(State) - {State.PENDING}
    assert PagerDutyOptions(type="pagerduty", routing_key_env="K").base_url == PAGERDUTY
    assert event_of(OPENED)["client"] == "Driftline"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"routing_key_env": "K", "routing_key_file": "/k"},
        {"routing_key": KEY},
        {"routing_key_env": "K", "base_url": "https://a:b@events.pagerduty.com"},
        {"routing_key_env": "K", "base_url": "events.pagerduty.com"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        PagerDutyOptions.model_validate({"type": "pagerduty", **options})
