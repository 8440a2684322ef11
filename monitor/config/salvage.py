"""Checks between parts even when single values are wrong, so that one run reports all problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from monitor.config.alerts import DigestOptions, Route
from monitor.config.crosschecks import problems_across
from monitor.config.keep import Keep
from monitor.config.problem import Path
from monitor.config.section import Finding
from monitor.config.service import Http, Stream, Topics
from monitor.config.settings import ModelSettings

Part = TypeVar("Part", bound=BaseModel)


def findings_across(data: dict[str, Any], found: Sequence[Finding]) -> list[Finding]:
    """Check how the sound parts of a faulty file fit together.

    Parameters
    ----------
    data : dict
        The file's data.
    found : sequence of (path, message)
        What is wrong already; those options are left out, and nothing further is said of them.

    Returns
    -------
    list of (path, message)
        Only what is not in `found`.
    """
    broken = [path for path, _ in found]
    defaults = _settings(data.get("defaults"), ("defaults",), broken)
    if defaults is None:
        return []
    entries = _mapping(data.get("models"))
    models = {name: _settings(entry, ("models", name), broken) for name, entry in entries.items()}
    across = problems_across(
        defaults=defaults,
        models={name: entry for name, entry in models.items() if entry is not None},
        streams=_items(Stream, data.get("streams")),
        topics=_part(Topics, data.get("topics")) or Topics(),
        routes=_items(Route, _mapping(data.get("alerts")).get("routes")),
        digest=_part(DigestOptions, _mapping(data.get("alerts")).get("digest")) or DigestOptions(),
        receivers=list(_mapping(data.get("receivers"))),
        urls=[name for name in ("database_url", "database_url_env", "database_url_file") if data.get(name)],
        http=_part(Http, data.get("http")) or Http(),
        keep=_part(Keep, data.get("keep")) or Keep(),
    )
    return [finding for finding in across if not _known(finding[0], broken) and finding not in found]


def _settings(data: Any, place: Path, broken: Sequence[Path]) -> ModelSettings | None:
    """Read settings without the options that are wrong."""
    faulty = {path[len(place)] for path in broken if len(path) > len(place) and path[: len(place)] == place}
    return _part(ModelSettings, {key: value for key, value in _mapping(data).items() if key not in faulty})


def _part(model: type[Part], data: Any) -> Part | None:
    try:
        return model.model_validate(_mapping(data))
    except ValidationError:
        return None  # reported already: this is a second look at data that did not validate


def _items(model: type[Part], data: Any) -> dict[int, Part]:
    parts = [_part(model, item) for item in data] if isinstance(data, list) else []
    return {index: part for index, part in enumerate(parts) if part is not None}


def _mapping(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _known(path: Path, broken: Sequence[Path]) -> bool:
    """Whether the option that a path belongs to, or something in it, is known to be wrong."""
    return any(path[: len(other)] == other[: len(path)] for other in broken)
