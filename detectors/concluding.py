"""The end of a step with a ledger: its findings go into the state and into one verdict for each stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detectors.base import Moment, Step
from detectors.effects import EffectArrays
from detectors.ledger import LedgerStep
from detectors.streams import StreamStates
from detectors.tensor import BoolArray, FloatArray, IntArray, ReferenceCounts
from detectors.verdicts import make_verdicts
from schemas.verdict import Decision, Verdict


def conclude(
    detector: str,
    reference: ReferenceCounts,
    states: StreamStates,
    found: LedgerStep,
    effects: EffectArrays,
    *,
    is_normal: BoolArray,
    budget: FloatArray,
    sources: Sequence[str],
    moment: Moment,
) -> Step:
    """Take a window into the state, and say what it means.

    Parameters
    ----------
    detector : str
        Name of the detector.
    reference : ReferenceCounts
    states : StreamStates
        Changed in place.
    found : LedgerStep
        What the ledger found.
    effects : EffectArrays
        Of the window, ``[S, C]``.
    is_normal : BoolArray
        ``[S·C]``: the window looks as it should; three in a row settle a stream.
    budget : FloatArray
        ``[S·C]``: what each stream could spend.
    sources : sequence of str
        For each column, where its threshold comes from.
    moment : Moment
    """
    onset = states.quiet_since.copy()
    has_data = effects.n.ravel() > 0
    psi = np.where(has_data & (effects.m.ravel() > 0), effects.psi_debiased.ravel(), 0.0)
    states.week.take(moment.start_ms, moment.end_ms, found.led_log, effects.n.ravel(), psi)
    states.take(found.is_alarm, is_normal, has_data, found.evidence_log, budget, moment.end_ms)
    shape = effects.n.shape
    verdicts = make_verdicts(
        detector,
        reference,
        effects,
        statistic=np.maximum(found.evidence_log, -700.0).reshape(shape),
        is_drift=found.is_alarm.reshape(shape),
        thresholds=np.zeros(shape[1]),
        threshold_sources=sources,
    )
    decided = _decided(verdicts, states.is_open & (states.settled_for == 0), found, budget, onset)
    return Step(decided, states.to_bytes())


def _decided(
    verdicts: list[Verdict], is_off: BoolArray, found: LedgerStep, budget: FloatArray, onset: IntArray
) -> list[Verdict]:
    """Fill in what the ledger knows of each stream."""
    decided = []
    for i, verdict in enumerate(verdicts):
        alarm, ongoing = bool(found.is_alarm[i]), bool(is_off[i])
        decision = verdict.decision
        if ongoing and not alarm and decision is Decision.OK:
            decision = Decision.ONGOING
        evidence = float(found.evidence_log[i])
        decided.append(
            replace(
                verdict,
                decision=decision,
                evidence_log=evidence if np.isfinite(evidence) else None,
                budget=float(budget[i]),
                onset_ms=int(onset[i]) if alarm else None,
            )
        )
    return decided
