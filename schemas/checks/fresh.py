"""Instants are recent: not older than agreed at the time of the event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.checks.base import Check, Columns, Example, Mask, Values, some
from schemas.checks.example_batches import WRONG, batch
from schemas.contract import ColumnRules, Contract, Rule, terms_of
from schemas.duration import format_duration

SECONDS_UP_TO = 1e11
"""Smaller numbers are seconds since the epoch (to the year 5138), larger ones milliseconds (from 1973)."""
_NEVER = np.iinfo(np.int64).min


class FreshCheck(Check):
    """Counts instants that lie too far before the time of their event, and texts that are no instants."""

    name: ClassVar[str] = "fresh"
    formula: ClassVar[str] = (
        "rows whose instant (RFC 3339, or epoch in seconds or milliseconds) is older than `freshness` at the "
        "time of the event, or cannot be read, against the limit"
    )

    def rule(self, column: str, contract: Contract) -> Rule | None:
        """Return the rule on a column."""
        rules = contract.of(column)
        if rules is None or rules.freshness_ms is None:
            return None
        words = f"older than {format_duration(rules.freshness_ms)} at the time of the event"
        return Rule(terms_of(rules.freshness_ms), f"are {words}", rules.policy_of(self.name), f"is {words}")

    def masks(self, columns: Columns, contract: Contract) -> dict[str, Mask | None]:
        """Compare instants with the times of their events."""
        event_ms = columns.batch.event_ms
        return {
            rules.column: _too_old(columns.values(rules.column), event_ms, rules.freshness_ms)
            for rules in contract.columns
            if rules.freshness_ms is not None
        }

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return texts and numbers, a second apart."""
        contract = Contract((ColumnRules("at", freshness_ms=1_000),))
        early, zoned = "1969-12-31T23:59:58.500Z", "1970-01-01T01:00:01+01:00"
        return (
            Example(
                contract,
                batch(categorical={"at": ["1970-01-01T00:00:00Z", zoned, None, WRONG]}),
                batch(categorical={"at": [early, zoned, early, None, "soon", WRONG]}),
                {"at": [True, False, True, False, True, False]},
            ),
            Example(
                contract,
                batch({"at": [0, 0, None]}),
                batch({"at": [-2, 0, 0, None, WRONG]}),
                {"at": [True, False, True, False, False]},
            ),
        )


def _too_old(values: Values, event_ms: NDArray[np.int64], freshness_ms: int) -> Mask | None:
    if values.categories is not None:
        known = instants_of(values.categories.values)
        told = np.concatenate((known, [0, 0]))[values.categories.codes]
        return some((told < event_ms - freshness_ms) & (values.categories.codes >= 0))
    if values.numbers is None:
        return None
    told_ms = np.where(np.abs(values.numbers) < SECONDS_UP_TO, values.numbers * 1_000, values.numbers)
    return values.valid(told_ms < event_ms - freshness_ms)


def instants_of(texts: pa.StringArray) -> NDArray[np.int64]:
    """Read RFC 3339 instants into epoch milliseconds; what is none becomes an instant before all others.

    Examples
    --------
    >>> instants_of(pa.array(["1970-01-01T00:00:01Z", "1970-01-01T01:00:00.5+01:00", "no"])).tolist()[:2]
    [1000, 500]
    """
    try:
        instants = pc.cast(texts, pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:  # one of them is none, or has no zone: read them one by one
        return np.array([_instant(text) for text in texts.to_pylist()], np.int64)
    micros: NDArray[np.int64] = pc.cast(instants, pa.int64()).to_numpy(zero_copy_only=False)
    return micros // 1_000


def _instant(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return int(_NEVER)
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1_000)
