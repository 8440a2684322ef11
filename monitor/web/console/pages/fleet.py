"""The start page: every model and how it is, what needs attention first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from monitor.store.engine import reading
from monitor.store.queries import fleet as queries
from monitor.store.queries.budget import newest_end_ms
from monitor.store.queries.recent import DAY_MS
from monitor.web.console.fleet.listing import FleetAsked, counted, matching, page_of
from monitor.web.console.fleet.rows import Week, all_rates, rows_of
from monitor.web.console.fleet.standing import INCIDENT_STATES, SEVERITIES, standings
from monitor.web.console.fleet.strips import HEIGHTS, Axis
from monitor.web.console.model.performance import SHARES
from monitor.web.console.shell import Shell
from monitor.web.context import Context

WEEK_MS = 7 * DAY_MS


@dataclass(frozen=True)
class Summary:
    """What the cards on top tell.

    Parameters
    ----------
    models : int
    states : dict of str to int
        Models in each state.
    troubled : int
        Models with an open incident.
    incidents : dict of str to int
        Open incidents by severity, the worst first.
    letters : int
        Dead letters stored since `letters_from_ms`.
    letters_from_ms : int
        A day before now.
    week : Week
    """

    models: int
    states: dict[str, int]
    troubled: int
    incidents: dict[str, int]
    letters: int
    letters_from_ms: int
    week: Week


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    @router.get("/")
    def fleet(request: Request, asked: Annotated[FleetAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            shown = read_fleet(context, connection, asked)
        return shell.page(request, "fleet.html", "/", asked=asked, heights=HEIGHTS, shares=SHARES, **shown)

    return router


def read_fleet(context: Context, connection: Connection, asked: FleetAsked) -> dict[str, Any]:
    """Read everything that the page shows: ``summary``, ``listed``, ``rows``, ``axis``.

    Notes
    -----
    A fixed number of statements. Those about all models read their versions, newest events and open
    incidents; windows are read of the models on the page alone (of all, if they are sorted by rate).
    """
    configuration, now_ms = context.configuration, context.clock.now_ms()
    seen, arrived = queries.models_seen(connection), queries.arrivals(connection)
    models = standings(configuration, seen, arrived, queries.open_incidents(connection), now_ms)
    wanted = matching(models, asked)
    names = [one.model for one in wanted]
    rates = all_rates(connection, configuration, names) if asked.sort == "rate" else {}
    listed = page_of(wanted, asked, rates)
    newest_ms = max((one.newest_ms for one in arrived.values()), default=now_ms)
    axis = Axis.up_to(min(now_ms, newest_ms))
    week = _week(context, connection)
    states = counted(models)
    by_severity = queries.open_by_severity(connection)
    summary = Summary(
        len(models),
        states,
        sum(states.get(state, 0) for state in INCIDENT_STATES),
        {severity: by_severity[severity] for severity in SEVERITIES if severity in by_severity},
        queries.letters_since(connection, now_ms - DAY_MS),
        now_ms - DAY_MS,
        week,
    )
    rows = rows_of(connection, configuration, listed.models, week, axis, now_ms)
    return {"summary": summary, "listed": listed, "rows": rows, "axis": axis}


def _week(context: Context, connection: Connection) -> Week:
    allowed = context.configuration.alerts.budget.expected_in(WEEK_MS)
    to_ms = newest_end_ms(connection)
    if to_ms is None:
        return Week(None, None, allowed, 0.0)
    return Week(to_ms - WEEK_MS, to_ms, allowed, queries.spent_total(connection, to_ms - WEEK_MS, to_ms))
