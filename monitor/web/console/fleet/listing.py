"""Which models a page of the fleet shows: filter, order, and where the next page begins."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from monitor.store.queries.recent import Rate
from monitor.web.console.fleet.standing import INCIDENT_STATES, NEVER_MS, STATES, Standing
from monitor.web.paging import read_cursor, write_cursor
from monitor.web.parameters import Asked

LISTED = 50
Key = tuple[int, str]
Sort = Literal["attention", "name", "freshness", "rate"]
State = Literal["", "open", "firing", "pending", "acknowledged", "no-data", "learning", "fine"]


class FleetAsked(Asked):
    """Parameters of the start page."""

    q: str = Field("", max_length=256, description="Part of the model's name, in small letters or large.")
    state: State = Field("", description="Only models in this state; `open`: with an open incident.")
    sort: Sort = Field("attention", description="What comes first.")
    cursor: str | None = Field(None, max_length=2_048, description="Where the page before ended.")

    def address(self, **other: str | None) -> dict[str, str | None]:
        """Parameters of this list or of one that differs from it; defaults are left out."""
        values = {"q": self.q, "state": self.state, "sort": self.sort, **other}
        return {name: None if value == "attention" else value for name, value in values.items()}


@dataclass(frozen=True)
class Listed:
    """One page.

    Parameters
    ----------
    models : sequence of Standing
    first, total : int
        Position of its first model among those that were asked for, from 1 on, and how many there are.
    next_cursor : str or None
    """

    models: Sequence[Standing]
    first: int
    total: int
    next_cursor: str | None


def matching(models: Sequence[Standing], asked: FleetAsked) -> list[Standing]:
    """Keep the models that are asked for.

    Examples
    --------
    >>> known = [Standing("Churn", "fine"), Standing("b", "learning")]
    >>> [one.model for one in matching(known, FleetAsked(q="CHU"))]
    ['Churn']
    """
    part = asked.q.strip().casefold()
    states = INCIDENT_STATES if asked.state == "open" else (asked.state.replace("-", " "),)
    return [
        one for one in models if part in one.model.casefold() and (not asked.state or one.state in states)
    ]


def page_of(models: Sequence[Standing], asked: FleetAsked, rates: Mapping[str, Rate]) -> Listed:
    """Put models in order and cut a page from them.

    Parameters
    ----------
    models : sequence of Standing
        Those that are asked for.
    asked : FleetAsked
    rates : mapping of str to Rate
        Of all of them, if they are sorted by it.

    Guarantees
    ----------
    The cursor is the key of the last model: whatever comes, goes or changes, the next page begins behind it.
    """
    keyed = sorted(((_key(one, asked.sort, rates), one) for one in models), key=lambda pair: pair[0])
    after = read_cursor(asked.cursor, f"fleet by {asked.sort}", int, str)
    begin = 0 if after is None else bisect_right(keyed, after, key=lambda pair: pair[0])
    shown = keyed[begin : begin + LISTED]
    is_more = begin + LISTED < len(keyed)
    following = write_cursor(f"fleet by {asked.sort}", *shown[-1][0]) if is_more else None
    return Listed([one for _, one in shown], begin + 1, len(keyed), following)


def counted(models: Sequence[Standing]) -> dict[str, int]:
    """Number of models in each state, the most urgent first."""
    found = Counter(one.state for one in models)
    return {state: found[state] for state in STATES if found[state]}


def _key(one: Standing, sort: Sort, rates: Mapping[str, Rate]) -> Key:
    if sort == "attention":
        return one.rank, one.model
    if sort == "freshness":
        return (NEVER_MS if one.newest_ms is None else one.newest_ms), one.model
    if sort == "rate":
        rate = rates.get(one.model)
        return (1 if rate is None else -round(1_000 * rate.per_hour)), one.model
    return 0, one.model
