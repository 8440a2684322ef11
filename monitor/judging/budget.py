"""What each stream may cost: the stated false-alarm budget, shared out over models, lanes and streams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from detectors.base import Detector
from detectors.events import EventBudget, quality_streams
from detectors.joint import lanes_of
from detectors.reference import Reference
from detectors.tensor import FloatArray
from monitor.config.alerts import Alerts
from schemas.errors import UsageError
from schemas.verdict import Lane

# Part of each lane's share that goes to the outcomes of a window, where they are judged too.
_OF_OUTCOMES: dict[str, float] = {Lane.PERFORMANCE: 1.0, Lane.QUALITY: 0.5, Lane.SEGMENTS: 0.5}


def window_budget(
    alerts: Alerts,
    window_ms: int,
    models: int,
    lanes: Sequence[Lane],
    segments: int,
    *,
    of_outcomes: bool | None = None,
    alone: int = 0,
    quality: int = 0,
) -> FloatArray:
    """Share the budget of one window out over the streams of one model version.

    Parameters
    ----------
    alerts : Alerts
        The stated budget and the shares of its lanes.
    window_ms : int
        Event time that one judgement accounts for: the length of the window, where no row is judged twice.
    models : int
        Model versions that share the budget, at least 1; each gets the same part.
    lanes : sequence of Lane
        Lane of each of the C columns, as in `detectors.tensor.TensorLayout`.
    segments : int
        Number S of segments, with that of all rows, which comes first.
    of_outcomes : bool, optional
        Whether the columns are about outcomes, where both events and outcomes are judged; default: only
        events are. Outcomes have the lane ``performance`` to themselves and share ``quality`` and
        ``segments`` half and half with the events.
    alone : int
        How many of the last columns are judged for all rows only; in other segments they get nothing.
    quality : int
        Further streams of the lane ``quality``, of whatever segment. `event_budget` says what each gets.

    Returns
    -------
    FloatArray
        ``[S, C]``: expected number of false alarms that each stream may cost in the window.

    Raises
    ------
    UsageError
        If there are no models or no segments, or the window has no length.

    Notes
    -----
    A stream of all rows belongs to the lane of its column, one of any other segment to the lane ``segments``.
    Streams of one lane get equal parts. The shares of lanes without a stream go to the others in proportion
    to theirs, so that the sum is always the model's part of the budget times the sum of all shares. If no
    lane that is there has a share, nothing is given out: a share of 0 means that nothing may be spent.

    Examples
    --------
    >>> alerts = Alerts.model_validate(
    ...     {"budget": "1 per day", "lanes": {"predictions": 0.3, "features": 0.1}})
    >>> lanes = (Lane.PREDICTIONS, Lane.FEATURES, Lane.FEATURES)
    >>> window_budget(alerts, 86_400_000, models=1, lanes=lanes, segments=1).round(3).tolist()
    [[0.75, 0.125, 0.125]]
    """
    part = _parts(
        alerts, window_ms, models, lanes, segments, of_outcomes=of_outcomes, alone=alone, quality=quality
    )
    budget = np.zeros((segments, len(lanes)))
    budget[:, : len(lanes) - alone] = part.get(Lane.SEGMENTS, 0.0)
    budget[0] = [part[lane] for lane in lanes]
    return budget


def event_budget(
    alerts: Alerts,
    window_ms: int,
    models: int,
    detector: Detector,
    reference: Reference,
    *,
    of_outcomes: bool | None = None,
) -> EventBudget:
    """Share the budget of one window out over all that is watched in its events.

    Parameters
    ----------
    alerts : Alerts
    window_ms : int
        See `window_budget`.
    models : int
        Model versions that share the budget; 0 if nothing may be spent.
    detector : Detector
    reference : Reference
    of_outcomes : bool, optional
        See `window_budget`.
    """
    lanes, segments = lanes_of(reference, detector), len(reference.binning.groups)
    if not models:
        return EventBudget(np.zeros((segments, len(lanes))), 0.0)
    alone = len(lanes) - len(reference.tensor.layout.lanes)
    quality = quality_streams(reference, detector)
    shared: tuple[Alerts, int, int, Sequence[Lane], int] = (alerts, window_ms, models, lanes, segments)
    part = _parts(*shared, of_outcomes=of_outcomes, alone=alone, quality=quality)
    return EventBudget(
        window_budget(*shared, of_outcomes=of_outcomes, alone=alone, quality=quality),
        part.get(Lane.QUALITY, 0.0) if quality else 0.0,
    )


def _parts(
    alerts: Alerts,
    window_ms: int,
    models: int,
    lanes: Sequence[Lane],
    segments: int,
    *,
    of_outcomes: bool | None,
    alone: int,
    quality: int,
) -> dict[Lane, float]:
    """What each stream of a lane may cost, for the lanes that have any."""
    for what, value in (("models", models), ("segments", segments), ("window_ms", window_ms)):
        if value < 1:
            msg = f"window_budget: {what}: {value} (1 or more is allowed)"
            raise UsageError(msg)
    total = alerts.budget.expected_in(window_ms) / models
    shares: dict[str, float] = alerts.lanes.model_dump()
    if of_outcomes is not None:
        shares = {
            lane: share * (_OF_OUTCOMES.get(lane, 0.0) if of_outcomes else 1 - _OF_OUTCOMES.get(lane, 0.0))
            for lane, share in shares.items()
        }
    streams = Counter(lanes)
    streams[Lane.SEGMENTS] += (segments - 1) * (len(lanes) - alone)
    streams[Lane.QUALITY] += quality
    present = math.fsum(shares[lane] for lane in Lane if streams[lane])
    given = total * math.fsum(shares.values())
    return {
        lane: given * (shares[lane] / present) / streams[lane] if shares[lane] else 0.0
        for lane in Lane
        if streams[lane]
    }
