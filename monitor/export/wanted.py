"""What is to be exported."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement


@dataclass(frozen=True)
class Wanted:
    """Rows of a model whose windows start in ``[from_ms, to_ms)``; None: no limit, or all versions."""

    model: str
    version: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def within(self, at_ms: Column[int]) -> list[ColumnElement[bool]]:
        """Conditions on an instant."""
        found: list[ColumnElement[bool]] = []
        if self.from_ms is not None:
            found.append(at_ms >= self.from_ms)
        if self.to_ms is not None:
            found.append(at_ms < self.to_ms)
        return found
