"""Pages are told of everything that changes while they are open."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.routing import APIRoute

from monitor.web.console import live
from monitor.web.context import Context
from tests.monitor.console.conftest import filled_world


@pytest.fixture
def own(tmp_path):
    made = filled_world(f"sqlite:///{tmp_path / 'live.db'}")
    yield made
    made.engine.dispose()


def test_what_changes_once_a_page_is_live_is_told(own, monkeypatch):
    """A page is live as soon as it has the head of the answer, which goes out before any of its body."""
    monkeypatch.setattr(live, "PERIOD_S", 0.01)
    context = Context(own.configuration, own.engine, own.telemetry, own.clock)
    (route,) = live.routes(context).routes
    assert isinstance(route, APIRoute)

    async def listen():
        answer = await route.endpoint()
        own.judge(10, revision=2)
        async with asyncio.timeout(60):
            return [await anext(answer.body_iterator) for _ in range(2)]

    # In a thread of its own: where a browser runs, this one has a loop already.
    with ThreadPoolExecutor(1) as threads:
        told = threads.submit(lambda: asyncio.run(listen())).result()
    assert told == ["retry: 5000\n\n", "event: changed\ndata: 1\n\n"]
