"""Which role somebody's groups give."""

from __future__ import annotations

from collections.abc import Collection

from monitor.config.sign_in import ROLES, RoleGroups, RoleName

EVERYBODY = "*"


def role_of(groups: Collection[str], roles: RoleGroups) -> RoleName | None:
    """Find the highest role that one of the groups has; None if there is none.

    Examples
    --------
    >>> roles = RoleGroups(viewer=("*",), operator=("oncall", "leads"), admin=("platform",))
    >>> role_of(["oncall", "other"], roles), role_of([], roles), role_of(["*"], RoleGroups(admin=("a",)))
    ('operator', 'viewer', None)
    """
    for role in reversed(ROLES):
        known = getattr(roles, role)
        if EVERYBODY in known or any(group in known for group in groups):
            return role  # type: ignore[return-value]  # one of ROLES
    return None


def printable(text: str, most: int = 200) -> str:
    """Write a name so that it can be shown and stored: one line, not too long.

    Examples
    --------
    >>> printable(f"  ann{chr(10)}<b> ")
    'ann<b>'
    """
    return "".join(sign for sign in text if sign.isprintable()).strip()[:most]
