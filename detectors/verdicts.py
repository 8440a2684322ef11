"""Put what a detector computed for all streams into one verdict for each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import isnan

from detectors.effects import EffectArrays
from detectors.moved import explain, medians, moved_bins
from detectors.tensor import BoolArray, FloatArray, ReferenceCounts
from schemas.verdict import Decision, Lane, Verdict


def make_verdicts(
    detector: str,
    reference: ReferenceCounts,
    effects: EffectArrays,
    *,
    statistic: FloatArray,
    is_drift: BoolArray,
    thresholds: FloatArray,
    threshold_sources: Sequence[str],
) -> list[Verdict]:
    """Make the verdicts of one window.

    Parameters
    ----------
    detector : str
        Name of the detector.
    reference : ReferenceCounts
        Names of segments, columns, lanes and bins.
    effects : EffectArrays
        Effects of the window, of shape ``[S, C]``.
    statistic : FloatArray
        ``[S, C]``: what was compared with the threshold.
    is_drift : BoolArray
        ``[S, C]``: whether a stream with data has drifted.
    thresholds : FloatArray
        ``[C]``.
    threshold_sources : sequence of str
        C descriptions of where the thresholds came from.

    Returns
    -------
    list of Verdict
        Segment by segment, in each all columns. A stream without rows in the window or in the reference is
        `Decision.NO_DATA` and has no effects; only drift has an explanation, since only drift needs one.
    """
    layout = reference.layout
    columns = zip(layout.columns, layout.lanes, thresholds.tolist(), threshold_sources, strict=True)
    middles = (medians(effects.reference_share, layout), medians(effects.share, layout))
    numbers = (statistic, is_drift, effects.n, effects.m, *middles)
    rows = zip(
        product(reference.segments, columns),
        zip(*(array.ravel().tolist() for array in numbers), strict=True),
        effects.streams(),
        moved_bins(effects, layout),
        strict=True,
    )
    verdicts = []
    for (segment, (column, lane, threshold, source)), (
        value,
        drift,
        n,
        m,
        before,
        after,
    ), sizes, moved in rows:
        has_data = n > 0 and m > 0
        drifted = has_data and drift
        verdicts.append(
            Verdict(
                detector=detector,
                column=column,
                segment=segment,
                lane=Lane.SEGMENTS if segment else lane,
                decision=Decision.DRIFT if drifted else Decision.OK if has_data else Decision.NO_DATA,
                n=n,
                m=m,
                statistic=value,
                threshold=threshold,
                threshold_source=source,
                effects=sizes if has_data else None,
                moved=moved if has_data else (),
                explanation=explain(column, segment, moved, _known(before), _known(after)) if drifted else "",
            )
        )
    return verdicts


def _known(value: float) -> float | None:
    return None if isnan(value) else value
