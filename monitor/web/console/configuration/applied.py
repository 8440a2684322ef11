"""The configuration as it is applied, for people to read: no secrets, and no addresses that may hold some.

What stands in a file is safe by construction: secrets are named by ``…_env`` and ``…_file``. What is left are
addresses, which may hold credentials anywhere, and values that somebody has put where no secret belongs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from monitor.config import Configuration
from monitor.config.problem import is_secret_name
from monitor.contracts.yaml_text import block
from monitor.store.engine import describe, read_url

HIDDEN = "(hidden)"
MOST_MODELS = 100
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"']*")
_PUBLIC = frozenset({"public_url"})


def applied(configuration: Configuration, *, with_defaults: bool) -> str:
    """Write the configuration as YAML.

    Parameters
    ----------
    configuration : Configuration
    with_defaults : bool
        Also what nobody has decided, and for each model what `defaults` say.
    """
    lines = block(shown(document(configuration, with_defaults=with_defaults)))
    left = len(configuration.models) - MOST_MODELS
    if left > 0:
        lines.append(f"# … and {left:,} more models")
    return "\n".join(lines)


def document(configuration: Configuration, *, with_defaults: bool) -> dict[str, Any]:
    """Give the configuration as data, as it would stand in the file: of the models, the first `MOST_MODELS`.

    May hold addresses: not for pages, see `shown`.
    """
    how: dict[str, Any] = {"mode": "json", "by_alias": True, "exclude_none": True}
    how["exclude_unset"] = not with_defaults
    names = list(configuration.models)[:MOST_MODELS]
    entries = configuration.for_model if with_defaults else configuration.models.__getitem__
    found = configuration.model_dump(**how, exclude={"models", "alerts", "receivers"})
    if names:
        found["models"] = {name: entries(name).model_dump(**how) for name in names}
    return found | configuration.model_dump(**how, include={"alerts", "receivers"})


def shown(data: Mapping[str, Any]) -> dict[str, Any]:
    """Hide what is not for everybody's eyes.

    Examples
    --------
    >>> shown({"database_url": "postgresql+psycopg://ann:hunter2@db/d?password=hunter2",
    ...        "receivers": {"a": {"url": "https://hooks.example.org/T0/B0/x?k=1", "token_env": "TOKEN"}},
    ...        "kafka": {"options": {"sasl.password": "hunter2", "client.id": "d"}}})["receivers"]
    {'a': {'url': 'https://hooks.example.org/…', 'token_env': 'TOKEN'}}
    """
    found: dict[str, Any] = {}
    for key, value in data.items():
        if is_secret_name(str(key).replace("-", "_")) and not isinstance(value, bool):
            found[key] = HIDDEN
        elif key == "database_url" and isinstance(value, str):
            found[key] = describe(read_url(value))
        else:
            found[key] = _shown(value, is_public=key in _PUBLIC)
    return found


def without_credentials(text: str) -> str:
    """Write a text without what addresses in it may hide: of each, scheme, host and port stay.

    Examples
    --------
    >>> without_credentials("see https://ann:pw@example.org:8443/a/b?token=1 there")
    'see https://example.org:8443/… there'
    """
    return _ADDRESS.sub(lambda found: _bare(found.group()), text)


def _shown(value: Any, *, is_public: bool) -> Any:
    if isinstance(value, Mapping):
        return shown(value)
    if isinstance(value, list | tuple):
        return [_shown(one, is_public=False) for one in value]
    if isinstance(value, str) and not is_public:
        return without_credentials(value)
    return value


def _bare(address: str) -> str:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{address.partition('://')[0]}://{HIDDEN}"
    named = f"[{host}]" if ":" in host else host
    more = "/…" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{named}{'' if port is None else f':{port}'}{more}"
