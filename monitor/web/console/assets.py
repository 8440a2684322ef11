"""Files that pages load: style, scripts. All come from this package; their contents make their addresses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response

from monitor.web.problems import Refused

FOLDER = Path(__file__).parents[1] / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOR_A_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file."""

    content: bytes
    media_type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """Read all files, by their names.

    Examples
    --------
    >>> sorted(name for name in assets() if name.endswith(".css"))
    ['style.css', 'uPlot.min.css']
    """
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in TYPES:
            content = path.read_bytes()
            found[path.name] = Asset(content, TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:16])
    return found


def address(name: str) -> str:
    """Say where a page finds a file; the address changes with its contents."""
    return f"/static/{assets()[name].digest}/{name}"


def routes() -> APIRouter:
    """Build the routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/{digest}/{name}")
    def static(digest: str, name: str) -> Response:
        asset = assets().get(name)
        if asset is None:
            raise Refused(404, "there is no such file; the page may be of another version, load it again")
        # After an update a page may ask for an older file: it gets the newer one, but must not keep it.
        kept = FOR_A_YEAR if digest == asset.digest else "no-store"
        return Response(asset.content, media_type=asset.media_type, headers={"Cache-Control": kept})

    return router
