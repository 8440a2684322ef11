"""Statistics against thresholds: which streams reached theirs, and which have nothing to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np

from detectors.effects import EffectArrays, compare
from detectors.tensor import BoolArray, FloatArray, IntArray, ReferenceCounts
from detectors.verdicts import make_verdicts
from schemas.errors import UsageError
from schemas.verdict import Verdict

CONFIGURED = "configured; no stated false-alarm rate"
NOT_ORDERED = "not on a numeric axis"
NOTHING_ON_AXIS = "nothing to compare on the numeric axis"


def check_threshold(name: str, threshold: float, most: float = inf) -> None:
    """Refuse a threshold that no effect can reach, or that every effect does.

    Raises
    ------
    UsageError
        If the threshold is not above 0 and at most `most`, or not finite.

    Examples
    --------
    >>> check_threshold("js", 1.5, most=1.0)
    Traceback (most recent call last):
    schemas.errors.UsageError: js: threshold: 1.5 (a number above 0 and at most 1 is allowed)
    """
    if not (0 < threshold <= most and threshold < inf):
        limit = f" and at most {most:g}" if most < inf else ""
        msg = f"{name}: threshold: {threshold} (a number above 0{limit} is allowed)"
        raise UsageError(msg)


def judge_by_threshold(
    name: str,
    reference: ReferenceCounts,
    window: IntArray,
    effect: Callable[[EffectArrays], FloatArray],
    threshold: float,
) -> list[Verdict]:
    """Judge one window by one of its effects.

    Parameters
    ----------
    name : str
        Name of the detector.
    reference, window
        See `detectors.base.Detector.judge`.
    effect : callable
        Takes the effect out of all of them; nan where it does not exist.
    threshold : float
        Smallest effect that is drift.

    Raises
    ------
    UsageError
        If the window does not lie on the reference's layout.
    """
    reference.check_window(window)
    effects = compare(reference.counts, window, reference.layout, reference.sd)
    statistic = effect(effects)
    thresholds = np.full(statistic.shape, threshold)
    return reached(name, reference, effects, statistic, thresholds, CONFIGURED)


def reached(
    name: str,
    reference: ReferenceCounts,
    effects: EffectArrays,
    statistic: FloatArray,
    thresholds: FloatArray,
    source: str,
) -> list[Verdict]:
    """Make verdicts of statistics and the thresholds of their streams.

    Parameters
    ----------
    name : str
        Name of the detector.
    reference : ReferenceCounts
        What the window was compared with.
    effects : EffectArrays
        ``[S, C]``.
    statistic : FloatArray
        ``[S, C]``; nan where nothing can be said. Such a stream is never drift, its statistic is given as 0
        and its threshold source says why.
    thresholds : FloatArray
        ``[S, C]``: smallest statistic that is drift.
    source : str
        Where the thresholds came from.
    """
    is_stated: BoolArray = np.asarray(np.isfinite(statistic))
    columns = len(reference.layout.columns)
    verdicts = make_verdicts(
        name,
        reference,
        effects,
        statistic=np.where(is_stated, statistic, 0.0),
        is_drift=is_stated & (statistic >= thresholds),
        thresholds=np.zeros(columns),
        threshold_sources=[source] * columns,
    )
    silence = [NOTHING_ON_AXIS if any(row) else NOT_ORDERED for row in reference.layout.ordered.tolist()]
    each = zip(verdicts, thresholds.ravel().tolist(), is_stated.ravel().tolist(), strict=True)
    return [
        replace(verdict, threshold=threshold, threshold_source=source if stated else silence[i % columns])
        for i, (verdict, threshold, stated) in enumerate(each)
    ]
