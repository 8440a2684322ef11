"""The console over a filled database, in a real browser."""

import pytest

from monitor.web.app import create_app
from monitor.web.serve import Serving
from tests.kit.browser import Visitor
from tests.monitor.web_world import World


def filled_world(url, **options):
    made = World(url, **options)
    made.add(range(10))
    made.learn(range(10))
    made.add(range(10, 20), dead=[("undecodable", b"x")])
    made.judge(10)
    made.alert()
    return made


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """One filled world for all who only look."""
    made = filled_world(f"sqlite:///{tmp_path_factory.mktemp('console') / 'driftline.db'}")
    yield made
    made.engine.dispose()


def serving(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    return Serving(app, "127.0.0.1", 0)


@pytest.fixture(scope="session")
def address(world):
    with serving(world) as running:
        yield running.url


@pytest.fixture
def visitor(browser, address):
    made = Visitor(browser, address)
    yield made
    made.close()
    assert made.troubles == []
    assert [url for url in made.asked if not url.startswith(address)] == []
