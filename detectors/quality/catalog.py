"""Find watches by walking the package: a new one is a new file and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from inspect import isabstract, isclass
from types import ModuleType

import detectors.quality as package
from detectors.quality.base import Watch


def watches() -> dict[str, Watch]:
    """Return every watch of the package by name, in alphabetical order.

    Raises
    ------
    TypeError
        If two watches have the same name.

    Examples
    --------
    >>> watches()["missing"].detector
    'quality.missing'
    """
    return dict(_walk())


@cache
def _walk() -> dict[str, Watch]:
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return find([importlib.import_module(f"{package.__name__}.{name}") for name in names])


def find(modules: Sequence[ModuleType]) -> dict[str, Watch]:
    """Watches that some modules declare, by name.

    Raises
    ------
    TypeError
        If two have the same name.
    """
    found: dict[str, Watch] = {}
    for module in modules:
        for kind in vars(module).values():
            if not (isclass(kind) and issubclass(kind, Watch) and not isabstract(kind)):
                continue
            if kind.__module__ != module.__name__:
                continue
            if kind.name in found:
                msg = f"two watches of data quality are named {kind.name!r}"
                raise TypeError(msg)
            found[kind.name] = kind()
    return dict(sorted(found.items()))
