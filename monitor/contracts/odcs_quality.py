"""Rules of quality of the Open Data Contract Standard: counts of missing and invalid values of a column."""

from __future__ import annotations

from monitor.contracts.contract import is_finite_number
from monitor.contracts.document import Node
from monitor.contracts.draft import ColumnDraft
from monitor.contracts.patterns import PART

_AT_MOST = ("mustBe", "mustBeLessOrEqualTo", "mustBeLessThan")


def take_in(column: ColumnDraft, rule: Node) -> None:
    """Take in a rule of quality: only counts of values that are missing or not valid fit a column."""
    metric = (rule["metric"] if "metric" in rule else rule["rule"]).word()
    limit = _limit(rule)
    if metric in ("nullValues", "missingValues"):
        if limit is None:
            column.left_out(words(rule))
            return
        _missing(column, rule, limit)
    elif metric == "invalidValues" and limit is not None:
        arguments = rule["arguments"]
        if arguments["validValues"].value is not None:
            column.one_of(arguments["validValues"].value)
        if arguments["pattern"].value is not None:
            column.matching(arguments["pattern"].value, extent=PART)
        if rule["mustBe"].value is None:
            column.violating_at_most(limit)
    else:
        column.left_out(words(rule))


def _missing(column: ColumnDraft, rule: Node, limit: float | str) -> None:
    marks = [mark for mark in rule["arguments"]["missingValues"].values() if mark is not None]
    if marks:
        column.left_out(f"that {', '.join(map(repr, marks))} mean missing")
    if rule["mustBe"].value is not None:
        column.not_null()
    else:
        column.missing_at_most(limit)


def _limit(rule: Node) -> float | str | None:
    """Most rows that a rule allows, as a share or a number; None if it says nothing of the kind."""
    given = {name: rule[name].value for name in rule.entries() if name.startswith("must")}
    if len(given) != 1:
        return None
    operator, value = next(iter(given.items()))
    if operator == "mustBeBetween" and isinstance(value, list) and len(value) == 2 and value[0] == 0:
        operator, value = "mustBeLessOrEqualTo", value[1]
    if operator not in _AT_MOST or not is_finite_number(value) or value < 0:
        return None
    if operator == "mustBeLessOrEqualTo" and rule["unit"].value == "rows" and isinstance(value, int):
        return f"{value} rows"
    if value == 0 and operator != "mustBeLessThan":
        return 0.0
    if operator == "mustBe" or rule["unit"].value != "percent" or value > 100:
        return None
    return round(float(value) / 100, 12)


def words(rule: Node) -> str:
    """Write a rule in a few words, for a note."""
    metric = rule["metric"].value or rule["rule"].value or rule["type"].value or "a rule"
    said = [f"{name} {rule[name].value}" for name in rule.entries() if name.startswith("must")]
    unit = [str(rule["unit"].value)] if rule["unit"].value else []
    return " ".join(["quality", str(metric), *said, *unit])
