"""Gives models of the benchmarks a reference beforehand, as if they had been learning for some days."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from detectors.profile import Profile, profile_batch
from detectors.reference import Reference, build
from monitor.config import Configuration
from monitor.config.settings import ModelSettings
from monitor.decode.batch import Events, Messages, make_batch
from monitor.decode.json import Json
from monitor.profiling import ModelState
from monitor.references.lifecycle import keep, promote
from monitor.store.engine import immediate
from schemas.batch import Batch
from tests.benchmarks.stream import Shape, events

ROWS = 20_000
FIRST_MS = 1_700_000_040_000


def promote_references(engine: Engine, configuration: Configuration, shape: Shape) -> None:
    """Learn a reference from events of a shape, and put it in force for all its models."""
    new = learned(configuration.for_model("m000"), shape)
    with immediate(engine) as connection:
        keep(connection, new, {"source": "benchmark"}, FIRST_MS)
        for number in range(shape.models):
            promote(connection, (f"m{number:03d}", "1"), new.hash, from_ms=0, by="benchmark", now_ms=FIRST_MS)


def batch_of(settings: ModelSettings, shape: Shape, first_ms: int = FIRST_MS) -> Batch:
    """Decode all events of a shape, whatever models it spreads them over, as those of one."""
    envelopes = Json().decode([value for value, _ in events(shape, first_ms)])
    waiting = Events()
    none, row = [b""] * shape.events, envelopes.row
    waiting.extend(envelopes, None, Messages(none, none, row, row, row, {}))
    state = ModelState(settings, (), ())
    features, rows, _ = state.decoder.decode(waiting.features)
    return make_batch(waiting, rows, features, state.widen(waiting), settings.segments)


def learned(settings: ModelSettings, shape: Shape) -> Reference:
    """Learn a reference from some events of a shape."""
    batch = batch_of(settings, replace(shape, events=ROWS, models=1))
    slices: dict[int, Profile] = profile_batch(batch, settings.slice_ms)
    return build(
        slices,
        slice_ms=settings.slice_ms,
        window_ms=settings.slice_ms,
        segments=settings.segments,
        max_segment_values=settings.max_segment_values,
    )
