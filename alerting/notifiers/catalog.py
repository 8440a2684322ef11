"""Finds the notifiers by walking this package; nothing is registered by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Annotated, Any, Union

from pydantic import Field

from alerting import notifiers as package
from alerting.notifiers.base import Notifier, ReceiverOptions
from alerting.secrets import Secrets


def modules() -> list[ModuleType]:
    """Import every module of the package."""
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


@cache
def notifiers() -> dict[str, type[Notifier]]:
    """Name every notifier.

    Examples
    --------
    >>> sorted(notifiers())
    ['slack', 'webhook']
    """
    found = {cls.type_name(): cls for module in modules() for cls in contributed_by(module)}
    return dict(sorted(found.items()))


def contributed_by(module: ModuleType) -> list[type[Notifier]]:
    """List the notifiers that a module defines itself."""
    return [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Notifier) and not inspect.isabstract(cls) and cls.__module__ == module.__name__
    ]


@cache
def receiver_options() -> Any:
    """Build the type of an entry under ``receivers:``: the options of all notifiers, told apart by ``type``.

    Examples
    --------
    >>> from pydantic import TypeAdapter
    >>> entry = {"type": "slack", "channel": "#ml", "token_env": "SLACK_BOT_TOKEN"}
    >>> TypeAdapter(receiver_options()).validate_python(entry).channel
    '#ml'
    """
    options = tuple(cls.Options for cls in notifiers().values())
    return Annotated[Union[options], Field(discriminator="type")]  # noqa: UP007 - a tuple known at run time


def build(
    name: str, options: ReceiverOptions, environment: Mapping[str, str], now_ms: Callable[[], int]
) -> Notifier:
    """Make the notifier of a receiver.

    Parameters
    ----------
    name : str
        Of the receiver in the configuration.
    options : ReceiverOptions
        Validated options of one of the notifiers.
    environment : mapping of str to str
        Where ``…_env`` secrets are read.
    now_ms : callable
        Wall clock, epoch milliseconds.

    Raises
    ------
    ConfigurationError
        If a secret is missing or cannot be what it should be.
    """
    return notifiers()[options.type](options, Secrets(environment, f"receivers.{name}"), now_ms)
