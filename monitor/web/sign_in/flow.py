"""One sign-in under way: what the browser keeps until the provider leads it back.

The browser keeps one secret; state, nonce and PKCE verifier are derived from it. So nothing is stored for
people who never come back, any web process can finish what another began, and no other browser can.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

SECRET_BYTES = 32
LIVES_S = 600
MOST_BACK = 1_500


@dataclass(frozen=True)
class Flow:
    """A sign-in under way.

    Parameters
    ----------
    kept : str
        What the browser keeps: a secret, when it began, where it leads back to.

    Examples
    --------
    >>> flow = Flow.begin("/incidents", 1_767_225_600)
    >>> flow.back, flow.is_alive(1_767_225_600 + 599), flow.is_alive(1_767_225_600 + 601)
    ('/incidents', True, False)
    >>> Flow("nonsense").is_alive(0), Flow("").back
    (False, '/')
    """

    kept: str

    @classmethod
    def begin(cls, back: str, now_s: int) -> Flow:
        """Begin one that leads back to a page."""
        place = back if len(back) <= MOST_BACK else "/"
        return cls(f"{secrets.token_urlsafe(SECRET_BYTES)}.{now_s}.{_written(place.encode())}")

    @property
    def state(self) -> str:
        """Ties the provider's answer to this browser."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """Ties the ID token to this sign-in."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """Ties the code to this sign-in (RFC 7636); 43 characters."""
        return self._derived("verifier")

    @property
    def back(self) -> str:
        """Page that it leads back to."""
        try:
            return base64.urlsafe_b64decode(self.kept.split(".")[2] + "===").decode()
        except (IndexError, ValueError):
            return "/"

    def is_alive(self, now_s: int) -> bool:
        """Whether it began in the last ten minutes."""
        parts = self.kept.split(".")
        if (
            len(parts) != 3
            or len(parts[0]) < SECRET_BYTES
            or not parts[1].isascii()
            or not parts[1].isdigit()
        ):
            return False
        return 0 <= now_s - int(parts[1][:12]) <= LIVES_S

    def has_state(self, state: str) -> bool:
        """Whether the provider's answer belongs to it."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    def address(self, endpoint: str, client_id: str, redirect_uri: str, scopes: Iterable[str]) -> str:
        """Where the browser goes to sign in."""
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": _written(hashlib.sha256(self.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def _derived(self, purpose: str) -> str:
        return _written(hmac.new(self.kept.encode(), purpose.encode(), hashlib.sha256).digest())


def _written(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
