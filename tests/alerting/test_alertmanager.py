"""Incidents as alerts of a real Alertmanager, and against a server that has its moods."""

import json
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from alerting.finding import Severity, instant
from alerting.messages.alertmanager_alert import MAX_LABEL
from alerting.notifiers.alertmanager import AlertmanagerNotifier, AlertmanagerOptions
from alerting.notifiers.catalog import build
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting import digests, stories
from tests.alerting.servers import Answer, LocalServer
from tests.alerting.stories import MISTAKEN, OPENED, RESOLVED, RETRACTED, RISEN
from tests.kit.alertmanager import AlertmanagerServer
from tests.kit.ports import free_port
from tests.kit.waiting import wait_for

NOW_MS = 1_767_352_000_000
# Of the word "test", from Prometheus' guide to basic authentication.
BCRYPT = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"


def make(url, environment=None, now_ms=lambda: NOW_MS, **options) -> AlertmanagerNotifier:
    validated = AlertmanagerOptions(type="alertmanager", url=url, **{"allow_private": True, **options})
    made = build("prom", validated, environment or {}, now_ms)
    assert isinstance(made, AlertmanagerNotifier)
    return made


def wall_ms():
    return time.time_ns() // 1_000_000


class Hook(LocalServer):
    """What Alertmanager tells people: (status, severity, text) of every alert."""

    @property
    def told(self):
        groups = [json.loads(request.body) for request in self.requests]
        return [
            (alert["status"], alert["labels"]["severity"], alert["annotations"])
            for group in groups
            for alert in group["alerts"]
        ]

    def wait_for(self, count):
        wait_for(lambda: len(self.told) >= count, what=f"{count} alerts were told")
        return self.told

    def wait_until_told(self, *what):
        wait_for(lambda: what in [(status, severity) for status, severity, _ in self.told], what=str(what))


@pytest.fixture
def hook():
    with Hook() as running:
        yield running


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


def posted(server, number=-1):
    return json.loads(server.requests[number].body)


@pytest.mark.acceptance
class TestRealAlertmanager:
    @pytest.fixture
    def real(self, hook):
        with AlertmanagerServer(hook.address) as running:
            yield running

    def test_an_incident_is_told_and_its_end_too(self, real, hook):
        notifier = make(real.url, now_ms=wall_ms)
        state = notifier.send(OPENED, None)
        (alert,) = real.wait_for_alerts(1)
        assert alert["labels"] == {
            "alertname": "DriftlineIncident",
            "incident": OPENED.alert.id,
            "model": "churn",
            "version": "1",
            "kind": "drift",
            "severity": "info",
        }
        assert alert["startsAt"] == "2026-01-01T10:10:00.000Z"
        assert "62 % of rows" in alert["annotations"]["summary"]
        assert alert["annotations"]["effect"] == "PSI 0.40, 0.37–0.44"
        hook.wait_for(1)
        ended = replace(RESOLVED, alert=replace(RESOLVED.alert, severity=Severity.INFO))
        notifier.send(ended, state)
        told = hook.wait_for(2)
        assert [(status, severity) for status, severity, _ in told] == [
            ("firing", "info"),
            ("resolved", "info"),
        ]
        assert told[1][2]["change"] == "Resolved: 3 clean windows in a row"
        assert real.alerts() == []

    def test_a_severity_that_rises_ends_the_alert_with_the_lower_one(self, real, hook):
        notifier = make(real.url, now_ms=wall_ms)
        first = notifier.send(OPENED, None)
        hook.wait_until_told("firing", "info")
        state = notifier.send(RISEN, first)
        hook.wait_until_told("resolved", "info")
        (alert,) = real.wait_for_alerts(1)
        assert alert["labels"]["severity"] == "page"
        assert state is not None
        assert state["labels"]["severity"] == "page"
        hook.wait_until_told("firing", "page")
        notifier.send(RESOLVED, state)
        real.wait_for_alerts(0)
        hook.wait_until_told("resolved", "page")

    def test_a_retraction_ends_it_and_says_so(self, real, hook):
        notifier = make(real.url, now_ms=wall_ms)
        state = notifier.send(MISTAKEN, None)
        hook.wait_for(1)
        notifier.send(RETRACTED, state)
        status, _, words = hook.wait_for(2)[1]
        assert status == "resolved"
        assert words["state"] == "retracted"
        assert "no longer support" in words["change"]

    def test_sending_it_again_moves_its_end_and_tells_nobody(self, real, hook):
        clock = [wall_ms()]
        notifier = make(real.url, now_ms=lambda: clock[0])
        state = notifier.send(OPENED, None)
        (before,) = real.wait_for_alerts(1)
        hook.wait_for(1)
        clock[0] += notifier.resend_after_ms
        assert notifier.send(OPENED, state) == state
        after = wait_for(
            lambda: [alert for alert in real.alerts() if alert["endsAt"] > before["endsAt"]],
            what="a later end",
        )
        assert after[0]["fingerprint"] == before["fingerprint"]
        time.sleep(1.2)  # two intervals of the group
        assert len(hook.told) == 1

    def test_a_restart_forgets_alerts_until_they_are_sent_again(self, real):
        notifier = make(real.url, now_ms=wall_ms)
        state = notifier.send(OPENED, None)
        real.wait_for_alerts(1)
        real.restart()
        assert real.alerts() == []
        notifier.send(OPENED, state)
        real.wait_for_alerts(1)

    def test_a_digest_is_an_alert_of_its_own(self, real, hook):
        make(real.url, now_ms=wall_ms).send_digest(digests.notice(digests.drifted()))
        (alert,) = real.wait_for_alerts(1)
        assert alert["labels"] == {"alertname": "DriftlineDigest", "severity": "info", "week": "2025-12-29"}
        assert "age: 62 % of rows" in alert["annotations"]["description"]

    def test_the_worst_names_are_taken(self, real):
        make(real.url, now_ms=wall_ms).send(stories.enormous(), None)
        (alert,) = real.wait_for_alerts(1)
        assert len(alert["labels"]["model"]) <= MAX_LABEL
        assert "\u202e" not in str(alert)
        assert alert["generatorURL"] == stories.URL

    def test_events_ahead_of_the_clock_are_taken(self, real):
        make(real.url, now_ms=wall_ms).send(stories.late(OPENED, timedelta(days=3_650)), None)
        real.wait_for_alerts(1)

    def test_the_check_names_the_version(self, real):
        assert make(real.url).check().startswith("Alertmanager 0.")

    def test_a_user_has_to_log_in(self, hook):
        with AlertmanagerServer(hook.address, users={"driftline": BCRYPT}) as real:
            options = {"username": "driftline", "password_env": "P"}
            make(real.url, {"P": "test"}, **options).send(OPENED, None)
            assert make(real.url, {"P": "test"}, **options).check()
            with pytest.raises(DeliveryError, match="401") as caught:
                make(real.url, {"P": "other-pass"}, **options).send(OPENED, None)
        assert "other-pass" not in str(caught.value)

    def test_a_message_that_it_refuses_is_not_repeated(self, real):
        notifier = make(real.url, now_ms=wall_ms)
        with pytest.raises(DeliveryError) as caught:
            notifier._post([{"labels": {}, "annotations": {}}])
        assert not isinstance(caught.value, RetryLater)


def test_labels_stay_even_if_the_model_that_matters_most_changes(server):
    notifier = make(server.address)
    state = notifier.send(OPENED, None)
    joined = replace(OPENED, alert=replace(OPENED.alert, model="fraud", version="9", kind=RISEN.alert.kind))
    assert notifier.send(joined, state) == state
    (first,), (second,) = posted(server, 0), posted(server, 1)
    assert first["labels"] == second["labels"]


def test_the_state_survives_json_and_a_lost_one_names_the_same_alert(server):
    notifier = make(server.address)
    state = json.loads(json.dumps(notifier.send(OPENED, None)))
    notifier.send(OPENED, state)
    notifier.send(OPENED, None)
    assert len({json.dumps(posted(server, number)[0]["labels"]) for number in range(3)}) == 1


def test_an_open_alert_ends_long_after_the_next_time_it_is_sent(server):
    notifier = make(server.address)
    notifier.send(OPENED, None)
    (alert,) = posted(server)
    lasts = instant(NOW_MS) + timedelta(seconds=14_400)
    assert alert["endsAt"] == lasts.isoformat().replace("+00:00", "Z")
    assert notifier.resend_after_ms is not None
    assert 3 * notifier.resend_after_ms <= 900_000  # what the options allow at least


def test_what_has_not_fired_is_not_told(server):
    assert make(server.address).send(stories.pending(), None) is None
    assert server.requests == []


def test_an_end_that_comes_first_is_an_end(server):
    make(server.address).send(RESOLVED, None)
    (alert,) = posted(server)
    assert alert["endsAt"] == instant(NOW_MS).isoformat().replace("+00:00", "Z")
    assert alert["startsAt"] <= alert["endsAt"]


def test_a_week_in_which_nothing_drifted_is_no_alert(server):
    make(server.address).send_digest(digests.notice())
    assert server.requests == []


def test_labels_of_the_configuration_are_added_and_stay_until_the_end(server):
    state = make(server.address, labels={"team": "ml"}).send(OPENED, None)
    (alert,) = posted(server)
    assert alert["labels"]["team"] == "ml"
    assert alert["labels"]["model"] == "churn"
    make(server.address, labels={"team": "data"}).send(OPENED, state)
    assert posted(server)[0]["labels"] == alert["labels"]


def test_every_member_of_the_cluster_is_told_and_one_is_enough(server):
    with LocalServer() as other:
        notifier = make(server.address, peers=[other.address, f"http://127.0.0.1:{free_port()}"])
        notifier.send(OPENED, None)
        assert posted(server) == posted(other)
        server.will(Answer(503), Answer(400))
        other.will(Answer(400), Answer(400))
        with pytest.raises(RetryLater):
            notifier.send(OPENED, None)


def test_all_members_that_refuse_are_final(server):
    server.will(Answer(400, "no"), Answer(400, "no"))
    with pytest.raises(DeliveryError) as caught:
        make(server.address, peers=[server.address]).send(OPENED, None)
    assert not isinstance(caught.value, RetryLater)


def test_a_token_is_a_bearer(server):
    make(server.address, {"T": "abc"}, token_env="T").send(OPENED, None)
    assert server.requests[0].headers["authorization"] == "Bearer abc"


def test_a_path_prefix_stays(server):
    make(f"{server.address}/alertmanager/").send(OPENED, None)
    assert server.requests[0].path == "/alertmanager/api/v2/alerts"


def test_a_private_address_has_to_be_meant(server):
    with pytest.raises(DeliveryError, match="not a public address"):
        make(server.address, allow_private=False).send(OPENED, None)
    assert server.requests == []


def test_a_check_of_something_else_says_so(server):
    with pytest.raises(DeliveryError, match="not that of Alertmanager"):
        make(server.address).check()


def test_a_secret_that_cannot_be_sent_is_refused():
    with pytest.raises(ConfigurationError, match=r"receivers\.prom\.token") as caught:
        make("http://am.example", {"T": "a\nb"}, token_env="T")
    assert "a\nb" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "am:9093"},
        {"url": "http://user:pass@am:9093"},
        {"url": "http://am:9093", "peers": ["http://a:b@am2:9093"]},
        {"url": "http://am:9093", "username": "u"},
        {"url": "http://am:9093", "password_env": "P"},
        {"url": "http://am:9093", "username": "u", "password_env": "P", "token_env": "T"},
        {"url": "http://am:9093", "username": "u", "password_env": "P", "password_file": "/p"},
        {"url": "http://am:9093", "labels": {"alertname": "x"}},
        {"url": "http://am:9093", "labels": {"not-a-name": "x"}},
        {"url": "http://am:9093", "labels": {"__x": "x"}},
        {"url": "http://am:9093", "expires_after_s": 60},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        AlertmanagerOptions.model_validate({"type": "alertmanager", **options})


@pytest.mark.parametrize(
    ("status", "later"), [(401, True), (403, True), (404, True), (400, False), (422, False)]
)
def test_what_can_be_mended_in_front_of_it_is_tried_again(server, status, later):
    server.will(Answer(status, "no"))
    with pytest.raises(DeliveryError, match=str(status)) as caught:
        make(server.address).send(OPENED, None)
    assert isinstance(caught.value, RetryLater) is later
