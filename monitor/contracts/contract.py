"""What is agreed on the columns of a model, and the task that it is for."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from monitor.config.columns import ColumnContract
from monitor.config.settings import TASKS
from schemas.errors import UsageError
from schemas.policy import read_limit, write_limit

Options = Mapping[str, Any]
"""Options of a column, as they stand in ``driftline.yaml``."""

NUMERIC, CATEGORICAL = "numeric", "categorical"
DEFAULTS: Options = {
    "nullable": True, "required": True, "limit": 0.0, "severity": "warn", "rules": {}, "personal": False,
    "unique": False,
}  # fmt: skip
"""What holds where a column does not say it."""
SHARES = ("max_missing", "limit")
OPTIONS = (
    "kind", "min", "max", "values", "pattern", "nullable", "required", "unique", "freshness",
    "max_missing", "limit", "severity", "rules", "personal", "tolerance_psi",
)  # fmt: skip
MOST_VALUES = 10_000
_LARGEST, _EXACT = 10**300, 2**53
_DIGITS = 12  # of a share: all that survive being written in percent and read back


@dataclass(frozen=True)
class Contract:
    """What is agreed on the columns of a model.

    Parameters
    ----------
    columns : mapping of str to mapping
        Options of each column. What only repeats a default is dropped; a column with a range is numeric, one
        with values or a pattern categorical.
    task : str, optional
        What the model does.
    positive_label : scalar, optional
        Label of the positive class.
    segments : tuple of str
        Columns by whose values the model is watched in parts.
    rules : mapping of str to mapping
        Options of each condition about several columns.
    freshness : str, optional
        How long the model may be without events, such as ``2h``.
    model : str, optional
        Name of the model; not compared.
    version : str, optional
        What the author calls this state of the contract; not compared.
    notes : tuple of str
        What a document says that no option can say, each ``left out: …``; not compared.

    Examples
    --------
    >>> contract = Contract({"temp": {"min": -40, "required": True}})
    >>> contract.columns
    {'temp': {'kind': 'numeric', 'min': -40}}
    >>> contract == Contract({"temp": {"kind": "numeric", "min": -40.0}}, model="flights")
    True
    """

    columns: Mapping[str, Options]
    task: str | None = None
    positive_label: Any = None
    segments: tuple[str, ...] = ()
    rules: Mapping[str, Options] = field(default_factory=dict)
    freshness: str | None = None
    model: str | None = field(default=None, compare=False)
    version: str | None = field(default=None, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            msg = f"task: {self.task!r} is no task (use {', '.join(TASKS)})"
            raise UsageError(msg)
        tidy = {name: tidied(options) for name, options in self.columns.items()}
        object.__setattr__(self, "columns", tidy)
        object.__setattr__(self, "segments", tuple(self.segments))
        object.__setattr__(self, "rules", {name: _rule(said) for name, said in self.rules.items()})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is agreed: 64 hexadecimal digits, equal exactly for equal contracts."""
        said = {
            "columns": {name: _canonical(options) for name, options in self.columns.items()},
            "task": self.task,
            "positive_label": _plain_number(self.positive_label),
            "segments": self.segments,
            **({"rules": self.rules} if self.rules else {}),
            **({"freshness": self.freshness} if self.freshness else {}),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def as_settings(self) -> dict[str, Any]:
        """What stands under the model's name in ``driftline.yaml``."""
        said: dict[str, Any] = {}
        if self.task is not None:
            said["task"] = self.task
        if self.positive_label is not None:
            said["positive_label"] = self.positive_label
        if self.segments:
            said["segments"] = list(self.segments)
        if self.freshness is not None:
            said["freshness"] = self.freshness
        if self.rules:
            said["rules"] = {name: dict(options) for name, options in self.rules.items()}
        said["columns"] = {name: dict(options) for name, options in self.columns.items()}
        return said


def tidied(options: Options) -> dict[str, Any]:
    """Options in their usual order, without those that say nothing, and with the kind that they imply.

    Examples
    --------
    >>> tidied({"values": ("a", "b"), "required": False, "nullable": True, "max": None})
    {'kind': 'categorical', 'values': ['a', 'b'], 'required': False}
    """
    said = {name: value for name, value in options.items() if value is not None}
    said |= {name: _limit(said[name]) for name in SHARES if name in said}
    if "rules" in said:
        said["rules"] = {name: _rule(rule) for name, rule in said["rules"].items() if _rule(rule)}
    for name, default in DEFAULTS.items():
        if name in said and said[name] == default:
            del said[name]
    if "min" in said or "max" in said:
        said.setdefault("kind", NUMERIC)
    if "values" in said or "pattern" in said:
        said.setdefault("kind", CATEGORICAL)
    if "values" in said:
        said["values"] = list(said["values"])
    said |= {name: _plain_number(said[name]) for name in ("min", "max") if name in said}
    known = {name: said[name] for name in OPTIONS if name in said}
    return known | {name: value for name, value in said.items() if name not in known}


def _rule(rule: Options) -> dict[str, Any]:
    """Settings of a rule, without those that say nothing."""
    said = {name: value for name, value in rule.items() if value is not None}
    if "limit" in said:
        said["limit"] = _limit(said["limit"])
    if said.get("action") == "count":
        del said["action"]
    if not said.get("show", True):
        del said["show"]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def _limit(value: Any) -> Any:
    """Write equal limits alike: a share as a number, or a number of rows."""
    try:
        limit = read_limit(value)
    except ValueError:
        return value  # what is wrong with it is said where the options are checked
    return round(limit.share, _DIGITS) if limit.rows is None else write_limit(limit)


def problem_of(options: Options) -> str | None:
    """What is wrong with the options of a column, as far as the configuration knows them; None if nothing.

    Examples
    --------
    >>> problem_of({"kind": "numeric", "min": 3, "max": 2})
    '3 is greater than 2 (use max ≥ min)'
    >>> problem_of({"kind": "numeric", "min": 1, "max": 2}) is None
    True
    """
    low, high = options.get("min"), options.get("max")
    if low is not None and high is not None and low > high:
        return f"{low:g} is greater than {high:g} (use max ≥ min)"
    known = {name: value for name, value in options.items() if name in ColumnContract.model_fields}
    try:
        ColumnContract.model_validate(known)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return None


def known_to_configuration(option: str) -> bool:
    """Whether the configuration of this release has an option for columns."""
    return option in ColumnContract.model_fields


def is_finite_number(value: Any) -> bool:
    """Whether a value is a number that can be a bound; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) <= _LARGEST


def _canonical(options: Options) -> dict[str, Any]:
    said = {name: _plain_number(value) for name, value in options.items()}
    if "values" in said:
        said["values"] = [_plain_number(value) for value in said["values"]]
    return said


def _plain_number(value: Any) -> Any:
    """Write equal numbers alike: 1.0 as 1."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return int(value) if is_whole else value
