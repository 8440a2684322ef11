"""Signing in at a provider that behaves like the real ones, and at ones that do not."""

import base64
import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from monitor.store import sessions
from monitor.store.engine import reading
from monitor.web.sign_in.tokens import hash_of
from tests.monitor.sign_in.provider_server import SECRET
from tests.monitor.sign_in.sign_in_world import HOME, HTML, at_provider, form_token, oidc, sign_in

SESSION = "__Host-driftline_session"
HOUR = 3_600_000


def test_people_are_led_to_the_provider_and_back_to_where_they_wanted(place):
    with place.client() as client:
        wanted = client.get("/incidents?state=open", headers=HTML)
        assert wanted.status_code == 303
        page = client.get(wanted.headers["location"], headers=HTML)
        assert "/sign-in/start?back=%2Fincidents%3Fstate%3Dopen" in page.text
        done = sign_in(place.provider, client, back="/incidents?state=open")
        assert (done.status_code, done.headers["location"]) == (303, "/incidents?state=open")
        page = client.get("/incidents", headers=HTML)
        assert page.status_code == 200
        assert "ann" in page.text
        assert "Sign out" in page.text
    (entry,) = place.entries()
    assert (entry.actor, entry.subject, entry.via, entry.role, entry.method, entry.status) == (
        "ann", "u-1", "session", "operator", "SIGN-IN", 200,
    )  # fmt: skip


def test_cookies_are_safe_and_only_their_hash_is_stored(place):
    with place.client() as client:
        started = client.get("/sign-in/start")
        done = sign_in(place.provider, client)
        for header in [*started.headers.get_list("set-cookie"), *done.headers.get_list("set-cookie")]:
            assert header.startswith("__Host-driftline_")
            for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
                assert word in header
            assert "Domain" not in header
        id_ = client.cookies[SESSION]
    assert len(id_) == 43
    with reading(place.world.engine) as connection:
        (row,) = sessions.listed(connection, place.clock.now_ms(), HOUR)
    assert row.id_hash == hash_of(id_)
    assert id_ not in str(row)


def test_on_this_machine_cookies_work_without_https(place):
    http = {**place.http, "public_url": "http://127.0.0.1:8420"}
    with place.client(http) as client:
        assert sign_in(place.provider, client).status_code == 303
        assert client.cookies["driftline_session"]
        assert client.get("/api/v1/models").status_code == 200


def test_nobody_is_led_elsewhere(place):
    with place.client() as client:
        for back in ("//evil.example/a", "https://evil.example", "/\\evil.example", "/" + "a" * 1_600):
            assert sign_in(place.provider, client, back=back).headers["location"] == "/"


def test_the_highest_role_of_the_groups_counts(place):
    with place.client() as client:
        for groups in (["staff"], ["staff", "oncall"], ["platform", "x"]):
            sign_in(place.provider, client, groups)
    assert [entry.role for entry in place.entries()] == ["admin", "operator", "viewer"]


def test_without_a_role_nobody_comes_in(place):
    with place.client() as client:
        done = sign_in(place.provider, client, ["others", "*"])
        assert done.status_code == 403
        assert "none of your groups has a role" in done.text
        assert SESSION not in client.cookies


@pytest.mark.parametrize("place_of_groups", ["realm_access.roles", "https://example.org/groups", "email"])
def test_groups_stand_in_other_claims(place, place_of_groups):
    roles = {"admin": ["platform", "ann@example.org"]}
    place.provider.person |= {
        "realm_access": {"roles": ["platform"]}, "https://example.org/groups": ["platform"],
        "email": "ann@example.org", "email_verified": True,
    }  # fmt: skip
    http = {**place.http, "sign_in": oidc(place.provider, roles_claim=place_of_groups, roles=roles)}
    with place.client(http) as client:
        assert sign_in(place.provider, client).status_code == 303
        place.provider.person["email_verified"] = False
        again = sign_in(place.provider, client).status_code
    assert again == (403 if place_of_groups == "email" else 303)


def test_groups_that_only_the_userinfo_endpoint_knows(place):
    del place.provider.person["groups"]
    place.provider.more = {"groups": ["platform"]}
    with place.client() as client:
        back = at_provider(place.provider, client)
        assert client.get(back).status_code == 303
        place.provider.more = {"sub": "somebody else", "groups": ["platform"]}
        assert client.get(at_provider(place.provider, client)).status_code == 403


def test_names_are_made_fit_to_be_shown(place):
    place.provider.person["preferred_username"] = "ann\n<b>\u202e" + "x" * 400
    with place.client() as client:
        sign_in(place.provider, client)
        page = client.get("/incidents", headers=HTML).text
        assert "ann&lt;b&gt;x" in page
    assert len(place.entries()[0].actor) == 200
    place.provider.person["preferred_username"] = ["odd"]
    with place.client() as client:
        sign_in(place.provider, client)
    assert place.entries()[0].actor == "u-1"


@pytest.mark.parametrize("method", ["client_secret_post", "none"])
def test_other_ways_to_say_who_we_are(place, method):
    place.provider.methods = (method,)
    options = oidc(place.provider)
    if method == "none":
        place.provider.secret = None
        del options["client_secret_env"]
    with place.client({**place.http, "sign_in": options}) as client:
        assert sign_in(place.provider, client).status_code == 303


def changed(**values):
    return lambda claims: claims.update(values)


def without(name):
    return lambda claims: {key: value for key, value in claims.items() if key != name}


NOT_FOR_US = (
    changed(iss="https://evil.example"),
    changed(aud="another"),
    changed(aud=["drift line", "another"]),
    changed(aud=["drift line", "another"], azp="another"),
    changed(azp="another"),
    changed(nonce="of another sign-in"),
    changed(sub=""),
    changed(sub=7),
    changed(exp="soon"),
    lambda claims: claims.update(exp=claims["iat"] - 61),
    lambda claims: claims.update(iat=claims["iat"] + 120),
    lambda claims: claims.update(nbf=claims["iat"] + 120),
    *(without(name) for name in ("iss", "aud", "exp", "iat", "nonce", "sub")),
)


def test_id_tokens_that_are_not_for_us_now_are_refused_in_the_same_words(place):
    with place.client() as client:
        for number, alter in enumerate(NOT_FOR_US):
            place.provider.alter = alter
            done = sign_in(place.provider, client)
            assert done.status_code == 401, number
            assert "what the provider says cannot be believed; begin again" in done.text
            assert SESSION not in client.cookies
            place.clock.advance(5_000)
    assert place.entries() == []


FOR_US = (
    changed(aud=["drift line"]),
    changed(aud=["drift line", "another"], azp="drift line"),
    lambda claims: claims.update(exp=claims["iat"] - 50),
    lambda claims: claims.update(iat=claims["iat"] + 50),
)


def test_a_minute_between_the_clocks_and_several_audiences_are_fine(place):
    with place.client() as client:
        for alter in FOR_US:
            place.provider.alter = alter
            assert sign_in(place.provider, client).status_code == 303


def unsigned(claims):
    parts = ({"alg": "none"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts)
        + "."
    )


def by_the_secret(claims):
    key = OctKey.import_key(SECRET.encode() * 4)
    return jwt.encode({"alg": "HS256"}, claims, key, algorithms=["HS256"])


def by_a_foreign_key(claims):
    key = RSAKey.generate_key(2048, {"kid": "k1"})
    return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, key)


def test_tokens_that_the_providers_keys_did_not_sign_are_refused(place):
    with place.client() as client:
        for sign in (unsigned, by_the_secret, by_a_foreign_key, lambda _: "a.b.c", lambda _: "x" * 70_000):
            place.provider.sign = sign
            assert sign_in(place.provider, client).status_code == 401


def test_keys_of_the_provider_may_change(place):
    with place.client() as client:
        assert sign_in(place.provider, client).status_code == 303
        place.provider.rotate()
        place.clock.advance(31_000)
        assert sign_in(place.provider, client).status_code == 303
        place.provider.rotate("k3")  # within the half minute nobody is asked again
        asked = place.provider.asked.count("/keys")
        assert sign_in(place.provider, client).status_code == 401
        assert place.provider.asked.count("/keys") == asked
        place.clock.advance(31_000)
        assert sign_in(place.provider, client).status_code == 303


def test_what_the_provider_says_is_kept_for_an_hour_and_outlives_its_absence(place):
    with place.client() as client:
        for _ in range(3):
            sign_in(place.provider, client)
        assert place.provider.asked.count("/.well-known/openid-configuration") == 1
        assert place.provider.asked.count("/keys") == 1
        place.clock.advance(HOUR + 1)
        place.provider.fail = {"/.well-known/openid-configuration": 500, "/keys": 500}
        assert sign_in(place.provider, client).status_code == 303


def test_a_provider_that_is_away_is_said_so(place):
    place.provider.fail = {"/.well-known/openid-configuration": 503}
    with place.client() as client:
        answer = client.get("/sign-in/start", headers=HTML)
        assert answer.status_code == 503
        assert "the provider answered 503" in answer.text
        assert answer.headers["retry-after"] == "5"
        asked = len(place.provider.asked)
        assert client.get("/sign-in/start").status_code == 503  # asks nobody for five seconds
        assert len(place.provider.asked) == asked
        place.provider.fail = {"/token": 500}
        place.clock.advance(5_000)
        done = sign_in(place.provider, client)
        assert (done.status_code, "answered 500 where tokens" in done.text) == (503, True)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "https://evil.example"}, "another name"),
        ({"token_endpoint": None}, "does not say its token_endpoint"),
        ({"authorization_endpoint": "http://evil.example/a"}, "without https: authorization_endpoint"),
        ({"jwks_uri": "file:///etc/passwd"}, "without https: jwks_uri"),
    ],
)
def test_odd_descriptions_of_the_provider_are_refused(place, metadata, words):
    place.provider.metadata = metadata
    with place.client() as client:
        answer = client.get("/sign-in/start")
    assert answer.status_code == 503
    assert words in answer.text
    assert "evil.example" not in answer.text


def test_what_the_provider_refuses_is_said(place):
    place.provider.refuse = "access_denied<script>"
    with place.client() as client:
        done = sign_in(place.provider, client)
    assert done.status_code == 401
    assert "did not sign you in: access_deniedscript" in done.text


def test_an_answer_belongs_to_one_browser_one_sign_in_and_ten_minutes(place):
    with place.client() as client, place.client() as other:
        back = at_provider(place.provider, client)
        assert other.get(back).status_code == 401  # a code that somebody else was sent
        assert client.get(back.replace("state=", "state=a")).status_code == 401
        back = at_provider(place.provider, client)
        assert client.get(back).status_code == 303
        assert client.get(back).status_code == 401  # a second time
        back = at_provider(place.provider, client)
        place.clock.advance(601_000)
        assert client.get(back).status_code == 401
    assert len(place.entries()) == 1


def test_a_code_that_was_used_already_is_refused(place):
    with place.client() as client:
        back = at_provider(place.provider, client)
        place.provider.codes.clear()
        done = client.get(back)
    assert done.status_code == 401
    assert "does not take this sign-in" in done.text


def test_answers_that_name_another_issuer_are_refused(place):
    place.provider.metadata = {"authorization_response_iss_parameter_supported": True}
    with place.client() as client:
        assert client.get(at_provider(place.provider, client)).status_code == 401
        assert (
            client.get(at_provider(place.provider, client) + "&iss=https://evil.example").status_code == 401
        )
        assert (
            client.get(f"{at_provider(place.provider, client)}&iss={place.provider.url}").status_code == 303
        )


def test_a_session_has_a_new_id_and_ends_the_one_before(place):
    with place.client() as client:
        client.cookies.set(SESSION, "known-to-somebody-else", domain="drift.example.org")
        sign_in(place.provider, client)
        first = client.cookies.get(SESSION, domain="drift.example.org", path="/")
        assert first != "known-to-somebody-else"
        sign_in(place.provider, client)
        second = client.cookies.get(SESSION, domain="drift.example.org", path="/")
    assert len({first, second}) == 2
    with place.client() as thief:
        thief.cookies.set(SESSION, first)
        assert thief.get("/api/v1/models").status_code == 401
        thief.cookies.set(SESSION, second)
        assert thief.get("/api/v1/models").status_code == 200


def test_sessions_end_when_idle_and_after_a_day_whatever_happens(place):
    with place.client() as client:
        sign_in(place.provider, client)
        for _ in range(3):
            place.clock.advance(7 * HOUR)
            assert client.get("/api/v1/models").status_code == 200
        place.clock.advance(3 * HOUR)
        assert client.get("/api/v1/models").status_code == 401
        sign_in(place.provider, client)
        place.clock.advance(8 * HOUR)
        assert client.get("/api/v1/models").status_code == 401


def test_signing_out_ends_the_session_in_every_process(place):
    with place.client() as client, place.client() as other:
        sign_in(place.provider, client)
        id_ = client.cookies[SESSION]
        other.cookies.set(SESSION, id_)
        assert other.get("/api/v1/models").status_code == 200
        assert (
            client.post("/sign-out", data={"form_token": "guessed"}).status_code == 403
        )  # a page from elsewhere cannot
        token = form_token(client, "/incidents")
        out = client.post("/sign-out", data={"form_token": token})
        assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
        assert SESSION not in client.cookies
        assert other.get("/api/v1/models").status_code == 401
    assert [(entry.path, entry.status) for entry in place.entries()][:2] == [
        ("/sign-out", 303),
        ("/sign-out", 403),
    ]


def test_only_the_issuer_is_asked_and_where_we_are_comes_from_the_configuration(place):
    foreign = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    with place.client({**place.http, "host": "0.0.0.0"}) as client:  # noqa: S104 - never listened on
        to = client.get("/sign-in/start", headers=foreign)
    asked = dict(parse_qsl(urlsplit(to.headers["location"]).query))
    assert asked["redirect_uri"] == f"{HOME}/sign-in/callback"
    assert set(asked["scope"].split()) == {"openid", "profile", "email"}


def test_signing_in_often_is_slowed_down(place):
    with place.client() as client, place.client(peer="198.51.100.8") as other:
        statuses = [client.get("/sign-in/start").status_code for _ in range(32)]
        assert statuses == [303] * 30 + [429] * 2
        answer = client.get("/sign-in/callback")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        place.clock.advance(2_000)
        assert client.get("/sign-in/start").status_code == 303
    assert other is not None
