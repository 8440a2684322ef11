"""Options of sign-in: who may use the console and the API, and who says so."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, Field, model_validator

from monitor.config.problem import show
from monitor.config.section import Finding, Section, report
from monitor.config.values import DurationMs, EnvironmentName, Name, Text, duration_between, span
from monitor.loopback import is_loopback

ROLES = ("viewer", "operator", "admin")
"""From the one that may do least to the one that may do everything."""

RoleName = Literal["viewer", "operator", "admin"]
HEADER_PATTERN = r"^[A-Za-z0-9-]{1,64}$"
Groups = Annotated[tuple[Name, ...], Field(max_length=1_000)]


def read_network(text: str) -> IPv4Network | IPv6Network:
    """Read an address or a range of addresses.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> read_network("10.0.0.0/8"), read_network("::1")
    (IPv4Network('10.0.0.0/8'), IPv6Network('::1/128'))
    """
    try:
        return ip_network(text)
    except ValueError:
        msg = f"{show(text)} is not a range of addresses (use 10.0.0.0/8, 192.168.1.7, fd00::/8)"
        raise ValueError(msg) from None


def _check_network(text: str) -> str:
    read_network(text)
    return text


def _check_issuer(url: str) -> str:
    """Check the address of a provider: people are who it says, so it is reached safely."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    is_safe = parsed.scheme == "https" or (parsed.scheme == "http" and is_loopback(parsed.host))
    if not is_safe or not parsed.host or parsed.userinfo or parsed.query or parsed.fragment:
        msg = "is not the address of an issuer (use https://login.example.org/realm)"
        raise ValueError(msg)
    return url


Network = Annotated[Text, AfterValidator(_check_network)]
HeaderName = Annotated[Text, Field(pattern=HEADER_PATTERN)]


class RoleGroups(Section):
    """Which groups have which role; `"*"` stands for everybody who is signed in. The highest role counts."""

    viewer: Groups = ()
    """Groups that may read everything."""
    operator: Groups = ()
    """Groups that may also act: incidents, silences, replays, deliveries, training."""
    admin: Groups = ()
    """Groups that may also make tokens, preview policies and read the audit log."""

    @model_validator(mode="after")
    def _check_any(self) -> RoleGroups:
        is_empty = not (self.viewer or self.operator or self.admin)
        report(
            [((), "gives nobody a role (list groups under viewer, operator or admin)")] if is_empty else []
        )
        return self


class OidcSignIn(Section):
    """People sign in at an OpenID Connect provider."""

    type: Literal["oidc"]
    """`oidc`."""
    issuer: Annotated[Text, AfterValidator(_check_issuer)] = Field(
        json_schema_extra={"examples": ["https://login.example.org/realms/ml"]}
    )
    """Address of the provider, as it calls itself; `.well-known/openid-configuration` tells the rest."""
    client_id: Name
    """Name that the provider knows Driftline by."""
    client_secret_env: EnvironmentName | None = None
    """Environment variable with the client's secret; a public client has none and relies on PKCE."""
    client_secret_file: Text | None = None
    """File with that secret."""
    scopes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)] = ("openid", "profile", "email")
    """What is asked of the provider; often `groups` is needed too."""
    roles: RoleGroups
    """Which groups have which role."""
    roles_claim: Name = "groups"
    """Claim that lists a person's groups; dots lead into objects, as in `realm_access.roles`."""
    name_claim: Name = "preferred_username"
    """Claim with the name that is shown and recorded; without it, the subject."""
    idle_ms: Annotated[DurationMs, duration_between("1m", "30d")] = span("8h", alias="idle")
    """A browser that is not used for so long is signed out."""
    lifetime_ms: Annotated[DurationMs, duration_between("5m", "30d")] = span("24h", alias="lifetime")
    """After so long people sign in anew whatever they do; changes of their groups are seen then."""

    @property
    def client_secret_at(self) -> tuple[str, str] | None:
        """Key and pointer of the client's secret; None if there is none."""
        for key in ("client_secret_env", "client_secret_file"):
            if getattr(self, key) is not None:
                return key, getattr(self, key)
        return None

    @model_validator(mode="after")
    def _check_together(self) -> OidcSignIn:
        findings: list[Finding] = []
        if self.client_secret_env is not None and self.client_secret_file is not None:
            findings.append((("client_secret_file",), "stands beside client_secret_env (give one of them)"))
        if "openid" not in self.scopes:
            findings.append((("scopes",), "lacks openid, without which providers do not say who it is"))
        report(findings)
        return self


class ProxySignIn(Section):
    """A proxy in front knows who it is, and says so in headers."""

    type: Literal["proxy"]
    """`proxy`."""
    user_header: HeaderName = "X-Forwarded-User"
    """Header with the name of the person; the proxy has to remove it from requests that come from outside."""
    groups_header: HeaderName | None = "X-Forwarded-Groups"
    """Header with the groups, separated by commas."""
    trusted: Annotated[tuple[Network, ...], Field(min_length=1, max_length=100)] = Field(
        json_schema_extra={"examples": [["10.0.0.7", "fd00::/64"]]}
    )
    """Addresses that the proxy comes from; from all others the headers mean nothing."""
    roles: RoleGroups
    """Which groups have which role."""


SignIn = Annotated[OidcSignIn | ProxySignIn, Field(discriminator="type")]
"""Who says who somebody is."""
