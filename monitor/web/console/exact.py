"""Routes whose path parameters may hold anything, slashes too: ``/models/a%2Fb/features/c%2Fd``."""

from __future__ import annotations

from typing import cast
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope


class ExactRoute(APIRoute):
    """Matches the path as it was written, before its escapes are read.

    Notes
    -----
    Servers read escapes before routes are looked for: an escaped slash in a name then looks like one between
    names. Here every parameter is one part of the written path, and its escapes are read afterwards. Use it
    as ``APIRouter(route_class=ExactRoute)``, and write names with the filter ``path``.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the written path; parameters are given with their escapes read."""
        written = cast("bytes | None", scope.get("raw_path"))
        if not written or scope["type"] != "http":
            return super().matches(scope)
        path = written.partition(b"?")[0].decode("ascii", "replace")
        match, child = super().matches({**scope, "path": path})
        if match is not Match.NONE:
            named = child.get("path_params", {})
            child["path_params"] = {
                name: unquote(value, errors="replace") if isinstance(value, str) else value
                for name, value in named.items()
            }
        return match, child
