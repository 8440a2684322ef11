"""Reads a Dockerfile: stages, instructions, variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")
_PAIR = re.compile(r'(\w[\w.]*)=("(?:[^"\\]|\\.)*"|\S+)')


@dataclass(frozen=True)
class Instruction:
    """One instruction, with continued lines joined and flags apart.

    Parameters
    ----------
    name
        In capitals: ``RUN``.
    value
        All after the name and the flags, as it stands.
    flags
        ``--from=build`` is ``{"from": "build"}``.
    """

    name: str
    value: str
    flags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_exec_form(self) -> bool:
        """Whether the value is a list, so that no shell is started."""
        return self.value.startswith("[")

    def words(self) -> list[str]:
        """Return the list of an exec form.

        Raises
        ------
        ValueError
            It is in shell form.
        """
        if not self.is_exec_form:
            msg = f"{self.name} {self.value}: not a list"
            raise ValueError(msg)
        found: list[str] = json.loads(self.value)
        return found

    def pairs(self) -> dict[str, str]:
        """Return what ``ENV`` and ``LABEL`` set."""
        return {name: value.strip('"') for name, value in _PAIR.findall(self.value)}


@dataclass(frozen=True)
class Stage:
    """What stands between a ``FROM`` and the next."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[Instruction]:
        """Return the instructions of one kind, in their order."""
        return [one for one in self.instructions if one.name == name]

    def last(self, name: str) -> Instruction:
        """Return the instruction of a kind that counts: the last."""
        return self.all(name)[-1]


@dataclass(frozen=True)
class Dockerfile:
    """A whole file.

    Parameters
    ----------
    arguments
        Defaults of the ``ARG`` before the first ``FROM``.
    stages
        In their order; the last is the image.
    """

    arguments: Mapping[str, str]
    stages: tuple[Stage, ...]


def parse(text: str) -> Dockerfile:
    """Read the text of a Dockerfile."""
    arguments: dict[str, str] = {}
    stages: list[tuple[str, str, list[Instruction]]] = []
    for one in _instructions(text):
        if one.name == "FROM":
            base, _, name = one.value.partition(" AS ")
            stages.append((base, name, []))
        elif stages:
            stages[-1][2].append(one)
        else:
            name, _, default = one.value.partition("=")
            arguments[name] = default
    return Dockerfile(arguments, tuple(Stage(base, name, tuple(all_)) for base, name, all_ in stages))


def filled_in(value: str, variables: Mapping[str, str]) -> str:
    """Put the values of variables in their places, as all instructions but ``RUN`` do."""
    return _VARIABLE.sub(lambda m: variables.get(m[1] or m[2], "") or m[3] or "", value)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    for line in joined.splitlines():
        name, _, rest = line.strip().partition(" ")
        rest, flags = rest.strip(), {}
        while match := _FLAG.match(rest):
            flags[match[1]], rest = match[2], rest[match.end() :]
        yield Instruction(name.upper(), rest, flags)
