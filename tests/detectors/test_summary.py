"""Moments of a column against running statistics computed one value at a time."""

from __future__ import annotations

import numpy as np
import pytest
from river import stats

from detectors.profile import profile_batch
from detectors.summary import Summary
from schemas.batch import Batch
from schemas.column import ColumnSpec, Kind

X = ColumnSpec("x", Kind.NUMERIC)


def _summary(values: np.ndarray) -> Summary:
    batch = Batch(
        np.zeros(len(values), np.int64), (X,), values[None, :].copy(), np.zeros((1, len(values)), np.uint8)
    )
    return profile_batch(batch, slice_ms=60_000)[0].summaries["x"]


def test_mean_and_variance_equal_those_of_a_running_computation() -> None:
    values = np.random.default_rng(3).lognormal(1, 0.8, 5_000)
    mean, variance = stats.Mean(), stats.Var(ddof=0)
    for value in values.tolist():
        mean.update(value)
        variance.update(value)
    summary = _summary(values[:1_700])
    summary.merge(_summary(values[1_700:]))
    assert summary.mean is not None
    assert summary.mean == pytest.approx(mean.get(), rel=1e-12)
    assert summary.squares / summary.ok - summary.mean**2 == pytest.approx(variance.get(), rel=1e-10)
    assert (summary.lowest, summary.highest) == (values.min(), values.max())


def test_quantiles_lie_within_the_error_of_the_sketch() -> None:
    values = np.random.default_rng(4).normal(size=20_000)
    shares = [0.05, 0.25, 0.5, 0.75, 0.95]
    found = _summary(values).quantile(shares)
    assert found is not None
    ranks = [float((values <= quantile).mean()) for quantile in found]
    assert ranks == pytest.approx(shares, abs=0.04)
