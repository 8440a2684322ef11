"""What follows when rows break a rule of the contract: limit, severity, and what becomes of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from monitor.config.section import Section, report
from monitor.config.values import LimitValue, Name, Share, Text, Whole
from schemas.errors import UsageError
from schemas.expressions.tokens import LONGEST
from schemas.policy import Action, Brake, Policy

if TYPE_CHECKING:
    from schemas.column import Kind
    from schemas.contract import Agreement


class StopOptions(Section):
    """When a partition is stopped: before a commit of which too large a share of the rows breaks a rule."""

    share: Share = 0.5
    """Largest share of the rows of one commit, of one partition and model, that may break the rule."""
    rows: Annotated[Whole, Field(ge=1, le=100_000_000)] = 1_000
    """Fewest rows of a commit that a share is judged by."""

    def brake(self) -> Brake:
        """Build what is asked before a commit."""
        return Brake(float(self.share), self.rows)


class RuleOptions(Section):
    """What follows when rows break one rule; what is left out is as the column says."""

    limit: LimitValue | None = None
    """Most events of a window that may break the rule: a share (`0.01`, `1 %`) or a number (`5 rows`)."""
    severity: Literal["info", "warn", "page"] | None = None
    """How loud it is when the rule is broken."""
    action: Literal["count", "quarantine", "stop"] = "count"
    """What becomes of an event that breaks the rule: it is counted like any other; it goes to the dead
    letters; or it is counted, and too many of them stop their partition."""
    stop: StopOptions | None = None
    """When the partition is stopped, with `action: stop` (share 0.5 of at least 1000 rows if left out) or
    beside `action: quarantine` (never if left out)."""

    @model_validator(mode="after")
    def _check_action(self) -> RuleOptions:
        if self.stop is not None and self.action == "count":
            report([(("stop",), "needs an action (use action: stop or action: quarantine)")])
        return self

    @property
    def acts(self) -> bool:
        """Whether anything is done besides counting."""
        return self.action != "count"

    def policy(self, inherited: Policy) -> Policy:
        """Build what follows, from what holds where nothing is said."""
        stop = StopOptions() if self.action == "stop" and self.stop is None else self.stop
        return replace(
            inherited,
            limit=inherited.limit if self.limit is None else self.limit,
            severity=inherited.severity if self.severity is None else self.severity,
            action=Action.QUARANTINE if self.action == "quarantine" else Action.COUNT,
            brake=None if stop is None else stop.brake(),
        )


class CrossRule(RuleOptions):
    """A condition about several columns of an event; ``docs/quality.md`` has the language."""

    expression: Annotated[Text, Field(max_length=LONGEST)]
    """What has to hold, such as `dep_delay <= arr_delay + 120 or cancelled == 1`. Events of which it is not
    known, because a value is missing, are not held against it."""
    show: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    """Columns whose values are shown with examples; those of the expression if left out."""

    @model_validator(mode="after")
    def _check_expression(self) -> CrossRule:
        report([(("expression",), problem) for problem in self.problems({})])
        return self

    def problems(self, kinds: Mapping[str, Kind]) -> list[str]:
        """Find out whether the expression can be read, and suits columns of known kinds."""
        from schemas.expressions.checking import check_types
        from schemas.expressions.parsing import parse

        try:
            check_types(parse(self.expression), kinds)
        except UsageError as error:
            return [str(error)]
        return []

    def agreement(self, name: str, kinds: Mapping[str, Kind]) -> Agreement:
        """Build the rule."""
        from schemas.contract import Agreement
        from schemas.expressions.expression import Expression

        return Agreement(name, Expression(self.expression, kinds), self.policy(Policy()), self.show)
