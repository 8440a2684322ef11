"""Options that have a new name: the old one still works for a while, with a warning.

To rename an option, rename it in the code and add one line to `RENAMED`. In the version that the line names
as `until`, take the line out: the old name is then an unknown key.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.config.problem import Path, Positions, Problem, write_path

JsonSchema = dict[str, Any]
Pattern = tuple[str, ...]
ANY = "*"


@dataclass(frozen=True)
class Renamed:
    """An option that was called something else before.

    Parameters
    ----------
    old, new : str
        Places in the file, with dots between keys; ``*`` stands for any key or list position, and in both
        places for the same: ``models.*.window_size``.
    since, until : str
        Version that renamed it, and version in which the old name stops working.

    Raises
    ------
    ValueError
        If the places do not fit to each other.
    """

    old: str
    new: str
    since: str
    until: str

    def __post_init__(self) -> None:
        old, new = self.old.split("."), self.new.split(".")
        if old == new or ANY in (old[-1], new[-1]) or old.count(ANY) != new.count(ANY):
            msg = f"{self.old} cannot become {self.new} (two places, with a * for each key that both share)"
            raise ValueError(msg)


RENAMED: tuple[Renamed, ...] = ()
"""Options whose old names still work."""


def take_over(
    data: dict[str, Any], positions: Positions, renamed: Iterable[Renamed] = RENAMED
) -> tuple[list[Problem], list[Problem]]:
    """Give what stands under old names their new names, in place.

    Parameters
    ----------
    data : dict
        The file's data.
    positions : Positions
        Learns that the new names stand where the old ones do.
    renamed : iterable of Renamed

    Returns
    -------
    problems : list of Problem
        Options that are given under both names.
    warnings : list of Problem
        Options that are given under their old name alone.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for one in renamed:
        for old, keys in list(_places(data, tuple(one.old.split(".")))):
            new = _filled(one.new, keys)
            if _is_given(data, new):
                message = f"is now called {write_path(new)}, which is given too (delete this one)"
                problems.append(positions.problem(old, message))
                _take(data, old)
            elif _can_hold(data, new):
                warnings.append(positions.problem(old, _advice(one, write_path(new))))
                _put(data, new, _take(data, old))
                positions.move(old, new)
    return problems, warnings


def with_old_names(schema: JsonSchema, renamed: Sequence[Renamed] = RENAMED) -> JsonSchema:
    """Add the old names to the JSON Schema, as deprecated options; returns a schema of its own.

    Notes
    -----
    An option that is required may be given under its old name as well, so that its section does not ask for
    it any more; ``driftline check`` does.
    """
    whole = copy.deepcopy(schema)
    for one in renamed:
        *old_parents, old = one.old.split(".")
        *new_parents, new = one.new.split(".")
        target = _section(whole, new_parents)
        option = {
            **target["properties"][new],
            "deprecated": True,
            "description": f"This {_advice(one, one.new)}.",
        }
        _section(whole, old_parents)["properties"].setdefault(old, option)
        if new in target.get("required", []):
            target["required"].remove(new)
    return whole


def _advice(one: Renamed, new: str) -> str:
    return f"is now called {new} (still works until version {one.until})"


def _places(node: Any, pattern: Pattern, path: Path = (), keys: Path = ()) -> Iterator[tuple[Path, Path]]:
    """Find where a pattern is met: the place, and what its stars stand for."""
    if not pattern:
        yield path, keys
        return
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        if pattern[0] == ANY:
            yield from _places(value, pattern[1:], (*path, key), (*keys, key))
        elif pattern[0] == key:
            yield from _places(value, pattern[1:], (*path, key), keys)


def _filled(pattern: str, keys: Path) -> Path:
    stars = iter(keys)
    return tuple(next(stars) if key == ANY else key for key in pattern.split("."))


def _is_given(data: Any, path: Path) -> bool:
    for key in path:
        there = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
        if key not in there:
            return False
        data = data[key]
    return True


def _can_hold(data: Any, path: Path) -> bool:
    """Whether all that there is on the way to a place are sections; else the file is wrong anyway."""
    for length in range(1, len(path)):
        if _is_given(data, path[:length]) and not isinstance(_at(data, path[:length]), dict | list | None):
            return False
    return True


def _at(data: Any, path: Path) -> Any:
    for key in path:
        data = data[key]
    return data


def _take(data: Any, path: Path) -> Any:
    return _at(data, path[:-1]).pop(path[-1])


def _put(data: Any, path: Path, value: Any) -> None:
    for key in path[:-1]:
        if isinstance(data, dict) and data.get(key) is None:
            data[key] = {}
        data = data[key]
    data[path[-1]] = value


def _section(whole: JsonSchema, path: Sequence[str]) -> JsonSchema:
    node = whole
    for key in path:
        of_any: JsonSchema = node.get("additionalProperties") or node.get("items") or {}
        node = _resolved(whole, of_any if key == ANY else node["properties"][key])
    return node


def _resolved(whole: JsonSchema, node: JsonSchema) -> JsonSchema:
    while "$ref" in node:
        node = whole["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return node
