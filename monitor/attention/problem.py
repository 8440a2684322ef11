"""Something that is wrong: how bad it is, what it means, what to do next, where the runbook says more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from monitor.config import Configuration
from monitor.judging.standing import ModelStanding
from monitor.store.positions import Place
from schemas.duration import UNITS_MS, format_duration

Severity = Literal["page", "warn", "info"]
SEVERITIES: tuple[Severity, ...] = ("page", "warn", "info")
RUNBOOK = "docs/operations.md"


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Parameters
    ----------
    name : str
        That of the rule for Prometheus which says the same, where there is one.
    severity : str
        ``page`` (somebody has to act now), ``warn`` (today) or ``info``.
    what : str
        One sentence without a full stop.
    do : str
        What to do next, with the command where one helps.
    """

    name: str
    severity: Severity
    what: str
    do: str

    @property
    def runbook(self) -> str:
        """Where more is said."""
        return f"{RUNBOOK}#{self.name.lower()}"

    def as_dict(self) -> dict[str, str]:
        """Fields for JSON."""
        return {
            "name": self.name,
            "severity": self.severity,
            "what": self.what,
            "do": self.do,
            "runbook": self.runbook,
        }


@dataclass(frozen=True)
class Facts:
    """What problems are found in.

    Parameters
    ----------
    connection : Connection
        Inside a transaction that reads.
    configuration : Configuration
    now_ms : int
        Wall clock.
    partitions : list of rows
        Of ``partition_state``.
    ends : mapping of Place to int, or None
        Offset after the last message of each partition; None if Kafka was not asked, or did not answer.
    models : list of ModelStanding
    marks : mapping of str to int
        Watermark of each model.
    """

    connection: Connection
    configuration: Configuration
    now_ms: int
    partitions: list[Any]
    ends: Mapping[Place, int] | None
    models: list[ModelStanding]
    marks: Mapping[str, int]


def worst_first(problems: Iterable[Problem]) -> list[Problem]:
    """Sort by severity; those that are equally bad stay in their order."""
    return sorted(problems, key=lambda one: SEVERITIES.index(one.severity))


def counted(number: int, one: str, several: str) -> str:
    """Write a number of things.

    Examples
    --------
    >>> counted(1, "alert is", "alerts are"), counted(1_200, "alert is", "alerts are")
    ('1 alert is', '1200 alerts are')
    """
    return f"{number} {one if number == 1 else several}"


def lasting(span_ms: int) -> str:
    """Write how long something has lasted, no more exactly than a person wants it.

    Examples
    --------
    >>> lasting(93_784_000), lasting(61_500), lasting(20)
    ('1d2h', '1m1s', '0s')
    """
    for unit, finest in (("w", "d"), ("d", "h"), ("h", "m")):
        if span_ms >= UNITS_MS[unit]:
            return format_duration(span_ms // UNITS_MS[finest] * UNITS_MS[finest])
    return format_duration(span_ms // 1_000 * 1_000)


def named(names: Iterable[str], most: int = 3) -> str:
    """List a few names, and how many more there are.

    Examples
    --------
    >>> named(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
