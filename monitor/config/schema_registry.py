"""Options of the schema registry, which streams share whose messages name their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from monitor.config.addresses import server_address
from monitor.config.secrets import secret
from monitor.config.section import Finding, Section, report
from monitor.config.values import DurationMs, EnvironmentName, Text, duration_between, span

if TYPE_CHECKING:
    from monitor.decode.registry_client import RegistryClient

_check_registry_url = server_address(
    "a schema registry", "https://host:port", "username, and password_env or password_file"
)


class Registry(Section):
    """The schema registry, for streams whose messages name their schema."""

    url: Annotated[Text, AfterValidator(_check_registry_url)] = Field(
        json_schema_extra={"examples": ["https://registry:8081"]}
    )
    """Address of its HTTP API."""
    username: Text | None = None
    """User name, or key, if it asks for one."""
    password_env: EnvironmentName | None = None
    """Environment variable that holds the password."""
    password_file: Text | None = None
    """File that holds the password, in place of `password_env`."""
    ca_file: Text | None = None
    """Certificates (PEM) to trust besides the usual ones."""
    timeout_ms: Annotated[DurationMs, duration_between("100ms", "1m")] = span("5s", alias="timeout")
    """Longest time to wait for an answer."""

    _client: RegistryClient | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_credentials(self) -> Registry:
        findings: list[Finding] = []
        if self.password_env is not None and self.password_file is not None:
            findings.append((("password_file",), "stands beside password_env (give one of them)"))
        if (self.username is None) != (self.password_at is None):
            findings.append(((), "username goes with a password (give password_env or password_file)"))
        report(findings)
        return self

    @property
    def password_at(self) -> tuple[str, str] | None:
        """Key and pointer of the password; None if there is none."""
        for key in ("password_env", "password_file"):
            if getattr(self, key) is not None:
                return key, getattr(self, key)
        return None

    def client(self, environ: Mapping[str, str] | None = None) -> RegistryClient:
        """Return what asks the registry, the same for all streams, with secrets filled in.

        Raises
        ------
        ConfigurationError
            If the password or the certificates cannot be had.
        """
        from monitor.decode.registry_client import connect  # loads the HTTP client; most files need none

        if self._client is None:
            credentials = None
            if self.username is not None and self.password_at is not None:
                key, pointer = self.password_at
                credentials = self.username, secret(f"registry.{key}", pointer, environ)
            self._client = connect(self.url, credentials, self.timeout_ms / 1_000, self.ca_file)
        return self._client
