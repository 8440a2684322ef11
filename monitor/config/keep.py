"""How long data is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated

from monitor.config.section import Finding, Section
from monitor.config.settings import ModelSettings
from monitor.config.values import DurationMs, duration_between, span
from schemas.duration import format_duration

_Age = Annotated[DurationMs, duration_between("1d", "36500d")]


class Keep(Section):
    """How long data is kept; ages of counts and verdicts are event time, those of messages wall clock."""

    slices_ms: _Age = span("45d", alias="slices")
    """Counts in the slices in which they were taken in: so long any verdict can be recomputed, and any range
    compared. Left out, it is longer where a model's horizons or windows need it."""
    hours_ms: _Age = span("400d", alias="hours")
    """Counts added up to hours, after that."""
    days_ms: _Age = span("1100d", alias="days")
    """Counts added up to days, after that; older ones are removed."""
    results_ms: _Age = span("400d", alias="results")
    """Verdicts and measured performance. Those behind an alert stay as long as it does."""
    incidents_ms: _Age = span("1100d", alias="incidents")
    """Incidents that are over, with their alerts, their story and what was sent."""
    deliveries_ms: _Age = span("90d", alias="deliveries")
    """Messages that were sent, or given up."""
    dead_letters_ms: _Age = span("90d", alias="dead_letters")
    """Dead letters; those that wait to be sent on or replayed stay."""


def needed_ms(settings: ModelSettings) -> int:
    """Age up to which counts of a model can still change, or are still to be judged."""
    reference = settings.reference.span_ms or 0
    windows = max(window.length_ms for window in settings.windows)
    return max(settings.horizon_ms, settings.labels.horizon_ms, reference) + windows


def kept(keep: Keep, models: Collection[ModelSettings]) -> Keep:
    """Ages in effect: what is left out is at least as long as what it follows, and as what models need."""
    slices_ms, hours_ms, days_ms, incidents_ms = (
        keep.slices_ms, keep.hours_ms, keep.days_ms, keep.incidents_ms,
    )  # fmt: skip
    given = keep.model_fields_set
    if "slices_ms" not in given:
        slices_ms = max(slices_ms, *(needed_ms(settings) for settings in models))
    if "hours_ms" not in given:
        hours_ms = max(hours_ms, slices_ms)
    if "days_ms" not in given:
        days_ms = max(days_ms, hours_ms)
    if "incidents_ms" not in given:
        incidents_ms = max(incidents_ms, keep.results_ms)
    return keep.model_copy(
        update={
            "slices_ms": slices_ms, "hours_ms": hours_ms, "days_ms": days_ms, "incidents_ms": incidents_ms
        }
    )  # fmt: skip


def keep_problems(keep: Keep, models: Collection[tuple[str, ModelSettings]]) -> Iterator[Finding]:
    """Find ages that contradict each other, or what models need.

    Parameters
    ----------
    keep : Keep
    models : collection of (str, ModelSettings)
        Settings in effect, with a name for people.
    """
    for name, settings in models if "slices_ms" in keep.model_fields_set else ():
        needed = needed_ms(settings)
        if keep.slices_ms < needed:
            message = (
                f"'{format_duration(keep.slices_ms)}' is too short for {name}, whose counts can change for "
                f"{format_duration(needed)} (the longest horizon and window; use at least as much)"
            )
            yield ("keep", "slices"), message
            break
    in_effect = kept(keep, [settings for _, settings in models])
    for earlier, later in (("slices", "hours"), ("hours", "days"), ("results", "incidents")):
        ages = [getattr(in_effect, f"{stage}_ms") for stage in (earlier, later)]
        if ages[1] < ages[0]:
            first, last = map(format_duration, ages)
            message = f"{later} '{last}' end before {earlier} '{first}' do (use {earlier} ≤ {later})"
            yield ("keep", later), message
