"""When to look again at what is held back, without looking every minute of event time."""

from __future__ import annotations

from alerting.pipeline import LOOK_AGAIN_MS
from alerting.record import HeldBy, Record


def later_look_ms(record: Record, look_ms: int, next_ms: int) -> int:
    """Put off a look at what another alert holds back: that changes with the next window at the earliest.

    Parameters
    ----------
    record : Record
        After a look to which nothing had changed since the latest window.
    look_ms : int
        When the service would look again.
    next_ms : int
        When the next window is judged.

    Returns
    -------
    int
        The first of the service's looks, which come every minute, at which there may be news.

    Examples
    --------
    >>> later_look_ms(Record("i", held="held back", held_by=HeldBy.INHIBITION), 70_000, 200_000)
    250000
    >>> later_look_ms(Record("i", held="silenced by ann", held_by=HeldBy.SILENCE), 70_000, 200_000)
    70000
    """
    if record.held_by is not HeldBy.INHIBITION or look_ms >= next_ms:
        return look_ms
    return look_ms + -(-(next_ms - look_ms) // LOOK_AGAIN_MS) * LOOK_AGAIN_MS
