"""Partitions that a rule of a contract stops: how it is said, and whether the rule is still there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from monitor.config import Configuration
from monitor.enforcement import Strain, Strained
from monitor.store.positions import MARK
from schemas.checks.catalog import rules_of
from schemas.contract import Rule, RuleKey
from schemas.policy import percent

_MARKED = re.compile(r"\[contract rule ([0-9a-f]{12})\]$")


def reason_of(strained: Strained, strain: Strain, topic: str, partition: int) -> str:
    """Say why a partition is stopped, for people; `rule_in` finds the rule in it.

    Parameters
    ----------
    strained, strain
        What passed the limit, and by how much.
    topic, partition
        The partition.
    """
    share, brake = strain.broken / strain.rows, strain.rule.policy.brake
    limit = "" if brake is None else f", above {percent(brake.share)}"
    return (
        f"{strained.model}: {strained.key.column}: {strain.broken:,} of {strain.rows:,} rows "
        f"({percent(share)}{limit}) {strain.rule.words}, first at offset {strain.first_offset} of "
        f"{topic}/{partition} {MARK}{fingerprint(strained.key, strain.rule)}]"
    )


def rule_in(reason: str) -> str | None:
    """Fingerprint of the rule that a partition was stopped by; None if it was something else.

    Examples
    --------
    >>> rule_in("m: age: 9 of 9 rows are above 120 [contract rule 0123456789ab]"), rule_in("gone")
    ('0123456789ab', None)
    """
    found = _MARKED.search(reason)
    return None if found is None else found.group(1)


def fingerprint(key: RuleKey, rule: Rule) -> str:
    """Short text that stands for a rule and for when it stops a partition."""
    said = repr((key.check, key.column, rule.counted_as, rule.policy.brake))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def is_moot(reason: str, configuration: Configuration) -> bool:
    """Whether a partition was stopped by a rule that no contract has any more as it was."""
    rule = rule_in(reason)
    return rule is not None and rule not in set(_standing(configuration))


def _standing(configuration: Configuration) -> Iterator[str]:
    """Every rule that can stop a partition now."""
    for settings in (configuration.defaults, *map(configuration.for_model, configuration.models)):
        for key, rule in rules_of(settings.build_contract()):
            if rule.policy.brake is not None:
                yield fingerprint(key, rule)
