"""Judges the events of a window by all that is watched: their columns and rows, and their quality."""

from __future__ import annotations

import struct
from typing import NamedTuple

from detectors.base import Detector, Moment, Step
from detectors.digest import WeeklyEvidence
from detectors.edetector import EDetector
from detectors.joint import judge_window
from detectors.joint import weeks_in as weeks_of_columns
from detectors.quality.facts import Facts
from detectors.quality.watching import judge_quality, streams_of
from detectors.reference import Reference
from detectors.sample import Sample
from detectors.tensor import FloatArray
from detectors.units import with_units

_MAGIC = b"DLV1"
_FOOTER = struct.Struct("<Q4s")  # bytes of the last part, and what shows that there is one


class EventBudget(NamedTuple):
    """Expected number of false alarms that a window may cost.

    Parameters
    ----------
    streams : FloatArray
        ``[segments, columns]``; see `detectors.joint.lanes_of`.
    quality : float
        Of each of the `quality_streams`.
    """

    streams: FloatArray
    quality: float


def quality_streams(reference: Reference, detector: Detector) -> int:
    """Number of streams of data quality: none beside detectors that know no budget."""
    return streams_of(reference) if isinstance(detector, EDetector) else 0


def judge_events(
    detector: Detector,
    reference: Reference,
    facts: Facts,
    sample: Sample,
    state: bytes,
    *,
    start_ms: int,
    end_ms: int,
    budget: EventBudget,
) -> Step:
    """Judge the next window of a series.

    Parameters
    ----------
    detector : Detector
    reference : Reference
    facts : Facts
        All rows of the window.
    sample : Sample
        Some of them.
    state : bytes
        After the window before; empty for the first.
    start_ms, end_ms : int
        The window.
    budget : EventBudget

    Returns
    -------
    Step
        The verdicts of `detectors.joint.judge_window`, then those of the watches of data quality.
    """
    moment = Moment(start_ms, end_ms, budget.streams)
    first, last = _apart(state)
    found = judge_window(detector, reference, facts.counts, sample, first, moment)
    found = found._replace(verdicts=with_units(reference, sample, found.verdicts))
    if not isinstance(detector, EDetector):
        return found
    quality = judge_quality(reference, facts, last, start_ms=start_ms, end_ms=end_ms, budget=budget.quality)
    together = found.state + quality.state + _FOOTER.pack(len(quality.state), _MAGIC)
    return Step([*found.verdicts, *quality.verdicts], together)


def weeks_in(state: bytes) -> tuple[WeeklyEvidence | None, WeeklyEvidence | None]:
    """Evidence of the week in a state: of columns, and of their correlations; None where there is none."""
    return weeks_of_columns(_apart(state)[0])


def _apart(state: bytes) -> tuple[bytes, bytes]:
    """The state of columns and rows, and that of data quality."""
    if not state.endswith(_MAGIC):
        return state, b""
    length, _ = _FOOTER.unpack(state[-_FOOTER.size :])
    end = len(state) - _FOOTER.size
    return state[: end - length], state[end - length : end]
