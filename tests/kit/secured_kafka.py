"""A real Kafka broker that lets in only whom it knows: one listener for each way in, and access lists."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.kit.certificates import Authority
from tests.kit.kafka import KafkaCluster
from tests.kit.oauth_provider import AUDIENCE, OAuthProvider
from tests.kit.ports import LOOPBACK, free_ports
from tests.kit.waiting import PATIENCE_S

LISTENERS = {
    "TLS": "SSL", "MUTUAL": "SSL", "PASSWORD": "SASL_SSL", "SCRAM": "SASL_SSL", "OAUTH": "SASL_SSL",
    "OPEN": "SASL_PLAINTEXT",
}  # fmt: skip
_LOGIN = "org.apache.kafka.common.security"
_OAUTH = f"{_LOGIN}.oauthbearer"

# Who comes in over TLS alone, or over the plain listener of `KafkaCluster`, is nobody in particular, and may
# do everything: that is how tests set things up.
SUPER = "User:ANONYMOUS"


class SecuredKafka(KafkaCluster):
    """One broker with access lists, and listeners for TLS, client certificates, PLAIN, SCRAM and OAUTHBEARER.

    Attributes
    ----------
    authority : Authority
        Signs what the broker, the provider of tokens and their clients show to each other.
    provider : OAuthProvider
        Gives tokens that the listener for OAUTHBEARER accepts.
    passwords : dict
        Users of the listener for PLAIN, which cannot be added later.
    """

    def __init__(self) -> None:
        self._secrets = tempfile.TemporaryDirectory(prefix="driftline-certificates-")
        self.folder = Path(self._secrets.name)
        self.authority = Authority(self.folder)
        self.provider = OAuthProvider(self.authority.issue("provider"), {})
        self.passwords = {"plain-user": "plain-geheim"}
        self._ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        self._server = self.authority.issue("broker")
        self.provider.write_keys(self.folder / "keys.json")
        super().__init__()

    def __enter__(self) -> SecuredKafka:
        super().__enter__()
        return self

    def stop(self) -> None:
        """End the broker and the provider, and remove what they had."""
        super().stop()
        self.provider.stop()
        self._secrets.cleanup()

    def address(self, listener: str) -> str:
        """Address of one of `LISTENERS`."""
        return f"{LOOPBACK}:{self._ports[listener]}"

    def add_user(self, name: str, password: str) -> None:
        """Let a user in with SCRAM, of either strength."""
        kinds = (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        for kind in kinds:
            new = UserScramCredentialUpsertion(name, ScramCredentialInfo(kind, 4_096), password.encode())
            _all_done(self.admin.alter_user_scram_credentials([new]))

    def allow(self, user: str, rights: Iterable[tuple[str, str, str]]) -> None:
        """Give rights to a user: kind of the resource, its name (``*`` at its end: prefix), operation."""
        _all_done(self.admin.create_acls([_binding(user, *right) for right in rights]))

    def take_away(self, user: str, right: tuple[str, str, str]) -> None:
        """Take one right away."""
        given = _binding(user, *right)
        wanted = AclBindingFilter(
            given.restype, given.name, given.resource_pattern_type, given.principal, "*", given.operation,
            given.permission_type,
        )  # fmt: skip
        _all_done(self.admin.delete_acls([wanted]))

    def _settings(self, number: int, voters: str) -> dict[str, object]:
        settings = super()._settings(number, voters)
        here = {name: f"{name}://{self.address(name)}" for name in LISTENERS}
        protocols = ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items())
        return {
            **settings,
            "listeners": ",".join([str(settings["listeners"]), *here.values()]),
            "advertised.listeners": ",".join([str(settings["advertised.listeners"]), *here.values()]),
            "listener.security.protocol.map": f"{settings['listener.security.protocol.map']},{protocols}",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": SUPER,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._server.both,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.certificate,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": r"RULE:^CN=(.*?)$/$1/",
            **self._mechanisms(),
        }

    def _mechanisms(self) -> Mapping[str, object]:
        users = " ".join(f'user_{name}="{password}"' for name, password in self.passwords.items())
        token = "listener.name.oauth.oauthbearer.sasl"
        return {
            "listener.name.password.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.password.plain.sasl.jaas.config": (
                f"{_LOGIN}.plain.PlainLoginModule required {users};"
            ),
            **_scram("scram"),
            **_scram("open"),
            "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
            f"{token}.server.callback.handler.class": f"{_OAUTH}.OAuthBearerValidatorCallbackHandler",
            f"{token}.jaas.config": f"{_OAUTH}.OAuthBearerLoginModule required;",
            f"{token}.oauthbearer.jwks.endpoint.url": (self.folder / "keys.json").as_uri(),
            "sasl.oauthbearer.jwks.endpoint.url": (self.folder / "keys.json").as_uri(),
            "sasl.oauthbearer.expected.audience": AUDIENCE,
            "sasl.oauthbearer.expected.issuer": self.provider.issuer,
        }

    def _jvm(self) -> list[str]:
        keys = (self.folder / "keys.json").as_uri()
        return [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}", *super()._jvm()]


def _scram(listener: str) -> dict[str, object]:
    """Settings of a listener for SCRAM of either strength."""
    modules = {
        f"listener.name.{listener}.scram-sha-{bits}.sasl.jaas.config": (
            f"{_LOGIN}.scram.ScramLoginModule required;"
        )
        for bits in (256, 512)
    }
    return {f"listener.name.{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512", **modules}


def _binding(user: str, kind: str, name: str, operation: str) -> AclBinding:
    is_prefix = name.endswith("*") and name != "*"
    pattern = ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL
    named = name.removesuffix("*") if is_prefix else name
    return AclBinding(
        ResourceType[kind.upper()], named, pattern, f"User:{user}", "*",
        AclOperation[operation.upper()], AclPermissionType.ALLOW,
    )  # fmt: skip


def _all_done(futures: Mapping[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result(PATIENCE_S)
