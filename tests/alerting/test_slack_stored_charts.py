"""Charts from what is stored: the window of a notice beside the reference that it was judged against."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import delete, insert, update

from alerting.alert import State
from alerting.charts.data import Distribution, Series
from alerting.finding import Kind, instant
from alerting.incidents.impact import Impact, Knowledge
from monitor.charts import source as sources
from monitor.charts.source import StoredCharts
from monitor.store import engine as engines
from monitor.store.engine import immediate
from monitor.store.tables import performance_value, reference, result, slice_profile
from schemas.errors import Unavailable
from schemas.verdict import Lane, MovedBin
from tests.alerting.factory import finding, notices, window
from tests.monitor.web_world import MINUTE, NOW_MS, START_MS, World

FIRST = 40  # minute of the first window that is judged


@pytest.fixture
def world(database_url):
    made = World(database_url)
    made.add(range(30))
    made.learn(range(30))
    made.add(range(30, 60))
    made.add(range(60, 80), shift=2.0)
    for minute in (FIRST, FIRST + 10, FIRST + 20, FIRST + 30):
        made.judge(minute)
    yield made
    made.engine.dispose()


@pytest.fixture
def drawn(world, monkeypatch):
    """What is drawn, instead of images."""
    monkeypatch.setattr(sources, "drawn", lambda found: found)
    return StoredCharts(world.configuration, world.engine)


def notice_of(minute, column="x", *, state=State.FIRING, kind=Kind.DRIFT, lane=Lane.FEATURES, **changes):
    start_ms = START_MS + minute * MINUTE
    found = finding(
        column, lane=lane, detector="psi", window_start=instant(start_ms),
        window_end=instant(start_ms + 10 * MINUTE), **changes,
    )  # fmt: skip
    (told,) = notices(window(0, [found], kind=kind, model="m", version="1"))
    return replace(told, alert=replace(told.alert, state=state, onset_at=instant(start_ms)))


def test_the_window_of_the_finding_is_shown_beside_its_reference(world, drawn):
    bars, line = drawn(notice_of(60))
    assert isinstance(bars, Distribution)
    assert isinstance(line, Series)
    assert (bars.title, bars.start) == ("x, m v1", instant(START_MS + 60 * MINUTE))
    assert bars.is_ordered
    for side in ("reference", "current"):
        assert sum(getattr(one, side) for one in bars.bins) == pytest.approx(1)
    by_label = {one.label: one for one in bars.bins}
    assert by_label["missing"].current == pytest.approx(0.04)  # 4 of 100 rows of a minute
    assert by_label["invalid"].reference == pytest.approx(0.02)
    above = next(one for one in bars.bins if one.label.startswith(">="))
    assert above.current > 0.05 > above.reference


def test_the_statistic_is_that_of_every_window_with_its_threshold(world, drawn):
    _, line = drawn(notice_of(60))
    assert line.measure == "PSI"
    assert [one.start for one in line.points] == [instant(START_MS + at * MINUTE) for at in (40, 50, 60, 70)]
    assert [one.is_alarm for one in line.points] == [False, False, True, True]
    assert all(one.low <= one.high for one in line.points)
    assert (line.limit, line.limit_name) == (pytest.approx(0.1), "threshold")
    assert line.onset_at == instant(START_MS + 60 * MINUTE)


def test_of_an_incident_that_is_over_the_latest_window_is_shown(world, drawn):
    world.add(range(80, 90))
    world.judge(80)
    bars, line = drawn(notice_of(60, state=State.RESOLVED))
    assert bars.start == instant(START_MS + 80 * MINUTE)
    assert not line.points[-1].is_alarm


def test_values_of_a_category_and_of_a_segment_are_shown(world, drawn):
    bars, _ = drawn(notice_of(60, "c"))
    assert not bars.is_ordered
    assert {one.label for one in bars.bins} == {"a", "b", "<b>&"}
    bars, _ = drawn(notice_of(60, "x", segment="c=a"))
    assert bars.title == "x where c=a, m v1"


def test_images_come_out(world):
    charts = StoredCharts(world.configuration, world.engine)(notice_of(60))
    assert [one.filename for one in charts] == ["distribution.png", "over-time.png"]
    assert all(one.png.startswith(b"\x89PNG") for one in charts)
    assert charts == StoredCharts(world.configuration, world.engine)(notice_of(60))


def test_without_the_slices_the_bins_that_moved_are_shown(world, drawn):
    with immediate(world.engine) as connection:
        connection.execute(delete(slice_profile))
    bars, line = drawn(notice_of(60))
    assert bars.is_partial
    assert [one.label for one in bars.bins] == ["[48.1, 61.0)"]
    assert len(line.points) == 4


@pytest.mark.parametrize("break_", [delete(reference), update(reference).values(bytes=b"garbage")])
def test_a_reference_that_cannot_be_read_costs_the_bins_only(world, drawn, break_, caplog):
    with immediate(world.engine) as connection:
        connection.execute(break_)
    bars, line = drawn(notice_of(60))
    assert bars.is_partial
    assert len(line.points) == 4
    assert "no bins for a chart" in caplog.text


def test_too_many_slices_are_not_merged(world, drawn, monkeypatch):
    monkeypatch.setattr("monitor.charts.distribution.MOST_SLICES", 5)
    assert drawn(notice_of(60))[0].is_partial


@pytest.mark.parametrize(
    "told",
    [
        notice_of(60, "gone", moved=()),
        notice_of(999, moved=()),
        notice_of(60, kind=Kind.NO_DATA, column="", moved=()),
    ],
)
def test_where_nothing_is_known_there_is_no_chart(drawn, told):
    assert drawn(told) == ()


def test_an_incident_without_findings_has_no_chart(drawn):
    told = notice_of(60)
    assert drawn(replace(told, alert=replace(told.alert, findings=()))) == ()


@pytest.mark.parametrize(
    ("values", "measure", "limit", "name", "last"),
    [
        ({"statistic": 40.0}, "PSI", 0.01, "tolerance", None),
        ({"psi": None, "evidence_log": np.log(1e6)}, "evidence (powers of ten)", 3.0, "threshold", 6.0),
        ({"psi": None, "statistic": 7.5, "threshold": 5.0}, "psi", 5.0, "threshold", 7.5),
    ],
    ids=["effect", "evidence", "statistic"],
)
def test_what_is_drawn_depends_on_what_the_detector_knows(world, drawn, values, measure, limit, name, last):
    with immediate(world.engine) as connection:
        connection.execute(update(result).values(**values))
    _, line = drawn(notice_of(60, threshold_log=float(np.log(1_000))))
    assert (line.measure, line.limit_name) == (measure, name)
    assert line.limit == pytest.approx(limit)
    assert last is None or line.points[-1].value == pytest.approx(last)


def test_values_that_are_not_finite_are_left_out(world, drawn):
    with immediate(world.engine) as connection:
        connection.execute(update(result).values(psi=None, statistic=1.0, threshold=float("inf")))
        late = result.c.start_ms > START_MS + 45 * MINUTE
        connection.execute(update(result).where(late).values(statistic=float("inf")))
    _, line = drawn(notice_of(60))
    assert len(line.points) == 1
    assert line.limit is None


def measures(world, metric, kind, values):
    rows = [
        {"model": "m", "version": "1", "window": "10m", "start_ms": START_MS + (FIRST + 10 * at) * MINUTE,
         "segment": "", "kind": kind, "metric": metric, "value": value, "low": value - 0.1, "high": None,
         "n": 100, "coverage": 0.5, "computed_at_ms": NOW_MS}
        for at, value in enumerate(values)
    ]  # fmt: skip
    with immediate(world.engine) as connection:
        connection.execute(insert(performance_value), rows)


def test_an_incident_of_performance_shows_the_measure_that_it_costs(world, drawn):
    measures(world, "f1", "estimated", [0.8, 0.8, 0.6])
    impact = Impact("f1", 0.6, 0.5, 0.7, 0.8, Knowledge.ESTIMATED, 100)
    moved = (MovedBin("wrong", 0.1, 0.4, 0.2), MovedBin("right", 0.9, 0.6, 0.1))
    told = notice_of(60, "performance.error", kind=Kind.PERFORMANCE, lane=Lane.PERFORMANCE, moved=moved)
    bars, line = drawn(replace(told, impact=impact))
    assert [one.label for one in bars.bins] == ["wrong", "right"]
    assert (line.measure, line.limit, line.limit_name) == ("f1 (estimated)", 0.8, "before")
    assert [one.value for one in line.points] == [0.8, 0.8, 0.6]
    assert line.points[0].high is None


def test_an_objective_that_is_missed_is_the_line(world, drawn):
    measures(world, "recall", "realised", [0.9, 0.5])
    told = notice_of(60, "recall", kind=Kind.SLO, lane=Lane.PERFORMANCE, threshold=0.85, moved=())
    (line,) = drawn(told)
    assert (line.title, line.measure) == ("m v1", "recall")
    assert (line.limit, line.limit_name) == (0.85, "objective")


def test_a_database_that_is_away_says_so(world, tmp_path):
    gone = StoredCharts(world.configuration, engines.create(f"sqlite:///{tmp_path}/no/such/folder.db"))
    with pytest.raises(Unavailable):
        gone(notice_of(60))
