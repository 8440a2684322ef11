"""What Driftline sees of whole rows in the windows of a world: its own sample of them, drawn as in use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from detectors.reference import Reference
from detectors.relations import Together
from monitor.config.settings import ModelSettings
from monitor.frames import Batches, frame_table
from monitor.frames.names import KnownKinds
from monitor.frames.samples import TableSamples
from schemas.column import ColumnSpec


def together(
    events: pd.DataFrame, reference: Reference, settings: ModelSettings, specs: Mapping[str, ColumnSpec]
) -> Iterator[Together]:
    """Look at the sampled rows of each window of a frame, in order.

    Parameters
    ----------
    events : pandas.DataFrame
        With a column ``timestamp``.
    reference : Reference
        With relations.
    settings, specs
        As for `monitor.frames.windows_of_frame`.
    """
    assert reference.relations is not None
    length_ms = settings.windows[0].length_ms
    samples = TableSamples(settings.slice_ms, settings.slice_sample_rows, length_ms)
    starts = np.zeros(0, np.int64)
    for batch in Batches(frame_table(events, KnownKinds(settings, dict(specs))), settings, dict(specs)):
        samples.add(batch)
        starts = np.union1d(starts, batch.event_ms // length_ms * length_ms)
    for sample in samples.windows(starts, length_ms).values():
        yield reference.relations.of(sample)
