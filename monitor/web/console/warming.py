"""Prepares what the first page that is opened would wait for: routes, compiled templates and statements."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import BaseRoute
from starlette.types import Scope

from monitor.store.engine import reading
from monitor.web.console.fleet.listing import FleetAsked
from monitor.web.console.pages.fleet import read_fleet
from monitor.web.console.shell import Shell
from schemas.errors import DriftlineError

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
NO_PAGE: Scope = {"type": "http", "method": "GET", "path": "/no/such/page", "root_path": "", "headers": []}


class Warming:
    """Prepares pages before the first is asked for.

    Parameters
    ----------
    shell : Shell
    routes : sequence of BaseRoute
        Of the application; what they need is made when they are asked for the first time.
    """

    def __init__(self, shell: Shell, routes: Sequence[BaseRoute]) -> None:
        self._shell, self._routes = shell, routes
        self._thread = threading.Thread(target=self._read_the_fleet, name="warming", daemon=True)

    def start(self) -> None:
        """Prepare; a database that is away or busy is waited for only a moment, so that it holds up nobody.

        Routes and templates are made at once and in this thread: they are not made to be built by two
        threads at the same time, and requests come as soon as this returns.
        """
        for route in self._routes:
            route.matches(NO_PAGE)
        self._shell.warm()
        self._thread.start()
        self._thread.join(PATIENCE_S)

    def _read_the_fleet(self) -> None:
        context = self._shell.context
        try:
            with reading(context.engine) as connection:
                read_fleet(context, connection, FleetAsked())
        except (DriftlineError, SQLAlchemyError) as error:
            logger.info("the start page could not be prepared: %s", type(error).__name__)
