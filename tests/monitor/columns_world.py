"""A filled database for the pages of columns and segments: drift, few rows, odd names, broken rules."""

import json

import pytest
from sqlalchemy import insert, update

from monitor.store.engine import immediate
from monitor.store.tables import judgement, performance_value, result
from schemas.column import ColumnSpec, Kind
from tests.monitor import web_world
from tests.monitor.web_world import MINUTE, START_MS, World

ODD_MODEL, ODD_COLUMN = "a/ü?", "π/<i>x</i> %2F&#"
COLUMNS = {
    "x": {"kind": "numeric", "min": -3, "max": 3, "max_missing": 0.02},
    "score": {"personal": True},
    "c": {"kind": "categorical", "values": ["a", "b"]},
}
WINDOWS = (10, 20, 30, 40)
"""First minutes of the judged windows: the third has drifted, the fourth has few rows."""
RANGE = {"from": "2026-01-01T00:10:00Z", "to": "2026-01-01T00:50:00Z"}


def columns_world(url):
    """Fill a database with the models ``m``, one with odd names, ``fresh`` and ``plain``."""
    made = World(url, models={"m": {"columns": COLUMNS}, "plain": {"segments": []}})
    _fill(made, "m")
    made.alert()
    _collect_evidence(made)
    _break_a_rule(made)
    _measure_performance(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web_world, "X", ColumnSpec(ODD_COLUMN, Kind.NUMERIC))
        _fill(made, ODD_MODEL)
    made.add([0], model="fresh")
    made.add(range(10), model="plain")
    made.learn(range(10), model="plain")
    made.add(range(10, 20), model="plain")
    made.judge(10, model="plain")
    return made


def _fill(made, model):
    made.add(range(10), model=model)
    made.learn(range(10), model=model)
    made.add(range(10, 30), model=model)
    made.add(range(30, 40), model=model, shift=1.0)
    made.add(range(40, 50), model=model, rows=8)
    for minute in WINDOWS:
        made.judge(minute, model=model)
    made.judge(20, model=model, revision=2)


def _collect_evidence(made):
    """Give the results of x what a detector that collects evidence says: -3, 0.5, 4, 7.5."""
    r = result.c
    with immediate(made.engine) as connection:
        for number, minute in enumerate(WINDOWS):
            connection.execute(
                update(result)
                .where(r.model == "m", r.column == "x", r.start_ms == START_MS + minute * MINUTE)
                .values(evidence_log=-3 + 3.5 * number, threshold=0.0)
            )


def _break_a_rule(made):
    """Store a result of a contract with two examples: of x, and of the personal score."""
    example = {"event_id": "e-<7>", "event_ms": START_MS + 31 * MINUTE, "topic": "pp", "partition": 0,
               "offset": 12, "values": {"x": "99", "score": "0.123456"}}  # fmt: skip
    with immediate(made.engine) as connection:
        row = connection.execute(
            result.select().where(
                result.c.model == "m", result.c.column == "x", result.c.segment == "",
                result.c.start_ms == START_MS + 30 * MINUTE,
            )
        ).one()._asdict()  # fmt: skip
        effects = ("psi", "psi_debiased", "psi_low", "psi_high", "evidence_log")
        values = {**row, **dict.fromkeys(effects), "detector": "contract.range", "lane": "quality",
                  "decision": "drift", "explanation": "x: 1 of 1,000 rows is above 3",
                  "attribution": json.dumps({"examples": [example]})}  # fmt: skip
        del values["id"]
        connection.execute(insert(result).values(values))
        volume = {"column": "rows", "detector": "quality.volume", "attribution": None}
        connection.execute(insert(result).values(values | volume | {"judgement_id": _newest(connection)}))


def _newest(connection):
    j = judgement.c
    query = judgement.select().where(j.model == "m").order_by(j.start_ms.desc()).limit(1)
    return connection.execute(query).one().id


def _measure_performance(made):
    """Store recall by segment: of b it falls from 0.8 to 0.3 in the third window."""
    rows = []
    for minute in WINDOWS[:3]:
        for segment, value in (("c=a", 0.8), ("c=b", 0.3 if minute == 30 else 0.8)):
            rows.append(
                {"model": "m", "version": "1", "window": "10m", "start_ms": START_MS + minute * MINUTE,
                 "segment": segment, "kind": "realised", "metric": "recall", "value": value, "n": 300,
                 "computed_at_ms": START_MS}
            )  # fmt: skip
    with immediate(made.engine) as connection:
        connection.execute(insert(performance_value), rows)
