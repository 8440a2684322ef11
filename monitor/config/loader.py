"""From a file to a `Configuration`, or to everything that is wrong with the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from monitor.config.configuration import Configuration
from monitor.config.deprecated import RENAMED, Renamed, take_over
from monitor.config.messages import findings_of
from monitor.config.problem import Path, Positions, Problem
from monitor.config.reader import read, read_text
from monitor.config.salvage import findings_across
from monitor.config.schema import kinds, schema_at
from monitor.config.section import Finding
from schemas.errors import ConfigurationError


def load(path: str) -> Configuration:
    """Read and check a configuration file.

    Parameters
    ----------
    path : str
        Path of the YAML file; messages repeat it as given.

    Returns
    -------
    Configuration
        Complete and free of contradictions. Secrets are not looked up: see `Configuration.secrets_missing`.

    Raises
    ------
    ConfigurationError
        With every problem, one a line, each ``file:line: path: what is wrong (what is allowed)``.
    """
    configuration, problems = examine(path)
    if configuration is None:
        raise ConfigurationError([str(problem) for problem in problems])
    return configuration


def examine(path: str, renamed: Sequence[Renamed] = RENAMED) -> tuple[Configuration | None, list[Problem]]:
    """Read and check a configuration file without raising.

    Parameters
    ----------
    path : str
        Path of the YAML file; messages repeat it as given.
    renamed : sequence of Renamed
        Options whose old names work too; `Configuration.old_names` tells which the file uses.

    Returns
    -------
    configuration : Configuration or None
        None if there are problems.
    problems : list of Problem
        In the order of the file.
    """
    return _check(*read(str(path)), renamed)


def examine_text(
    text: str, file: str = "driftline.yaml", renamed: Sequence[Renamed] = RENAMED
) -> tuple[Configuration | None, list[Problem]]:
    """Check a configuration that is already in memory; see `examine`."""
    return _check(*read_text(text, file), renamed)


def _check(
    data: Any, positions: Positions, problems: list[Problem], renamed: Sequence[Renamed]
) -> tuple[Configuration | None, list[Problem]]:
    if data is None:
        return None, problems or [Problem(positions.file, 1, (), "is empty")]
    if not isinstance(data, dict):
        return None, [*problems, Problem(positions.file, 1, (), "must be a mapping (key: value) at the top")]
    twice, warnings = take_over(data, positions, renamed)
    problems = [*problems, *twice]
    reported = {problem.path for problem in problems}
    blanks = [path for path in _fill_blanks(data, (), data) if path not in reported]
    findings: list[Finding] = [(path, "has no value (give one, or delete the key)") for path in blanks]
    configuration, found = _validate(data)
    silent = [*blanks, *reported]
    findings += [finding for finding in found if not _lies_in(finding[0], silent)]
    every = _in_order([*problems, *(positions.problem(path, message) for path, message in findings)])
    if every or configuration is None:
        return None, every
    return configuration.located(positions, warnings), []


def _validate(data: dict[str, Any]) -> tuple[Configuration | None, list[Finding]]:
    try:
        return Configuration.model_validate(data), []
    except ValidationError as error:
        found = list(findings_of(error, data))
        return None, [*found, *findings_across(data, found)]


def _fill_blanks(node: Any, path: Path, data: Any) -> Iterator[Path]:
    """Put an empty mapping or list where one was left blank; yield where a single value is missing."""
    items: Iterable[tuple[str | int, Any]]
    items = (
        list(node.items())
        if isinstance(node, dict)
        else list(enumerate(node))
        if isinstance(node, list)
        else []
    )
    for key, value in items:
        place = (*path, key)
        if value is not None:
            yield from _fill_blanks(value, place, data)
            continue
        allowed = kinds(schema_at(place, data))
        if allowed & {"object", "array"}:
            node[key] = {} if "object" in allowed else []
        else:
            yield place


def _lies_in(path: Path, others: list[Path]) -> bool:
    """Whether a place is one of the others or lies in one."""
    return any(path[: len(other)] == other for other in others)


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Sort by line, drop repetitions."""
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
