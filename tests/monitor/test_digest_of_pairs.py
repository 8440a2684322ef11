"""The weekly digest lists correlations too, where whole rows are sampled."""

from __future__ import annotations

import numpy as np
import pandas as pd

from monitor.backtest import backtest
from monitor.config import Configuration
from schemas.column import CORRELATION

DAYS, ROWS = 56, 400


def events(lost_from: int) -> pd.DataFrame:
    """Two columns that go together until a day, each as it always was."""
    rng = np.random.default_rng(3)
    parts = []
    for day in range(DAYS):
        x = rng.normal(0, 1, ROWS)
        y = 0.9 * x + np.sqrt(1 - 0.81) * rng.normal(0, 1, ROWS)
        if day >= lost_from:
            y = rng.permutation(y)
        at = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(day, "D")
        parts.append(
            pd.DataFrame({"timestamp": at + pd.to_timedelta(np.arange(ROWS) * 200, "s"), "x": x, "y": y})
        )
    found = pd.concat(parts, ignore_index=True)
    return found.assign(model="m", prediction=rng.integers(0, 2, len(found)))


def test_a_correlation_that_is_lost_is_listed_in_its_week() -> None:
    configuration = Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "x"},
            "database_url": "sqlite:///d.db",
            "streams": [{"topic": "p", "kind": "predictions"}],
            "defaults": {"slice": "1h", "windows": ["1d"], "reference": {"first": "28d"}},
        }
    )
    digests = backtest(events(lost_from=42), configuration).digests
    assert len(digests) == 4
    listed = [{stream.column for stream in digest.listed} for digest in digests]
    assert listed[0] == listed[1] == set()
    assert all(CORRELATION in columns for columns in listed[2:])
    (found,) = [stream for stream in digests[2].listed if stream.column == CORRELATION]
    assert found.lane == "multivariate"
    assert found.summary == "how columns go together has changed"
    assert {stream.column for stream in digests[2].listed} <= {
        CORRELATION,
        "multivariate.distance",
        "multivariate.reconstruction_error",
    }
