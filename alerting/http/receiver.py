"""What receivers that speak HTTP make of their options: the client, certificates, an address in a secret."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

import httpx
from pydantic import BaseModel, SecretStr

from alerting.http.addresses import Resolve
from alerting.http.client import HttpClient
from alerting.secrets import Secrets
from schemas.errors import ConfigurationError


class HttpReceiver(Protocol):
    """What the options of every receiver that speaks HTTP have."""

    @property
    def allow_private(self) -> bool:
        """Whether private, loopback and link-local addresses may be reached."""
        ...

    @property
    def timeout_s(self) -> float:
        """For connecting and for the answer, each."""
        ...

    @property
    def ca_file(self) -> str | None:
        """Certificates to trust in place of the public ones."""
        ...


def client_of(
    options: HttpReceiver, secrets: Secrets, url: str, now_ms: Callable[[], int], resolve: Resolve
) -> HttpClient:
    """Make the client for one address.

    Raises
    ------
    ConfigurationError
        If `ca_file` cannot be used.
    """
    try:
        return HttpClient(
            url,
            allow_private=options.allow_private,
            timeout_s=options.timeout_s,
            ca_file=options.ca_file,
            now_ms=now_ms,
            resolve=resolve,
        )
    except OSError as error:  # ssl.SSLError is one
        raise _no_certificates(secrets, options.ca_file) from error


def trust_of(ca_file: str | None, secrets: Secrets) -> ssl.SSLContext:
    """Say which certificates are trusted: those of a file in place of the public ones.

    Raises
    ------
    ConfigurationError
        If the file cannot be used.
    """
    if ca_file is None:
        return httpx.create_ssl_context(verify=True, trust_env=False)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise _no_certificates(secrets, ca_file) from error


def secret_address(options: BaseModel, secrets: Secrets, name: str) -> SecretStr:
    """Read an address that is a secret.

    Raises
    ------
    ConfigurationError
        If it is missing or no address; never holds any part of it.
    """
    secret = secrets.read(options, name)
    text = secret.get_secret_value()
    try:
        url = httpx.URL(text if "://" in text and text.isprintable() else "")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or " " in text:
        raise secrets.problem(name, "not an address (use https://host/path)")
    return secret


def _no_certificates(secrets: Secrets, ca_file: str | None) -> ConfigurationError:
    return secrets.problem("ca_file", f"{ca_file} holds no certificates that can be read")
