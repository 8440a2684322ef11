"""Grafana's dashboards: a real Prometheus that scraped a real Driftline answers every query with data."""

import json
import runpy
from pathlib import Path

import pytest

from monitor.telemetry import AlertChanged, Committed, Delivered, LagSeen, Retrained, WindowJudged
from monitor.web.serve import Serving
from tests.kit.prometheus import PrometheusServer
from tests.monitor.api_world import ApiWorld

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
BUILDER = runpy.run_path(str(GRAFANA / "build.py"))
CHOSEN = {
    "$job": "driftline",
    "$instance": ".*",
    "$model": "churn",
    "$version": ".*",
    "$__rate_interval": "1m",
}
EVENTS = (
    Committed(0.02, {("pp", "counted"): 2_000, ("pp", "late"): 3}),
    LagSeen("pp", 0, 7),
    WindowJudged("churn", 0.2),
    AlertChanged("churn", "features", "warn", "opened", 0.5),
    Delivered("hook", "delivered"),
    Retrained("churn", "airflow", "started"),
)


def targets(content):
    return [(panel["title"], target["expr"]) for panel in content["panels"] for target in panel["targets"]]


def chosen(expression):
    """An expression as Grafana sends it."""
    for variable, value in CHOSEN.items():
        expression = expression.replace(variable, value)
    return expression


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """It has scraped counters twice, so that they have rates."""
    world = ApiWorld(f"sqlite:///{tmp_path_factory.mktemp('dashboards') / 'driftline.db'}")
    for event in EVENTS:
        world.telemetry.emit(event)
    serving = Serving(world.app(), "127.0.0.1", 0)
    with serving, PrometheusServer([f"127.0.0.1:{serving.port}"]) as server:
        server.wait_for_samples("driftline_events_total")
        for event in EVENTS:
            world.telemetry.emit(event)
        server.wait_for_samples("rate(driftline_events_total[1m]) > 0 and on () (driftline_state_up == 1)")
        yield server
    world.engine.dispose()


@pytest.mark.parametrize("name", sorted(BUILDER["DASHBOARDS"]))
def test_dashboards_are_what_their_builder_writes(name):
    assert (GRAFANA / "dashboards" / name).read_text() == BUILDER["text_of"](BUILDER["DASHBOARDS"][name])


def test_nothing_else_lies_beside_them():
    assert {path.name for path in (GRAFANA / "dashboards").iterdir()} == set(BUILDER["DASHBOARDS"])


@pytest.mark.parametrize("name", sorted(BUILDER["DASHBOARDS"]))
def test_panels_say_what_they_show_and_do_not_overlap(name):
    content = json.loads((GRAFANA / "dashboards" / name).read_text())
    cells: set[tuple[int, int]] = set()
    for panel in content["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & mine
        assert max(x for x, _ in mine) < 24
        cells |= mine
    assert {"datasource", "job", "instance"} <= {one["name"] for one in content["templating"]["list"]}


@pytest.mark.acceptance
@pytest.mark.xdist_group("dashboards")  # one Prometheus for all of them
@pytest.mark.parametrize("name", sorted(BUILDER["DASHBOARDS"]))
def test_every_query_returns_data(name, prometheus):
    content = json.loads((GRAFANA / "dashboards" / name).read_text())
    for title, expression in targets(content):
        found = prometheus.wait_for_samples(chosen(expression))
        assert all(sample.value == sample.value for sample in found), f"{title}: not a number"


@pytest.mark.acceptance
@pytest.mark.xdist_group("dashboards")  # one Prometheus for all of them
@pytest.mark.parametrize("name", sorted(BUILDER["DASHBOARDS"]))
def test_every_choice_has_values(name, prometheus):
    content = json.loads((GRAFANA / "dashboards" / name).read_text())
    for choice in content["templating"]["list"]:
        if choice["type"] == "query":
            selector = choice["definition"].removeprefix("label_values(").rpartition(",")[0]
            values = {sample.labels.get(choice["name"]) for sample in prometheus.query(chosen(selector))}
            assert values - {None}, choice["name"]
