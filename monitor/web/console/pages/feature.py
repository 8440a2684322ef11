"""One column of a model: its distribution, its shares, how far it drifted and where; with its charts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from monitor.store.engine import reading
from monitor.web.charting.chart import Chart
from monitor.web.charting.forms import FORMS, given
from monitor.web.console.exact import ExactRoute
from monitor.web.console.feature.distribution import compared, contribution_chart, distribution_chart
from monitor.web.console.feature.effects import effect_chart, evidence_chart, rows_chart
from monitor.web.console.feature.history import Histories
from monitor.web.console.feature.knowledge import knowledge_of, markers_of
from monitor.web.console.feature.multiples import multiples_of
from monitor.web.console.feature.shares import quantile_chart, share_chart
from monitor.web.console.feature.subject import Choice, RangeAsked, Subject, subject_of
from monitor.web.console.feature.windows import judged_windows
from monitor.web.console.shell import Shell, path, query
from monitor.web.context import Context
from monitor.web.parameters import PathText, SegmentText
from monitor.web.problems import not_found
from schemas.column import Kind

HERE = "/"
LISTED_WINDOWS = 30
MOST_IN_SMALL = 150  # windows in a small chart; of more, the farthest ones


class ColumnAsked(RangeAsked):
    """Parameters of the charts of a column."""

    segment: SegmentText = Field("", description="Only rows of this segment, `name=value`.")


class FeatureAsked(ColumnAsked):
    """Parameters of the page."""

    by: Choice = Field(None, description="Segment column for the small charts.")


class Charts:
    """Builds the charts of a column by name.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self._context, self._histories = context, Histories()
        self._makers: dict[str, Callable[[Connection, Subject, str, str], Chart]] = {
            "distribution": self._distribution,
            "contributions": self._contributions,
            "effect": self._effect,
            "segment": self._segment,
            "evidence": self._evidence,
            "rows": self._rows,
            "shares": self._shares,
            "quantiles": self._quantiles,
        }

    def chart(self, connection: Connection, name: str, subject: Subject, column: str, segment: str) -> Chart:
        """Build one chart.

        Raises
        ------
        Refused
            If there is none of that name.
        """
        make = self._makers.get(name)
        if make is None:
            raise not_found(name, "chart", "path.name", self._makers)
        made = make(connection, subject, column, segment)
        return replace(made, span=(subject.from_ms, subject.to_ms)) if made.is_over_time else made

    def _distribution(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        history = self._histories.of(connection, subject, column, segment)
        found = None if history is None else compared(subject, history, column, segment)
        return distribution_chart(_title("distribution", column, segment), found)

    def _contributions(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        history = self._histories.of(connection, subject, column, segment)
        found = None if history is None else compared(subject, history, column, segment)
        return contribution_chart(_title("parts of the PSI", column, segment), found)

    def _effect(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        windows = judged_windows(connection, subject, column, segment)
        markers = markers_of(connection, subject, column)
        return effect_chart(_title("PSI", column, segment), windows, subject.tolerance(column), markers)

    def _segment(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        whole = judged_windows(connection, subject, column, segment)
        alarms = sum(one.is_alarm for one in whole.windows)
        windows = whole.thinned(MOST_IN_SMALL)
        words = f"{alarms} of {len(whole.windows)} windows in alarm.{windows.words}"
        made = effect_chart(_title("PSI", column, segment), windows, subject.tolerance(column))
        return replace(made, words=words)

    def _evidence(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        windows = judged_windows(connection, subject, column, segment)
        return evidence_chart(_title("evidence", column, segment), windows)

    def _rows(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        windows = judged_windows(connection, subject, column, segment)
        return rows_chart(_title("rows", column, segment), windows)

    def _shares(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        history = self._histories.of(connection, subject, column, segment)
        return share_chart(_title("missing, invalid, unseen", column, segment), subject, history, column)

    def _quantiles(self, connection: Connection, subject: Subject, column: str, segment: str) -> Chart:
        history = self._histories.of(connection, subject, column, segment)
        return quantile_chart(_title("quantiles", column, ""), subject, history)


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(route_class=ExactRoute), shell.context
    charts = Charts(context)

    @router.get("/models/{model}/features/{column}")
    def feature(
        request: Request, model: PathText, column: PathText, asked: Annotated[FeatureAsked, Query()]
    ) -> Response:
        with reading(context.engine) as connection:
            subject = _checked(context, connection, model, column, asked)
            judged = judged_windows(connection, subject, column, asked.segment)
            windows = judged.windows
            starts = [one.start_ms for one in windows]
            known = knowledge_of(connection, subject, starts, column, asked.segment)
            multiples = multiples_of(connection, subject, starts, column, asked.by)
        spec = subject.registered.get(column)
        address = f"/models/{path(model)}/features/{path(column)}"
        shown = {**subject.parameters, "segment": asked.segment}
        return shell.page(
            request,
            "feature.html",
            HERE,
            subject=subject,
            column=column,
            spec=spec,
            is_numeric=spec is not None and spec.kind is Kind.NUMERIC,
            is_binned=subject.reference is not None and column in subject.reference.binning.index,
            segment=asked.segment,
            windows=windows[::-1][:LISTED_WINDOWS],
            windows_total=len(windows),
            judged=judged,
            has_evidence=any(one.evidence is not None for one in windows),
            weak_total=sum(bool(one.doubts) for one in windows),
            alarm_total=sum(one.is_alarm for one in windows),
            known=known,
            multiples=multiples,
            address=address,
            parameters=query(shown),
            without_segment=query({**subject.parameters, "by": asked.by}),
            map_parameters=query({**subject.parameters, "by": multiples.by, "column": column}),
            shown=shown,
        )

    @router.get("/models/{model}/features/{column}/charts/{file}")
    def chart(
        model: PathText, column: PathText, file: str, asked: Annotated[ColumnAsked, Query()]
    ) -> Response:
        name, _, form = file.rpartition(".")
        known = next((one for one in FORMS if one == form), None)
        if known is None:
            raise not_found(form, "form of a chart", "path.file", FORMS)
        with reading(context.engine) as connection:
            subject = _checked(context, connection, model, column, asked)
            made = charts.chart(connection, name, subject, column, asked.segment)
        return given(made, known)

    return router


def _checked(
    context: Context, connection: Connection, model: str, column: str, asked: ColumnAsked
) -> Subject:
    subject = subject_of(context, connection, model, asked)
    subject.check_column(column, "path.column")
    subject.check_segment(asked.segment)
    return subject


def _title(what: str, column: str, segment: str) -> str:
    return f"{column}: {what}{f', {segment}' if segment else ''}"
