"""Takes one event out of stored profiles: out of the samples of whole rows, and of the examples of rules.

Counts, sums and sketches stay: they hold no id, and what one event has added to them cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from detectors.binning import Binning
from detectors.profile import MAGIC, Profile
from detectors.sample import Sample
from detectors.sealed import unseal_raw
from monitor.erasure.traces import Event

_SMALL = 1 << 32  # hashes below are written in fewer bytes


def without_event(
    data: bytes, event: Event, binning_of: Callable[[str], Binning]
) -> tuple[bytes, int] | None:
    """Take an event out of the bytes of a profile.

    Parameters
    ----------
    data : bytes
    event : Event
    binning_of : callable
        Bins of the reference with a hash.

    Returns
    -------
    (bytes, int) or None
        The bytes without it, and how many rows and examples were taken out; None if there are none.

    Raises
    ------
    ProfileError
        If the bytes are damaged.
    """
    if not _may_hold(data, event.hash):
        return None
    hash_ = Profile.reference_of(data)
    profile = Profile.from_bytes(data, binning_of(hash_) if hash_ else None)
    number = _out_of_sample(profile, event.hash) + _out_of_examples(profile, event.hash)
    return (profile.to_bytes(), number) if number else None


def _may_hold(data: bytes, hash_: int) -> bool:
    """Whether the hash is anywhere in the bytes: much faster than to read them all."""
    raw = unseal_raw(MAGIC, data, "profile")
    return hash_ < _SMALL or hash_.to_bytes(8, "little") in raw or hash_.to_bytes(8, "big") in raw


def _out_of_sample(profile: Profile, hash_: int) -> int:
    sample = profile.sample
    rows = sample.batch
    if rows is None or rows.keys is None:
        return 0
    others = np.flatnonzero(rows.keys != np.uint64(hash_))
    gone = len(rows) - len(others)
    if gone:
        profile.sample = Sample.below(
            rows.take(others), sample.most, sample.threshold, sample.list_thresholds
        )
    return gone


def _out_of_examples(profile: Profile, hash_: int) -> int:
    gone = 0
    for rule, examples in profile.violations.examples.items():
        kept = tuple(one for one in examples.kept if one.key != hash_)
        gone += len(examples.kept) - len(kept)
        profile.violations.examples[rule] = replace(examples, kept=kept)
    return gone
