"""Watches whether groups are treated more differently than is allowed, within the false-alarm budget."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import special

from detectors.disparity import ALTERNATIVES, MEMORIES, disparity_evidence, pairs
from detectors.fairness_parts import Part, Stream, fairness_parts
from detectors.latch import Latch
from detectors.lone_stream import step_alone
from detectors.outcome_reference import OutcomeReference, up_to_age
from detectors.outcomes import Records
from detectors.sealed import seal, unseal
from detectors.tensor import BoolArray, FloatArray
from schemas.verdict import Verdict

_WINDOWS_REMEMBERED = 10.0
_FADES = 1 - 1 / _WINDOWS_REMEMBERED
_MAGIC = b"DLF1"


class _State(msgspec.Struct):
    mass: bytes  # float32 [parts · pairs · ALTERNATIVES]
    memory: list[float]  # [parts, MEMORIES, groups, 3]
    is_open: bool = False
    settled_for: int = 0
    quiet_since_ms: int = 0


def watch_fairness(
    stream: Stream,
    reference: OutcomeReference,
    records: Records,
    state: bytes,
    *,
    start_ms: int,
    end_ms: int,
    budget: float,
    detector: str,
) -> tuple[Verdict, bytes]:
    """Judge the next window of a series.

    Parameters
    ----------
    stream : Stream
    reference : OutcomeReference
        Only tells where evidence is looked for first; what is allowed is the rule's limit.
    records : records
        Outcomes of the window, all segments.
    state : bytes
        After the window before; empty for the first.
    start_ms, end_ms : int
        The window.
    budget : float
        Expected number of false alarms that it may cost.
    detector : str
        Name that the verdict bears.

    Returns
    -------
    verdict : Verdict
        On the stream's column, all rows; it has evidence and no effects.
    state : bytes

    Notes
    -----
    The e-values of `detectors.disparity` of all parts, pairs and alternatives, with equal weights, go through
    a `Ledger`. Rows of one window are taken for independent; rates may wander between windows as they like,
    as long as they do so within the limit.
    """
    parts = fairness_parts(stream, reference, up_to_age(records, reference.age))
    if state:
        before = unseal(_MAGIC, state, _State, "state of a watch of fairness")
    else:
        before = _begin(stream, reference, start_ms)
    shape = (len(parts), MEMORIES, len(stream.groups), 3)
    memory = np.array(before.memory).reshape(shape)
    is_watched = np.array([part.values.n >= max(stream.rule.least_rows, 1) for part in parts])
    evidence = np.stack([
        disparity_evidence(part.values, known, stream.limit, watched, is_rate=part.is_rate)
        for part, known, watched in zip(parts, memory, is_watched, strict=True)
    ])  # fmt: skip
    mass = np.frombuffer(before.mass, np.float32)
    stepped = step_alone(
        Latch(before.is_open, before.settled_for, before.quiet_since_ms),
        mass,
        evidence.ravel(),
        np.full(evidence.size, 1 / evidence.size),
        budget=budget,
        rows=int(max(part.values.n[w].sum() for part, w in zip(parts, is_watched, strict=True))),
        end_ms=end_ms,
        is_back=_largest(parts, is_watched) <= stream.limit,
    )
    collected = mass.reshape(evidence.shape).astype(float) + stepped.given
    verdict = stepped.verdict(
        detector=detector,
        column=stream.column,
        m=reference.labels,
        source=f"false-alarm budget; {stream.rule.segment}: {stream.limit:g} apart at most",
        words=_words(stream, parts, collected, evidence) if stepped.is_alarm else "",
    )
    remembered = _remember(memory, parts, is_watched)
    return verdict, seal(_MAGIC, _State(stepped.mass.tobytes(), remembered.ravel().tolist(), *stepped.after))


def _begin(stream: Stream, reference: OutcomeReference, start_ms: int) -> _State:
    """State before the first window: groups are remembered as they were in the reference."""
    parts = fairness_parts(stream, reference, reference.records)
    sums = np.stack([part.values.sums for part in parts])
    sums *= min(1.0, _WINDOWS_REMEMBERED / max(len(reference.windows), 1))
    memory = np.repeat(sums[:, None], MEMORIES, axis=1)
    mass = np.zeros(len(parts) * len(pairs(len(stream.groups))) * ALTERNATIVES, np.float32)
    return _State(mass.tobytes(), memory.ravel().tolist(), quiet_since_ms=start_ms)


def _remember(memory: FloatArray, parts: Sequence[Part], is_watched: BoolArray) -> FloatArray:
    """What is remembered after a window: that window, and a mean over about ten."""
    sums = np.stack([part.values.sums for part in parts])
    last = np.where(is_watched[:, :, None], sums, memory[:, 0])
    return np.stack((last, memory[:, 1] * _FADES + sums), axis=1)


def _largest(parts: Sequence[Part], is_watched: BoolArray) -> float:
    """Largest difference between two groups in a window; 0 if there are none to compare."""
    found = [0.0]
    for part, watched in zip(parts, is_watched, strict=True):
        mean = part.means[watched]
        found.append(float(np.ptp(mean)) if len(mean) > 1 else 0.0)
    return max(found)


def _words(stream: Stream, parts: Sequence[Part], mass: FloatArray, evidence: FloatArray) -> str:
    """Say which two groups are apart: those that contribute most to the evidence."""
    with np.errstate(divide="ignore"):
        shown = special.logsumexp(np.log(mass) + evidence, axis=2)
    at, pair = np.unravel_index(int(np.argmax(shown)), shown.shape)
    part, which = parts[int(at)], pairs(len(stream.groups))[pair]
    said = [
        f"{100 * part.means[g]:.1f} % {part.name} where {stream.rule.segment}={stream.groups[g][1]} "
        f"({part.values.n[g]:.0f} rows)"
        for g in which.tolist()
    ]
    return f"{'; '.join(said)}; at most {100 * stream.limit:g} points of difference are allowed"
