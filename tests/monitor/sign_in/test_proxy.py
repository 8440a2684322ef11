"""What a trusted proxy says is believed, what others say is not; and networks that need no sign-in."""

import pytest

from monitor.web.sign_in.origin import networks, origin_of
from tests.monitor.sign_in.sign_in_world import HTML, bearer, proxied

PROXY, OUTSIDE = "10.0.0.7", "198.51.100.7"
BEYOND = {"host": "0.0.0.0", "public_url": "https://drift.example.org"}  # noqa: S104 - never listened on
ANN = {"x-forwarded-user": "ann", "x-forwarded-groups": "staff, oncall"}


def test_a_trusted_proxy_says_who_it_is(place):
    with place.client({**BEYOND, **proxied()}, peer=PROXY) as client:
        page = client.get("/incidents", headers={**HTML, **ANN})
        assert page.status_code == 200
        assert "ann" in page.text
        assert "Sign out" not in page.text  # that is for the proxy to do
        told = client.post("/api/v1/silences", json={"for": "1h", "actor": "x"}, headers=ANN)
        assert told.json()["actor"] == "ann"
        assert client.get("/configuration/audit", headers=ANN).status_code == 403
        admin = {**ANN, "x-forwarded-groups": "platform"}
        assert client.get("/configuration/audit", headers={**HTML, **admin}).status_code == 200
    assert place.entries()[0].via == "proxy"


def test_nobody_else_is_believed(place):
    token = place.token("viewer")
    with place.client({**BEYOND, **proxied()}, peer=OUTSIDE) as client:
        spoofed = {**ANN, "x-forwarded-for": PROXY, "x-real-ip": PROXY}
        refused = client.get("/api/v1/models", headers=spoofed)
        assert refused.status_code == 401
        assert "come through the proxy" in refused.text
        assert client.get("/incidents", headers={**HTML, **spoofed}).status_code == 401
        assert client.get("/api/v1/models", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-forwarded-user": "  "}, 401),
        ([("x-forwarded-user", "eve"), ("x-forwarded-user", "ann"), ("x-forwarded-groups", "platform")], 401),
        ({"x-forwarded-user": "ann"}, 403),
        ({"x-forwarded-user": "ann", "x-forwarded-groups": "others,*"}, 403),
        ({"x_forwarded_user": "ann", "x-forwarded-groups": "staff"}, 401),
        (
            [("x-forwarded-user", "ann"), ("x-forwarded-groups", "others"), ("x-forwarded-groups", "staff")],
            200,
        ),
    ],
)
def test_what_the_proxy_has_to_say(place, headers, status):
    with place.client({**BEYOND, **proxied()}, peer=PROXY) as client:
        assert client.get("/api/v1/models", headers=headers).status_code == status


def test_other_headers_can_be_named(place):
    options = proxied(user_header="Remote-User", groups_header=None, roles={"admin": ["*"]})
    with place.client({**BEYOND, **options}, peer=PROXY) as client:
        assert client.get("/configuration/audit", headers={"remote-user": "ann"}).status_code == 200
        assert client.get("/configuration/audit", headers=ANN).status_code == 401


def test_a_private_network_may_read_without_signing_in(place):
    token = place.token("operator")
    with place.client({**BEYOND, "allow_anonymous": True}) as client:
        assert client.get("/incidents", headers=HTML).status_code == 200
        assert client.post("/api/v1/silences", json={"for": "1h"}).status_code == 403
        assert client.get("/configuration/tokens").status_code == 403
        assert client.post("/api/v1/silences", json={"for": "1h"}, headers=bearer(token)).status_code == 201
    with place.client({**BEYOND, "allow_anonymous": True, "anonymous_role": "operator"}) as client:
        made = client.post("/api/v1/silences", json={"for": "1h", "actor": "ada"})
        assert made.json()["actor"] == "ada"  # nobody vouches for another name
    assert [entry.actor for entry in place.entries()] == ["anonymous", "token ci", "anonymous"]


@pytest.mark.parametrize("options", [{"allow_anonymous": True}, proxied()])
def test_probes_are_open_and_metrics_if_wanted_are_not(place, options):
    token = place.token("viewer")
    for api in (True, False):
        with place.client({**BEYOND, **options}, api=api) as client:
            assert [client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
        if "sign_in" in options:
            with place.client({**BEYOND, **options, "metrics_need_token": True}, api=api) as client:
                assert client.get("/livez").status_code == 200
                assert client.get("/metrics").status_code == 401
                assert client.get("/metrics", headers=bearer(token)).status_code == 200


def test_a_proxy_on_this_machine_may_ask_under_the_public_name(place):
    http = {**BEYOND, **proxied(trusted=["127.0.0.1"]), "host": "127.0.0.1"}
    with place.client(http, peer="127.0.0.1") as client:
        assert client.get("/api/v1/models", headers=ANN).status_code == 200
        assert client.get("/api/v1/models", headers={**ANN, "host": "evil.example"}).status_code == 421
    with place.client({"public_url": BEYOND["public_url"]}) as client:
        assert client.get("/livez").status_code == 421  # without sign-in, only local names


@pytest.mark.parametrize(
    ("peer", "headers", "found"),
    [
        (OUTSIDE, {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}, (OUTSIDE, "http")),
        (PROXY, {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}, ("1.2.3.4", "https")),
        (PROXY, {"x-forwarded-for": "6.6.6.6, 1.2.3.4, 10.9.9.9"}, ("1.2.3.4", "http")),
        (PROXY, {"x-forwarded-for": "10.9.9.9", "x-forwarded-proto": "gopher"}, (PROXY, "http")),
        (PROXY, {"x-forwarded-for": "<script>"}, (PROXY, "http")),
        (f"::ffff:{PROXY}", {"x-forwarded-for": "2001:db8::1"}, ("2001:db8::1", "http")),
        ("", {"x-forwarded-for": "1.2.3.4"}, ("", "http")),
    ],
)
def test_where_a_request_comes_from(peer, headers, found):
    scope = {
        "type": "http", "scheme": "http", "client": (peer, 1) if peer else None,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    assert origin_of(scope, networks(["10.0.0.0/8"])) == found
