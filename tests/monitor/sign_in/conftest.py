"""Sign-in against a provider of our own."""

import pytest

from monitor.store.engine import immediate
from monitor.store.tables import api_token, audit, session
from tests.monitor.sign_in.provider_server import SECRET
from tests.monitor.sign_in.sign_in_world import Place


@pytest.fixture(scope="session")
def everywhere(tmp_path_factory):
    made = Place(f"sqlite:///{tmp_path_factory.mktemp('sign_in') / 'driftline.db'}")
    made.world.add(range(10))
    made.world.learn(range(10))
    made.world.add(range(10, 20), dead=[("undecodable", b"x")])
    made.world.judge(10)
    yield made
    made.close()


@pytest.fixture
def place(everywhere, monkeypatch):
    """The world with nobody signed in, and a provider in its senses."""
    monkeypatch.setenv("OIDC_SECRET", SECRET)
    with immediate(everywhere.world.engine) as connection:
        for table in (session, api_token, audit):
            connection.execute(table.delete())
    fresh = type(everywhere.provider)(
        everywhere.provider.now_s, everywhere.provider.url, key=everywhere.provider.key
    )
    everywhere.provider.__dict__.update(fresh.__dict__)
    return everywhere
