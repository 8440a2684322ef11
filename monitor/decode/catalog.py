"""Finds the formats: every module of this package that has a class with a `name` and a `decode` method."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any

import monitor.decode
from monitor.decode.envelope import Decoder
from schemas.errors import UsageError


@cache
def decoders() -> dict[str, Callable[[], Any]]:
    """All formats by name."""
    found: dict[str, Callable[[], Any]] = {}
    for module in pkgutil.iter_modules(monitor.decode.__path__, "monitor.decode."):
        for _, item in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            name = getattr(item, "name", None)
            if (
                item.__module__ == module.name
                and isinstance(name, str)
                and callable(getattr(item, "decode", None))
            ):
                found[name] = item
    return found


def formats() -> tuple[str, ...]:
    """Names that the configuration may use."""
    return tuple(sorted(decoders()))


def build(name: str) -> Decoder:
    """Make the decoder of a format.

    Raises
    ------
    UsageError
        If there is no such format.
    """
    if name not in decoders():
        msg = f"{name!r} is not a format (use one of {', '.join(formats())})"
        raise UsageError(msg)
    decoder: Decoder = decoders()[name]()
    return decoder
