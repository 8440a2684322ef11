"""The page of a model: what it says is what is stored, and the cause of a fall is three clicks away."""

import math
import re
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient

from monitor.web.app import create_app
from monitor.web.console.pages import model
from monitor.web.serve import Serving
from tests.kit.browser import Visitor
from tests.monitor.console.conftest import filled_world, serving
from tests.monitor.console.looks import check_page, finish
from tests.monitor.outcome_world import MINUTE_MS, START_MS, OutcomeWorld

NAME = "delay/é <b>&"
PATH = f"/models/{quote(NAME, safe='')}"
API = f"/api/v1/models/{quote(NAME, safe='')}"
ODD = "<i>ü/x"
HOUR = 60
PER_MINUTE = 15
CHARTS = ("performance", "labels", "predictions", "features", "quality", "volume", "latency", "errors")


def predict(world, first, minutes, *, shift=0.0, missing=0.0, version="1"):
    """Delays that grow with cold; a model that has learned it, and is blind once it is warm."""
    rng, labels = world.rng, []
    for i in range(minutes * PER_MINUTE):
        at_ms = START_MS + first * MINUTE_MS + i * MINUTE_MS // PER_MINUTE
        temp, odd = rng.normal(shift), rng.normal()
        score = 1 / (1 + math.exp(2 * temp - 0.3 * odd))
        truth = int(rng.random() < 1 / (1 + math.exp(2 * (temp - shift))))
        features = {"temp": temp, ODD: odd, "origin": "EWR" if i % 2 else "JFK"}
        if rng.random() < missing:
            del features[ODD]
        event = {
            "event_id": f"v{version}-{world.serial}", "model": NAME, "version": version, "timestamp": at_ms,
            "score": score, "prediction": int(score > 0.5), "latency_ms": float(rng.gamma(4.0)),
            "features": features,
        }  # fmt: skip
        if i % 50 == 7:
            event["error"] = "too slow"
        world.append("pp", event)
        labels.append(
            {"event_id": event["event_id"], "model": NAME, "timestamp": at_ms + 30_000, "label": truth}
        )
        world.serial += 1
    world.tell(labels)
    world.take_in()


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """An hour to learn from, one like it, and one in which it is warm."""
    models = {
        NAME: {
            "task": "binary_classification", "positive_label": 1, "windows": ["10m", "30m"],
            "performance": {"metric": "recall", "slo": 0.5, "long": "30m", "short": "10m"},
        }
    }  # fmt: skip
    made = OutcomeWorld(f"sqlite:///{tmp_path_factory.mktemp('model') / 'm.db'}", models=models)
    predict(made, 0, HOUR)
    predict(made, HOUR, HOUR)
    made.beat(2 * HOUR, model=NAME)
    made.sweep()
    predict(made, 2 * HOUR, HOUR, shift=2.0, missing=0.1)
    for minute in (3 * HOUR, 3 * HOUR + 30):
        made.beat(minute, model=NAME)
        made.sweep()
    made.sweep()
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(warm):
    app = create_app(warm.configuration, warm.engine, warm.parts[2], warm.clock)
    with TestClient(app, base_url="http://127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def warm_address(warm):
    app = create_app(warm.configuration, warm.engine, warm.parts[2], warm.clock)
    with Serving(app, "127.0.0.1", 0) as running:
        yield running.url


def minute(number):
    return np.datetime64(START_MS + number * MINUTE_MS, "ms").astype(str)[:16] + "Z"


WARM = {"from": minute(2 * HOUR), "to": minute(3 * HOUR)}


def chart(client, name, **asked):
    answer = client.get(f"{PATH}/charts/{name}.json", params={**WARM, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


def series(made, name):
    one = next(one for one in made["series"] if one["name"] == name)
    return {at: value for at, value in zip(made["axis"], one["values"], strict=True) if value is not None}


def at_ms(text):
    return int(np.datetime64(text.rstrip("Z"), "ms").astype(np.int64))


def items(client, path, **asked):
    found, cursor = [], None
    while True:
        page = client.get(f"{API}/{path}", params={**asked, **({"cursor": cursor} if cursor else {})}).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def part_of(text, pattern, group=0):
    """What a pattern finds."""
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, f"{pattern} is not in {text[:500]}"
    return found[group]


def test_the_page_is_for_everybody(browser, warm_address):
    check_page(browser, warm_address, f"{PATH}?from={WARM['from']}&to={WARM['to']}")


def test_a_comparison_is_for_everybody(browser, warm_address):
    check_page(browser, warm_address, f"{PATH}/compare")


def test_performance_is_what_the_api_says(client):
    made = chart(client, "performance")
    for kind in ("realised", "estimated"):
        stored = items(client, "performance/windows", metric="recall", kind=kind, **WARM)
        assert stored
        assert series(made, kind) == {at_ms(one["window_start"]): one["value"] for one in stored}
    assert made["levels"] == [{"value": 0.5, "name": "objective"}]
    accuracy = chart(client, "performance", metric="accuracy")
    assert (accuracy["levels"], "accuracy" in accuracy["title"]) == ([], True)
    assert chart(client, "labels")["series"][0]["values"]


def test_drift_is_what_the_api_says(client):
    results = items(client, "results", column="score", segment="", detector="edetector", window="10m", **WARM)
    made = chart(client, "predictions")
    assert series(made, "score") == {at_ms(r["window_start"]): r["effect"]["psi_debiased"] for r in results}
    alarms = {at_ms(r["window_start"]) for r in results if r["decision"] in ("drift", "ongoing")}
    assert alarms
    assert alarms <= set(series(made, "in alarm"))
    temp = items(client, "results", column="temp", segment="", detector="edetector", window="10m", **WARM)
    features = chart(client, "features")
    assert series(features, "temp") == {at_ms(r["window_start"]): r["effect"]["psi"] for r in temp}
    assert features["series"][0]["name"] == "temp"


def test_counts_are_those_of_the_profile(client):
    quality, volume, errors = (chart(client, name) for name in ("quality", "volume", "errors"))
    start, end = START_MS + 2 * HOUR * MINUTE_MS, START_MS + (2 * HOUR + 10) * MINUTE_MS
    profile = client.get(f"{API}/profile", params={"from": start, "to": end}).json()
    columns = {one["name"]: one for one in profile["columns"]}
    odd = columns[ODD]
    assert series(quality, f"{ODD} missing")[start] == pytest.approx(odd["missing"] / profile["count"])
    assert odd["missing"] > 0
    assert series(volume, "events")[start] == profile["count"]
    assert series(errors, "errors")[start] == pytest.approx(columns["error"]["count"] / profile["count"])
    median = series(chart(client, "latency"), "median")[start]
    assert median == pytest.approx(columns["latency_ms"]["quantiles"]["0.5"], rel=0.05)


def test_windows_of_another_shape_are_counted_anew(client):
    start = START_MS + 2 * HOUR * MINUTE_MS
    made = chart(client, "features", window="30m")
    psi = series(made, "temp")[start]
    assert psi == pytest.approx(expected_psi(client, "temp", start, start + 30 * MINUTE_MS))
    realised = series(chart(client, "performance", window="30m"), "realised")[start]
    exact = client.get(f"{API}/performance", params={"from": start, "to": start + 30 * MINUTE_MS}).json()
    assert realised == pytest.approx(exact["measures"]["recall"]["value"])


def expected_psi(client, column, start, end):
    """PSI by its formula, from the bins that the API shows, on the reference's counts."""
    params = {"from": start, "to": end, "column": column}
    profile = client.get(f"{API}/profile", params=params).json()
    (one,) = profile["columns"]
    rows = client.get("/api/v1/references").json()["items"][0]["rows"]
    window = [b["count"] for b in one["bins"]] + [one["missing"], one["invalid"]]
    reference = [round(b["reference_share"] * rows) for b in one["bins"]]
    reference += [round(one["reference_missing_share"] * rows)]
    reference += [rows - sum(reference)]
    x, r = np.array(window) + 0.5, np.array(reference) + 0.5
    q, p = x / x.sum(), r / r.sum()
    return float(((q - p) * np.log(q / p)).sum())


def test_the_page_and_its_table_name_what_moved(client):
    page = client.get(PATH, params=WARM).text
    assert "<b>&" not in page.replace("&lt;b&gt;", "")
    assert ODD not in page
    moved = part_of(page, r'<section class="moved".*?</section>', 0)
    assert "the objective of 50 % is missed" in moved
    assert re.findall(r'<a class="carrier"[^>]*><b>(.*?)</b>', moved)[0] == "temp"
    table = part_of(page, r'<table class="features">.*?</table>', 0)
    first = part_of(table, r"<tbody>\s*<tr>(.*?)</tr>", 1)
    assert f'href="{PATH}/features/temp?' in first
    cells = [re.sub(r"<[^>]*>", " ", cell).split() for cell in re.findall(r"<td.*?</td>", first, re.DOTALL)]
    start = START_MS + 2 * HOUR * MINUTE_MS
    assert float(cells[2][0]) < expected_psi(client, "temp", start, start + HOUR * MINUTE_MS)
    assert cells[1][1:] == ["of", "6"]
    quadrant = part_of(page, r'<figure class="quadrant">.*?</figure>', 0)
    assert "Drifted, and predictions moved with it: temp." in quadrant


def test_a_newcomer_finds_the_cause_in_three_clicks(browser, warm_address):
    visitor = Visitor(browser, warm_address)
    page = visitor.visit(PATH)
    with page.expect_navigation():
        page.get_by_role("link", name="all", exact=True).click()
    visitor.charts_are_drawn()
    plot = page.locator("figure[data-chart*='/performance.json'] .u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.7, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.98, y, steps=5)
    with page.expect_navigation():
        page.mouse.up()
    assert at_ms(part_of(page.url, r"from=([^&]*)", 1).replace("%3A", ":")) >= START_MS + HOUR * MINUTE_MS
    carrier = page.locator(".moved a.carrier").first
    assert carrier.inner_text() == "temp"
    assert f"{PATH}/features/temp" in (carrier.get_attribute("href") or "")
    finish(visitor, warm_address)


def test_the_range_is_chosen_by_keyboard(browser, warm_address):
    visitor = Visitor(browser, warm_address, java_script_enabled=False)
    page = visitor.visit(PATH)
    page.get_by_label("From", exact=True).fill("2026-01-01T02:00")
    page.get_by_label("to", exact=True).fill("2026-01-01T03:00")
    page.get_by_label("Measure").select_option("precision")
    page.get_by_label("Windows").select_option("30m")
    page.get_by_label("Measure").press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "From 2026-01-01 02:00 UTC to 2026-01-01 03:00 UTC" in page.locator("main").inner_text()
    assert page.get_by_label("Measure").input_value() == "precision"
    assert page.get_by_label("Windows").input_value() == "30m"
    assert (page.locator("figure[data-chart] img").first.get_attribute("src") or "").endswith(
        "metric=precision"
    )
    finish(visitor, warm_address)


def test_two_ranges_are_compared(client):
    ranges = [(START_MS + n * HOUR * MINUTE_MS, START_MS + (n + 1) * HOUR * MINUTE_MS) for n in (1, 2)]
    asked = {"from_a": ranges[0][0], "to_a": ranges[0][1], "from_b": ranges[1][0], "to_b": ranges[1][1]}
    page = client.get(f"{PATH}/compare", params=asked).text
    table = page.split('<h2 id="columns">')[1]
    first = part_of(table, r"<tbody>\s*<tr>(.*?)</tr>", 1)
    assert f"{PATH}/features/temp" in first
    profiles = [client.get(f"{API}/profile", params={"from": a, "to": b}).json() for a, b in ranges]
    temps = [next(c for c in one["columns"] if c["name"] == "temp") for one in profiles]
    for one in temps:
        assert f"{one['mean']:.4g}" in first
    x, r = ([b["count"] for b in one["bins"]] + [one["missing"], one["invalid"]] for one in temps)
    q, p = ((np.array(counts) + 0.5) / (np.array(counts) + 0.5).sum() for counts in (x, r))
    shown = float(part_of(first, r'<td class="number">([\d.]+)</td>', 1))
    assert shown == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=5e-3)
    both = [
        client.get(f"{API}/performance", params={"from": a, "to": b}).json()["measures"]["recall"]["value"]
        for a, b in ranges
    ]
    recall = part_of(page, r'<th scope="row">recall</th>(.*?)</tr>', 1)
    shares = re.findall(r'<td class="number">([\d.]+ %)</td>', recall)
    assert [f"{100 * value:.1f} %" for value in both] == shares
    assert f"{100 * (both[1] - both[0]):+.1f} points" in recall
    assert "beyond chance" in recall  # from 0.8 to next to nothing


def test_what_happened_is_marked(client):
    everything = {"from": START_MS, "to": START_MS + 4 * HOUR * MINUTE_MS}
    made = chart(client, "volume", **everything)
    events = {one["event"] for one in made["markers"]}
    assert {"reference", "incident"} <= events
    ids = {one["id"] for one in client.get("/api/v1/incidents").json()["items"]}
    urls = {one["url"].rpartition("/")[2] for one in made["markers"] if one["event"] == "incident"}
    assert urls
    assert urls <= ids
    assert made["span"] == [everything["from"], everything["to"]]


def test_names_that_look_like_pages_have_their_own(tmp_path):
    """A slash of a name is not one between names: these are models, not pages of a model ``new``."""
    world = filled_world(f"sqlite:///{tmp_path / 'names.db'}")
    odd = ["new/compare", "new/features/x", "new/segments", "new/charts/volume.json", "a/b"]
    for name in odd:
        world.add(range(3), model=name)
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for name in odd:
            path = f"/models/{quote(name, safe='')}"
            page = client.get(path)
            assert (page.status_code, f"<h1><bdi>{name}</bdi></h1>" in page.text) == (200, True)
            assert "two sides compared" in client.get(f"{path}/compare").text
            assert client.get(f"{path}/charts/volume.json").json()["title"] == f"{name}: Volume"
        assert client.get("/models/a/b").status_code == 200  # as people write it
    world.engine.dispose()


def test_of_very_many_features_the_first_are_listed_and_all_can_be_had(client, monkeypatch):
    everything = client.get(PATH, params=WARM).text
    assert everything.count('<tr>\n<th scope="row">') == 4
    assert "All features" not in everything
    monkeypatch.setattr(model, "MOST_LISTED", 2)
    page = client.get(PATH, params=WARM).text
    assert page.count('<tr>\n<th scope="row">') == 2
    assert "The first 2 of 4." in page
    link = part_of(page, r'<a href="([^"]*)#features">All features</a>', 1).replace("&amp;", "&")
    assert client.get(link).text.count('<tr>\n<th scope="row">') == 4
    at = [START_MS + n * HOUR * MINUTE_MS for n in (1, 2, 3)]
    asked = {"from_a": at[0], "to_a": at[1], "from_b": at[1], "to_b": at[2]}
    compared = client.get(f"{PATH}/compare", params=asked).text
    more = part_of(compared, r'<a href="([^"]*)#columns">All columns</a>', 1).replace("&amp;", "&")
    whole = client.get(more).text
    assert "All columns" not in whole
    assert compared.count("<summary>Bins of") == 2
    assert whole.count("<summary>Bins of") > 2


@pytest.mark.parametrize("name", CHARTS)
def test_charts_are_given_in_every_form(client, name):
    for form in ("json", "csv", "svg", "table"):
        answer = client.get(f"{PATH}/charts/{name}.{form}", params=WARM)
        assert answer.status_code == 200, answer.text
    assert any(any(v is not None for v in one["values"]) for one in chart(client, name)["series"])


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("version=7", 404, "there is no version"),
        ("window=2h", 404, "there is no shape of windows"),
        ("metric=beauty", 404, "there is no measure"),
        ("from=2026-01-02&to=2026-01-01", 422, ""),
        ("colour=red", 422, ""),
    ],
)
def test_what_cannot_be_shown_is_refused(client, query, status, words):
    answer = client.get(f"{PATH}/charts/performance.json?{query}" if "metric" in query else f"{PATH}?{query}")
    assert answer.status_code == status
    assert words in answer.text
    assert client.get("/models/nowhere").status_code == 404
    assert client.get("/models/nowhere/compare").status_code == 404


def test_a_model_without_labels_and_one_that_is_learning(browser, tmp_path):
    world = filled_world(f"sqlite:///{tmp_path / 'm.db'}")
    world.add(range(5), model="brand new")
    with serving(world) as running:
        check_page(browser, running.url, "/models/brand%20new")
        visitor = Visitor(browser, running.url)
        page = visitor.visit("/models/brand%20new")
        text = page.locator("main").inner_text()
        assert "learning its reference" in text
        assert "No incident is open." in text
        assert "nothing has been measured so far" in text
        assert "Nothing can be compared yet" in text
        assert "neither latency" in text
        text = visitor.visit("/models/m").locator("main").inner_text()
        assert "nothing has been measured so far" in text
        assert "x may be behind" in text or "Nothing that the model is fed with" in text
        finish(visitor, running.url)
        visitor = Visitor(browser, running.url)
        assert visitor.visit("/models/brand%20new/compare").locator("h1").count() == 1
        world.add(range(10, 20), model="m", version="2", shift=1.0)
        page = visitor.visit("/models/m?version=2&window=")
        assert "1, champion: reference" in page.locator(".facts").inner_text()
        assert "2, champion: learning its reference" in page.locator(".facts").inner_text()
        with page.expect_navigation():
            page.get_by_role("link", name="Compare version 1 with version 2").click()
        assert page.get_by_label("Version").first.input_value() == "1"
        finish(visitor, running.url)
    world.engine.dispose()
