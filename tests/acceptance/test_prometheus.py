"""A real Prometheus scrapes a real service; its own tool finds nothing wrong with what it reads."""

import httpx
import pytest

from monitor.telemetry import AlertChanged, Committed, Delivered, LagSeen, WindowJudged
from monitor.web.app import create_app
from monitor.web.serve import Serving
from tests.kit.prometheus import PrometheusServer, check_metrics
from tests.monitor.web_world import START_MS, World

pytestmark = pytest.mark.acceptance


@pytest.fixture
def world(sqlite_url):
    made = World(sqlite_url)
    yield made
    made.engine.dispose()


@pytest.fixture
def service(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with Serving(app, "127.0.0.1", 0) as serving:
        yield serving


def fill(world):
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 20), shift=2.0)
    world.judge(10)
    world.alert()
    for event in (
        Committed(0.01, {("pp", "counted"): 2_000}),
        LagSeen("pp", 0, 7),
        WindowJudged("m", 0.2),
        Delivered("hook", "delivered"),
        AlertChanged("m", "features", "info", "opened", 0.5),
    ):
        world.telemetry.emit(event)


def test_promtool_accepts_an_empty_service_and_a_busy_one(world, service):
    check_metrics(httpx.get(f"{service.url}/metrics").text)
    fill(world)
    world.clock.advance(10_000)
    busy = httpx.get(f"{service.url}/metrics").text
    assert "driftline_drift_psi{" in busy
    check_metrics(busy)


def test_a_service_without_api_is_accepted_too(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock, api=False)
    with Serving(app, "127.0.0.1", 0) as serving:
        check_metrics(httpx.get(f"{serving.url}/metrics").text)


def test_prometheus_reads_what_the_database_knows(world, service):
    fill(world)
    with PrometheusServer([f"127.0.0.1:{service.port}"]) as prometheus:
        (mark,) = prometheus.wait_for_samples('driftline_watermark_timestamp_seconds{model="m"}')
        assert mark.value == START_MS / 1_000 + 18 * 60
        (psi,) = prometheus.wait_for_samples('driftline_drift_psi{model="m",version="1",column="x"}')
        assert psi.value > 1
        (missing,) = prometheus.wait_for_samples('driftline_missing_ratio{model="m",version="1",column="x"}')
        assert missing.value == pytest.approx(0.04)
        (lag,) = prometheus.wait_for_samples("driftline_consumer_lag_events")
        assert lag.value == 7
        (counted,) = prometheus.wait_for_samples('driftline_events_total{outcome="counted"}')
        assert counted.value == 2_000
        (info,) = prometheus.wait_for_samples("driftline_build_info")
        assert (info.value, bool(info.labels["version"])) == (1, True)
