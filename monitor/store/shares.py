"""Which share of a model's predictions is kept for pairing, so that a join costs a bounded amount.

A share holds from a slice on; which predictions are kept is decided by their key, on both sides alike. Where
a slice of event time has more predictions a second than the configuration allows, a smaller share, a power of
one half, holds from the next slice on; it grows again after a quiet hour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from detectors.tensor import IntArray
from monitor.store.sql import insert_new
from monitor.store.tables import join_share, slice_profile

QUIET_SLICES = 60  # of which none may be too busy for the next larger share
LOOK_EVERY = 64  # times as rare a commit would have to be for a look at the rate to be needed
LEAST_SHARE = 2.0**-30


@dataclass(frozen=True)
class Shares:
    """Shares of one model, oldest first; 1 before the first.

    Parameters
    ----------
    from_ms : int64 array
    share : float64 array
    """

    from_ms: IntArray
    share: NDArray[np.float64]

    def at(self, times_ms: IntArray) -> NDArray[np.float64]:
        """Share in force at instants of event time."""
        at = np.searchsorted(self.from_ms, times_ms, side="right")
        return np.append(1.0, self.share)[at]

    @property
    def latest(self) -> float:
        """Share in force now."""
        return float(self.share[-1]) if len(self.share) else 1.0


def is_kept(keys: IntArray, share: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether predictions with these keys are among the share.

    Examples
    --------
    >>> keys = np.arange(0, 2**62, 2**58) * 4
    >>> int(is_kept(keys, np.full(len(keys), 0.25)).sum()), len(keys)
    (4, 16)
    """
    return np.asarray((keys.view(np.uint64) / 2.0**64 < share) | (share >= 1))  # 2⁶⁴ - 1 is rounded up


def shares_of(connection: Connection, models: Collection[str]) -> dict[str, Shares]:
    """Shares of models."""
    query = (
        select(join_share)
        .where(join_share.c.model.in_(list(models)))
        .order_by(join_share.c.model, join_share.c.from_ms)
    )
    rows: dict[str, list[tuple[int, float]]] = {}
    for row in connection.execute(query):
        rows.setdefault(row.model, []).append((row.from_ms, row.share))
    return {
        model: Shares(
            np.array([at for at, _ in rows.get(model, [])], np.int64),
            np.array([share for _, share in rows.get(model, [])], np.float64),
        )
        for model in models
    }


def adapt(
    connection: Connection,
    model: str,
    shares: Shares,
    came: Mapping[int, int],
    *,
    slice_ms: int,
    most_per_s: float,
) -> None:
    """Choose another share for the slices to come, if the rate asks for it.

    Parameters
    ----------
    connection : Connection
        Inside the transaction in which the slices were written.
    model : str
    shares : Shares
    came : mapping of int to int
        Predictions of this commit, by the start of their slice.
    slice_ms : int
    most_per_s : float
        Predictions to keep, per second of event time.
    """
    most = most_per_s * slice_ms / 1_000
    is_small = max(came.values(), default=0) * LOOK_EVERY * shares.latest < most
    if not came or (is_small and shares.latest >= 1):
        return
    c = slice_profile.c
    newest = connection.execute(select(func.max(c.slice_ms)).where(c.model == model)).scalar() or max(came)
    recent = (
        select(func.sum(c.rows))
        .where(c.model == model, c.slice_ms > newest - QUIET_SLICES * slice_ms)
        .group_by(c.slice_ms)
    )
    busiest = max((int(n) for n in connection.execute(recent).scalars()), default=0)
    wanted = 1.0
    while busiest * wanted > most and wanted > LEAST_SHARE:
        wanted /= 2
    # A share is only raised where twice as much would fit, so that it does not go to and fro.
    if wanted < shares.latest or (wanted > shares.latest and busiest * 2 * shares.latest * 1.5 < most):
        changed = wanted if wanted < shares.latest else min(2 * shares.latest, 1.0)
        insert_new(connection, join_share, [{"model": model, "from_ms": newest + slice_ms, "share": changed}])
