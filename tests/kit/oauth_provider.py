"""A provider of OAuth tokens over HTTPS: client credentials in, a signed token out."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.kit.certificates import Issued
from tests.kit.ports import LOOPBACK

AUDIENCE = "kafka"


class OAuthProvider:
    """Knows clients by their secrets, and gives each a token in its name.

    Parameters
    ----------
    server
        Certificate of the provider.
    clients
        Secrets by client id; more may be added at any time.
    """

    def __init__(self, server: Issued, clients: dict[str, str]) -> None:
        self.clients = clients
        self.scopes: list[str] = []
        self._key = RSAKey.generate_key(2048, {"kid": "k1"})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.both)
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(self))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def token_url(self) -> str:
        """Address of the token endpoint."""
        return f"https://{LOOPBACK}:{self._server.server_port}/token"

    @property
    def issuer(self) -> str:
        """Who the tokens say they are from."""
        return f"https://{LOOPBACK}:{self._server.server_port}"

    def write_keys(self, path: Path) -> None:
        """Write the public keys, as a broker reads them."""
        key = {**self._key.as_dict(private=False), "use": "sig", "alg": "RS256", "kid": "k1"}
        path.write_text(json.dumps({"keys": [key]}))

    def stop(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Answer a request for a token."""
        encoded = authorization.removeprefix("Basic ")
        client, _, secret = base64.b64decode(encoded).decode().partition(":")
        client, secret = urllib.parse.unquote_plus(client), urllib.parse.unquote_plus(secret)
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        if not secret or self.clients.get(client) != secret:
            return 401, {"error": "invalid_client", "error_description": f"{secret} is not the secret"}
        self.scopes.append(form.get("scope", ""))
        return 200, {"access_token": self._token(client), "token_type": "Bearer", "expires_in": 3_600}

    def _token(self, client: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": client, "aud": AUDIENCE, "iat": now - 5, "exp": now + 3_600,
            "scope": "kafka",
        }  # fmt: skip
        return jwt.encode({"alg": "RS256", "kid": "k1", "typ": "at+jwt"}, claims, self._key)


def _handler(provider: OAuthProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            form = dict(urllib.parse.parse_qsl(self.rfile.read(length).decode()))
            status, told = provider.answer(form, self.headers.get("authorization", ""))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    return Handler
