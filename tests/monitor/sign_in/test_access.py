"""Every address asks for the role that it takes; who has none gets nothing."""

import re

import pytest

from monitor.config.sign_in import ROLES
from monitor.web.app import create_app
from monitor.web.sign_in.access import RULES, needed
from tests.monitor.sign_in.sign_in_world import HTML, bearer, form_token, sign_in
from tests.monitor.web_world import configuration

OPEN = {
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/static/{digest}/{name}"),
    ("GET", "/sign-in"),
    ("GET", "/sign-in/start"),
    ("GET", "/sign-in/callback"),
    ("POST", "/theme"),
}
OWN = {("POST", "/api/v1/events"), ("POST", "/v1/events"), ("POST", "/api/v1/hooks/mlflow")}
BY_VIEWERS = {("POST", "/sign-out")}
ADMINS = ("/configuration/tokens", "/configuration/audit", "/configuration/preview")


def walked(routes, before=""):
    """Every method and path, however routers are nested."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from walked(inner.routes, before + route.include_context.prefix)
        for method in getattr(route, "methods", None) or ():
            yield method, before + route.path


@pytest.fixture(scope="session")
def every_route(everywhere):
    made = configuration(str(everywhere.world.engine.url), http=everywhere.http)
    app = create_app(made, everywhere.world.engine, everywhere.world.telemetry, everywhere.clock)
    found = set(walked(app.routes))
    assert len(found) > 60
    return found


def filled(path):
    return re.sub(r"\{[^}]*\}", "1", path)


def test_every_route_takes_what_it_should(every_route):
    found = {route: needed(route[0], filled(route[1])) for route in every_route}
    assert {route for route, access in found.items() if access == "open" and route[0] != "HEAD"} == OPEN
    assert {route for route, access in found.items() if access == "own"} == OWN
    for (method, path), access in found.items():
        if path.startswith(ADMINS):
            assert access == "admin", path
        elif method in ("GET", "HEAD"):
            assert access in ("viewer", "open"), path
        elif (method, path) not in OPEN | OWN | BY_VIEWERS:
            assert access in ("operator", "admin"), path


def test_no_rule_is_about_nothing(every_route):
    addresses = [(method, filled(path)) for method, path in every_route]
    idle = [rule for rule in RULES if not any(rule.fits(*one) for one in addresses)]
    assert [rule.pattern for rule in idle if "preview" not in rule.pattern] == []


def test_what_no_rule_names_is_closed():
    assert needed("GET", "/new") == "viewer"
    for method in ("POST", "PUT", "PATCH", "DELETE", "ODD"):
        assert needed(method, "/new") == "operator"
        assert needed(method, "/configuration/tokens/7") == "admin"
    for odd in ("/livez/", "/livez/../incidents", "/static/a/b/c", "//livez", "/sign-in/else", "/livez\n"):
        assert needed("GET", odd) == "viewer"
    assert needed("POST", "/livez") == "operator"
    assert needed("GET", "/metrics", metrics_need_token=True) == "viewer"


def test_who_is_not_known_gets_nothing_anywhere(place, every_route):
    with place.client() as client:
        for method, path in sorted(every_route):
            access = needed(method, filled(path))
            answer = client.request(method, filled(path))
            if access in ROLES:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"] == "Bearer"
            else:
                assert "dl_" not in answer.text, (method, path)  # what the gate says to those it keeps out
        for path in ("/nothing", "/api/v1/nothing", "/api/v1/openapi.json"):
            assert client.get(path).status_code == 401
        page = client.get("/incidents?state=open", headers=HTML)
        assert (page.status_code, page.headers["location"]) == (
            303,
            "/sign-in?back=%2Fincidents%3Fstate%3Dopen",
        )
        part = client.get("/incidents", headers={**HTML, "hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in")
        assert (
            client.get("/api/v1/models", headers=HTML).headers["content-type"] == "application/problem+json"
        )
    assert place.entries() == []  # and leaves nothing to be stored


def test_viewers_read_and_change_nothing(place, every_route):
    token = place.token("viewer", "reader")
    with place.client() as client:
        for method, path in sorted(every_route):
            if needed(method, filled(path)) in ("operator", "admin"):
                answer = client.request(method, filled(path), headers=bearer(token))
                assert answer.status_code == 403, (method, path)
        for path in ("/", "/incidents", "/api/v1/models", "/api/v1/openapi.json"):
            assert client.get(path, headers=bearer(token)).status_code == 200
    with place.client() as client:
        page = place.world.alert(index=20).id
        refused = client.post(f"/api/v1/incidents/{page}/acknowledge", headers=bearer(token))
        assert refused.status_code == 403
        assert client.get(f"/api/v1/incidents/{page}", headers=bearer(token)).json()["state"] == "firing"
    newest = place.entries("token reader")[0]
    assert (newest.via, newest.role, newest.method, newest.status) == ("token", "viewer", "POST", 403)
    assert newest.path == f"/api/v1/incidents/{page}/acknowledge"


def test_operators_act_and_admins_administrate(place):
    with place.client() as client:
        sign_in(place.provider, client, ["oncall"])
        assert client.get("/configuration/tokens", headers=HTML).status_code == 403
        page = client.get("/configuration/audit", headers=HTML)
        assert page.status_code == 403
        assert "this takes the role admin, and ann has the role operator" in page.text
        sign_in(place.provider, client, ["platform"])
        assert client.get("/configuration/tokens", headers=HTML).status_code == 200
        assert client.get("/configuration/audit", headers=HTML).status_code == 200


def test_whoever_is_signed_in_acts_under_their_own_name(place):
    incident = place.world.alert(index=30).id
    token = place.token("operator", "ci")
    with place.client() as client:
        sign_in(place.provider, client, ["oncall"])
        told = client.post(f"/api/v1/incidents/{incident}/acknowledge", json={"actor": "somebody else"})
        assert told.json()["events"][-1]["actor"] == "ann"
        client.cookies.clear()
        told = client.post(
            f"/api/v1/incidents/{incident}/comments", json={"text": "hm", "actor": "x"}, headers=bearer(token)
        )
        assert told.json()["events"][-1]["actor"] == "token ci"
        told = client.post(f"/api/v1/incidents/{incident}/resolve", headers=bearer(token))
        assert told.json()["events"][-1]["actor"] == "token ci"
    with place.client(http={}) as client:
        made = client.post("/api/v1/silences", json={"for": "1h", "actor": "ada"})
        assert made.json()["actor"] == "ada"
        (entry,) = place.entries("local")
        assert (entry.via, entry.status) == ("local", made.status_code)


def test_forms_still_need_their_token(place):
    with place.client() as client:
        sign_in(place.provider, client, ["platform"])
        token = form_token(client, "/configuration/tokens")
        told = {"name": "a", "role": "viewer", "lifetime": "30d"}
        assert client.post("/configuration/tokens", data=told).status_code == 403
        foreign = {"origin": "https://evil.example"}
        assert (
            client.post(
                "/configuration/tokens", data={**told, "form_token": token}, headers=foreign
            ).status_code
            == 403
        )
        assert place.tokens() == []
        assert client.post("/configuration/tokens", data={**told, "form_token": token}).status_code == 200
