"""What is known of a column: its kind, what its values may be, how many may be missing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from monitor.config.section import Finding, Section, report
from monitor.config.values import Flag, Number, Scalar, Share


class ColumnContract(Section):
    """What is known of a column; all of it may be left out and is then inferred or not checked."""

    kind: Literal["numeric", "categorical"] | None = None
    """Whether values are numbers or names; inferred if left out."""
    min: Number | None = None
    """Smallest valid number."""
    max: Number | None = None
    """Largest valid number."""
    values: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=10_000)] | None = None
    """Valid values of a categorical column."""
    required: Flag = True
    """Whether every event has to carry the column."""
    max_missing: Share | None = None
    """Largest share of events in which the value may be missing."""
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
        if self.values is not None and (self.kind == "numeric" or (numeric_only and self.kind is None)):
            findings.append((("values",), "is for categorical columns (delete it, or use kind: categorical)"))
        if self.values is not None and len(set(map(repr, self.values))) < len(self.values):
            findings.append((("values",), "holds a value twice"))
        return findings
