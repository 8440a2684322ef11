"""Options of tracing: where spans go, and how many of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated
from urllib.parse import unquote

import httpx
from pydantic import AfterValidator, Field, model_validator

from monitor.config.addresses import server_address
from monitor.config.secrets import secret
from monitor.config.section import Section, report
from monitor.config.values import EnvironmentName, Name, Share, Text
from schemas.errors import ConfigurationError

NEEDS_PACKAGES = "needs OpenTelemetry, which is not installed here (install driftline[otel])"


_check_address = server_address("an OTLP/HTTP receiver", "http://host:4318", "headers_env or headers_file")


def _check_endpoint(url: str) -> str:
    """Check the address of a receiver, without the path that is added to it."""
    if httpx.URL(_check_address(url)).path.rstrip("/").endswith("/v1/traces"):
        msg = "names the path of the spans, which is added to it (leave /v1/traces out)"
        raise ValueError(msg)
    return url


class Tracing(Section):
    """Spans of what Driftline does, by OpenTelemetry (OTLP over HTTP); needs the extra `otel`."""

    endpoint: Annotated[Text, AfterValidator(_check_endpoint)] = Field(
        json_schema_extra={"examples": ["http://collector:4318"]}
    )
    """Address of the receiver; spans go to `/v1/traces` below it."""
    headers_env: EnvironmentName | None = None
    """Environment variable with headers for it, `name=value` separated by commas."""
    headers_file: Text | None = None
    """File with those headers, in place of `headers_env`."""
    sample: Share = 0.01
    """Part of the traces that are kept; of requests with a `traceparent`, those that their sender keeps."""
    service_name: Name = "driftline"
    """Name of the service in the spans."""

    @property
    def headers_at(self) -> tuple[str, str] | None:
        """Key and pointer of the headers; None if there are none."""
        for key in ("headers_env", "headers_file"):
            if getattr(self, key) is not None:
                return key, getattr(self, key)
        return None

    @property
    def has_packages(self) -> bool:
        """Whether OpenTelemetry is installed here."""
        return find_spec("opentelemetry.sdk") is not None

    def headers(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """Read the headers. They may be secrets: not for logs.

        Raises
        ------
        ConfigurationError
            If they are missing, or not written as they should be.
        """
        if self.headers_at is None:
            return {}
        found = {}
        for part in secret(*self.headers_at, environ).split(","):
            name, sign, value = part.partition("=")
            if not sign or not name.strip():
                key, pointer = self.headers_at
                msg = f"tracing.{key}: {pointer} does not hold headers (use name=value,name=value)"
                raise ConfigurationError([msg])
            found[name.strip().lower()] = unquote(value.strip())
        return found

    @model_validator(mode="after")
    def _check_together(self) -> Tracing:
        if self.headers_env is not None and self.headers_file is not None:
            report([(("headers_file",), "stands beside headers_env (give one of them)")])
        return self
