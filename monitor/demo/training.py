"""The training file, and the reference made of it: what the replayed months are compared with."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from sqlalchemy import Engine

from detectors.reference import Reference
from monitor.config import Configuration
from monitor.demo import model
from monitor.demo.faults import day_ms
from monitor.demo.flights import UNKNOWN, Flights
from monitor.frames.reference import reference_from_file
from monitor.references import lifecycle
from monitor.store.engine import immediate

FILE = "train.parquet"
REPLAY_FROM_MS = day_ms("2013-03-01")  # UTC: the evening of 28 February in New York is replayed


def write(flights: Flights, scorer: model.DelayModel, path: Path) -> None:
    """Write the flights before the replay, with what the model says of them, one row an event."""
    sample = flights.taken(flights.event_ms < REPLAY_FROM_MS)
    scores = scorer.score(sample)
    columns = {
        "event_id": pa.array(sample.event_ids(sample.named["carrier"])),
        "timestamp": pa.array(sample.event_ms, pa.timestamp("ms", tz="UTC")),
        **{name: pa.array(values) for name, values in sample.numeric.items()},
        **{name: pa.array(column.texts(), pa.string()) for name, column in sample.named.items()},
        "prediction": pa.array((scores >= model.THRESHOLD).astype("int64")),
        "score": pa.array(scores.round(4)),
        "label": pa.array(sample.label, mask=sample.label == UNKNOWN),
        "label_timestamp": pa.array(
            sample.landed_ms, pa.timestamp("ms", tz="UTC"), mask=sample.label == UNKNOWN
        ),
    }
    parquet.write_table(pa.table(columns), path)


def promote(engine: Engine, configuration: Configuration, path: Path, now_ms: int) -> Reference:
    """Build the reference and judge the model against it from the start of the replay.

    Raises
    ------
    UnusableReference
        If the database has a later reference already.
    """
    settings = configuration.for_model(model.NAME)
    made = reference_from_file(path, settings)
    key = (model.NAME, model.VERSION)
    span = {"from_ms": made.from_ms, "to_ms": made.to_ms}
    metadata = {"source": FILE, "model": key[0], "version": key[1], **span}
    with immediate(engine) as connection:
        lifecycle.keep(connection, made, metadata, now_ms)
        lifecycle.promote(connection, key, made.hash, from_ms=REPLAY_FROM_MS, by="the demo", now_ms=now_ms)
    return made
