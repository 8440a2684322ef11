"""What follows when rows break a rule: how many are borne, how loud it is, and what becomes of the rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

LIMIT_PATTERN = r"^([0-9]{1,15} rows?|[0-9]{1,3}(\.[0-9]{1,10})? ?%)$"
_FORMS = "use a share from 0 to 1, a percentage such as 1 %, or a number such as 5 rows"


@dataclass(frozen=True)
class Limit:
    """Most rows of a window that may break a rule: a share of them, or a number.

    Parameters
    ----------
    share : float
        From 0 to 1; not used if `rows` is given.
    rows : int or None

    Examples
    --------
    >>> Limit(0.01).is_passed(3, 250), Limit(rows=5).is_passed(5, 250)
    (True, False)
    >>> str(Limit(0.01)), str(Limit(rows=5)), str(Limit(rows=1))
    ('1 % of rows', '5 rows', '1 row')
    """

    share: float = 0.0
    rows: int | None = None

    def most(self, rows: int) -> float:
        """Number of rows above which the limit is passed; need not be whole."""
        return self.share * rows if self.rows is None else float(self.rows)

    def allowed(self, rows: int) -> int:
        """Largest whole number of rows that does not pass the limit.

        Examples
        --------
        >>> Limit().allowed(2_000), Limit(0.29).allowed(100), Limit(rows=7).allowed(9)
        (0, 29, 7)
        """
        if self.rows is not None:
            return self.rows
        most = int(self.share * rows)
        return most + 1 if (most + 1) / rows <= self.share else most

    def is_passed(self, broken: int, rows: int) -> bool:
        """Whether more rows than allowed break the rule, of those that were held against it."""
        if not rows:
            return False
        return broken / rows > self.share if self.rows is None else broken > self.rows

    def __str__(self) -> str:
        if self.rows is None:
            return f"{percent(self.share)} of rows"
        return f"{self.rows} row" if self.rows == 1 else f"{self.rows:,} rows"


NOTHING = Limit()
"""Not a single row may break a rule."""


def read_limit(value: object) -> Limit:
    """Read ``0.01``, ``1 %`` or ``5 rows``.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> read_limit("1 %"), read_limit(0.25), read_limit("5 rows")
    (Limit(share=0.01, rows=None), Limit(share=0.25, rows=None), Limit(share=0.0, rows=5))
    """
    if isinstance(value, Limit):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return Limit(float(value))
    if isinstance(value, str) and re.fullmatch(LIMIT_PATTERN, value):
        if value.endswith("%"):
            share = float(value.removesuffix("%")) / 100
            if share <= 1:
                return Limit(round(share, 12))
        else:
            return Limit(rows=int(value.split()[0]))
    shown = f"'{value[:40]}'" if isinstance(value, str) else str(value)[:40]
    msg = f"{shown} is no limit ({_FORMS})"
    raise ValueError(msg)


def write_limit(limit: Limit) -> float | str:
    """Write a limit as `read_limit` reads it.

    Examples
    --------
    >>> write_limit(Limit(0.01)), write_limit(Limit(rows=5))
    (0.01, '5 rows')
    """
    return limit.share if limit.rows is None else f"{limit.rows} rows"


class Action(StrEnum):
    """What becomes of a row that breaks a rule."""

    COUNT = "count"
    QUARANTINE = "quarantine"


@dataclass(frozen=True)
class Brake:
    """When a partition is stopped: too large a share of the rows of one commit break a rule.

    Parameters
    ----------
    share : float
        Largest share that is taken in.
    rows : int
        Fewest rows that a share is judged by.

    Examples
    --------
    >>> Brake(0.5, 100).is_tripped(51, 100), Brake(0.5, 100).is_tripped(50, 50)
    (True, False)
    """

    share: float = 0.5
    rows: int = 1_000

    def is_tripped(self, broken: int, rows: int) -> bool:
        """Whether a partition has to be stopped."""
        return rows >= self.rows and broken > self.share * rows


@dataclass(frozen=True)
class Policy:
    """What follows when rows break a rule.

    Parameters
    ----------
    limit : Limit
        Most rows of a window that may break it; more are a finding.
    severity : str or None
        ``info``, ``warn`` or ``page``; None: as the policy of alerts says.
    action : Action
        What becomes of the rows.
    brake : Brake or None
        When the partition that they come from is stopped; None: never.
    """

    limit: Limit = NOTHING
    severity: str | None = "warn"
    action: Action = Action.COUNT
    brake: Brake | None = None

    @property
    def acts(self) -> bool:
        """Whether anything is done before a window is judged."""
        return self.action is not Action.COUNT or self.brake is not None


COUNTED = Policy()
"""Rows are counted, and none is borne."""


def percent(share: float) -> str:
    """Write a share of rows with two digits at least.

    Examples
    --------
    >>> percent(0.0155), percent(0.02), percent(0.5), percent(0.0004), percent(0), percent(1)
    ('1.6 %', '2 %', '50 %', '0.04 %', '0 %', '100 %')
    """
    value = 100 * share
    digits = f"{value:.1f}" if value >= 1 else f"{value:.2g}"
    return f"{digits.removesuffix('.0')} %"
