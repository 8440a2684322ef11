"""The client that all targets share: time, size, redaction, and what a status means."""

import json
import ssl
import subprocess
import urllib.parse

import httpx
import pytest

from alerting.http.answer import Answer as Received
from alerting.http.client import HttpClient
from alerting.retraining.run import Run, RunState, web_link
from schemas.errors import DeliveryError, RetryLater
from tests.alerting.servers import Answer, LocalServer

NOW_MS = 1_767_225_600_000


def client(url, *, timeout_s=5.0, now_ms=lambda: NOW_MS, **options):
    options = {"allow_private": True, "ca_file": None, **options}
    return HttpClient(url, timeout_s=timeout_s, now_ms=now_ms, **options)


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


@pytest.mark.parametrize(
    ("status", "is_final", "words"),
    [
        (400, True, "answered 400"),
        (401, True, "check the user, the password or the token"),
        (403, True, "give this user or token the right"),
        (404, True, "check the url and the names"),
        (408, False, "answered 408"),
        (409, True, "conflicts"),
        (410, True, "gone for good"),
        (422, True, "answered 422"),
        (425, False, "answered 425"),
        (429, False, "answered 429"),
        (500, False, "answered 500"),
        (501, True, "answered 501"),
        (503, False, "answered 503"),
    ],
)
def test_what_a_status_means(server, status, is_final, words):
    server.will(Answer(status, {"message": "so\nit   is"}))
    with pytest.raises(DeliveryError, match=words) as caught:
        client(server.address).get("/x")
    assert isinstance(caught.value, RetryLater) is not is_final
    assert str(caught.value).endswith(": so it is")


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"Retry-After": "60"}, 60.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW_MS // 1_000 + 90)}, 90.0),
    ],
)
def test_a_limit_of_requests_that_comes_as_403_passes(server, headers, after_s):
    server.will(Answer(403, {"message": "secondary rate limit"}, headers))
    with pytest.raises(RetryLater) as caught:
        client(server.address).get("/x")
    assert caught.value.after_s == after_s


@pytest.mark.parametrize("reset", ["", "soon", "9" * 40, "-1"])
def test_a_reset_that_is_no_time_is_no_wish(server, reset):
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    server.will(Answer(429, "no", headers))
    with pytest.raises(RetryLater) as caught:
        client(server.address).get("/x")
    assert caught.value.after_s is None


def test_an_answer_that_trickles_in_has_an_end(server):
    clock = iter([0, 9_000, 10_001, 10_002])
    server.will(Answer(200, "x" * 200_000))
    with pytest.raises(RetryLater, match="timed out"):
        client(server.address, now_ms=lambda: next(clock)).get("/x")


def test_what_is_hidden_is_never_quoted(server):
    api = client(server.address)
    api.hide("s3cret", "")
    server.will(Answer(400, {"error": {"reason": "the password s3cret is wrong"}}))
    with pytest.raises(DeliveryError, match="the password … is wrong"):
        api.get("/x")
    assert "s3cret" not in repr(api)


@pytest.mark.parametrize("secret", ['qu"ote', "back\\slash", "sp ace", "ünïcode", "a/b?c"])
def test_what_is_hidden_is_not_quoted_in_another_form(server, secret):
    api = client(server.address)
    api.hide(secret)
    forms = [secret, urllib.parse.quote(secret, safe=""), json.dumps(secret, ensure_ascii=False)[1:-1]]
    server.will(
        Answer(422, {"detail": [{"loc": ["body"], "msg": "no", "input": {"p": form}} for form in forms]})
    )
    with pytest.raises(DeliveryError) as caught:
        api.get("/x")
    assert str(caught.value) == "answered 422: body; no; …; body; no; …; body; no; …"


def test_of_two_secrets_the_longer_is_hidden_first(server):
    api = client(server.address)
    api.hide("abc", "abcdef")
    server.will(Answer(400, {"message": "abcdef abc"}))
    with pytest.raises(DeliveryError, match=r"answered 400: … …$"):
        api.get("/x")


def test_a_secret_is_not_cut_in_half_before_it_is_hidden(server):
    api = client(server.address)
    api.hide("s3cret" * 10)
    server.will(Answer(400, {"message": "x" * 170 + "s3cret" * 10}))
    with pytest.raises(DeliveryError) as caught:
        api.get("/x")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["ünïcode", "two\nlines", "\udcff"])
def test_what_cannot_stand_in_a_header_is_not_sent(server, text):
    with pytest.raises(DeliveryError, match="cannot stand in a header") as caught:
        client(server.address).get("/x", headers={"authorization": f"Bearer {text}"})
    assert text not in str(caught.value)
    assert server.requests == []


def test_the_query_and_the_path_are_kept_apart(server):
    client(server.address + "/base/").get("/a%2Fb", query={"q": "1&2", "r": "ü"})
    assert server.requests[0].path == "/base/a%2Fb?q=1%262&r=%C3%BC"
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_certificates_are_checked(tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=api.example", "-addext", "subjectAltName=DNS:api.example"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = LocalServer()
    server.start(context)
    url = f"https://api.example:{server.address.rpartition(':')[2]}"
    resolve = lambda *_: ["127.0.0.1"]  # noqa: E731
    with pytest.raises(RetryLater, match="certificate"):
        client(url, resolve=resolve).get("/x")
    assert client(url, resolve=resolve, ca_file=str(certificate)).get("/x").status == 200
    server.stop()


def received(body: bytes) -> Received:
    return Received(200, httpx.Headers(), body)


def test_an_answer_is_looked_into_without_trust():
    answer = received(b'{"a": [{"b": 7, "c": true, "d": null}], "e": "x", "f": 1.5}')
    assert answer.text("a", 0, "b") == "7"
    assert answer.text("e") == "x"
    missing = [("a", 0, "c"), ("a", 0, "d"), ("a", 1), ("a", "b"), ("e", 0), ("f",), ("g",)]
    assert [answer.text(*path) for path in missing] == [""] * len(missing)
    assert answer.items("a") == [{"b": 7, "c": True, "d": None}]
    assert answer.items("e") == []
    with pytest.raises(RetryLater, match=r"holds no a\.0\.x"):
        answer.need("a", 0, "x")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 500_000])
def test_what_is_not_json_is_nothing(body):
    assert received(body).json is None
    assert received(body).text("a") == ""


def test_a_run_shows_one_line_of_bounded_length():
    assert Run("1", "", RunState.FAILED, "out\nof \x1b[31mmemory\x00").detail == "out of [31mmemory"
    assert len(Run("1", "", RunState.FAILED, "x" * 10_000).detail) == 300


@pytest.mark.parametrize(
    "text",
    [7, "", "ftp://x.example/", "https://", "https://a:b@x.example/", "https://x" * 500, "http://[::1"],
)
def test_links_that_are_none(text):
    assert web_link(text) == ""


@pytest.mark.parametrize(
    "value",
    [
        "Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Thu, 01 Jan 2026 00:00:00 +99999999999999999999",
        "9" * 5_000,
    ],
)
def test_a_wish_to_wait_that_is_no_time_is_none(server, value):
    server.will(Answer(503, headers={"Retry-After": value[:4_000]}))
    with pytest.raises(RetryLater) as caught:
        client(server.address).get("/x")
    assert caught.value.after_s in (None, 86_400.0)
