"""What is known of a column: its kind, what its values may be, how many may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from monitor.config.section import Finding, Section, report
from monitor.config.values import Flag, Number, Scalar, Share, Text

if TYPE_CHECKING:
    from schemas.column import Kind
    from schemas.contract import ColumnRules, Contract


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
    max_missing: Share | None = None
    """Largest share of the events of a window in which the value may be missing; default: any, or `limit` if
    the column is not nullable."""
    limit: Share = 0.0
    """Largest share of the events of a window that may break any one of the other rules."""
    severity: Literal["info", "warn", "page"] = "warn"
    """How loud it is when a rule of the column is broken."""
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
        return findings

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

    def rules(self, column: str) -> ColumnRules:
        """Build the hard rules of a column."""
        from monitor.decode.features import category_text
        from schemas.contract import ColumnRules

        values = None if self.values is None else [category_text(value) for value in self.values]
        return ColumnRules(
            column,
            self._agreed_kind(),
            self.min,
            self.max,
            None if values is None else tuple(text for text in values if text is not None),
            tuple(float(v) for v in self.values or () if isinstance(v, int | float)),
            self.pattern,
            counts_missing=not self.nullable or self.max_missing is not None,
            limit=self.limit,
            missing_limit=self.limit if self.max_missing is None else self.max_missing,
            required=self.required,
            severity=self.severity,
        )

    def _agreed_kind(self) -> Kind | None:
        """Kind that is named, or that the rules are for."""
        from schemas.column import Kind

        if self.kind is not None:
            return Kind(self.kind)
        if self.min is not None or self.max is not None:
            return Kind.NUMERIC
        return None if self.pattern is None else Kind.CATEGORICAL


def contract_of(columns: Mapping[str, ColumnContract], task: str | None) -> Contract:
    """Build the hard rules of a model.

    Parameters
    ----------
    columns : mapping of str to ColumnContract
    task : str or None
        Scores of a regression need not be probabilities.
    """
    from schemas.contract import Contract

    return Contract(
        tuple(contract.rules(name) for name, contract in columns.items()), probabilities=task != "regression"
    )
