"""Gives models of the benchmarks a reference beforehand, as if they had been learning for some days."""

from __future__ import annotations

from sqlalchemy import Engine

from detectors.profile import Profile, profile_batch
from detectors.reference import build
from monitor.config import Configuration
from monitor.decode.batch import Events, Messages, make_batch
from monitor.decode.json import Json
from monitor.profiling import ModelState
from monitor.references.lifecycle import keep, promote
from monitor.store.engine import immediate
from tests.benchmarks.stream import Shape, events

ROWS = 20_000
FIRST_MS = 1_700_000_040_000


def promote_references(engine: Engine, configuration: Configuration, models: int) -> None:
    """Learn a reference from events of `tests.benchmarks.stream`, and put it in force for all models."""
    settings = configuration.for_model("m000")
    envelopes = Json().decode([value for value, _ in events(Shape("", ROWS), FIRST_MS)])
    waiting = Events()
    none, row = [b""] * ROWS, envelopes.row
    waiting.extend(envelopes, None, Messages(none, none, row, row, row, {}))
    state = ModelState(settings, (), ())
    features, rows, _ = state.decoder.decode(waiting.features)
    batch = make_batch(waiting, rows, features, state.widen(waiting), settings.segments)
    slices: dict[int, Profile] = profile_batch(batch, settings.slice_ms)
    new = build(
        slices,
        slice_ms=settings.slice_ms,
        window_ms=settings.slice_ms,
        segments=settings.segments,
        max_segment_values=settings.max_segment_values,
    )
    with immediate(engine) as connection:
        keep(connection, new, {"source": "benchmark"}, FIRST_MS)
        for number in range(models):
            promote(connection, (f"m{number:03d}", "1"), new.hash, from_ms=0, by="benchmark", now_ms=FIRST_MS)
