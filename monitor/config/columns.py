"""What is known of a column: its kind, what its values may be, how many may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from monitor.config.rules import CrossRule, RuleOptions
from monitor.config.section import Finding, Section, report
from monitor.config.values import DurationMs, Flag, LimitValue, Number, Scalar, Text, duration_between
from schemas.policy import Limit, Policy

if TYPE_CHECKING:
    from schemas.column import Kind
    from schemas.contract import ColumnRules, Contract


RuleName = Literal[
    "type", "missing", "required", "range", "allowed", "pattern", "probability", "fresh", "unique"
]
_ONLY_COUNTED = ("required", "unique")
"""Rules about windows, not about rows."""


class ColumnContract(Section):
    """What is known of a column; all of it may be left out and is then inferred or not checked.

    Values that break these rules are counted, and more of them than are allowed open an incident; see
    ``docs/quality.md``.
    """

    kind: Literal["numeric", "categorical"] | None = None
    """Whether values are numbers or names; inferred if left out."""
    min: Number | None = None
    """Smallest valid number."""
    max: Number | None = None
    """Largest valid number."""
    values: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=10_000)] | None = None
    """Valid values of a categorical column."""
    pattern: Annotated[Text, Field(max_length=1_000)] | None = None
    """Regular expression (RE2) that values of a categorical column have to match as a whole."""
    nullable: Flag = True
    """Whether the value may be missing."""
    required: Flag = True
    """Whether some event of every window has to carry the column."""
    unique: Flag = False
    """Whether no value may come twice in a window. Repeats are counted exactly up to 4,096 different values;
    of more they are seen by an estimate, where more than about 3.3 % of the values are repeats."""
    freshness: Annotated[DurationMs, duration_between("1s", "3650d")] | None = None
    """How old a value may be at the time of its event, where values are instants: RFC 3339, or epoch seconds
    or milliseconds."""
    max_missing: LimitValue | None = None
    """Most events of a window in which the value may be missing, as `limit`; default: any, or `limit` if the
    column is not nullable."""
    limit: LimitValue = Field(default=Limit(), json_schema_extra={"default": 0.0})
    """Most events of a window that may break any one of the other rules: a share (`0.01`, `1 %`) or a number
    (`5 rows`)."""
    severity: Literal["info", "warn", "page"] = "warn"
    """How loud it is when a rule of the column is broken."""
    rules: dict[RuleName, RuleOptions] = Field(default={})
    """Limit and severity of single rules, and what becomes of the events that break them."""
    personal: Flag = False
    """Whether values must not be shown: they are no part of examples, of reasons of dead letters and of
    messages."""
    tolerance_psi: Annotated[Number, Field(ge=0, le=10)] | None = None
    """Population stability index of this column that is not worth anybody's time; default: the model's."""

    @model_validator(mode="after")
    def _check_together(self) -> ColumnContract:
        report(self.contradictions())
        return self

    def contradictions(self) -> list[Finding]:
        """Find what cannot hold together, here or after merging with ``defaults``."""
        findings: list[Finding] = []
        if self.min is not None and self.max is not None and self.min > self.max:
            findings.append((("max",), f"{self.max:g} is less than min, {self.min:g} (use max ≥ min)"))
        numeric_only = [name for name in ("min", "max") if getattr(self, name) is not None]
        if numeric_only and self.kind == "categorical":
            findings += [
                ((name,), "is for numeric columns (delete it, or use kind: numeric)") for name in numeric_only
            ]
        findings += self._pattern_findings(bool(numeric_only))
        if self.values is not None and (self.kind == "numeric" or (numeric_only and self.kind is None)):
            findings.append((("values",), "is for categorical columns (delete it, or use kind: categorical)"))
        if self.values is not None and len(set(map(repr, self.values))) < len(self.values):
            findings.append((("values",), "holds a value twice"))
        for name in _ONLY_COUNTED:
            if name in self.rules and self.rules[name].acts:
                findings.append((("rules", name), "is about windows: it has no action and no stop"))
        return findings

    def idle_rules(self) -> list[Finding]:
        """Find rules with settings of their own that the column, with all its options, does not have."""
        needed = {
            "range": (self.min is None and self.max is None, "min or max"),
            "allowed": (self.values is None, "values"),
            "pattern": (self.pattern is None, "pattern"),
            "missing": (self.nullable and self.max_missing is None, "nullable: false or max_missing"),
            "required": (not self.required, "required: true"),
            "fresh": (self.freshness is None, "freshness"),
            "unique": (not self.unique, "unique: true"),
            "type": (self.agreed_kind() is None and self.values is None, "kind"),
        }
        return [
            (("rules", name), f"the column has no such rule (give {needed[name][1]})")
            for name in self.rules
            if needed.get(name, (False, ""))[0]
        ]

    def _pattern_findings(self, has_bounds: bool) -> list[Finding]:
        if self.pattern is None:
            return []
        from schemas.checks.pattern import problem_of  # loads Arrow, which most files do not need

        if self.kind == "numeric" or (has_bounds and self.kind is None):
            return [(("pattern",), "is for categorical columns (delete it, or use kind: categorical)")]
        problem = problem_of(self.pattern)
        if problem is None:
            return []
        return [(("pattern",), f"is not a regular expression of RE2: {problem} (use one such as N[0-9]+)")]

    def hard_rules(self, column: str) -> ColumnRules:
        """Build the hard rules of a column."""
        from monitor.decode.features import category_text
        from schemas.contract import ColumnRules

        values = None if self.values is None else [category_text(value) for value in self.values]
        return ColumnRules(
            column,
            self.agreed_kind(),
            self.min,
            self.max,
            None if values is None else tuple(text for text in values if text is not None),
            tuple(float(v) for v in self.values or () if isinstance(v, int | float)),
            self.pattern,
            counts_missing=not self.nullable or self.max_missing is not None,
            required=self.required,
            is_unique=self.unique,
            freshness_ms=self.freshness,
            is_personal=self.personal,
            policy=Policy(self.limit, self.severity),
            policies=self._policies(),
        )

    def _policies(self) -> dict[str, Policy]:
        """What follows of single rules, where it is not what the column says."""
        policy = Policy(self.limit, self.severity)
        found: dict[str, Policy] = {}
        if self.max_missing is not None:
            found["missing"] = replace(policy, limit=self.max_missing)
        for name, options in self.rules.items():
            found[name] = options.policy(found.get(name, policy))
        return found

    def agreed_kind(self) -> Kind | None:
        """Kind that is named, or that the rules are for."""
        from schemas.column import Kind

        if self.kind is not None:
            return Kind(self.kind)
        if self.min is not None or self.max is not None:
            return Kind.NUMERIC
        return None if self.pattern is None else Kind.CATEGORICAL


def kinds_of(columns: Mapping[str, ColumnContract]) -> dict[str, Kind]:
    """Kinds of columns, as far as their options say."""
    found = {name: column.agreed_kind() for name, column in columns.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def contract_of(
    columns: Mapping[str, ColumnContract],
    task: str | None,
    *,
    rules: Mapping[str, CrossRule] | None = None,
    examples: int = 5,
) -> Contract:
    """Build the hard rules of a model.

    Parameters
    ----------
    columns : mapping of str to ColumnContract
    task : str or None
        Scores of a regression need not be probabilities.
    rules : mapping of str to CrossRule, optional
        Conditions about several columns.
    examples : int
        Most events that are kept as examples of a broken rule.
    """
    from schemas.contract import Contract

    return Contract(
        tuple(contract.hard_rules(name) for name, contract in columns.items()),
        probabilities=task != "regression",
        agreements=tuple(rule.agreement(name, kinds_of(columns)) for name, rule in (rules or {}).items()),
        examples=examples,
    )
