"""Somebody who asks: a person, or a program with a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from monitor.config.sign_in import ROLES, RoleName

Via = Literal["session", "token", "proxy", "anonymous"]


@dataclass(frozen=True)
class User:
    """Who asks, and what they may do.

    Parameters
    ----------
    name : str
        As it is shown and recorded; that of a token begins with ``token``.
    role : str
        viewer, operator or admin.
    via : str
        How we know: session, token, proxy; anonymous: we do not.
    subject : str
        What the provider calls the person for good; empty where nobody says.
    key : str
        Hash of the session, or number of the token.
    used_at_ms : int, optional
        When the session or token was used before.

    Examples
    --------
    >>> ann = User("ann", "operator", "session")
    >>> ann.may("viewer"), ann.may("operator"), ann.may("admin")
    (True, True, False)
    """

    name: str
    role: RoleName
    via: Via
    subject: str = ""
    key: str = ""
    used_at_ms: int | None = None

    def may(self, role: str) -> bool:
        """Whether this role is that one or above it."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def is_known(self) -> bool:
        """Whether somebody vouches for the name."""
        return self.via != "anonymous"
