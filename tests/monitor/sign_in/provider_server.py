"""A small OpenID Connect provider on loopback: signs with keys of its own, and errs on request."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT, SECRET = "drift line", "s3cret+/ü"  # both need escaping, RFC 6749 section 2.3.1
ANN = {"sub": "u-1", "preferred_username": "ann", "groups": ["oncall"]}


@dataclass
class Provider:
    """What the provider knows, and how it misbehaves.

    Attributes
    ----------
    person : dict
        Claims of whoever sits in front of the browser.
    alter : callable
        Changes the claims of the next ID tokens.
    refuse : str
        Error that the next sign-ins end with.
    fail : dict
        Status that a path answers instead of doing its work.
    """

    now_s: Callable[[], int]
    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: dict(ANN))
    more: dict[str, Any] = field(default_factory=dict)
    alter: Callable[[dict[str, Any]], Any] = lambda claims: None
    sign: Callable[[dict[str, Any]], str] | None = None
    refuse: str = ""
    methods: tuple[str, ...] = ("client_secret_basic",)
    secret: str | None = SECRET
    metadata: dict[str, Any] = field(default_factory=dict)
    fail: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: Any = field(
        default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"})
    )
    shown: list[dict[str, Any]] | None = None

    def rotate(self, kid: str = "k2") -> None:
        """Sign with another key from now on."""
        self.key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})

    def get(self, path: str, query: dict[str, str], headers: Any) -> tuple[int, dict[str, str], Any]:
        if path == "/.well-known/openid-configuration":
            names = {
                "authorization_endpoint": "/authorize?tenant=1",
                "token_endpoint": "/token",
                "jwks_uri": "/keys",
                "userinfo_endpoint": "/person",
            }
            told = {name: self.url + at for name, at in names.items()}
            methods = {"token_endpoint_auth_methods_supported": list(self.methods)}
            return 200, {}, {"issuer": self.url, **told, **methods, **self.metadata}
        if path == "/keys":
            own = self.key.as_dict(private=False)
            return 200, {}, {"keys": [{"kty": "odd", "kid": "x"}, own] if self.shown is None else self.shown}
        if path == "/person" and headers.get("authorization") == "Bearer access":
            return 200, {}, {"sub": self.person["sub"], **self.more}
        if path == "/authorize":
            return 302, {"location": self.back(query)}, {}
        return 404, {}, {}

    def back(self, query: dict[str, str]) -> str:
        """Where the browser is led after signing in."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        assert query["tenant"] == "1"
        told = {"state": query["state"]}
        if self.refuse:
            told["error"] = self.refuse
        else:
            told["code"] = secrets.token_urlsafe(12)
            self.codes[told["code"]] = query
        return f"{query['redirect_uri']}?{urlencode(told)}"

    def token(self, form: dict[str, str], headers: Any) -> tuple[int, dict[str, Any]]:
        client, told = form.get("client_id"), form.get("client_secret")
        if headers.get("authorization", "").startswith("Basic "):
            assert "client_secret_basic" in self.methods
            pair = base64.b64decode(headers["authorization"][6:]).decode()
            client, told = (unquote_plus(part) for part in pair.split(":"))
        if (client, told) != (CLIENT, self.secret):
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form["code"], None)
        if asked is None or form["grant_type"] != "authorization_code":
            return 400, {"error": "invalid_grant"}
        digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if (
            digest.decode().rstrip("=") != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {
            "access_token": "access",
            "token_type": "Bearer",
            "id_token": self.id_token(asked["nonce"]),
        }

    def id_token(self, nonce: str) -> str:
        now_s = self.now_s()
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "exp": now_s + 300,
            "iat": now_s,
            "nonce": nonce,
            **self.person,
        }
        claims = self.alter(claims) or claims
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": self.key.get("alg"), "kid": self.key.get("kid")}, claims, self.key)


class ProviderServer:
    """Serves a provider in a thread."""

    def __init__(self, provider: Provider) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self.answer(
                    parts.path, lambda: provider.get(parts.path, dict(parse_qsl(parts.query)), self.headers)
                )

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()

                def told() -> tuple[int, dict[str, str], Any]:
                    status, document = provider.token(dict(parse_qsl(body)), self.headers)
                    return status, {}, document

                self.answer(self.path, told)

            def answer(self, path: str, told: Callable[[], tuple[int, dict[str, str], Any]]) -> None:
                provider.asked.append(path)
                status, headers, document = (provider.fail[path], {}, {}) if path in provider.fail else told()
                body = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        provider.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
