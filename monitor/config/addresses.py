"""Addresses of servers that are asked by HTTP."""

from __future__ import annotations

from collections.abc import Callable

import httpx


def server_address(of_what: str, example: str, secrets: str) -> Callable[[str], str]:
    """Make a check of addresses; what it says never holds the address, which may hold secrets.

    Parameters
    ----------
    of_what : str
        Whose address it is, for messages.
    example : str
    secrets : str
        Where credentials go instead.

    Examples
    --------
    >>> check = server_address("a registry", "https://host:port", "password_file")
    >>> check("https://registry:8081")
    'https://registry:8081'
    """

    def check(url: str) -> str:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
            msg = f"is not the address of {of_what} (use {example})"
            raise ValueError(msg)
        if parsed.userinfo:
            msg = f"holds credentials (use {secrets})"
            raise ValueError(msg)
        return url

    return check
