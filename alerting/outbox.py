"""Rows of the outbox: what is to be delivered, decided in the transaction of the results that caused it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class OutboxRow:
    """One message that waits for delivery.

    Parameters
    ----------
    id : str
        Deterministic, so that writing the same change twice leaves one row; it is also the ``webhook-id``.
    payload : str
        The notice as JSON; see `alerting.notice`.
    not_before_ms : int
        Wall clock; 0 is at once.
    """

    id: str
    alert_id: str
    sequence: int
    receiver: str
    payload: str
    not_before_ms: int = 0


def row_id(alert_id: str, sequence: int, receiver: str) -> str:
    """Identity of the message that tells a receiver of a change.

    Examples
    --------
    >>> row_id("a1", 1, "oncall") == row_id("a1", 1, "oncall")
    True
    >>> len(row_id("a1", 1, "oncall")), row_id("a1", 1, "oncall") == row_id("a1", 2, "oncall")
    (32, False)
    """
    return hashlib.sha256(f"{alert_id}:{sequence}:{receiver}".encode()).hexdigest()[:32]
