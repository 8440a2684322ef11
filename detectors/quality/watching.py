"""Lets every watch of data quality judge a window, with one part of the budget for each of their streams."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np

from detectors.base import Moment, Step
from detectors.quality.base import Watch
from detectors.quality.catalog import watches
from detectors.quality.facts import Facts
from detectors.reference import Reference
from detectors.sealed import seal, unseal
from schemas.verdict import Verdict

_MAGIC = b"DLQ1"


class _State(msgspec.Struct):
    watches: dict[str, bytes]


def streams_of(reference: Reference) -> int:
    """Number of streams of all watches against a reference."""
    return sum(rows * len(columns) for _, columns, rows in _plan(reference))


def judge_quality(
    reference: Reference, facts: Facts, state: bytes, *, start_ms: int, end_ms: int, budget: float
) -> Step:
    """Judge the next window of a series by all watches.

    Parameters
    ----------
    reference : Reference
    facts : Facts
        Of the window.
    state : bytes
        After the window before; empty for the first.
    start_ms, end_ms : int
        The window.
    budget : float
        Expected number of false alarms that each of the `streams_of` the reference may cost in it.

    Returns
    -------
    Step
        Verdicts of all watches in alphabetical order.
    """
    before = unseal(_MAGIC, state, _State, "state of watches of data quality").watches if state else {}
    verdicts: list[Verdict] = []
    after: dict[str, bytes] = {}
    for watch, columns, rows in _plan(reference):
        moment = Moment(start_ms, end_ms, np.full((rows, len(columns)), budget))
        found = watch.step(reference, facts, before.get(watch.name, b""), moment)
        verdicts += found.verdicts
        after[watch.name] = found.state
    return Step(verdicts, seal(_MAGIC, _State(after)))


class _Key:
    """A reference as a key of the cache: the same object, not an equal one."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def __hash__(self) -> int:
        return id(self.reference)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.reference is self.reference


def _plan(reference: Reference) -> Sequence[tuple[Watch, tuple[str, ...], int]]:
    return _planned(_Key(reference))


@lru_cache(maxsize=64)
def _planned(key: _Key) -> Sequence[tuple[Watch, tuple[str, ...], int]]:
    """Watches that have something to watch, their columns, and how many segments they judge."""
    segments = len(key.reference.binning.groups)
    every = ((watch, watch.columns(key.reference)) for watch in watches().values())
    return [(watch, columns, segments if watch.by_segment else 1) for watch, columns in every if columns]
