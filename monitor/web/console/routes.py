"""Finds the pages of the console by walking their folder; nothing is registered by hand."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from fastapi import APIRouter

from monitor.web.console import assets, live, pages
from monitor.web.console.shell import Shell
from monitor.web.context import Context


def modules() -> list[ModuleType]:
    """Import every page; each has ``routes(shell)``."""
    names = sorted(info.name for info in pkgutil.iter_modules(pages.__path__))
    return [importlib.import_module(f"{pages.__name__}.{name}") for name in names]


def routes(context: Context, shell: Shell) -> APIRouter:
    """Build the routes of the console."""
    router = APIRouter(include_in_schema=False)
    router.include_router(assets.routes())
    router.include_router(live.routes(context))
    for module in modules():
        router.include_router(module.routes(shell))
    return router
