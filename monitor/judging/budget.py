"""What each stream may cost: the stated false-alarm budget, shared out over models, lanes and streams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

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
    in_parts = len(lanes) - alone
    streams[Lane.SEGMENTS] += (segments - 1) * in_parts
    present = math.fsum(shares[lane] for lane in Lane if streams[lane])
    given = total * math.fsum(shares.values())
    part = {
        lane: given * (shares[lane] / present) / streams[lane] if shares[lane] else 0.0
        for lane in Lane
        if streams[lane]
    }
    budget = np.zeros((segments, len(lanes)))
    budget[:, :in_parts] = part.get(Lane.SEGMENTS, 0.0)
    budget[0] = [part[lane] for lane in lanes]
    return budget
