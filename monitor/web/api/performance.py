"""``/models/{model}/performance``: what predictions turned out to be worth."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from detectors.outcomes import AGE_LIMITS_MS
from detectors.performance import Realised
from monitor.performance.outcomes import Measured, measure_together, read_outcomes, versions_of
from monitor.store.engine import reading
from monitor.store.queries.models import model_exists
from monitor.store.queries.outcomes import newest_outcome
from monitor.store.queries.performance import ValuesWanted, values
from monitor.web.context import Context
from monitor.web.documents import InstantText, Number, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, DurationText, Instant, Paged, PathText, QueryText, SegmentText
from monitor.web.problems import Mistake, Refused, not_found
from schemas.duration import UNITS_MS, format_duration

DEFAULT_MS = UNITS_MS["d"]


class MeasureDocument(BaseModel):
    """One measure with its 95 % interval."""

    value: float
    low: Number = Field(description="Lower limit; null: not known.")
    high: Number = Field(description="Upper limit; null: not known.")
    n: int = Field(description="Rows that it is computed from.")


class AgeDocument(BaseModel):
    """Labels that came so long after their predictions."""

    up_to: str | None = Field(description="Upper limit of the age; null: older than all limits.")
    labels: int


class PairDocument(BaseModel):
    """How often one class was predicted and another one true."""

    predicted: str
    label: str
    count: int


class RealisedDocument(BaseModel):
    """Performance of predictions whose labels are known."""

    predicted: int = Field(description="Predictions that were kept to wait for labels.")
    labelled: int = Field(description="Those with a label.")
    coverage: Number = Field(description="labelled / predicted; null without predictions.")
    effective_n: float = Field(description="Independent labels that these are worth.")
    measures: dict[str, MeasureDocument] = Field(
        description="By name; what is not defined, as a precision where nothing was predicted, is left out."
    )
    confusion: dict[str, int] | list[PairDocument] | None = Field(
        description="Of two classes tp, fp, tn, fn; of more the pairs that occur; null for numbers."
    )
    ages: list[AgeDocument] = Field(description="Labels by the time they took, only where there are any.")
    unreadable: int = Field(description="Labels of predicted numbers that are no numbers.")


class VersionDocument(RealisedDocument):
    """The same of one version."""

    version: str
    role: str


class PerformanceDocument(RealisedDocument):
    """Performance over a range, of all versions asked for together and of each."""

    model: str
    task: str
    from_: InstantText | None = Field(
        alias="from", description="Start of the range, rounded down to a slice."
    )
    to: InstantText | None = Field(description="End of the range, rounded up to a slice; not included.")
    segment: str
    segments: list[str] = Field(description="Segments that have outcomes in the range.")
    currency: str | None = Field(description="What costs are counted in; null: none are configured.")
    versions: list[VersionDocument]


class RangeAsked(Asked):
    """A range of event time."""

    from_ms: Instant | None = Field(None, alias="from", description="Start; default: a day before the end.")
    to_ms: Instant | None = Field(None, alias="to", description="End; default: behind the newest outcome.")


class PerformanceAsked(RangeAsked):
    """Parameters of performance."""

    segment: SegmentText = Field("", description="Only rows of this segment, `name=value`.")
    version: QueryText | None = Field(None, description="Only this version.")
    role: QueryText | None = Field(
        None, description="Only versions of this role; default: champion, and all if there is none."
    )
    max_age_ms: DurationText | None = Field(
        None,
        alias="max_age",
        description="Only labels that came within this time, as `6h`; rounded up to a limit of an age.",
    )


class ValueDocument(BaseModel):
    """One measure of one window."""

    version: str
    window: str
    window_start: InstantText | None
    segment: str
    kind: str = Field(
        description="`estimated` before labels came, `realised` with them; `covariate` and `concept`: parts "
        "of the change since the reference that the inputs explain, and that they do not."
    )
    metric: str
    value: float
    low: Number
    high: Number
    n: int
    coverage: Number = Field(description="Labelled share of the predictions; of realised values.")
    computed_at: InstantText | None


class ValuesAsked(Paged):
    """Parameters of the list of windows."""

    from_ms: Instant | None = Field(
        None, alias="from", description="Windows that start at this instant or later."
    )
    to_ms: Instant | None = Field(None, alias="to", description="Windows that start before.")
    version: QueryText | None = Field(None, description="Only this version.")
    segment: SegmentText = Field("", description="Only this segment, `name=value`; default: all rows.")
    metric: QueryText | None = Field(None, description="Only this measure.")
    kind: Literal["estimated", "realised", "covariate", "concept"] | None = Field(
        None, description="Only values of this kind."
    )


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["performance"])

    @router.get("/models/{model:path}/performance", summary="Realised performance of any range")
    def get_performance(model: PathText, asked: Annotated[PerformanceAsked, Query()]) -> PerformanceDocument:
        """Measures with intervals, confusion and label coverage, of all rows or of a segment."""
        with reading(context.engine) as connection:
            if not model_exists(connection, model):
                raise not_found(model, "model", "path.model")
            from_ms, to_ms = span_of(context, connection, model, asked)
            roles = _versions(connection, model, asked)
            settings = context.configuration.for_model(model)
            parts = read_outcomes(connection, model, roles, from_ms, to_ms)
            until_age = _until_age(asked.max_age_ms)

            def measured(versions: list[str]) -> Measured:
                chosen = [parts[version] for version in versions if version in parts]
                return measure_together(
                    connection, settings, chosen, segment=asked.segment, until_age=until_age
                )

            together = measured(list(roles))
            each = {version: measured([version]).realised for version in roles if version in parts}
        if asked.segment and asked.segment not in together.segments and together.segments:
            raise not_found(asked.segment, "segment", "query.segment", together.segments)
        options = settings.performance
        return PerformanceDocument(
            **_fields(together.realised) | {"from": instant(from_ms)},
            model=model,
            task=together.task,
            to=instant(to_ms),
            segment=asked.segment,
            segments=together.segments,
            currency=options.currency if options is not None and options.costs else None,
            versions=[
                VersionDocument(**_fields(found), version=version, role=roles[version])
                for version, found in each.items()
            ],
        )

    @router.get("/models/{model:path}/performance/windows", summary="Measures of windows")
    def list_performance_windows(
        model: PathText, asked: Annotated[ValuesAsked, Query()]
    ) -> Page[ValueDocument]:
        """Estimated before labels came, realised with them, and the parts of the change between."""
        after = read_cursor(asked.cursor, "performance", int, str, str, str, str)
        wanted = ValuesWanted(
            model, asked.from_ms, asked.to_ms, asked.version, asked.segment, asked.metric, asked.kind
        )
        with reading(context.engine) as connection:
            if not model_exists(connection, model):
                raise not_found(model, "model", "path.model")
            rows, last = cut(values(connection, wanted, after, asked.limit + 1), asked.limit)
        cursor = None
        if last:
            position = (last.start_ms, last.version, last.window, last.kind, last.metric)
            cursor = write_cursor("performance", *position)
        return Page(items=[_value(row) for row in rows], next_cursor=cursor)

    return router


def _value(row: Any) -> ValueDocument:
    names = ("version", "window", "segment", "kind", "metric", "value", "low", "high", "n", "coverage")
    return ValueDocument(
        **{name: getattr(row, name) for name in names},
        window_start=instant(row.start_ms),
        computed_at=instant(row.computed_at_ms),
    )


def span_of(context: Context, connection: Connection, model: str, asked: RangeAsked) -> tuple[int, int]:
    """Range in whole slices, as asked or the last day with outcomes.

    Raises
    ------
    Refused
        If it is empty.
    """
    slice_ms = context.configuration.for_model(model).slice_ms
    to_ms = asked.to_ms
    if to_ms is None:
        newest = newest_outcome(connection, model)
        to_ms = context.clock.now_ms() if newest is None else newest + slice_ms
    from_ms = to_ms - DEFAULT_MS if asked.from_ms is None else asked.from_ms
    if from_ms >= to_ms:
        what = "the range is empty: from must lie before to"
        raise Refused(422, what, [Mistake(where="query.from", what=what, allowed=f"before {instant(to_ms)}")])
    return from_ms // slice_ms * slice_ms, -(-to_ms // slice_ms) * slice_ms


def checked_versions(connection: Connection, model: str, named: dict[str, str]) -> dict[str, str]:
    """Versions of a model and their roles, after a look whether those that were named are among them."""
    if not model_exists(connection, model):
        raise not_found(model, "model", "path.model")
    versions = versions_of(connection, model)
    for where, version in named.items():
        if version not in versions:
            raise not_found(version, "version", f"query.{where}", list(versions))
    return versions


def _versions(connection: Connection, model: str, asked: PerformanceAsked) -> dict[str, str]:
    roles = versions_of(connection, model)
    if asked.version is not None:
        if asked.version not in roles:
            raise not_found(asked.version, "version", "query.version", list(roles))
        return {asked.version: roles[asked.version]}
    if asked.role is not None:
        if asked.role not in roles.values():
            raise not_found(asked.role, "role", "query.role", sorted(set(roles.values())))
        return {version: role for version, role in roles.items() if role == asked.role}
    champions = {version: role for version, role in roles.items() if role == "champion"}
    return champions or roles


def _until_age(limit_ms: int | None) -> int | None:
    if limit_ms is None:
        return None
    return next((at for at, age in enumerate(AGE_LIMITS_MS) if age >= limit_ms), None)


def _fields(found: Realised) -> dict[str, Any]:
    limits = [*(format_duration(limit) for limit in AGE_LIMITS_MS), None]
    confusion = found.confusion
    if isinstance(confusion, list):
        pairs = [PairDocument(predicted=p, label=label, count=n) for p, label, n in confusion]
    return {
        "predicted": found.predicted,
        "labelled": found.labelled,
        "coverage": found.coverage,
        "effective_n": found.effective_n,
        "measures": {name: MeasureDocument(**vars(one)) for name, one in found.measures.items()},
        "confusion": pairs if isinstance(confusion, list) else confusion,
        "ages": [
            AgeDocument(up_to=limit, labels=labels)
            for limit, labels in zip(limits, found.ages, strict=True)
            if labels
        ],
        "unreadable": found.unreadable,
    }
