"""Reads a person's name and groups out of claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.web.sign_in.roles import printable

EMAIL = "email"


def groups_of(claims: Mapping[str, Any], name: str) -> list[str] | None:
    """Read the groups of a person.

    Parameters
    ----------
    claims : mapping
    name : str
        Claim that lists them, or holds one; dots lead into objects where no claim has the whole name.

    Returns
    -------
    list of str or None
        None if there is no such claim. An e-mail address that the provider did not verify is no group.

    Examples
    --------
    >>> groups_of({"realm_access": {"roles": ["a", "b"]}}, "realm_access.roles"), groups_of({}, "groups")
    (['a', 'b'], None)
    >>> groups_of({"email": "ann@example.org"}, "email")
    []
    """
    value: Any = claims
    for part in [name] if name in claims else name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return None
    if name == EMAIL and claims.get("email_verified") is not True:
        return []
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str) and one != "*"]


def name_of(claims: Mapping[str, Any], name: str) -> str:
    """Read the name of a person; without one, what the provider calls them for good.

    Examples
    --------
    >>> name_of({"sub": "u-7", "nickname": "ann"}, "nickname"), name_of({"sub": "u-7"}, "nickname")
    ('ann', 'u-7')
    """
    value = claims.get(name)
    return (printable(value) if isinstance(value, str) else "") or printable(str(claims["sub"]))
