"""A filled database behind sign-in, and people with browsers."""

import re
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

from fastapi.testclient import TestClient

from monitor.store import api_tokens, audit
from monitor.store.engine import reading
from monitor.web.app import create_app
from monitor.web.sign_in.tokens import create
from tests.monitor.sign_in.provider_server import CLIENT, Provider, ProviderServer
from tests.monitor.web_world import World, configuration

HOME = "https://drift.example.org"
ROLES = {"viewer": ["staff"], "operator": ["oncall"], "admin": ["platform"]}
HTML = {"accept": "text/html"}


def oidc(provider, **more):
    return {
        "type": "oidc", "issuer": provider.url, "client_id": CLIENT, "client_secret_env": "OIDC_SECRET",
        "roles": ROLES, **more,
    }  # fmt: skip


def proxied(**more):
    return {"sign_in": {"type": "proxy", "trusted": ["testclient", "10.0.0.0/8"][1:], "roles": ROLES, **more}}


class Place:
    """One world, and clients of it."""

    def __init__(self, url, home=HOME):
        self.world, self.home = World(url), home
        self.provider = Provider(lambda: self.world.clock.now_ms() // 1_000)
        self.server = ProviderServer(self.provider)
        self.http = {"public_url": home, "sign_in": oidc(self.provider)}

    @property
    def clock(self):
        return self.world.clock

    @contextmanager
    def client(self, http=None, peer="198.51.100.7", home=None, **options):
        given = self.http if http is None else http
        made = configuration(str(self.world.engine.url), http=given)
        app = create_app(made, self.world.engine, self.world.telemetry, self.clock, **options)
        base = home or given.get("public_url", "http://127.0.0.1")
        with TestClient(app, base_url=base, client=(peer, 50_000), follow_redirects=False) as client:
            yield client

    def token(self, role="operator", name="ci", lives_ms=None):
        ends_ms = None if lives_ms is None else self.clock.now_ms() + lives_ms
        return create(self.world.engine, name, role, ends_ms, "ann", self.clock.now_ms())[1]

    def entries(self, actor=None):
        with reading(self.world.engine) as connection:
            return audit.listed(connection, actor, None, 100)

    def tokens(self):
        with reading(self.world.engine) as connection:
            return api_tokens.listed(connection)

    def close(self):
        self.server.stop()
        self.world.engine.dispose()


def at_provider(provider, client, back="/incidents"):
    """Go to the provider and sign in there; gives the address that it leads back to."""
    to = client.get("/sign-in/start", params={"back": back})
    assert to.status_code == 303, to.text
    parts = urlsplit(to.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}" == provider.url
    _, headers, _ = provider.get(parts.path, dict(parse_qsl(parts.query)), {})
    return headers["location"]


def sign_in(provider, client, groups=("oncall",), back="/incidents"):
    """Sign somebody in; gives the last answer."""
    provider.person["groups"] = list(groups)
    return client.get(at_provider(provider, client, back))


def form_token(client, page):
    return re.findall(r'name="form_token" value="([^"]+)"', client.get(page, headers=HTML).text)[0]


def bearer(token):
    return {"authorization": f"Bearer {token}"}
