"""What a contract does about rows before they are counted: keeps some out, and notes how many break a rule.

Only rules with an action are looked at; a contract without any costs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.decode.batch import ReadPlace
from schemas.batch import Batch
from schemas.checks.base import Columns
from schemas.checks.catalog import Held, checks, violations
from schemas.contract import Contract, Rule, RuleKey
from schemas.policy import Action
from schemas.showing import text_of

SHOWN_FAULTS = 3
LONGEST_REASON = 500
WITH_VALUE = frozenset({"allowed", "pattern", "probability", "range", "fresh"})
"""Checks whose faults say something about a value that can be shown."""


class Strain(NamedTuple):
    """How many rows of a partition were held against a rule that can stop it, and how many broke it."""

    rule: Rule
    rows: int
    broken: int = 0
    first_offset: int = -1

    def plus(self, other: Strain) -> Strain:
        """Add other rows of the same partition."""
        offsets = [strain.first_offset for strain in (self, other) if strain.broken]
        return Strain(self.rule, self.rows + other.rows, self.broken + other.broken, min(offsets, default=-1))


class Strained(NamedTuple):
    """What a strain is of: partition, model and rule."""

    slot: int
    model: str
    key: RuleKey


Strains = dict[Strained, Strain]


@dataclass(frozen=True)
class Enforced:
    """What became of the rows of a batch.

    Parameters
    ----------
    kept : int array or None
        Rows that are counted; None for all.
    reasons : dict of int to str
        Why the others are not, by row.
    broken : list of (RuleKey, int array)
        Which rows break each of the rules that keep rows out.
    strains : dict
        Of the rules that can stop a partition.
    """

    kept: NDArray[np.intp] | None = None
    reasons: Mapping[int, str] = field(default_factory=dict)
    broken: list[tuple[RuleKey, NDArray[np.intp]]] = field(default_factory=list)
    strains: Strains = field(default_factory=dict)


def enforce(contract: Contract, model: str, batch: Batch, places: Mapping[int, ReadPlace]) -> Enforced:
    """Hold a batch against the rules that act.

    Parameters
    ----------
    contract : Contract
    model : str
    batch : Batch
        With origins.
    places : mapping of int to ReadPlace
        What the slots of its origins stand for.
    """
    if contract.acting is None:
        return Enforced()
    held = [
        (one, rule)
        for one in violations(batch, contract.acting)
        if (rule := checks()[one.key.check].rule(one.key.column, contract)) is not None and rule.policy.acts
    ]
    strains = _strains(model, batch, places, held)
    broken = [
        (one.key, rule, np.flatnonzero(one.broken))
        for one, rule in held
        if one.broken is not None and rule.policy.action is Action.QUARANTINE
    ]
    if not broken:
        return Enforced(strains=strains)
    out = np.zeros(len(batch), bool)
    for _, _, rows in broken:
        out[rows] = True
    reasons = _reasons(contract, batch, broken)
    return Enforced(np.flatnonzero(~out), reasons, [(key, rows) for key, _, rows in broken], strains)


def _strains(
    model: str,
    batch: Batch,
    places: Mapping[int, ReadPlace],
    held: Sequence[tuple[Held, Rule]],
) -> Strains:
    found: Strains = {}
    braked = [(one, rule) for one, rule in held if rule.policy.brake is not None]
    if not braked or batch.origins is None:
        return found
    slots, offsets = batch.origins.slots, batch.origins.offsets
    for slot in np.unique(slots).tolist():
        mine = np.flatnonzero((slots == slot) & (offsets >= places[slot].judged_from))
        if not len(mine):
            continue
        for one, rule in braked:
            wrong = mine[:0] if one.broken is None else mine[one.broken[mine]]
            looked_at = len(mine) - (0 if one.skipped is None else int(np.count_nonzero(one.skipped[mine])))
            first = int(offsets[wrong].min()) if len(wrong) else -1
            found[Strained(slot, model, one.key)] = Strain(rule, looked_at, len(wrong), first)
    return found


def _reasons(
    contract: Contract, batch: Batch, broken: Sequence[tuple[RuleKey, Rule, NDArray[np.intp]]]
) -> dict[int, str]:
    """Say of each row which rules it breaks, the first few of them."""
    columns = Columns(batch)
    faults: dict[int, list[str]] = {}
    for key, rule, rows in broken:
        shown = checks()[key.check].shown(key.column, contract)
        shows = key.check in WITH_VALUE and shown == (key.column,) and key.column not in contract.hidden
        values = columns.values(key.column)
        for row in rows.tolist():
            known = faults.setdefault(row, [])
            if len(known) < SHOWN_FAULTS:
                value = f"{text_of(values, row)} " if shows else ""
                known.append(f"{key.column}: {value}{rule.fault}")
    return {row: f"contract: {'; '.join(known)}"[:LONGEST_REASON] for row, known in faults.items()}


def tripped(strains: Strains) -> Iterator[tuple[Strained, Strain]]:
    """Find the partitions that have to be stopped; of several rules the one that most rows break."""
    worst: dict[int, tuple[Strained, Strain]] = {}
    for strained, strain in sorted(strains.items(), key=lambda item: item[0]):
        brake, known = strain.rule.policy.brake, worst.get(strained.slot)
        if brake is None or not brake.is_tripped(strain.broken, strain.rows):
            continue
        if known is None or strain.broken > known[1].broken:
            worst[strained.slot] = strained, strain
    yield from worst.values()


def merged(strains: Strains, more: Strains) -> None:
    """Add strains of further rows."""
    for key, strain in more.items():
        known = strains.get(key)
        strains[key] = strain if known is None else known.plus(strain)
