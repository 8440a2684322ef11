"""Nobody is let in from elsewhere by mistake; what is missing or contradicts itself is named."""

import pytest

from monitor.config.loader import examine_text

BASE = """\
kafka: {bootstrap_servers: "b:1"}
database_url: sqlite:///d.db
streams: [{topic: p, kind: predictions}]
"""
OIDC = "sign_in: {type: oidc, issuer: 'https://login.example', client_id: d, roles: {viewer: ['*']}"
PROXY = "sign_in: {type: proxy, trusted: [10.0.0.0/8], roles: {viewer: ['*']}"
HOME = "public_url: 'https://d.example'"


def problems(http):
    return [str(problem) for problem in examine_text(f"{BASE}http: {{{http}}}\n")[1]]


@pytest.mark.parametrize(
    "http",
    [
        "host: 127.0.0.1",
        "host: '::1'",
        "host: localhost",
        "host: 0.0.0.0, allow_anonymous: true",
        "host: 0.0.0.0, allow_anonymous: true, anonymous_role: operator",
        f"host: 0.0.0.0, {PROXY}}}",
        f"host: 0.0.0.0, {HOME}, {OIDC}}}",
        f"{HOME}, {OIDC}, scopes: [openid, groups], idle: 1h, lifetime: 7d, client_secret_file: /run/s}}",
        f"public_url: 'http://127.0.0.1:1', {OIDC.replace('https://login.example', 'http://127.0.0.1:9')}}}",
    ],
)
def test_what_is_fine(http):
    assert problems(http) == []


@pytest.mark.parametrize(
    ("http", "problem"),
    [
        (
            "host: 0.0.0.0",
            "4: http.host: '0.0.0.0' can be reached from elsewhere, and nobody would have to sign in "
            "(use http.sign_in, or 127.0.0.1, or http.allow_anonymous: true where the network has a door)",
        ),
        ("host: driftline.internal", "http.host: 'driftline.internal' can be reached from elsewhere"),
        ("host: 0.0.0.0, allow_anonymous: false", "http.host: '0.0.0.0' can be reached from elsewhere"),
        ("metrics_need_token: true", "http.metrics_need_token: goes with sign_in"),
        ("anonymous_role: admin", "http.anonymous_role: goes with allow_anonymous: true"),
        ("allow_anonymous: 'yes'", "http.allow_anonymous: 'yes' "),
        (f"allow_anonymous: true, {PROXY}}}", "http.allow_anonymous: stands beside sign_in"),
        (f"{OIDC}}}", "http.sign_in: needs http.public_url"),
        (f"{HOME}, {OIDC}, client_secret: x}}", "secrets are not written here (use client_secret_env"),
        (f"{HOME}, {OIDC}, client_secret_env: A, client_secret_file: b}}", "stands beside client_secret_env"),
        (f"{HOME}, {OIDC}, scopes: [profile]}}", "http.sign_in.scopes: lacks openid"),
        (f"{HOME}, {OIDC}, lifetime: 1s}}", "http.sign_in.lifetime: '1s' is out of range (use 5m to 30d)"),
        (f"{HOME}, {OIDC}, isuer: x}}", "http.sign_in.isuer: is an unknown key; did you mean issuer?"),
        (
            f"{HOME}, {OIDC.replace('https:', 'http:')}}}",
            "http.sign_in.issuer: is not the address of an issuer",
        ),
        (
            f"{HOME}, {OIDC.replace('login', 'a:b@login')}}}",
            "http.sign_in.issuer: is not the address of an issuer",
        ),
        (f"{PROXY.replace('viewer', 'king')}}}", "http.sign_in.roles.king: is an unknown key"),
        ("sign_in: {type: proxy, trusted: [10.0.0.7], roles: {viewer: []}}", "gives nobody a role"),
        (f"{PROXY.replace('10.0.0.0/8', '10.0.0.1/8')}}}", "'10.0.0.1/8' is not a range of addresses"),
        (
            f"{PROXY}, user_header: 'X User'}}",
            "http.sign_in.user_header: 'X User' does not have the right form",
        ),
        ("sign_in: {type: saml}", "http.sign_in: type 'saml' is not allowed (use oidc, proxy)"),
        ("sign_in: {}", "http.sign_in: type is required (use oidc, proxy)"),
        ("trusted_proxies: [everybody]", "http.trusted_proxies[0]: 'everybody' is not a range"),
        (f"events: {{predictions: p}}, {PROXY}}}", "http.events: needs a token, as everything else does"),
    ],
)
def test_what_is_refused(http, problem):
    (found,) = problems(http)
    assert problem in found


def test_secrets_are_looked_for_and_plain_http_is_warned_of():
    http = f"public_url: 'http://d.example', {OIDC}, client_secret_env: NO_SUCH_VARIABLE}}"
    made, _ = examine_text(f"{BASE}http: {{{http}}}\n")
    assert (
        "http.sign_in.client_secret_env: environment variable NO_SUCH_VARIABLE is not set"
        in made.secrets_missing({})[0]
    )
    assert "http.public_url: is not https" in str(made.advice()[0])
