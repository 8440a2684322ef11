"""Versions beside each other, objectives, and references of outcomes made of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from detectors.comparison import Standing
from detectors.outcomes import EVERYTHING
from detectors.performance import realised
from monitor.config import Configuration
from monitor.frames.outcomes import outcome_reference_from_file, outcome_reference_from_frame
from monitor.labels.pending import hashes_of
from monitor.performance.versions import compare_range, comparisons
from monitor.store.engine import reading
from schemas.errors import UnusableReference
from tests.monitor.outcome_world import OutcomeWorld, at


def right(share: float) -> Callable[[np.random.Generator], tuple[dict[str, Any], Any]]:
    """Predictions of 1, of which a share is right."""

    def draw(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
        return {"prediction": 1}, int(rng.random() < share)

    return draw


@pytest.fixture
def world(tmp_path: Path) -> Iterator[OutcomeWorld]:
    made = OutcomeWorld(f"sqlite:///{tmp_path / 'd.db'}", segments=[])
    yield made
    made.close()


def beside(world: OutcomeWorld, champion: float, older: float, minutes: int = 260) -> None:
    """An older version that goes on as a shadow beside a new champion; each event has one label."""
    rng = np.random.default_rng(5)
    serial = 0
    for minute in range(minutes):
        for i in range(12):
            at_ms = at(minute) + i * 5_000
            truth = int(rng.random() < 0.5)
            for version, role, share in (("1", "shadow", older), ("2", "champion", champion)):
                if version == "2" and minute < 30:
                    continue
                said = truth if rng.random() < share else 1 - truth
                world.append("pp", {"event_id": f"v{serial}", "model": "churn", "version": version,
                                    "role": role, "timestamp": at_ms, "prediction": said,
                                    "features": {"age": 30}})  # fmt: skip
            world.append("ll", {"event_id": f"v{serial}", "model": "churn", "timestamp": at_ms + 1_000,
                                "label": truth})  # fmt: skip
            serial += 1
    world.take_in()


def test_an_older_version_that_does_better_is_recommended(world: OutcomeWorld) -> None:
    beside(world, champion=0.7, older=0.85)
    world.sweep()
    with reading(world.engine) as connection:
        (found,) = comparisons(connection, "churn")
        settings = world.configuration.for_model("churn")
        pair = compare_range(connection, settings, "churn", ("2", "1"), None, at(0), at(1_000))
    assert (found.champion, found.challenger, found.metric) == ("2", "1", "accuracy")
    assert found.comparison is not None
    assert found.comparison.standing is Standing.BETTER
    assert 0.08 < found.comparison.difference < 0.22
    assert pair.comparison is not None
    assert pair.comparison.difference == pytest.approx(found.comparison.difference, abs=0.02)
    ((summary,),) = world.rows("SELECT summary FROM alert WHERE kind = 'rollback'")
    assert "version 1 does better on the same events" in summary


def test_versions_that_are_alike_are_not_told_apart(world: OutcomeWorld) -> None:
    beside(world, champion=0.8, older=0.8, minutes=120)
    world.sweep()
    with reading(world.engine) as connection:
        (found,) = comparisons(connection, "churn")
    assert found.comparison is not None
    assert found.comparison.standing is Standing.UNKNOWN
    assert world.rows("SELECT count(*) FROM alert WHERE kind = 'rollback'") == [(0,)]
    assert world.sweep() == []  # each slice counts once
    with reading(world.engine) as connection:
        assert comparisons(connection, "churn") == [found]


def test_an_objective_is_missed_over_both_ranges_and_settles(tmp_path: Path) -> None:
    options = {"metric": "accuracy", "slo": 0.75, "long": "30m", "short": "10m"}
    world = OutcomeWorld(
        f"sqlite:///{tmp_path / 'd.db'}",
        segments=[],
        models={"churn": {"performance": options}},
        alerts={"policy": {"clean_windows": 2}},
    )
    world.send(0, 80, outputs=right(0.9))
    world.send(80, 40, outputs=right(0.4))
    world.send(120, 80, outputs=right(0.95))
    world.beat(230)
    world.sweep()
    ((opened, state, summary),) = world.rows(
        "SELECT window_start_ms, state, summary FROM alert WHERE kind = 'slo'"
    )
    assert at(80) <= opened <= at(110)
    assert state == "resolved"
    assert "accuracy misses its objective" in summary
    assert "the objective is 0.75: failures come" in summary
    world.close()


# --- tables -------------------------------------------------------------------------------------------------


def frame(rows: int = 4_000) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    score = rng.beta(2, 3, rows)
    times = pd.date_range("2026-01-01", periods=rows, freq="5min", tz="UTC")
    label = pd.array((rng.random(rows) < score).astype(int), dtype="Int64")
    label[rng.random(rows) < 0.1] = pd.NA
    return pd.DataFrame(
        {
            "timestamp": times, "event_id": [f"e{i}" for i in range(rows)], "age": rng.integers(20, 60, rows),
            "origin": np.where(rng.random(rows) < 0.5, "EWR", "JFK"), "score": score,
            "prediction": (score > 0.5).astype(int), "label": label,
            "label_timestamp": times + pd.to_timedelta(rng.integers(1, 7_000, rows), unit="s"),
        }
    )  # fmt: skip


def settings_of(**more: Any) -> Any:
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "none"}, "database_url": "sqlite:///none.db",
            "streams": [{"topic": "p", "kind": "predictions"}],
            "defaults": {"windows": ["1d"], "slice": "1h", "segments": ["origin"], "labels": {"wait": "1h"},
                         **more},
        }
    ).for_model("m")  # fmt: skip


def test_a_table_with_labels_makes_a_reference_of_outcomes(tmp_path: Path) -> None:
    table = frame()
    made = outcome_reference_from_frame(table, settings_of())
    within = table[(table.label_timestamp - table.timestamp) <= pd.Timedelta("1h")].dropna(subset="label")
    assert made.labels == len(within)
    assert set(made.segments.values()) == {"origin=EWR", "origin=JFK"}
    yes = hashes_of(["1"])
    found = realised(made.records, "binary_classification", positive=yes, names={}, segment=EVERYTHING)
    assert isinstance(found.confusion, dict)
    assert found.confusion["tp"] == int(((within.prediction == 1) & (within.label == 1)).sum())
    assert found.predicted == len(table)
    assert made.tensor.layout.columns == ("performance.error", "label", "label.delay", "label.coverage")
    path = tmp_path / "train.parquet"
    table.to_parquet(path)
    assert outcome_reference_from_file(path, settings_of()).hash == made.hash


def test_without_times_of_labels_their_delay_is_not_watched() -> None:
    made = outcome_reference_from_frame(frame().drop(columns="label_timestamp"), settings_of())
    assert made.tensor.layout.columns == ("performance.error", "label")
    assert made.labels == int(frame().label.notna().sum())


def test_a_table_without_labels_makes_none() -> None:
    with pytest.raises(UnusableReference, match="has no column label"):
        outcome_reference_from_frame(frame().drop(columns="label"), settings_of())


def test_performance_is_estimated_before_the_first_label_comes(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    score = rng.beta(2, 3, 3_000)
    times = pd.date_range("2025-12-01", periods=3_000, freq="2min", tz="UTC")
    training = pd.DataFrame({"timestamp": times, "age": 30, "score": score,
                             "prediction": (score > 0.5).astype(int),
                             "label": (rng.random(3_000) < score).astype(int)})  # fmt: skip
    training.to_parquet(tmp_path / "train.parquet")
    file = {"file": str(tmp_path / "train.parquet")}
    world = OutcomeWorld(f"sqlite:///{tmp_path / 'd.db'}", segments=[], reference=file)

    def scored(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
        p = float(rng.beta(2, 3))
        return {"prediction": int(p > 0.5), "score": p}, 0

    world.predict(0, 40, outputs=scored)
    world.take_in()
    world.beat(60, "pp")
    world.sweep()
    world.sweep()
    kinds = world.rows("SELECT DISTINCT kind FROM performance_value")
    assert kinds == [("estimated",)]
    ((value,),) = world.rows(
        f"SELECT value FROM performance_value WHERE metric = 'accuracy' AND start_ms = {at(10)}"
    )
    assert 0.6 < value < 0.8
    world.close()
