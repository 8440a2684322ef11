"""Turns tracing on where the configuration asks for it; nothing of OpenTelemetry is imported elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from monitor.config import Configuration
from monitor.config.tracing import NEEDS_PACKAGES
from monitor.logs import hide
from monitor.tracing import tracer
from monitor.version import code_version
from schemas.errors import ConfigurationError


def set_up(configuration: Configuration, role: str, environ: Mapping[str, str] | None = None) -> bool:
    """Begin to send spans; returns whether the configuration asks for it.

    Parameters
    ----------
    configuration : Configuration
    role : str
        What this process does.
    environ : mapping of str to str, optional
        Environment variables; default: those of this process.

    Raises
    ------
    ConfigurationError
        If packages are missing, or the headers cannot be read.
    """
    options = configuration.tracing
    if options is None:
        return False
    if not options.has_packages:
        raise ConfigurationError([f"{configuration.where('tracing')}: tracing: {NEEDS_PACKAGES}"])
    from monitor.tracing.otlp import OtlpTracer  # loads OpenTelemetry, which others do without

    headers = options.headers(environ)
    for value in headers.values():
        hide(value)
    resource = {
        "service.name": options.service_name,
        "service.version": code_version(),
        "host.name": socket.gethostname(),
        "driftline.role": role,
    }
    tracer.turn_on(OtlpTracer(options.endpoint, headers, options.sample, resource))
    return True
