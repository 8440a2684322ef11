"""How often each client may ask: people and programs by who they are, all others by their address."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock

from starlette.requests import Request

from monitor.clock import Clock
from monitor.config.limits import HttpLimits
from monitor.web.limits.buckets import Buckets
from monitor.web.limits.sources import source_of
from monitor.web.problems import Refused
from monitor.web.sign_in.user import User

MOST_REMEMBERED = 10_000
UNLIMITED = ("/livez", "/static/")
"""Beginnings of paths that cost nothing, and that nobody should have to wait for."""


class Rate:
    """Admits requests, so many of each client.

    Parameters
    ----------
    clock : Clock
    options : HttpLimits
    is_on : bool
        Whether anything is limited at all.

    Notes
    -----
    Who asks is known only after the database was asked. So strangers are counted by address, and refused
    before that once they have used up what there is for them; who was known before at that address goes on.
    """

    def __init__(self, clock: Clock, options: HttpLimits, *, is_on: bool) -> None:
        self._buckets = Buckets(clock, options.burst, 1 / options.requests_per_s)
        self._is_on = is_on
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = Lock()

    def take_open(self, path: str, address: str) -> None:
        """Admit a request to what is open to everybody: probes, metrics, the sign-in page.

        They are counted apart, so that nobody who reads keeps a scraper out that has the same address.

        Raises
        ------
        Refused
            429, and when to come again.
        """
        if self._is_on and not path.startswith(UNLIMITED):
            self._take(f"open:{source_of(address)}")

    def check_stranger(self, request: Request, address: str) -> None:
        """Refuse somebody of whom nothing is known yet, if their address has used up what there is for it.

        Raises
        ------
        Refused
            429, and when to come again.
        """
        if not self._is_on:
            return
        source = source_of(address)
        key = f"address:{source}"
        if self._buckets.is_out(key) and (source, _credential(request)) not in self._known:
            raise self._refused(key)

    def take(self, user: User | None, request: Request, address: str) -> None:
        """Admit a request of a user; of nobody that is known, if it is None.

        Raises
        ------
        Refused
            429, and when to come again.
        """
        if not self._is_on:
            return
        source = source_of(address)
        if user is None or not user.is_known:
            self._take(f"address:{source}")
            return
        self._remember((source, _credential(request)))
        self._take(f"{user.via}:{user.subject or user.name}")

    def _take(self, key: str) -> None:
        if not self._buckets.take(key):
            raise self._refused(key)

    def _refused(self, key: str) -> Refused:
        after = {"Retry-After": str(self._buckets.retry_after_s(key))}
        return Refused(429, "too many requests (see http.limits in the configuration)", headers=after)

    def _remember(self, key: tuple[str, str]) -> None:
        with self._lock:
            self._known[key] = None
            self._known.move_to_end(key)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)


def _credential(request: Request) -> str:
    """Hash of all that a client shows of itself, so that no secret is kept."""
    headers = request.headers
    shown = f"{headers.get('authorization', '')}\n{headers.get('cookie', '')}"
    return hashlib.sha256(shown.encode()).hexdigest()
