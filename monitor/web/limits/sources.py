"""What counts as one sender of requests, of which all that is known is the address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_REST_OF_NETWORK = 64
_MOST_REMEMBERED = 4_096


@lru_cache(_MOST_REMEMBERED)
def source_of(address: str) -> str:
    """Give the name under which an address is counted: all addresses of an IPv6 network are one.

    Whoever has an IPv6 address has 2⁶⁴ of them.

    Examples
    --------
    >>> [source_of(one) for one in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7", "2001:db8::8")]
    ['192.0.2.7', '192.0.2.7', '20010db800000000/64', '20010db800000000/64']
    """
    if ":" not in address:
        return address
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{int(found) >> _REST_OF_NETWORK:016x}/{_REST_OF_NETWORK}"
