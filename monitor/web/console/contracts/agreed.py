"""What is agreed on the columns of a model, rule by rule, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monitor.config.settings import ModelSettings
from schemas.checks.catalog import rules_of
from schemas.duration import format_duration
from schemas.policy import Action, percent

WHOLE = "the model"
SCORES = "score"


@dataclass(frozen=True)
class AgreedRule:
    """One rule: which rows break it, in `words`, and what follows."""

    place: str
    check: str
    words: str
    limit: str
    severity: str
    consequence: str


def agreed_rules(settings: ModelSettings) -> list[AgreedRule]:
    """List the rules of a contract, those about the model as a whole first, then by column."""
    found = []
    for key, rule in rules_of(settings.build_contract()):
        if key.check == "probability" and not key.column.startswith(SCORES):
            continue  # said of every column, and about those of scores only
        policy, stop = rule.policy, ""
        if policy.brake is not None:
            share, rows = percent(policy.brake.share), f"{policy.brake.rows:,}"
            stop = f"; above {share} of at least {rows} rows of a commit the partition is stopped"
        becomes = "goes to the dead letters" if policy.action is Action.QUARANTINE else "is counted"
        found.append(
            AgreedRule(
                key.column or WHOLE,
                key.check,
                rule.words,
                "none" if policy.limit.rows is None and not policy.limit.share else str(policy.limit),
                policy.severity or "as the policy of alerts says",
                f"the event {becomes}{stop}",
            )
        )
    found += _about_windows(settings)
    if settings.freshness_ms is not None:
        silent = f"do not come for more than {format_duration(settings.freshness_ms)}"
        found.append(AgreedRule(WHOLE, "no_data", silent, "none", "as the policy of alerts says", "an alert"))
    return sorted(found, key=lambda one: (one.place != WHOLE, one.place, one.check))


def _about_windows(settings: ModelSettings) -> Iterator[AgreedRule]:
    """Rules that are about windows rather than rows."""
    for name, column in settings.columns.items():
        said = {
            "required": (column.required, "fill a window, and none of them carries it"),
            "unique": (column.unique, "repeat a value within a window"),
        }
        for check, (holds, words) in said.items():
            if holds:
                own = column.rules.get(check)  # type: ignore[call-overload]  # one of the names
                severity = column.severity if own is None or own.severity is None else own.severity
                yield AgreedRule(name, check, words, "none", severity, "a finding of the window")
