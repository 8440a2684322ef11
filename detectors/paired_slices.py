"""What two versions of a model lost on the same slices of events: rows and differences for a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from detectors.outcomes import EVERYTHING, UNIT, Family, Records, number_sums
from detectors.tensor import FloatArray

Loss: TypeAlias = Callable[[Records], tuple[float, float]]
"""Rows of a slice's records, and the sum over them of what is compared."""


def right(records: Records) -> tuple[float, float]:
    """Count labelled predictions of classes, and those that are right; reach 1."""
    known = _of(records, Family.LABELLED)
    return float(known["n"].sum()), float(known["n"][known["a"] == known["b"]].sum())


def squared_error(records: Records) -> tuple[float, float]:
    """Sum squared errors of scores; reach 1 with one score, 2 with scores of all classes."""
    known = _of(records, Family.LABELLED)
    return float(known["n"].sum()), float(known["s1"].sum() / UNIT)


def absolute_error(records: Records) -> tuple[float, float]:
    """Sum absolute errors of predicted numbers; reach infinite."""
    known = _of(records, Family.RESIDUAL)
    return float(known["n"].sum()), float(number_sums(known)[1].sum())


def paired(
    champion: Sequence[Records], challenger: Sequence[Records], loss: Loss
) -> tuple[FloatArray, FloatArray]:
    """Rows and sums of differences by slice, for `PairedSums.added`.

    Parameters
    ----------
    champion, challenger : sequence of records
        Of the same slices, in order of time.
    loss : Loss

    Returns
    -------
    FloatArray, FloatArray
        ``[slices]`` each. Where one version has fewer events than the other, the difference of the means
        counts for so many; slices that one has nothing of count nothing.
    """
    sides = [np.array([loss(slice_) for slice_ in side]).reshape(-1, 2) for side in (champion, challenger)]
    (n, sums), (other_n, other_sums) = (side.T for side in sides)
    rows = np.minimum(n, other_n)
    means = sums / np.maximum(n, 1), other_sums / np.maximum(other_n, 1)
    return rows, rows * (means[1] - means[0])


def _of(records: Records, family: Family) -> Records:
    return np.asarray(records[(records["family"] == family) & (records["segment"] == EVERYTHING)])


def cost_of(costs: dict[tuple[int, int], float]) -> Loss:
    """Make a loss of a cost matrix; its reach is the largest less the smallest cost.

    Parameters
    ----------
    costs : dict of (int, int) to float
        By (predicted, label), hashes as int64 with the same bits; 0 where there is none.
    """

    def loss(records: Records) -> tuple[float, float]:
        known = _of(records, Family.LABELLED)
        total = sum(
            cost * float(known["n"][(known["a"] == predicted) & (known["b"] == label)].sum())
            for (predicted, label), cost in costs.items()
        )
        return float(known["n"].sum()), total

    return loss
