"""Builds the web application: API, console, metrics and health, with problem documents and safe headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.config.sign_in import OidcSignIn
from monitor.door import Door
from monitor.telemetry import Telemetry
from monitor.version import code_version
from monitor.web import description, health, problems
from monitor.web.api import (
    accounting,
    alerts,
    budget,
    contracts,
    dead_letters,
    deliveries,
    deployments,
    digest,
    events,
    fairness,
    incidents,
    models,
    performance,
    profile,
    promotions,
    references,
    results,
    retraining,
    silences,
    versions,
)
from monitor.web.console import routes as console
from monitor.web.console.shell import Shell
from monitor.web.console.warming import Warming
from monitor.web.context import Context
from monitor.web.gauges import Gauges
from monitor.web.guard import Guard
from monitor.web.health import Readiness
from monitor.web.metrics import StateCollector
from monitor.web.packing import Packing
from monitor.web.sign_in import routes as sign_in
from monitor.web.sign_in.audit import Audit
from monitor.web.sign_in.gate import Gate
from monitor.web.sign_in.identify import Identify

PREFIX = "/api/v1"
SHORT_PREFIX = "/v1"  # what senders of CloudEvents expect
API = (
    models,
    results,
    profile,
    performance,
    versions,
    fairness,
    contracts,
    alerts,
    incidents,
    silences,
    deliveries,
    deployments,
    budget,
    digest,
    accounting,
    dead_letters,
    references,
    promotions,
    retraining,
    events,
)


def create_app(
    configuration: Configuration,
    engine: Engine,
    telemetry: Telemetry,
    clock: Clock,
    readiness: Readiness = list,
    *,
    api: bool = True,
    door: Door | None = None,
) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    telemetry : Telemetry
        Its metrics are part of ``/metrics``.
    clock : Clock
    readiness : callable
        Says why the roles of this process cannot work yet, one text a reason; empty if they can. The database
        is asked in any case.
    api : bool
        Serve the API, the console and the gauges of the database; without, only health and the process's own
        metrics.
    door : Door, optional
        Where events go that come by HTTP.

    Returns
    -------
    FastAPI
        An ASGI application; see `monitor.web.serve.Serving`.
    """
    context = Context(configuration, engine, telemetry, clock, door)
    gauges = StateCollector(Gauges(context), clock) if api else None
    identify, audit = Identify(context), Audit(context)
    entrance = _sign_in(context, identify, audit) if api else None
    sources: list[Collector | CollectorRegistry] = [telemetry.registry]
    if gauges is not None:
        sources.append(gauges)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if shell is not None:
            await run_in_threadpool(Warming(shell, app.routes).start)
        yield
        if gauges is not None:
            gauges.close()
        if entrance is not None:
            entrance.provider.close()

    app = FastAPI(
        title="Driftline",
        summary="Drift and data quality of machine-learning models",
        version=code_version(),
        openapi_url=f"{PREFIX}/openapi.json" if api else None,
        docs_url=None,  # the usual pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=description.operation_id,
        lifespan=lifespan,
    )
    app.include_router(health.routes(engine, readiness, sources))
    shell: Shell | None = None
    if api:
        for module in API:
            app.include_router(module.routes(context), prefix=PREFIX, responses=description.also(422))
        app.include_router(events.routes(context), prefix=SHORT_PREFIX, include_in_schema=False)
        shell = Shell(context)
        app.include_router(console.routes(context, shell))
        if entrance is not None and identify.sessions is not None:
            app.include_router(sign_in.routes(entrance, identify.sessions, shell))
        description.describe(app, context)
    problems.install(app, None if shell is None else shell.problem)
    taken = configuration.http.events
    larger = {} if taken is None else {f"{p}/events": taken.max_bytes for p in (PREFIX, SHORT_PREFIX)}
    page = None if shell is None else shell.problem
    app.add_middleware(Packing)
    app.add_middleware(Gate, context=context, identify=identify, audit=audit, page=page)
    # Without sign-in, only this machine may ask: a name that others know would let their pages in.
    named = "" if identify.is_local else urlsplit(configuration.http.public_url or "").hostname or ""
    app.add_middleware(
        Guard,
        telemetry=telemetry,
        host=configuration.http.host,
        larger=larger,
        named=named,
        allowed=configuration.http.allowed_hosts,
        strict_transport_s=(configuration.http.strict_transport_ms or 0) // 1_000,
    )
    return app


def _sign_in(context: Context, identify: Identify, audit: Audit) -> sign_in.SignIn | None:
    """Build what leads people to the provider, where there is one."""
    options = context.configuration.http.sign_in
    if not isinstance(options, OidcSignIn) or identify.sessions is None:
        return None
    return sign_in.SignIn(context, options, identify.sessions, audit)
