"""``/models/{model}/versions``: versions side by side."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from monitor.performance.versions import Compared, compare_range, comparisons
from monitor.store.engine import reading
from monitor.store.queries.models import model_exists
from monitor.web.api.performance import RangeAsked, checked_versions, span_of
from monitor.web.context import Context
from monitor.web.documents import InstantText, Number, instant
from monitor.web.parameters import NoParameters, PathText, QueryText
from monitor.web.problems import not_found


class ComparisonDocument(BaseModel):
    """Two versions on the same slices of event time."""

    champion: str
    challenger: str
    metric: str
    from_: InstantText | None = Field(alias="from")
    to: InstantText | None
    standing: str = Field(description="Of the challenger: `better`, `worse` or `not yet known`.")
    difference: Number = Field(description="Challenger less champion, in the unit of the metric.")
    low: Number = Field(
        description="Lower limit of a confidence sequence at 95 %: true at all times at once."
    )
    high: Number
    labels: int
    more_labels: int | None = Field(
        description="Labels that it would still take at this difference; 0: none, null: cannot be told."
    )


class VersionsDocument(BaseModel):
    """Versions that have run beside the champion, as far as their labels have been waited for."""

    model: str
    items: list[ComparisonDocument]


class CompareAsked(RangeAsked):
    """Parameters of a comparison."""

    champion: QueryText = Field(description="Version to compare with.")
    challenger: QueryText = Field(description="Version to compare.")
    metric: Literal["accuracy", "brier", "cost", "mae"] | None = Field(
        None, description="What is compared; default: costs where there are any, else what suits the task."
    )


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["performance"])

    @router.get("/models/{model:path}/versions", summary="Champion and the versions beside it")
    def list_comparisons(model: PathText, _: Annotated[NoParameters, Query()]) -> VersionsDocument:
        """Differences with confidence sequences, and verdicts; updated as labels come."""
        with reading(context.engine) as connection:
            if not model_exists(connection, model):
                raise not_found(model, "model", "path.model")
            found = comparisons(connection, model)
        return VersionsDocument(model=model, items=[_comparison(one) for one in found])

    @router.get("/models/{model:path}/versions/compare", summary="Any two versions over any range")
    def compare_versions(model: PathText, asked: Annotated[CompareAsked, Query()]) -> ComparisonDocument:
        """Compare two versions on the slices that both have outcomes in."""
        with reading(context.engine) as connection:
            checked_versions(connection, model, {"champion": asked.champion, "challenger": asked.challenger})
            from_ms, to_ms = span_of(context, connection, model, asked)
            settings = context.configuration.for_model(model)
            pair = (asked.champion, asked.challenger)
            found = compare_range(connection, settings, model, pair, asked.metric, from_ms, to_ms)
        return _comparison(found)

    return router


def _comparison(found: Compared) -> ComparisonDocument:
    known = found.comparison
    return ComparisonDocument(
        **{"from": instant(found.from_ms)},
        champion=found.champion,
        challenger=found.challenger,
        metric=found.metric,
        to=instant(found.until_ms),
        standing="not yet known" if known is None else known.standing.value,
        difference=None if known is None else known.difference,
        low=None if known is None else known.low,
        high=None if known is None else known.high,
        labels=0 if known is None else known.n,
        more_labels=None if known is None else known.more_labels,
    )
