"""Where a request comes from, and whether it came by HTTPS, when there are proxies in between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

from monitor.config.sign_in import read_network

Networks = Sequence[IPv4Network | IPv6Network]


def networks(texts: Iterable[str]) -> Networks:
    """Read ranges of addresses."""
    return [read_network(text) for text in texts]


def lies_in(address: str, ranges: Networks) -> bool:
    """Whether an address lies in one of the ranges; IPv4 in IPv6's clothes counts as IPv4.

    Examples
    --------
    >>> ours = networks(["10.0.0.0/8"])
    >>> [lies_in(one, ours) for one in ("10.1.2.3", "::ffff:10.1.2.3", "11.0.0.1", "unix")]
    [True, True, False, False]
    """
    found = _read(address)
    return found is not None and any(found in one for one in ranges if one.version == found.version)


def origin_of(scope: Scope, trusted: Networks) -> tuple[str, str]:
    """Find the address and the scheme of a request.

    Parameters
    ----------
    scope : ASGI scope
    trusted : sequence of networks
        Proxies whose ``X-Forwarded-…`` headers are believed.

    Returns
    -------
    address : str
        The last one in ``X-Forwarded-For`` that is no trusted proxy; without such a header, the peer.
    scheme : str
        ``http`` or ``https``.
    """
    peer, scheme = peer_of(scope), str(scope.get("scheme", "http"))
    if not lies_in(peer, trusted):
        return peer, scheme
    headers = Headers(scope=scope)
    told = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    hops = [hop.strip() for line in headers.getlist("x-forwarded-for") for hop in line.split(",")]
    address = next((hop for hop in reversed(hops) if not lies_in(hop, trusted)), peer)
    known = _read(address)
    return peer if known is None else str(known), told if told in ("http", "https") else scheme


def peer_of(scope: Scope) -> str:
    """Address of the other end of the connection; empty if there is none."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
