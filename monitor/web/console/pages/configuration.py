"""The configuration as applied: the alert policy in words, the budget, receivers, and all of it as YAML."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from monitor.store.engine import reading
from monitor.web.console.configuration.applied import applied
from monitor.web.console.configuration.policy_words import lanes, severities, stages
from monitor.web.console.configuration.receivers import receivers_of
from monitor.web.console.shell import Shell
from monitor.web.parameters import Asked

HERE = "/configuration"
MOST_SIGNS = 120_000


class ConfigurationAsked(Asked):
    """Parameters of the page."""

    show: Literal["stated", "all"] = Field("stated", description="`all`: also what nobody has decided.")


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context
    configuration = context.configuration

    @cache
    def text_of(*, with_defaults: bool) -> str:
        return applied(configuration, with_defaults=with_defaults)

    @router.get("/configuration")
    def page(request: Request, asked: Annotated[ConfigurationAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            receivers = receivers_of(connection, configuration)
        text = text_of(with_defaults=asked.show == "all")
        return shell.page(
            request,
            "configuration.html",
            HERE,
            stages=stages(configuration),
            severities=severities(configuration.alerts),
            lanes=lanes(configuration.alerts),
            budget=configuration.alerts.budget,
            receivers=receivers,
            text=text[:MOST_SIGNS],
            is_cut=len(text) > MOST_SIGNS,
            asked=asked,
        )

    return router
