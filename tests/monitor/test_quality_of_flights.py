"""A winter of real flights with planted faults: each is found on its first day, and nothing on the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitor.backtest import backtest
from monitor.backtest import run as backtest_run
from monitor.backtest.judges import EventJudge, Judged
from monitor.backtest.windows import Window
from monitor.config import Configuration
from monitor.demo.flights import data_folder, read_flights
from schemas.verdict import Decision, Lane

DAY_MS = 86_400_000
MARCH_MS = 1_362_096_000_000
Frame = pd.DataFrame
Fault = Callable[[Frame, np.random.Generator], Frame]


def settings(**changed: Any) -> Configuration:
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:9"},
            "database_url": "sqlite:///unused.db",
            "streams": [{"topic": "flights", "kind": "predictions"}],
            "defaults": {
                "windows": ["1d"],
                "slice": "1h",
                "reference": {"from": "2013-01-01T00:00:00Z", "to": "2013-03-01T00:00:00Z"},
                "columns": {
                    "humid": {"min": 0, "max": 100, "limit": 0.001},
                    "carrier": {"pattern": "[0-9A-Z]{2}", "required": False},
                },
                "rules": {"dew": {"expression": "dewp <= temp + 1", "limit": "5 rows"}},
                **changed,
            },
        }
    )


def flights() -> Frame:
    found = read_flights(data_folder())
    frame = pd.DataFrame(
        {
            "timestamp": found.event_ms,
            **found.numeric,
            **{name: column.texts() for name, column in found.named.items()},
            "score": 1 / (1 + np.exp(3.5 - found.numeric["hour"] / 6)),
            "prediction": (found.numeric["hour"] > 17).astype(int),
        }
    )
    return frame[frame.timestamp < MARCH_MS + 31 * DAY_MS].reset_index(drop=True)


def at(frame: Frame, generator: np.random.Generator, share: float) -> Any:
    return generator.random(len(frame)) < share


def some_missing(frame: Frame, generator: np.random.Generator) -> Frame:
    return frame.assign(pressure=frame.pressure.mask(at(frame, generator, 0.4)))


def a_new_carrier(frame: Frame, generator: np.random.Generator) -> Frame:
    return frame.assign(carrier=frame.carrier.mask(at(frame, generator, 0.05), "ZZ"))


def a_column_gone(frame: Frame, _generator: np.random.Generator) -> Frame:
    return frame.assign(visib=np.nan)


def a_sensor_stuck(frame: Frame, _generator: np.random.Generator) -> Frame:
    return frame.assign(humid=61.23)


def rounded(frame: Frame, _generator: np.random.Generator) -> Frame:
    return frame.assign(wind_speed=frame.wind_speed.round())


def half_the_flights(frame: Frame, generator: np.random.Generator) -> Frame:
    return frame[at(frame, generator, 0.4)]


def scores_in_percent(frame: Frame, _generator: np.random.Generator) -> Frame:
    return frame.assign(score=100 * frame.score)


def humidity_above_all(frame: Frame, generator: np.random.Generator) -> Frame:
    return frame.assign(humid=frame.humid.mask(at(frame, generator, 0.02), 130.0))


def names_in_small_letters(frame: Frame, generator: np.random.Generator) -> Frame:
    return frame.assign(carrier=frame.carrier.mask(at(frame, generator, 0.1), frame.carrier.str.lower()))


def swapped(frame: Frame, generator: np.random.Generator) -> Frame:
    """Temperature and dew point of some rows in each other's place."""
    hit = at(frame, generator, 0.05)
    return frame.assign(temp=frame.temp.mask(hit, frame.dewp), dewp=frame.dewp.mask(hit, frame.temp + 2))


FAULTS: dict[int, tuple[Fault, str, str]] = {
    3: (some_missing, "quality.missing", "pressure"),
    5: (a_new_carrier, "quality.unseen", "carrier"),
    7: (a_column_gone, "quality.schema", "visib"),
    9: (a_sensor_stuck, "quality.stuck", "humid"),
    12: (rounded, "quality.precision", "wind_speed"),
    15: (half_the_flights, "quality.volume", "rows"),
    18: (scores_in_percent, "contract.probability", "score"),
    21: (humidity_above_all, "contract.range", "humid"),
    24: (names_in_small_letters, "contract.pattern", "carrier"),
    27: (swapped, "contract.agreement", "rules.dew"),
}
"""Day of March: the fault, and the finding that names it."""


@pytest.fixture(scope="module")
def clean() -> Frame:
    return flights()


def findings(frame: Frame, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, str, str]]:
    """Day of March, detector, column and segment of every finding on data quality."""
    found: list[tuple[int, str, str, str]] = []

    class Recording(EventJudge):
        def judge(self, window: Window) -> Judged:
            judged = super().judge(window)
            day = (window.start_ms - MARCH_MS) // DAY_MS + 1
            found.extend(
                (day, verdict.detector, verdict.column, verdict.segment)
                for verdict in (*judged.verdicts, *judged.ruled)
                if verdict.decision is Decision.DRIFT and verdict.lane is Lane.QUALITY
            )
            return judged

    monkeypatch.setattr(backtest_run, "EventJudge", Recording)
    backtest(frame.assign(model="flights"), settings())
    return found


def test_nothing_is_found_in_march_as_it_was(clean: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(clean, monkeypatch) == []


def test_every_planted_fault_is_found_on_its_day(clean: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(11)
    days = (clean.timestamp - MARCH_MS) // DAY_MS + 1
    parts = [clean[days < 1]]
    for day in range(1, 32):
        rows = clean[days == day]
        parts.append(FAULTS[day][0](rows, generator) if day in FAULTS else rows)
    found = findings(pd.concat(parts), monkeypatch)
    for day, (_, detector, column) in FAULTS.items():
        assert (day, detector, column, "") in found
    assert {day for day, *_ in found} == set(FAULTS)
