"""``/models/{model}/fairness``: how differently the values of a segment are treated."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from detectors.fairness import Disparity, Rate, measure_fairness
from detectors.outcomes import joined
from monitor.performance.outcomes import positive_of, read_outcomes, segment_hash, task_of
from monitor.store.engine import reading
from monitor.store.queries.outcomes import class_hashes, texts_of
from monitor.web.api.performance import RangeAsked, checked_versions, span_of
from monitor.web.context import Context
from monitor.web.documents import InstantText, Number, instant
from monitor.web.parameters import PathText, QueryText
from monitor.web.problems import Mistake, Refused, not_found


class FairnessAsked(RangeAsked):
    """Parameters of fairness."""

    segment: QueryText = Field(description="Name of a configured segment, such as `gender`.")
    version: QueryText | None = Field(None, description="Only this version; default: all.")


class RateDocument(BaseModel):
    """A rate: `count` of `n`."""

    rate: Number
    count: int
    n: int


class GroupDocument(BaseModel):
    """What was done to the events of one value."""

    value: str
    positive: RateDocument = Field(description="Positive predictions, of all.")
    true_positive: RateDocument = Field(description="Positive predictions among labelled positives.")
    false_positive: RateDocument = Field(description="Positive predictions among labelled negatives.")
    calibration_error: Number


class DisparityDocument(BaseModel):
    """The largest difference between two groups; for a ratio the smallest one."""

    value: Number
    low: Number
    high: Number
    largest: str
    smallest: str


class FairnessDocument(BaseModel):
    """Groups of a segment, and how differently they are treated; whether unjustly is for people to say."""

    model: str
    segment: str
    from_: InstantText | None = Field(alias="from")
    to: InstantText | None
    groups: list[GroupDocument]
    disparities: dict[str, DisparityDocument | None] = Field(
        description="Null where fewer than two groups have 30 rows. Intervals at 90 %, for all pairs at once."
    )


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["performance"])

    @router.get("/models/{model:path}/fairness", summary="How differently groups are treated")
    def get_fairness(model: PathText, asked: Annotated[FairnessAsked, Query()]) -> FairnessDocument:
        """Demographic parity, equal opportunity, equalised odds and calibration between groups."""
        with reading(context.engine) as connection:
            named = {} if asked.version is None else {"version": asked.version}
            versions = checked_versions(connection, model, named)
            from_ms, to_ms = span_of(context, connection, model, asked)
            chosen = [asked.version] if asked.version is not None else list(versions)
            parts = read_outcomes(connection, model, chosen, from_ms, to_ms)
            records = joined([part.tobytes() for part in parts.values()])
            names = texts_of(connection, class_hashes([records]))
        settings = context.configuration.for_model(model)
        values = sorted(name for name in names.values() if name.startswith(f"{asked.segment}="))
        if not values:
            known = sorted({name.partition("=")[0] for name in names.values() if "=" in name})
            raise not_found(asked.segment, "segment", "query.segment", known)
        if task_of(settings, records) != "binary_classification":
            what = "fairness is measured for binary classifiers"
            raise Refused(422, what, [Mistake(where="path.model", what=what, allowed="a binary classifier")])
        segments = {name.partition("=")[2]: segment_hash(name) for name in values}
        found = measure_fairness(records, segments, positive_of(settings, records))
        return FairnessDocument(
            **{"from": instant(from_ms)},
            model=model,
            segment=asked.segment,
            to=instant(to_ms),
            groups=[
                GroupDocument(
                    value=group.name,
                    positive=_rate(group.positive),
                    true_positive=_rate(group.true_positive),
                    false_positive=_rate(group.false_positive),
                    calibration_error=group.calibration.mean if group.calibration.n else None,
                )
                for group in found.groups
            ],
            disparities={name: _disparity(one) for name, one in found.disparities.items()},
        )

    return router


def _rate(rate: Rate) -> RateDocument:
    return RateDocument(rate=rate.share if rate.n else None, count=round(rate.k), n=round(rate.n))


def _disparity(found: Disparity | None) -> DisparityDocument | None:
    return None if found is None else DisparityDocument(**vars(found))
