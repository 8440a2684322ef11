"""Rules of a contract by segment: which parts of the events break a rule.

A rule that all rows break beyond its limit is one finding, which names the segments where it is broken most.
While all rows keep to the limit, a segment whose own rows exceed it is a finding of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.ruled import RuleCounts
from detectors.tensor import FloatArray, IntArray
from schemas.contract import Contract, Count, RuleKey
from schemas.policy import Limit

CHANCE = 1e-6
"""Largest probability with which a segment that keeps to the limit may be a finding, in one window."""
CHANCE_OF_MENTION = 1e-3
"""The same for naming a segment in the finding on all rows."""
MOST_NAMED = 3


class SegmentCount(NamedTuple):
    """What is known of one rule in one segment.

    Parameters
    ----------
    segment : str
        ``origin=EWR``.
    counted : Count
        Of its rows.
    threshold : float
        Number of rows above which it is a finding.
    """

    segment: str
    counted: Count
    threshold: float = 0.0


def segments_beyond(counts: RuleCounts, key: RuleKey, contract: Contract, limit: Limit) -> list[SegmentCount]:
    """Find the segments whose own rows exceed a limit that all rows together keep to.

    Returns
    -------
    list of SegmentCount
        Those that break the rule more than the limit allows in their rows, and more than chance explains if
        they kept to it: the probability of so many is at most 1e-6.

    Notes
    -----
    P(X ≥ k) for X binomial with the rows of the segment and the share of the limit. Without it, a segment of
    ten rows exceeds a limit of 1 % with its first wrong row, which one in ten such segments has by chance. A
    limit in rows that all rows keep to is kept by every part of them.
    """
    found = _counted(counts, key, contract)
    if found is None or limit.rows is not None:
        return []
    rows, broken = found
    is_beyond = (broken > limit.share * rows) & (_chance(broken, rows, limit.share) <= CHANCE)
    return [
        SegmentCount(
            counts.groups.labels[at], _count(counts, key, at), _threshold(int(rows[at]), limit.share)
        )
        for at in np.flatnonzero(is_beyond).tolist()
    ]


def segments_named(counts: RuleCounts, key: RuleKey, contract: Contract, count: Count) -> list[SegmentCount]:
    """Find the segments where a rule is broken more often than in all rows, those with most rows first.

    Returns
    -------
    list of SegmentCount
        At most three; none where it is broken everywhere alike.
    """
    found = _counted(counts, key, contract)
    if found is None or not count.broken:
        return []
    rows, broken = found
    share = count.broken / count.rows
    stands_out = (broken > share * rows) & (_chance(broken, rows, share) <= CHANCE_OF_MENTION)
    at = np.flatnonzero(stands_out)
    most = at[np.argsort(-broken[at], kind="stable")][:MOST_NAMED]
    return [SegmentCount(counts.groups.labels[i], _count(counts, key, i)) for i in most.tolist()]


def _counted(counts: RuleCounts, key: RuleKey, contract: Contract) -> tuple[IntArray, IntArray] | None:
    """Rows of each group that were held against a rule and that break it, if any do.

    A segment by a column that the rule itself looks at says nothing: all rows without a value lack it.
    """
    tally = counts.by_segment
    broken = tally.broken.get(key)
    if broken is None:
        return None
    looked_at = _looked_at(key, contract)
    is_apart: NDArray[np.bool_] = np.array(
        [bool(label) and label.split("=", 1)[0] not in looked_at for label in counts.groups.labels]
    )[: tally.groups]
    return np.where(is_apart, tally.rows[tally.rules.index(key)], 0), np.where(is_apart, broken.rows, 0)


def _looked_at(key: RuleKey, contract: Contract) -> tuple[str, ...]:
    agreement = contract.agreement(key.column)
    return (key.column,) if agreement is None else agreement.expression.columns


def _count(counts: RuleCounts, key: RuleKey, at: int) -> Count:
    tally = counts.by_segment
    rows = int(tally.rows[tally.rules.index(key), at])
    return Count(rows, *(int(values[at]) for values in tally.broken[key]))


def _chance(broken: IntArray, rows: IntArray, share: float) -> FloatArray:
    """Probability of at least so many rows that break a rule, of so many, if each does with such a share."""
    found: FloatArray = np.where(broken > 0, special.bdtrc(np.maximum(broken, 1) - 1, rows, share), 1.0)
    return found


def _threshold(rows: int, share: float) -> float:
    """Largest number of rows that is no finding: the limit, or what chance explains."""
    low, high = int(share * rows), rows
    while low < high:  # the first number that is a finding
        middle = (low + high) // 2
        if middle > share * rows and special.bdtrc(middle - 1, rows, share) <= CHANCE:
            high = middle
        else:
            low = middle + 1
    return max(share * rows, float(low - 1))
