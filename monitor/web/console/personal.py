"""What must not be shown of events: values of personal columns, and headers that sound like secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.config import Configuration
from monitor.config.problem import is_secret_name

HIDDEN = "(hidden)"
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
_BLOCKS = ("features", "tags")


def personal_columns(configuration: Configuration, model: str) -> frozenset[str]:
    """Columns of a model whose values must not be shown."""
    columns = configuration.for_model(model).columns
    return frozenset(name for name, column in columns.items() if column.personal)


def may_be_personal(configuration: Configuration, topic: str) -> bool:
    """Whether messages of a topic may hold values of personal columns, read or not."""
    stream = next((one for one in configuration.streams if one.topic == topic), None)
    if stream is not None and stream.model is not None:
        return bool(personal_columns(configuration, stream.model))
    settings = [configuration.defaults, *map(configuration.for_model, configuration.models)]
    return any(column.personal for one in settings for column in one.columns.values())


def without_personal(event: Mapping[str, Any], columns: frozenset[str]) -> dict[str, Any]:
    """Copy an event in native form, with the values of some columns hidden; nested ones by dotted names.

    Examples
    --------
    >>> event = {"model": "m", "features": {"age": 3, "home": {"zip": "1"}}, "prediction": 1}
    >>> without_personal(event, frozenset({"home.zip", "prediction"}))["features"]
    {'age': 3, 'home': {'zip': '(hidden)'}}
    """
    if not columns:
        return dict(event)
    found: dict[str, Any] = {name: HIDDEN if name in columns else value for name, value in event.items()}
    for block in _BLOCKS:
        if isinstance(found.get(block), Mapping):
            found[block] = _hidden(found[block], columns, "")
    return found


def is_secret_header(name: str) -> bool:
    """Whether a header of a message may hold a credential.

    Examples
    --------
    >>> is_secret_header("Authorization"), is_secret_header("ce_id")
    (True, False)
    """
    return name.lower() in _CREDENTIALS or is_secret_name(name.replace("-", "_"))


def _hidden(block: Mapping[str, Any], columns: frozenset[str], before: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in block.items():
        full = f"{before}{name}"
        if full in columns:
            found[name] = HIDDEN
        else:
            found[name] = _hidden(value, columns, f"{full}.") if isinstance(value, Mapping) else value
    return found
