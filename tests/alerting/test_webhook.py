"""Signed webhooks against a server that checks the signature with code of its own."""

import base64
import json
import ssl

import httpx
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from alerting.http.addresses import MOST_ADDRESSES, PinnedTransport, is_public
from alerting.notifiers.base import ReceiverDisabled
from alerting.notifiers.catalog import build
from alerting.notifiers.webhook import MAX_BODY_BYTES, WebhookNotifier, WebhookOptions, body_of
from alerting.secrets import Secrets
from schemas.errors import ConfigurationError, DeliveryError, RetryLater
from tests.alerting import stories
from tests.alerting.factory import finding, notices, window
from tests.alerting.servers import Answer, WebhookServer
from tests.kit.ports import free_port

NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
NOW_MS = 1_767_225_600_000
STORY = notices(window(0, ["age"]), window(1, ["score"]), window(2), window(3), window(4))


def make(url, environment=None, resolve=None, **options):
    options = {"url": url, "secret_env": "NEW", "allow_private": True, **options}
    validated = WebhookOptions(type="webhook", **options)
    secrets = Secrets({"NEW": NEW, "OLD": OLD, **(environment or {})}, "receivers.retrain")
    if resolve is None:
        return build("retrain", validated, {"NEW": NEW, "OLD": OLD, **(environment or {})}, lambda: NOW_MS)
    return WebhookNotifier(validated, secrets, lambda: NOW_MS, resolve)


@pytest.fixture
def server():
    with WebhookServer(NEW) as running:
        yield running


def test_every_change_is_signed_and_has_an_id_that_stays(server):
    hook = make(f"{server.address}/retrain")
    for notice in [*STORY, STORY[0]]:
        assert hook.send(notice, None) is None
    assert server.rejected == []
    assert server.order == [notice.id for notice in STORY]
    bodies = list(server.kept.values())
    assert [body["type"] for body in bodies] == [
        "driftline.alert.opened",
        "driftline.alert.updated",
        "driftline.alert.resolved",
    ]
    assert bodies[0]["timestamp"] == "2026-01-01T10:10:00Z"
    assert bodies[0]["data"]["model"] == "churn"
    assert bodies[2]["data"]["state"] == "resolved"


def test_the_time_stamp_is_utc_seconds_of_the_attempt(server):
    make(server.address).send(STORY[0], None)
    headers = server.requests[0].headers
    assert headers["webhook-timestamp"] == str(NOW_MS // 1_000)
    assert headers["content-type"] == "application/json"


def test_the_library_of_the_specification_accepts_it(server, monkeypatch):
    make(server.address).send(STORY[0], None)
    request = server.requests[0]
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _self, text: _at(text))
    assert Webhook(NEW).verify(request.body, request.headers)["type"] == "driftline.alert.opened"


def _at(text):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(text), UTC)


def test_while_rotating_both_secrets_sign():
    with WebhookServer(NEW, OLD) as server:
        make(server.address, previous_secret_env="OLD").send(STORY[0], None)
        assert list(server.kept) == [STORY[0].id]
        with pytest.raises(RetryLater, match="401"):
            make(server.address).send(STORY[0], None)


def test_410_disables(server):
    server.will(Answer(410))
    with pytest.raises(ReceiverDisabled, match="410"):
        make(server.address).send(STORY[0], None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server, status):
    server.will(Answer(status, headers={"Location": f"{server.address}/elsewhere"}))
    with pytest.raises(DeliveryError, match="redirects are not followed") as caught:
        make(server.address).send(STORY[0], None)
    assert not isinstance(caught.value, RetryLater)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 500, 503])
def test_what_may_pass_is_tried_again(server, status):
    server.will(Answer(status))
    with pytest.raises(RetryLater):
        make(server.address).send(STORY[0], None)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://0.0.0.0:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
    ],
)
def test_inner_addresses_are_refused(server, url):
    hook = make(url.format(port=server.address.rpartition(":")[2]), allow_private=False)
    with pytest.raises(DeliveryError, match="not a public address") as caught:
        hook.send(STORY[0], None)
    assert not isinstance(caught.value, RetryLater)
    assert server.requests == []


def test_one_inner_address_among_public_ones_is_refused(server):
    hook = make(
        "http://mixed.example/", resolve=lambda *_: ["93.184.215.14", "10.0.0.1"], allow_private=False
    )
    with pytest.raises(DeliveryError, match="not a public address"):
        hook.send(STORY[0], None)


def test_the_address_that_was_checked_is_the_one_connected_to(server):
    """A name that answers differently the second time cannot lead inside."""
    port = int(server.address.rpartition(":")[2])
    answers = iter([["127.0.0.1"], ["10.9.9.9"]])
    asked = []

    def resolve(host, port):
        asked.append((host, port))
        return next(answers)

    make(f"http://hook.example:{port}/x", resolve=resolve).send(STORY[0], None)
    assert asked == [("hook.example", port)]
    assert server.requests[0].headers["host"] == f"hook.example:{port}"


def test_a_rebinding_name_is_checked_anew_for_every_request():
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    seen = []

    class Wire(httpx.BaseTransport):
        def handle_request(self, request):
            seen.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
            return httpx.Response(200)

    pinned = PinnedTransport(Wire(), allow_private=False, resolve=lambda *_: next(answers))
    request = httpx.Request("POST", "https://hook.example/x")
    assert pinned.handle_request(request).status_code == 200
    with pytest.raises(DeliveryError):
        pinned.handle_request(request)
    assert seen == [("93.184.215.14", "hook.example", "hook.example")]


def test_the_next_address_is_tried_if_one_takes_no_connection(server):
    port = int(server.address.rpartition(":")[2])
    hook = make(f"http://two.example:{port}/", resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])
    hook.send(STORY[0], None)
    assert len(server.kept) == 1


def test_many_addresses_that_take_no_connection_do_not_hold_up_the_others():
    tried = []

    class Wire(httpx.BaseTransport):
        def handle_request(self, request):
            tried.append(request.url.host)
            raise httpx.ConnectTimeout(request.url.host)

    many = [f"93.184.215.{number}" for number in range(200)]
    pinned = PinnedTransport(Wire(), allow_private=False, resolve=lambda *_: many)
    with pytest.raises(httpx.ConnectTimeout):
        pinned.handle_request(httpx.Request("POST", "https://hook.example/x"))
    assert tried == many[:MOST_ADDRESSES]


def test_a_name_beyond_ascii_is_looked_up_as_it_stands_in_the_certificate():
    """The resolver of the system would write it by older rules: as strasse.example, somebody else's name."""
    asked = []

    def resolve(host, _port):
        asked.append(host)
        return ["93.184.215.14"]

    class Wire(httpx.BaseTransport):
        def handle_request(self, request):
            asked.append(request.extensions["sni_hostname"])
            return httpx.Response(200)

    PinnedTransport(Wire(), allow_private=False, resolve=resolve).handle_request(
        httpx.Request("POST", "https://straße.example/x")
    )
    assert asked == ["xn--strae-oqa.example"] * 2


def test_a_name_that_cannot_be_resolved_is_tried_again():
    def nowhere(*_):
        raise OSError

    with pytest.raises(RetryLater, match=r"hook\.example cannot be resolved"):
        make("http://hook.example/", resolve=nowhere).send(STORY[0], None)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    server = WebhookServer(NEW)
    with _tls(server, tmp_path) as certificate:
        port = server.address.rpartition(":")[2]
        resolve = lambda *_: ["127.0.0.1"]  # noqa: E731
        with pytest.raises(RetryLater, match="certificate"):
            make(f"https://hook.example:{port}/", resolve=resolve).send(STORY[0], None)
        trusting = make(f"https://hook.example:{port}/", resolve=resolve, ca_file=str(certificate))
        trusting.send(STORY[0], None)
        with pytest.raises(RetryLater, match="certificate"):
            make(f"https://other.example:{port}/", resolve=resolve, ca_file=str(certificate)).send(
                STORY[0], None
            )
    assert len(server.kept) == 1


def test_certificates_of_ones_own_are_trusted_in_place_of_the_public_ones(tmp_path, monkeypatch):
    with _tls(WebhookServer(NEW), tmp_path) as certificate:
        made = []
        monkeypatch.setattr(httpx, "HTTPTransport", lambda **options: made.append(options["verify"]))
        make("https://hook.example/", ca_file=str(certificate))
    assert len(made[0].get_ca_certs()) == 1


def test_a_file_without_certificates_is_refused(tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match=r"receivers\.retrain\.ca_file: .* no certificates"):
            make("https://hook.example/", ca_file=str(tmp_path / name))


@pytest.mark.parametrize(
    "url", ["https://ann:geh/eim@hook.example/", "https://hook.example/\ngeheim", "geheim"]
)
def test_a_secret_that_is_no_address_is_refused_without_showing_it(url):
    with pytest.raises(ConfigurationError, match=r"receivers\.retrain\.url: not an address") as caught:
        make(None, {"URL": url}, url_env="URL")
    assert "geh" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["proxy.example:3128", "http://ann:geh/eim@proxy.example", "ftp://x"])
def test_a_proxy_that_is_none_is_refused_without_showing_it(proxy):
    with pytest.raises(ConfigurationError, match=r"receivers\.retrain\.proxy: not an address") as caught:
        make("https://hook.example/", {"PROXY": proxy}, proxy_env="PROXY")
    assert "geh" not in str(caught.value)


def test_another_address_in_the_secret_gives_a_disabled_receiver_another_chance():
    old, new = (make(None, {"URL": f"https://hook.example/{name}"}, url_env="URL") for name in "ab")
    again = make(None, {"URL": "https://hook.example/a"}, url_env="URL")
    assert old.fingerprint == again.fingerprint != new.fingerprint


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    make(server.address).send(STORY[0], None)
    assert len(server.kept) == 1


def test_a_configured_proxy_is_used(server):
    hook = make("http://hook.example/x", {"PROXY": server.address}, proxy_env="PROXY", allow_private=False)
    hook.send(STORY[0], None)
    assert server.requests[0].path == "http://hook.example/x"


def test_an_address_with_credentials_comes_from_the_environment(server):
    url = server.address.replace("http://", "http://ann:pass@")
    with pytest.raises(ValidationError) as caught:
        make(url)
    assert "holds credentials" in str(caught.value)
    assert "pass@" not in str(caught.value)
    make(None, {"URL": url}, url_env="URL").send(STORY[0], None)
    assert server.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"ann:pass").decode()


def test_the_body_stays_below_20_kb():
    long = "é<&" * 100
    many = [finding(f"{long}{i}", segment=long, explanation=long) for i in range(100)]
    (notice,) = notices(window(0, many))
    body = body_of(notice)
    data = json.loads(body)["data"]
    assert len(body) < MAX_BODY_BYTES
    assert 0 < len(data["findings"]) < 100
    assert data["findings_total"] == 100


def test_the_body_stays_below_20_kb_whatever_an_incident_holds():
    told = stories.enormous()
    body = body_of(told)
    data = json.loads(body)["data"]
    assert len(body) < MAX_BODY_BYTES
    assert (data["alerts_total"], data["findings_total"]) == (told.members_total, told.findings_total)
    assert data["models"]


@pytest.mark.parametrize(
    "secret", ["whsec_c2hvcnQ=", "whsec_" + "A" * 120, "not base64 at all!", "whsec_geheimnisvölles"]
)
def test_a_secret_that_is_none_is_refused_without_showing_it(secret):
    with pytest.raises(
        ConfigurationError, match=r"receivers\.retrain\.secret: not a webhook secret"
    ) as caught:
        make("http://hook.example/", {"NEW": secret})
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"secret_env": "S"},
        {"url": "https://x.example/"},
        {"url": "ftp://x.example/", "secret_env": "S"},
        {"url": "https://x.example/", "url_env": "U", "secret_env": "S"},
        {"url": "https://x.example/", "secret": "whsec_"},
        {"url": "https://x.example/", "secret_env": "S", "timeout_s": 0},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ValidationError):
        WebhookOptions.model_validate({"type": "webhook", **options})


@pytest.mark.parametrize(
    "text",
    [
        "100.64.0.1",
        "192.0.0.192",  # metadata of Oracle's cloud
        "192.0.2.1",
        "224.0.0.1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",
        "168.63.129.16",
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b:1::a00:1",
    ],
)
def test_addresses_that_are_not_public(text):
    assert not is_public(text)


@pytest.mark.parametrize("text", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_addresses_that_are_public(text):
    assert is_public(text)


class _tls:  # noqa: N801
    """Serve over TLS with a certificate for hook.example that signs itself."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder

    def __enter__(self):
        import subprocess

        certificate, key = self.folder / "c.pem", self.folder / "k.pem"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=hook.example"]
        command += ["-addext", "subjectAltName=DNS:hook.example"]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.start(context)
        return certificate

    def __exit__(self, *_):
        self.server.stop()
