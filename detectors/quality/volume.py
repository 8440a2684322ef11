"""More or fewer rows than windows of that hour or day usually have."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.base import Moment, Step
from detectors.ledger import Ledger
from detectors.quality.base import Watch
from detectors.quality.facts import Example, Facts
from detectors.quality.latches import Latches
from detectors.quality.levels import LAST_WINDOWS, Levels, Recent
from detectors.quality.once import once
from detectors.quality.planted import Traffic, planted_facts, planted_reference
from detectors.quality.telling import told
from detectors.reference import Reference
from detectors.tensor import FloatArray, IntArray
from schemas.decoding import msgpack_decoder
from schemas.errors import ProfileError

COLUMN = "rows"
FACTORS = (0.5, 0.7, 0.85, 1.2, 1.5, 2.0)
MARGIN = 0.05
"""By how much the level may be off, as a part of it."""
_SKEWED = 1 / 3  # of the overdispersion: the mean of a skewed distribution lies above its median
_CHANGED_LOG = float(np.log(3))  # a window that says so much for a change is no part of the level


class _Rest(msgspec.Struct, array_like=True):
    mass: bytes
    recent: bytes


class VolumeWatch(Watch):
    """Watches the number of rows of a window.

    Notes
    -----
    Rows are negative binomial around a level L, the median of the last eight windows of the same slot that
    lie outside of incidents and have no e-value of 3 or more on their own; at first those of the reference.
    For each factor f the likelihood ratio of f·L and L, divided by its expectation at the edge of what may
    be off that lies towards f·L, is an e-value for all means up to this edge and beyond L on the other side.
    The edges are 0.95·L, and (1.05 + φ/3)·L: the mean of a skewed distribution lies above its median. The
    mean of the six e-values goes through the ledger. A window without any row is nobody's finding here:
    `monitor.silence` tells that nothing comes.

    Slots and overdispersion are learned from the reference's windows, see `detectors.quality.levels`.
    """

    name: ClassVar[str] = "volume"
    formula: ClassVar[str] = (
        "ln Σ w·M with M ← (M + b)·E after each window, b the budget; an alarm at 0 or more. "
        "E = aˣ·(1 + φ·μ·(1 − a))^(1/φ) with a = f·(1 + φ·L)/(1 + φ·f·L) for x rows at a level L that varies "
        "by φ, the factors f of 0.5 to 2, μ = 0.95·L for f below 1 and (1.05 + φ/3)·L above"
    )

    def columns(self, reference: Reference) -> tuple[str, ...]:
        """The rows, where the reference has windows enough to tell how many are usual."""
        known = _levels(reference)
        return (COLUMN,) if np.isfinite(known.overdispersion[0]) else ()

    def step(self, reference: Reference, facts: Facts, state: bytes, moment: Moment) -> Step:
        """Judge the next window."""
        known, segments = _levels(reference), reference.binning.groups
        streams = len(segments)
        latches = Latches.from_bytes(state, streams, moment.start_ms)
        mass, recent = _rest(latches.rest, known, streams)
        rows = facts.counts[:, : int(reference.binning.offsets[1])].sum(axis=1) * facts.is_whole
        slot = int(known.slotting.of(np.array([moment.start_ms]))[0])
        level, is_known = recent.level(slot), np.isfinite(known.overdispersion)
        budget = np.where(latches.is_open, 0.0, moment.budget.ravel())
        phi = np.where(is_known, known.overdispersion, 1.0)
        evalues = log_evalues(rows, np.where(is_known, level, 0.0), phi)
        if not rows[0]:
            evalues[:] = 0.0
        ledger = Ledger(mass[:, None])
        found = ledger.step(evalues[:, None], budget, np.full((1, streams), 1 / len(FACTORS)))
        is_alarm = found.is_alarm & ~latches.is_open
        verdicts = told(
            self.detector,
            segments,
            (COLUMN,),
            latches,
            evidence_log=np.where(budget > 0, found.evidence_log, -np.inf),
            is_alarm=is_alarm,
            is_normal=found.window_log <= 0,
            rows=rows if rows[0] else np.zeros_like(rows),
            known=reference.group_rows,
            budget=budget,
            source=f"false-alarm budget; level of the last {LAST_WINDOWS} windows, {known.slotting.name}",
            moment=moment,
            explain=lambda i: _words(segments[i], int(rows[i]), float(level[i])),
        )
        if rows[0]:
            recent.add(slot, rows, np.flatnonzero(~latches.is_open & (found.window_log < _CHANGED_LOG)))
        rest = _Rest(ledger.mass.astype("<f4").tobytes(), recent.rows.astype("<i8").tobytes())
        latches.rest = msgspec.msgpack.encode(rest)
        return Step(verdicts, latches.to_bytes())

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half of the rows do not come."""
        usual = Traffic()
        reference = planted_reference(seed=1, traffic=usual)
        return (
            Example(
                reference,
                planted_facts(reference, seed=2, windows=100, traffic=usual),
                planted_facts(reference, seed=3, windows=4, traffic=Traffic(rows=500)),
                column=COLUMN,
                delay=1,
            ),
        )


_levels = once(Levels.learn)


def log_evalues(rows: IntArray, level: FloatArray, overdispersion: FloatArray) -> FloatArray:
    """Logarithms of the e-values of a window.

    Parameters
    ----------
    rows : IntArray
        ``[N]``.
    level, overdispersion : FloatArray
        ``[N]``: L and φ above 0; where L is 0 nothing is known.

    Returns
    -------
    FloatArray
        ``[6, N]``, one for each of `FACTORS`.
    """
    f, is_known = np.array(FACTORS)[:, None], level > 0
    mean = np.where(is_known, level, 1.0)
    spread = overdispersion * mean
    log_a = np.log(f) + np.log1p(spread) - np.log1p(f * spread)
    edge = mean * np.where(f > 1, 1 + MARGIN + _SKEWED * overdispersion, 1 - MARGIN)
    expected = -np.log1p(-overdispersion * edge * np.expm1(log_a)) / overdispersion
    return np.asarray(np.where(is_known, rows * log_a - expected, 0.0))


def _rest(data: bytes, known: Levels, streams: int) -> tuple[NDArray[np.float32], Recent]:
    """Masses of the factors, and the last windows; at first those of the reference."""
    if not data:
        return np.zeros((len(FACTORS), streams), np.float32), Recent(known.recent.rows.copy())
    try:
        rest = msgpack_decoder(_Rest).decode(data)
        mass = np.frombuffer(rest.mass, "<f4").reshape(len(FACTORS), streams)
        rows = np.frombuffer(rest.recent, "<i8").reshape(known.recent.rows.shape)
    except (msgspec.MsgspecError, ValueError) as problem:
        msg = f"damaged state of the watch of volume: {problem}"
        raise ProfileError(msg) from problem
    return mass.astype(np.float32), Recent(rows.astype(np.int64))


def _words(segment: str, rows: int, level: float) -> str:
    where = f" ({segment})" if segment else ""
    return f"{COLUMN}{where}: {rows:,}, {level:,.0f} are usual (median of the last windows at that time)"
