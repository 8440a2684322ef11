"""Nobody asks too often, too much, too slowly, or guesses for long; who keeps to the limits feels nothing."""

import base64
import hashlib
import hmac
import json
import logging
import select
import socket
import threading
from itertools import accumulate

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from monitor.clock import ManualClock
from monitor.config import load
from monitor.config.sign_in import read_network
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.guard import MOST_HEADER_BYTES, MOST_TARGET_BYTES, Guard
from monitor.web.limits.buckets import MOST_KEYS, Buckets
from monitor.web.limits.connection import ConnectionLimits, Connections
from monitor.web.serve import Serving
from monitor.web.sign_in.tokens import create
from schemas.errors import ConfigurationError
from tests.kit.browser import Visitor
from tests.kit.waiting import wait_for
from tests.monitor.test_web_errors import problem
from tests.monitor.web_world import World, configuration

MODELS = "/api/v1/models"
OPEN_TO_ALL = {"allow_anonymous": True, "limits": {"requests_per_s": 2, "burst": 5}}
SECRETS = {
    "host": "127.0.0.1",
    "events": {"predictions": "pp", "token_env": "EVENTS_TOKEN"},
    "mlflow": {"secret_env": "MLFLOW_SECRET"},
}
QUICK = ConnectionLimits(read_s=0.2, write_s=0.2)


# --- the bucket -------------------------------------------------------------------------------------------


@given(
    most=st.integers(1, 6),
    refill_s=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    asked=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 4)), min_size=1, max_size=60),
)
def test_no_span_of_time_gives_more_than_a_full_bucket_and_what_flows_in(most, refill_s, asked):
    clock = ManualClock()
    buckets = Buckets(clock, most, refill_s)
    given_at: dict[str, list[float]] = {"a": [], "b": []}
    for key, pause_s in asked:
        clock.sleep(pause_s)
        was_out = buckets.is_out(key)
        is_given = buckets.take(key)
        assert is_given is not was_out
        if is_given:
            given_at[key].append(clock.monotonic())
        else:
            wait_s = buckets.retry_after_s(key)
            assert 1 <= wait_s <= max(1, refill_s + 1)
    for moments in given_at.values():
        for first in range(len(moments)):
            for last in range(first, len(moments)):
                span_s = moments[last] - moments[first]
                assert last - first + 1 <= most + span_s / refill_s + 1e-6


@given(pauses=st.lists(st.floats(0.5, 10), min_size=1, max_size=40))
def test_who_asks_no_faster_than_it_flows_in_is_never_refused(pauses):
    clock = ManualClock()
    buckets = Buckets(clock, most=1, refill_s=0.5)
    for at_s in accumulate(pauses):
        clock.sleep(at_s - clock.monotonic())
        assert buckets.take("a") or buckets.retry_after_s("a") == 1
    clock.sleep(0.5)
    assert buckets.take("a")


def test_memory_is_bounded_and_who_keeps_asking_is_not_forgotten():
    buckets = Buckets(ManualClock(), most=1, refill_s=1_000.0)
    assert buckets.take("guesses")
    for number in range(MOST_KEYS + 500):
        assert buckets.take(f"passes {number}")
        if number % 1_000 == 0:
            assert not buckets.take("guesses")
    assert len(buckets) == MOST_KEYS
    assert not buckets.take("guesses")


# --- requests ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(f"sqlite:///{tmp_path_factory.mktemp('limits') / 'driftline.db'}")
    made.add(range(10))
    yield made
    made.engine.dispose()


def client_of(world, peer, **http):
    app = create_app(
        configuration(str(world.engine.url), http=http), world.engine, world.telemetry, world.clock
    )
    return TestClient(app, base_url="http://127.0.0.1", client=(peer, 50_000))


def from_(app, peer):
    return TestClient(app, base_url="http://127.0.0.1", client=(peer, 50_000))


def statuses(client, number, path=MODELS, **options):
    return [client.get(path, **options).status_code for _ in range(number)]


def test_readers_are_limited_by_address_and_told_when_to_come_again(world):
    with client_of(world, "198.51.100.7", **OPEN_TO_ALL) as client:
        assert statuses(client, 7) == [200] * 5 + [429] * 2
        refused = client.get(MODELS)
        assert "see http.limits" in problem(refused, 429)["detail"]
        counted = world.telemetry.registry.get_sample_value("driftline_http_answers_total", {"status": "429"})
        assert counted >= 3
        assert refused.headers["retry-after"] == "1"
        assert statuses(from_(client.app, "198.51.100.8"), 2) == [200, 200]
        for path in ("/", f"{MODELS}/m/profile", "/static/x/style.css"):
            assert client.get(path).status_code == (200 if "static" in path else 429), path
        assert client.post("/api/v1/silences", json={"for": "1h"}).status_code == 429
        world.clock.sleep(1)
        assert statuses(client, 3) == [200, 200, 429]


def test_addresses_of_one_network_are_one(world):
    with client_of(world, "2001:db8:1:2::7", **OPEN_TO_ALL) as client:
        assert statuses(client, 5) == [200] * 5
        assert statuses(from_(client.app, "2001:db8:1:2:ffff::9"), 1) == [429]
        assert statuses(from_(client.app, "2001:db8:1:3::7"), 1) == [200]


def test_who_has_a_token_has_a_bucket_of_their_own_wherever_they_are(world):
    now_ms = world.clock.now_ms()
    ann, bob = (
        {"authorization": f"Bearer {create(world.engine, name, 'viewer', None, 'x', now_ms)[1]}"}
        for name in ("ann", "bob")
    )
    with client_of(world, "198.51.100.7", **OPEN_TO_ALL) as client:
        elsewhere = from_(client.app, "198.51.100.8")
        assert statuses(client, 3, headers=ann) + statuses(elsewhere, 3, headers=ann) == [200] * 5 + [429]
        assert statuses(client, 1, headers=bob) == [200]
        assert statuses(client, 6) == [200] * 5 + [429]
        # Those who were known at the address go on; others are refused before the database is asked.
        assert statuses(client, 1, headers=bob) == [200]
        assert statuses(client, 1, headers={"authorization": f"Bearer dl_{'x' * 43}"}) == [429]


def test_a_proxy_that_is_trusted_says_who_asks_and_another_does_not(world):
    http = {**OPEN_TO_ALL, "trusted_proxies": ["10.0.0.0/8"]}
    with client_of(world, "10.0.0.1", **http) as proxy:
        for last in (7, 8):
            assert statuses(proxy, 6, headers={"x-forwarded-for": f"198.51.100.{last}"}) == [200] * 5 + [429]
        liar = from_(proxy.app, "203.0.113.1")
        told = [
            liar.get(MODELS, headers={"x-forwarded-for": f"198.51.100.{last}"}).status_code
            for last in range(20, 26)
        ]
        assert told == [200] * 5 + [429]


def test_probes_and_metrics_are_counted_apart(world):
    with client_of(world, "198.51.100.7", **OPEN_TO_ALL) as client:
        assert statuses(client, 6)[-1] == 429
        assert statuses(client, 6, path="/metrics") == [200] * 5 + [429]
        assert statuses(client, 20, path="/livez") == [200] * 20


def test_on_this_machine_alone_nothing_is_limited(world):
    with client_of(world, "127.0.0.1", limits={"requests_per_s": 1, "burst": 1}) as client:
        assert statuses(client, 20) == [200] * 20


def test_events_are_not_limited_and_guesses_of_their_token_are(world, monkeypatch):
    monkeypatch.setenv("EVENTS_TOKEN", "right")
    monkeypatch.setenv("MLFLOW_SECRET", "secret")
    with client_of(world, "198.51.100.7", **SECRETS) as client:
        right, wrong = ({"authorization": f"Bearer {word}"} for word in ("right", "wrong"))

        def post(headers, app=client):
            return app.post("/v1/events", json={}, headers=headers).status_code

        assert [post(right) for _ in range(30)] == [422] * 30  # read, and found to be no event
        assert [post(wrong) for _ in range(22)] == [401] * 20 + [429] * 2
        assert client.post("/api/v1/events", json={}, headers=wrong).status_code == 429
        assert post(right) == 422  # who was right here before goes on
        stranger = from_(client.app, "198.51.100.8")
        assert post(right, stranger) == 422
        assert [post(wrong, stranger) for _ in range(20)] == [401] * 20
        world.clock.sleep(3)
        assert [post(wrong), post(wrong)] == [401, 429]


def test_guesses_of_the_secret_of_mlflow_are_slowed_at_the_same_count(world, monkeypatch):
    monkeypatch.setenv("EVENTS_TOKEN", "right")
    monkeypatch.setenv("MLFLOW_SECRET", "secret")
    body, now_s = (
        json.dumps({"entity": "x", "action": "y", "data": {}}).encode(),
        world.clock.now_ms() // 1_000,
    )

    def post(client, secret):
        digest = hmac.new(secret, f"d.{now_s}.".encode() + body, hashlib.sha256).digest()
        signature = "v1," + base64.b64encode(digest).decode()
        headers = {
            "x-mlflow-delivery-id": "d",
            "x-mlflow-timestamp": str(now_s),
            "x-mlflow-signature": signature,
        }
        return client.post("/api/v1/hooks/mlflow", content=body, headers=headers).status_code

    with client_of(world, "198.51.100.7", **SECRETS) as client:
        assert post(client, b"secret") == 200
        assert [post(client, b"guess") for _ in range(15)] == [401] * 15
        wrong = {"authorization": "Bearer wrong"}
        codes = [client.post("/v1/events", json={}, headers=wrong).status_code for _ in range(6)]
        assert codes == [401] * 5 + [429]
        # Whether the secret was right is not said any more.
        assert [post(client, b"guess"), post(client, b"secret")] == [429, 429]
        assert post(from_(client.app, "198.51.100.8"), b"secret") == 200


# --- what a request may be --------------------------------------------------------------------------------


def test_addresses_and_headers_that_are_too_large_are_refused(world):
    with client_of(world, "127.0.0.1") as client:
        assert client.get(f"{MODELS}?cursor={'x' * MOST_TARGET_BYTES}").status_code == 414
        assert "8192 bytes" in problem(client.get(f"/{'x' * MOST_TARGET_BYTES}"), 414)["detail"]
        many = {f"x-{number}": "1" for number in range(100)}
        assert "100 fields" in problem(client.get(MODELS, headers=many), 431)["detail"]
        assert client.get(MODELS, headers={"x-large": "x" * MOST_HEADER_BYTES}).status_code == 431
        assert client.get(MODELS, headers={"x-large": "x" * 20_000}).status_code == 200


def test_names_of_the_service_are_those_that_are_listed(world):
    http = {"host": "0.0.0.0", "allow_anonymous": True, "allowed_hosts": ["Drift.example.org", "10.0.0.7"]}  # noqa: S104
    with client_of(world, "198.51.100.7", **http) as client:
        for host, status in (
            ("drift.example.org", 200), ("DRIFT.example.org:8420", 200), ("10.0.0.7:8420", 200),
            ("localhost", 200), ("[::1]:8420", 200), ("evil.example", 421), ("", 421),
        ):  # fmt: skip
            assert client.get(MODELS, headers={"host": host}).status_code == status, host
        detail = problem(client.get(MODELS, headers={"host": "evil.example"}), 421)["detail"]
        assert "see http.allowed_hosts" in detail
        for path in ("/livez", "/readyz", "/metrics"):
            assert client.get(path, headers={"host": "10.244.0.3:8420"}).status_code == 200, path
    with client_of(world, "127.0.0.1", allowed_hosts=["drift.example.org"]) as client:
        found = [
            client.get("/livez", headers={"host": host}).status_code
            for host in ("drift.example.org", "127.0.0.1", "evil.example")
        ]
        assert found == [200, 200, 421]


def test_browsers_are_told_to_stay_with_https_where_that_is_configured(world):
    http = {"public_url": "https://drift.example.org", "strict_transport": "365d", "allow_anonymous": True}
    with client_of(world, "127.0.0.1", **http) as client:
        by_https = client.get("/livez", headers={"x-forwarded-proto": "https"})
        assert by_https.headers["strict-transport-security"] == "max-age=31536000"
        assert by_https.headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in by_https.headers["permissions-policy"]
        assert "strict-transport-security" not in client.get("/livez").headers
    with client_of(
        world, "127.0.0.1", public_url="https://drift.example.org", allow_anonymous=True
    ) as client:
        told = client.get("/livez", headers={"x-forwarded-proto": "https"}).headers
        assert "strict-transport-security" not in told


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ("limits: {burst: 0}", "http.limits.burst"),
        ("limits: {requests_per_s: 0}", "http.limits.requests_per_s"),
        ("limits: {read_timeout: 1ms}", "'1ms' is out of range (use 1s to 10m)"),
        ("limits: {rate: 3}", "http.limits.rate"),
        (
            'allowed_hosts: ["https://drift.example.org"]',
            "is not the name of a host (use driftline.example.org",
        ),
        ('allowed_hosts: ["drift.example.org:80"]', "is not the name of a host"),
        ("strict_transport: 365d", "goes with an http.public_url that begins with https://"),
        ("strict_transport: 1s", "is out of range (use 5m to 1095d)"),
    ],
)
def test_what_is_wrong_in_the_configuration_is_said(tmp_path, http, words):
    path = tmp_path / "driftline.yaml"
    path.write_text(
        "kafka: {bootstrap_servers: 'b:9092'}\ndatabase_url: sqlite:///d.db\n"
        f"streams: [{{topic: p, kind: predictions}}]\nhttp:\n  {http}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load(str(path))
    assert words in str(caught.value)


def test_limits_are_never_off_by_accident():
    with pytest.raises(ValidationError):
        configuration(http={"limits": {"requests_per_s": float("inf")}})


# --- connections ------------------------------------------------------------------------------------------


@pytest.fixture
def app():
    """Answers what it was sent; ``/large`` answers more than any buffer holds."""
    made = FastAPI()

    @made.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @made.get("/large")
    def large() -> list[str]:
        return ["x" * 1_000_000] * 30

    @made.get("/small")
    def small() -> str:
        return "here"

    made.add_middleware(Guard, telemetry=Telemetry(), host="127.0.0.1", larger={})
    return made


def connected(serving):
    return socket.create_connection(("127.0.0.1", serving.port), timeout=240)


def drip(serving, status, begin=b"", drop=b"x"):
    """Send a byte now and then until the server closes, and give all that it says, which is a status at last.

    On a busy machine it may give up before anything was sent, and its words may be lost when a byte comes as
    it closes: another try.
    """

    def attempt():
        with connected(serving) as connection:
            try:
                connection.sendall(begin)
                while not select.select([connection], [], [], 0.02)[0]:
                    connection.sendall(drop)
            except OSError:  # the server was quicker
                pass
            said = rest(connection)
            return said if b"HTTP/1.1 %d " % status in said else None

    return wait_for(attempt, what=f"the server did not answer {status}")


def rest(connection):
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:  # it was sent more than it wanted to read
        pass
    return found


HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
BEGUN = HEAD + b"Content-Length: 5000\r\n\r\n"


def wait_until_free(serving):
    wait_for(
        lambda: httpx.get(f"{serving.url}/small").status_code == 200,
        what="the place is not free again",
        ignoring=(httpx.TransportError,),
    )


@pytest.mark.parametrize("begin", [b"", b"GET /small HTTP/1.1\r\nX-Slow: ", BEGUN, BEGUN + b"x" * 100])
def test_who_drips_a_request_is_sent_away(app, begin, caplog):
    caplog.set_level(logging.INFO)
    with Serving(app, "127.0.0.1", 0, QUICK) as serving:
        said = drip(serving, 408, begin)
    assert b"http.limits.read_timeout" in said
    assert "took too long to come" in caplog.text
    assert "failed" not in caplog.text


def test_who_says_nothing_is_sent_away_too(app):
    with Serving(app, "127.0.0.1", 0, QUICK) as serving, connected(serving) as connection:
        assert rest(connection) == b""


def test_a_second_request_on_a_connection_may_not_drip_either(app):
    whole = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Serving(app, "127.0.0.1", 0, QUICK) as serving:
        said = drip(serving, 408, whole + b"GET /small HTTP/1.1\r\nX: ")
    assert said.startswith(b"HTTP/1.1 200 ")


def test_a_body_that_comes_after_the_answer_may_not_go_on_for_ever(app):
    with Serving(app, "127.0.0.1", 0, QUICK) as serving:
        assert b"use at most 65536 bytes" in drip(serving, 413, HEAD + b"Content-Length: 70000\r\n\r\n")


def test_bodies_without_a_size_are_refused_before_they_are_read(app):
    with Serving(app, "127.0.0.1", 0) as serving, connected(serving) as connection:
        connection.sendall(
            HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
        )
        assert rest(connection).startswith(b"HTTP/1.1 411 ")


def test_a_header_without_end_is_refused(app):
    begin = b"GET /small HTTP/1.1\r\nX: " + b"x" * MOST_HEADER_BYTES
    with Serving(app, "127.0.0.1", 0) as serving:
        assert drip(serving, 400, begin, drop=b"x" * 1_000)


def test_who_leaves_in_the_middle_of_a_body_is_no_fault_of_ours(app, caplog):
    with Serving(app, "127.0.0.1", 0, ConnectionLimits(most=1)) as serving:
        with connected(serving) as connection:
            connection.sendall(BEGUN)
        wait_until_free(serving)
    assert "failed" not in caplog.text


def test_an_answer_that_nobody_reads_is_given_up(app):
    limits = ConnectionLimits(most=1, write_s=0.2)
    with Serving(app, "127.0.0.1", 0, limits) as serving, connected(serving) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        wait_until_free(serving)


def test_one_connection_too_many_is_told_so(app):
    telemetry = Telemetry()
    limits = ConnectionLimits(most=1)
    with Serving(app, "127.0.0.1", 0, limits, telemetry) as serving, connected(serving) as first:
        first.sendall(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(65_536).startswith(b"HTTP/1.1 200 ")
        with connected(serving) as second:
            said = rest(second)
    assert telemetry.registry.get_sample_value("driftline_http_answers_total", {"status": "503"}) == 1
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in said


def test_who_sends_and_reads_in_time_is_served_whole(app):
    with Serving(app, "127.0.0.1", 0) as serving, httpx.Client(base_url=serving.url, timeout=240) as client:
        assert client.post("/echo", content=b"x" * 60_000).json() == 60_000
        assert len(client.get("/large").content) > 30_000_000
        threads = [threading.Thread(target=client.get, args=("/small",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.get("/small").json() == "here"


def test_connections_are_counted_by_address():
    limits = ConnectionLimits(most=13, per_client=2, trusted=[read_network("10.0.0.0/8")])
    connections = Connections(limits)
    assert [connections.enter("198.51.100.7") for _ in range(3)] == [True, True, False]
    assert [connections.enter(f"2001:db8::{number}") for number in range(3)] == [True, True, False]
    connections.leave("198.51.100.7")
    assert connections.enter("198.51.100.7")
    for address in ("10.0.0.1", "127.0.0.1", "::1"):
        assert [connections.enter(address) for _ in range(3)] == [True] * 3
    assert not connections.enter("10.0.0.1")


# --- what is written down, and what is not ----------------------------------------------------------------


def test_what_was_done_does_not_stay_in_the_address(world, browser):
    made = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with Serving(made, "127.0.0.1", 0) as serving:
        visitor = Visitor(browser, serving.url)
        page = visitor.visit("/incidents?state=all&done=silenced")
        page.get_by_text("Silenced. If it is open").wait_for()
        page.wait_for_url(f"{serving.url}/incidents?state=all")
        visitor.close()
        assert visitor.troubles == []
