"""Connects to addresses of the public internet only, resolved once per request.

A receiver's URL may be written by someone who should not reach the inside of the network. Checking a name
and then connecting to that name is not enough: the second look-up may answer differently. Here the checked
address itself is connected to; the ``Host`` header and the name in the TLS certificate stay those of the URL.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

import httpx

from schemas.errors import DeliveryError, RetryLater

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# The only part of IPv6 from which addresses of the internet are given out.
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Of the protocols themselves; one cloud has its metadata here. Older Pythons take parts of it for public.
PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")
MOST_ADDRESSES = 4  # so that a name with many cannot hold up everything else
# Platform services of cloud providers that live outside the private ranges.
PLATFORM = frozenset({ipaddress.IPv4Address("168.63.129.16")})


def resolve_all(host: str, port: int) -> list[str]:
    """Look a name up; every address once, in the resolver's order.

    Raises
    ------
    OSError
        If the name cannot be resolved now.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(text: str) -> bool:
    """Say whether an address belongs to the public internet, looking through IPv4 wrapped in IPv6.

    Examples
    --------
    >>> [is_public(text) for text in ("93.184.215.14", "127.0.0.1", "169.254.169.254", "10.1.2.3", "::1")]
    [True, False, False, False, False]
    >>> is_public("::ffff:10.0.0.1"), is_public("64:ff9b::7f00:1"), is_public("2002:7f00:1::")
    (False, False, False)
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if wrapped is not None:
            address = wrapped
    if isinstance(address, ipaddress.IPv6Address):
        return address.is_global and address in GLOBAL_UNICAST
    is_special = address.is_multicast or address in PROTOCOLS or address in PLATFORM
    return address.is_global and not is_special


def checked(host: str, port: int, resolve: Resolve, *, allow_private: bool) -> Sequence[str]:
    """Resolve a name once, and check every address; those to be tried, four at most.

    Raises
    ------
    DeliveryError
        If any address of the name is not public and that is not allowed.
    RetryLater
        If the name cannot be resolved now.
    """
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError) as error:
        msg = f"the name {host} cannot be resolved"
        raise RetryLater(msg) from error
    if not addresses:
        msg = f"the name {host} has no address"
        raise RetryLater(msg)
    if not allow_private and not all(map(is_public, addresses)):
        msg = f"{host} is not a public address (set allow_private: true if that is meant)"
        raise DeliveryError(msg)
    return addresses[:MOST_ADDRESSES]


class PinnedTransport(httpx.BaseTransport):
    """An httpx transport that resolves a name once, checks every address, and connects to one of those.

    Parameters
    ----------
    inner : httpx.BaseTransport
        Makes the connections.
    allow_private : bool
        Whether private, loopback, link-local and metadata addresses may be reached.
    resolve : callable
        ``(host, port) → addresses``.
    """

    def __init__(
        self, inner: httpx.BaseTransport, *, allow_private: bool, resolve: Resolve = resolve_all
    ) -> None:
        self._inner = inner
        self._allow_private = allow_private
        self._resolve = resolve

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first of the checked addresses that takes a connection; four are tried.

        Raises
        ------
        DeliveryError
            If any address of the name is not public and that is not allowed.
        RetryLater
            If the name cannot be resolved now.
        httpx.TransportError
            What the connection raised.
        """
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        host = _ascii_host(request.url)
        addresses = checked(host, port, self._resolve, allow_private=self._allow_private)
        for address in addresses[:-1]:
            try:
                return self._inner.handle_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return self._inner.handle_request(_pinned(request, addresses[-1]))

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """Aim a request at an address; its ``Host`` header was set from the name when it was built."""
    extensions = {**request.extensions, "sni_hostname": _ascii_host(request.url)}
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )


def _ascii_host(url: httpx.URL) -> str:
    """The name as DNS and certificates have it; Python's resolver would encode others by older rules."""
    return url.raw_host.decode("ascii")
