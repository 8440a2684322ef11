"""Version of the running code."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def code_version() -> str:
    """Version of the distribution, as stored with every result."""
    try:
        return version("driftline")
    except PackageNotFoundError:
        return "source"
