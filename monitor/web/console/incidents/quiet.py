"""Silences as forms make them, and as pages show them beside planned maintenance."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from alerting.finding import Kind, Severity
from alerting.policy import Match
from alerting.silences import Silence
from monitor.config.alerts import Maintenance
from monitor.incidents.actions import AGAIN_MS, check_span
from monitor.store import incidents
from monitor.store import silences as stored
from monitor.store.engine import immediate, reading
from monitor.store.queries.silences import silence_of
from monitor.web.console.fields import read_field_instant
from monitor.web.console.incidents.deeds import MOST_REASON, text_of
from monitor.web.context import Context
from schemas.duration import parse_duration
from schemas.errors import UsageError
from schemas.verdict import Lane

CHOICES: dict[str, tuple[str, ...]] = {
    "severity": tuple(Severity),
    "lane": tuple(Lane),
    "kind": tuple(Kind),
}
NAMES = ("model", "version", "column", "segment", "owner")
MOST_LETTERS = 512


class When(StrEnum):
    """Whether a silence holds."""

    ACTIVE = "active"
    PLANNED = "planned"
    OVER = "over"


@dataclass(frozen=True)
class Quiet:
    """A silence as a page shows it."""

    silence: Silence
    when: When
    ended_by: str

    @property
    def about(self) -> list[tuple[str, str]]:
        """What it is about: keys, and what they have to be; empty for everything."""
        return about(self.silence.match)


@dataclass(frozen=True)
class Planned:
    """Planned work of the configuration.

    Parameters
    ----------
    plan : Maintenance
    until_ms : int or None
        Until when it holds; None if it does not hold now.
    """

    plan: Maintenance
    until_ms: int | None
    is_over: bool

    @property
    def about(self) -> list[tuple[str, str]]:
        """What it is about."""
        return about(self.plan.match)

    @property
    def hours(self) -> str:
        """Hours of the week in words; empty for a single stretch of time."""
        weekly = self.plan.weekly
        if weekly is None:
            return ""
        days = ", ".join(weekly.days) if weekly.days else "every day"
        return f"{days} {weekly.start}–{weekly.until} {weekly.zone}"


def shown(row: Any, now_ms: int) -> Quiet:
    """Read a row of the table of silences."""
    one = stored.read(row)
    over = When.OVER if one.until_ms <= now_ms else When.PLANNED
    return Quiet(one, When.ACTIVE if one.is_active(now_ms) else over, row.ended_by or "")


def plans(maintenance: Sequence[Maintenance], now_ms: int) -> list[Planned]:
    """List planned work, with what holds now."""
    found = []
    for position, plan in enumerate(maintenance):
        now = plan.at(position, now_ms)
        is_over = plan.until_ms is not None and plan.until_ms <= now_ms
        found.append(Planned(plan, None if now is None else now.until_ms, is_over))
    return found


def about(match: Match) -> list[tuple[str, str]]:
    """Write what a match asks for.

    Examples
    --------
    >>> about(Match(model=["flight-*", "churn"], severity="warn"))
    [('severity', 'warn'), ('model', 'flight-* or churn')]
    """
    given = ((name, getattr(match, name)) for name in (*CHOICES, *NAMES))
    return [(name, " or ".join(str(one) for one in values)) for name, values in given if values]


def make(context: Context, actor: str, posted: Mapping[str, str]) -> None:
    """Make the silence that a form describes.

    Raises
    ------
    UsageError
        In words for the page, if it is none, is over already, or would silence everything by accident.
    """
    match, now_ms = _match(posted), context.clock.now_ms()
    if not about(match) and posted.get("everything") != "yes":
        msg = "nothing is said of what to silence (fill in a field, or tick that everything is meant)"
        raise UsageError(msg)
    try:
        span_ms, begins_ms = (
            parse_duration(posted.get("for", "").strip()[:40]),
            read_field_instant(posted.get("from")),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_span(span_ms)
    from_ms = now_ms if begins_ms is None else int(begins_ms)
    if from_ms + span_ms <= now_ms:
        msg = "the silence would be over already (it has to reach beyond now)"
        raise UsageError(msg)
    comment = text_of(posted, "comment", MOST_REASON)
    made = Silence(secrets.token_hex(8), match, from_ms, from_ms + span_ms, actor, comment)
    with immediate(context.engine) as connection:
        incidents.lock(connection)  # a form that is sent twice makes one silence
        if not stored.has_same(connection, made, now_ms - AGAIN_MS):
            stored.add(connection, made, now_ms)


def end(context: Context, actor: str, id_: str) -> None:
    """End a silence now; what is open is told soon.

    Raises
    ------
    UsageError
        If there is none of that id, or it is over already.
    """
    with reading(context.engine) as connection:
        known = silence_of(connection, id_)
        if known is None:
            msg = f"there is no silence {id_[:80]!r}"
            raise UsageError(msg)
    if known.ended_by == actor and context.clock.now_ms() - known.until_ms <= AGAIN_MS:
        return  # the button was pressed twice
    with immediate(context.engine) as connection:
        incidents.lock(connection)  # who holds it may be writing "silenced until", and has to be seen
        now_ms = context.clock.now_ms()
        if not stored.end(connection, id_, actor, now_ms):
            by = f", ended by {known.ended_by}" if known.ended_by else ""
            msg = f"the silence is over already{by}"
            raise UsageError(msg)
        incidents.look_soon(connection, now_ms)


def _match(posted: Mapping[str, str]) -> Match:
    given = {name: text for name in (*CHOICES, *NAMES) if (text := text_of(posted, name, MOST_LETTERS))}
    try:
        return Match.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{first['loc'][0]}: {first['msg']}"
        raise UsageError(msg) from error
