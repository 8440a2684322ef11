"""Reads a YAML file into plain data, keeps the line of every key and item, and reports what is not plain."""

from __future__ import annotations

import contextlib
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from monitor.config.problem import Path, Positions, Problem, shorten, show

_PREFIX = "tag:yaml.org,2002:"
_MERGE = f"{_PREFIX}merge"
_MOST_VALUES = 200_000


def read(file: str) -> tuple[Any, Positions, list[Problem]]:
    """Read a YAML file.

    Parameters
    ----------
    file : str
        Path of the file; messages repeat it as given.

    Returns
    -------
    data : Any
        Dictionaries, lists and scalars; timestamps stay text. None if the file could not be read as YAML.
    positions : Positions
        Line of every key and item.
    problems : list of Problem
        Unreadable file, not UTF-8, syntax errors, duplicate keys, keys that are not text, YAML tags, cycles.
    """
    try:
        content = FilePath(file).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return None, Positions(file, {}), [Problem(file, 0, (), f"cannot be read: {reason}")]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return (
            None,
            Positions(file, {}),
            [Problem(file, line, (), "is not UTF-8 text (save the file as UTF-8)")],
        )
    return read_text(text, file)


def read_text(text: str, file: str = "driftline.yaml") -> tuple[Any, Positions, list[Problem]]:
    """Read YAML that is already in memory; see `read`."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        conversion = _Conversion(yaml, file)
        data = conversion.value_of(root, ()) if root is not None else None
    except (YAMLError, RecursionError) as error:
        return None, Positions(file, {}), [_syntax_problem(error, text, file)]
    if root is None:
        problem = Problem(
            file, 1, (), "is empty (a configuration needs at least kafka, database_url and streams)"
        )
        return None, conversion.positions, [problem]
    return data, conversion.positions, conversion.problems


def _syntax_problem(error: Exception, text: str, file: str) -> Problem:
    if isinstance(error, RecursionError):
        return Problem(file, 1, (), "is nested too deeply")
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(
            file, line, (), f"is not YAML: character {show(chr(error.character))} is not allowed here"
        )
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = error.problem if isinstance(error, MarkedYAMLError) and error.problem else "it cannot be parsed"
    column = f" (column {mark.column + 1})" if mark else ""
    return Problem(file, mark.line + 1 if mark else 1, (), f"is not YAML: {shorten(reason)}{column}")


class _Conversion:
    """Turns composed nodes into plain data and notes where everything stands."""

    def __init__(self, yaml: Any, file: str) -> None:
        self.problems: list[Problem] = []
        self._lines: dict[Path, int] = {}
        self.positions = Positions(file, self._lines)
        self._file = file
        self._constructor = yaml.constructor
        self._open: set[int] = set()
        self._values = 0

    def value_of(self, node: Node, path: Path) -> Any:
        """Convert one node; what cannot be converted becomes None and a problem."""
        self._lines.setdefault(path, node.start_mark.line + 1)
        self._values += 1
        if id(node) in self._open or self._values > _MOST_VALUES:
            return self._refuse(
                node, path, "refers to itself" if id(node) in self._open else "holds too many values"
            )
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                return self._list(node, path)
            return self._scalar(node, path) if isinstance(node, ScalarNode) else None
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> Any:
        if node.tag != f"{_PREFIX}map":
            return self._refuse(
                node, path, f"has the YAML tag {show(str(node.tag))}, which has no meaning here"
            )
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                self._merge(merged, value_node, path)
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in result:
                first = self._lines[(*path, key)]
                self._report(key_node, (*path, key), f"is given twice (first on line {first})")
                continue
            self._lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.value_of(value_node, (*path, key))
        return {**merged, **result}

    def _merge(self, merged: dict[str, Any], node: Node, path: Path) -> None:
        """Take over the keys of ``<<: *anchor``; explicit keys win, and of several anchors the first."""
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            value = self.value_of(source, path)
            if isinstance(value, dict):
                for key, item in value.items():
                    merged.setdefault(key, item)
            else:
                self._report(node, (*path, "<<"), "must name a mapping (<<: *anchor)")

    def _key(self, node: Node, path: Path) -> str | None:
        if isinstance(node, ScalarNode) and node.tag == f"{_PREFIX}str":
            return str(node.value)
        if isinstance(node, ScalarNode):
            advice = f'key {show(node.value)} is not text (write "{shorten(node.value)}" in quotes)'
            self._report(node, path, advice)
        else:
            self._report(node, path, "a key must be text, not a list or a mapping")
        return None

    def _list(self, node: SequenceNode, path: Path) -> Any:
        if node.tag != f"{_PREFIX}seq":
            return self._refuse(
                node, path, f"has the YAML tag {show(str(node.tag))}, which has no meaning here"
            )
        return [self.value_of(item, (*path, index)) for index, item in enumerate(node.value)]

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        kind = str(node.tag).removeprefix(_PREFIX)
        if kind in ("str", "timestamp", "value"):
            return str(node.value)
        if kind in ("int", "float", "bool", "null"):
            with contextlib.suppress(ValueError, OverflowError):
                return getattr(self._constructor, f"construct_yaml_{kind}")(node)
            return self._refuse(node, path, f"{show(node.value, path)} is not a number that can be used")
        return self._refuse(node, path, f"has the YAML tag {show(str(node.tag))}, which has no meaning here")

    def _refuse(self, node: Node, path: Path, message: str) -> Any:
        """Report a value and stand in None for it."""
        self._report(node, path, message)

    def _report(self, node: Node, path: Path, message: str) -> None:
        self.problems.append(Problem(self._file, node.start_mark.line + 1, path, message))
