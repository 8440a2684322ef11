"""How many bytes the slices of a model take, as they are stored: minutes, hours, days."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detectors.profile import Profile, profile_batch
from monitor.config.settings import ModelSettings
from tests.benchmarks.learned import FIRST_MS, batch_of, learned
from tests.benchmarks.stream import Shape

MINUTES = 60
HOURS = 24


@dataclass(frozen=True)
class Sizes:
    """Mean bytes of one slice, of one hour and of one day, samples of rows included where they are kept."""

    minutes: float
    hours: float
    days: float


def sizes(settings: ModelSettings, shape: Shape, per_minute: int) -> Sizes:
    """Profile an hour of a shape, and add it up; a day is made of an hour and of 23 hours like it."""
    reference = learned(settings, shape)
    binning, hash_ = reference.binning, reference.hash
    whole = replace(shape, events=MINUTES * per_minute, models=1)
    # The writer spaces events evenly from the rate of the shape; here only the counts matter.
    batch = batch_of(settings, whole, FIRST_MS)
    minutes = [
        part
        for first in range(0, whole.events, per_minute)
        for part in profile_batch(
            batch.take(np.arange(first, first + per_minute)),
            settings.slice_ms,
            binning,
            hash_,
            sample_rows=settings.sample_per_minute,
        ).values()
    ]
    hour = Profile(binning, hash_)
    hour.merge(*minutes)
    day = Profile(binning, hash_)
    for _ in range(HOURS):
        day.merge(hour)
    return Sizes(
        sum(len(one.to_bytes()) for one in minutes) / MINUTES, len(hour.to_bytes()), len(day.to_bytes())
    )
