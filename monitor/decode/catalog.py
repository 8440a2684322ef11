"""Finds the formats: classes with a `name` and `matches` in the modules of `monitor.decode.formats`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from monitor.decode import formats as package
from monitor.decode.envelope import Decoder
from monitor.decode.json import Json
from monitor.decode.reading import AnyFormat, Reading
from monitor.decode.translated import Translated
from schemas.errors import UsageError

AUTO = "auto"


@cache
def every() -> tuple[AnyFormat, ...]:
    """All formats, in the order in which they are asked whether a message is theirs."""
    found: dict[str, AnyFormat] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for _, item in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if item.__module__ == module.name and callable(getattr(item, "matches", None)):
                made: Any = item()
                found[made.name] = made
    return tuple(sorted(found.values(), key=lambda one: (one.order, one.name)))


def formats() -> tuple[str, ...]:
    """Names that the configuration may use."""
    return tuple(sorted((AUTO, *(one.name for one in every()))))


def build(name: str, reading: Reading | None = None) -> Decoder:
    """Make the decoder of a format.

    Parameters
    ----------
    name : str
        ``auto`` finds out, message by message.
    reading : Reading, optional
        What the stream says of its messages.

    Raises
    ------
    UsageError
        If there is no such format.
    """
    known = Reading() if reading is None else reading
    if name == Json.name and known == Reading():
        return Json()
    return translated(name, known)


def translated(name: str, reading: Reading) -> Translated:
    """Make the decoder of a format that can also show what it makes of a message.

    Raises
    ------
    UsageError
        If there is no such format.
    """
    if name == AUTO:
        return Translated(every(), reading)
    chosen = tuple(one for one in every() if one.name == name)
    if not chosen:
        msg = f"{name!r} is not a format (use one of {', '.join(formats())})"
        raise UsageError(msg)
    return Translated(chosen, reading)
