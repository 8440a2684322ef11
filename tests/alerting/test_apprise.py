"""The real library apprise, where its extra is installed, against local servers."""

import importlib.util
import json
import logging
import sys

import pytest
from pydantic import ValidationError

from alerting.notifiers.apprise_urls import AppriseOptions
from alerting.notifiers.catalog import build
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting import digests, stories
from tests.alerting.servers import Answer, LocalServer
from tests.alerting.stories import OPENED, RESOLVED
from tests.kit.ports import free_port

# Apprise imports it where the interpreter still has it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
is_missing = importlib.util.find_spec("apprise") is None
with_apprise = pytest.mark.skipif(is_missing, reason="the extra with apprise is not installed")


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


def make(*urls, **options):
    validated = AppriseOptions(type="apprise", **{"urls_env": "URLS", **options})
    return build("others", validated, {"URLS": "\n".join(urls)}, lambda: 0)


def url_of(server, path="hook"):
    return f"json://{server.address.removeprefix('http://')}/{path}"


def sent(server, number=-1):
    return json.loads(server.requests[number].body)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigurationError) as caught:
        make("json://localhost")
    assert str(caught.value) == (
        "receivers.others.type: the extra is not installed (pip install 'driftline[apprise]')"
    )


def test_without_the_extra_options_can_be_checked_all_the_same(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert AppriseOptions(type="apprise", urls_env="U").timeout_s == 10.0


@pytest.mark.parametrize("options", [{}, {"urls_env": "U", "urls_file": "/u"}, {"urls": ["json://x"]}])
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        AppriseOptions.model_validate({"type": "apprise", **options})


@with_apprise
class TestWithApprise:
    def test_every_change_is_sent_with_its_tone(self, server):
        notifier = make(url_of(server))
        for notice in (OPENED, stories.acknowledged(), RESOLVED):
            assert notifier.send(notice, None) is None
        assert [sent(server, number)["type"] for number in range(3)] == ["failure", "warning", "success"]
        assert sent(server)["title"] == "Resolved (page): churn v1, drift in score"
        assert sent(server)["message"].startswith("churn v1: score drifted")
        assert "Resolved: 3 clean windows in a row" in sent(server)["message"]

    def test_a_digest_is_sent(self, server):
        make(url_of(server)).send_digest(digests.notice(digests.drifted()))
        assert sent(server)["title"] == "Weekly digest"
        assert "age: 62 % of rows" in sent(server)["message"]

    def test_text_is_sent_as_it_is(self, server):
        """No templates, escapes or emoji are read into it, and nothing is attached."""
        text = "{{ app_id }} {% for x %} :smile: \\n <b>&amp; file:///etc/passwd"
        make(url_of(server)).send(stories.enormous(columns=2, text=text), None)
        assert text in sent(server)["message"]
        assert sent(server)["attachments"] == []

    def test_the_worst_names_are_taken(self, server):
        make(url_of(server)).send(stories.enormous(), None)
        assert "\u202e" not in sent(server)["message"]

    def test_those_who_have_it_are_not_sent_it_again(self, server):
        with LocalServer() as other:
            notifier = make(url_of(server), url_of(other))
            other.will(Answer(503), Answer(503))
            for _ in range(2):
                with pytest.raises(RetryLater, match="1 of 2 have not got it: JSON answered 503"):
                    notifier.send(OPENED, None)
            notifier.send(OPENED, None)
            assert (len(server.requests), len(other.requests)) == (1, 3)

    def test_slow_services_do_not_keep_the_others_waiting_for_ever(self, server):
        now_ms = iter(range(0, 10**9, 20_000))
        options = AppriseOptions(type="apprise", urls_env="U")
        urls = {"U": " ".join(url_of(server, f"h{number}") for number in range(4))}
        notifier = build("others", options, urls, lambda: next(now_ms))
        with pytest.raises(RetryLater, match="3 of 4 have not got it: JSON has not been tried yet"):
            notifier.send(OPENED, None)
        for _ in range(2):
            with pytest.raises(RetryLater):
                notifier.send(OPENED, None)
        notifier.send(OPENED, None)
        assert sorted(request.path for request in server.requests) == ["/h0", "/h1", "/h2", "/h3"]

    def test_a_refusal_does_not_hold_up_the_others(self, server, caplog):
        with LocalServer() as other:
            notifier = make(url_of(server), url_of(other))
            server.will(Answer(404))
            other.will(Answer(500))
            with pytest.raises(RetryLater):
                notifier.send(OPENED, None)
            notifier.send(OPENED, None)
            assert "refused the message with 404 (1 of 2 have got it)" in caplog.text
            assert (len(server.requests), len(other.requests)) == (1, 2)

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_what_a_person_has_to_mend_is_final(self, server, status):
        server.will(Answer(status))
        with pytest.raises(DeliveryError, match=str(status)) as caught:
            make(url_of(server)).send(OPENED, None)
        assert not isinstance(caught.value, RetryLater)

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_what_may_pass_is_tried_again(self, server, status):
        server.will(Answer(status))
        with pytest.raises(RetryLater, match=str(status)):
            make(url_of(server)).send(OPENED, None)

    def test_redirects_are_not_followed(self, server):
        with LocalServer() as other:
            server.will(Answer(307, headers={"Location": f"{other.address}/elsewhere"}))
            with pytest.raises(DeliveryError):
                make(url_of(server)).send(OPENED, None)
            assert other.requests == []

    def test_a_server_that_is_not_there_is_tried_again(self):
        with pytest.raises(RetryLater, match="JSON did not take the message"):
            make(f"json://127.0.0.1:{free_port()}/x").send(OPENED, None)

    def test_addresses_are_in_no_error_and_no_log(self, server, caplog):
        caplog.set_level(logging.DEBUG)
        notifier = make(url_of(server, "path-token"), timeout_s=0.3)
        server.will(Answer(500), Answer(404), Answer(drop=True), Answer(hang=True))
        said = [repr(vars(notifier)), notifier.check()]
        for _ in range(4):
            with pytest.raises(DeliveryError) as caught:
                notifier.send(OPENED, None)
            said.append(f"{caught.value!r} {caught.value.__cause__!r}")
        assert "path-token" not in " ".join([*said, caplog.text])

    def test_the_check_names_the_services_and_tells_nobody_anything(self, server):
        said = make(url_of(server), url_of(server), "ntfy://ntfy.example/drift").check()
        assert said == "JSON, ntfy through apprise (cannot be checked without posting)"
        assert server.requests == []

    @pytest.mark.parametrize("url", ["nonsense-token", "foo://bar-token", "file:///etc/token", "json://"])
    def test_what_is_no_address_is_refused_without_showing_it(self, url):
        with pytest.raises(ConfigurationError, match=r"receivers\.others\.urls: entry 2 is no") as caught:
            make("json://localhost", url)
        assert url not in str(caught.value)

    def test_too_many_addresses_are_refused(self):
        with pytest.raises(ConfigurationError, match=r"21 addresses \(use at most 20\)"):
            make(*["json://localhost"] * 21)
