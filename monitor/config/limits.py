"""Options of the limits of the HTTP server: what one client may ask, and how long it may take to ask it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from monitor.config.section import Section
from monitor.config.values import DurationMs, Number, Whole, duration_between, span


class HttpLimits(Section):
    """How much one client may ask. Where nobody has to sign in on this machine, only `read_timeout` holds."""

    requests_per_s: Annotated[Number, Field(gt=0, le=100_000)] = 50.0
    """Requests a second that a person, a token or (of those who are not known) an address may make."""
    burst: Annotated[Whole, Field(ge=1, le=1_000_000)] = 200
    """Requests that they may make at once, after a pause."""
    connections_per_client: Annotated[Whole, Field(ge=1, le=10_000)] = 100
    """Connections that an address may hold open; `trusted_proxies` and this machine may hold more."""
    read_timeout_ms: Annotated[DurationMs, duration_between("1s", "10m")] = span("30s", alias="read_timeout")
    """How long a request may take to come, its header as much as its body."""
