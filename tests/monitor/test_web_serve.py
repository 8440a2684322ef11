"""The HTTP server starts and stops cleanly, and says why it cannot."""

import socket
import threading
import time
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from monitor.web.serve import Serving
from schemas.errors import Unavailable


@pytest.fixture
def app():
    made = FastAPI()
    begun = threading.Event()
    made.state.begun = begun

    @made.get("/")
    def index() -> str:
        return "here"

    @made.get("/slow")
    def slow() -> str:
        begun.set()
        time.sleep(0.4)
        return "done"

    return made


def test_answers_on_a_free_port_until_it_is_stopped(app):
    with Serving(app, "127.0.0.1", 0) as serving:
        assert serving.port > 0
        assert serving.is_alive
        answer = httpx.get(serving.url)
        assert answer.json() == "here"
        assert "server" not in answer.headers
        before = time.monotonic()
    assert time.monotonic() - before < 2
    assert not serving.is_alive
    with pytest.raises(httpx.ConnectError):
        httpx.get(serving.url)
    serving.stop()


def test_requests_under_way_are_answered_before_it_stops(app):
    serving = Serving(app, "127.0.0.1", 0)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{serving.url}/slow").json()))
    asking.start()
    assert app.state.begun.wait(5)
    serving.stop()
    asking.join(5)
    assert answers == ["done"]


def test_connections_that_are_kept_open_do_not_hold_it_up(app):
    with Serving(app, "127.0.0.1", 0) as serving, httpx.Client() as client:
        assert client.get(serving.url).json() == "here"
        with socket.create_connection(("127.0.0.1", serving.port)):
            before = time.monotonic()
            serving.stop()
            assert time.monotonic() - before < 2


def test_a_port_that_is_taken_is_named(app):
    with Serving(app, "127.0.0.1", 0) as first:
        with pytest.raises(
            Unavailable, match=rf"cannot listen on 127\.0\.0\.1:{first.port}: Address already in use"
        ):
            Serving(app, "127.0.0.1", first.port)
        port = first.port
    with Serving(app, "127.0.0.1", port) as again:
        assert again.port == port


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_here_is_named(app, host):
    with pytest.raises(Unavailable, match=f"cannot listen on {host}:8420"):
        Serving(app, host, 8420)


def test_an_application_that_cannot_start_is_named():
    @asynccontextmanager
    async def lifespan(_app):
        msg = "cannot begin"
        raise RuntimeError(msg)
        yield

    with pytest.raises(Unavailable, match="does not start"):
        Serving(FastAPI(lifespan=lifespan), "127.0.0.1", 0)
