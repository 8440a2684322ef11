"""The page of one column: its charts against the API and a direct computation, odd names, empty states."""

from types import SimpleNamespace
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from fastapi.testclient import TestClient

from detectors.catalog import build as build_detector
from detectors.planted import planted_reference, planted_windows
from monitor.store.queries import judged
from monitor.web.app import create_app
from monitor.web.console.feature import history
from monitor.web.console.feature.usual import usual_psi
from monitor.web.console.pages import feature
from schemas.batch import MISSING
from tests.kit.browser import Visitor
from tests.monitor.columns_world import ODD_COLUMN, ODD_MODEL, RANGE, WINDOWS, columns_world
from tests.monitor.console.conftest import serving
from tests.monitor.console.looks import check_page, finish
from tests.monitor.web_world import MINUTE, START_MS, batch

PAGE = "/models/m/features/x"
ODD_PAGE = f"/models/{quote(ODD_MODEL, safe='')}/features/{quote(ODD_COLUMN, safe='')}"
STARTS = [START_MS + minute * MINUTE for minute in WINDOWS]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = columns_world(f"sqlite:///{tmp_path_factory.mktemp('columns') / 'driftline.db'}")
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def address(world):
    with serving(world) as running:
        yield running.url


@pytest.fixture(scope="module")
def client(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


def chart(client, name, page=PAGE, **asked):
    answer = client.get(f"{page}/charts/{name}.json?{urlencode({**RANGE, **asked})}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def profile(client, segment=""):
    asked = urlencode({**RANGE, "column": "x", "segment": segment})
    return client.get(f"/api/v1/models/m/profile?{asked}").json()


def results(client, segment=""):
    """Results of x as the API has them, oldest first."""
    asked = urlencode({"column": "x", "segment": segment, "detector": "psi", "limit": 500})
    return client.get(f"/api/v1/models/m/results?{asked}").json()["items"][::-1]


def test_the_page_is_for_everybody(browser, address):
    check_page(browser, address, f"{PAGE}?{urlencode(RANGE)}")


@pytest.mark.parametrize("segment", ["", "c=b"])
def test_shares_are_those_of_the_profile(client, segment):
    column = profile(client, segment)["columns"][0]
    rows = column["count"] + column["missing"] + column["invalid"]
    drawn = chart(client, "distribution", segment=segment)
    counts = [*(b["count"] for b in column["bins"]), column["missing"], column["invalid"]]
    assert drawn["series"][1]["values"] == pytest.approx([count / rows for count in counts])
    theirs = [b["reference_share"] for b in column["bins"]]
    assert drawn["series"][0]["values"][:-2] == pytest.approx(theirs)
    assert drawn["series"][0]["values"][-2] == pytest.approx(column["reference_missing_share"])
    assert drawn["axis"][-2:] == ["missing", "invalid"]


@pytest.mark.parametrize("segment", ["", "c=a"])
def test_parts_of_the_psi_sum_to_the_psi_that_is_shown(client, world, segment):
    drawn = chart(client, "contributions", segment=segment)
    column = profile(client, segment)["columns"][0]
    x = np.array([*(b["count"] for b in column["bins"]), column["missing"], column["invalid"]]) + 0.5
    reference = world.references[world.pointers["m", "1"].hash]
    group, at = reference.binning.groups.index(segment), reference.binning.index["x"]
    offsets = reference.binning.offsets
    r = reference.counts[group, offsets[at] : offsets[at + 1]] + 0.5
    q, p = x / x.sum(), r / r.sum()
    terms = (q - p) * np.log(q / p)
    assert drawn["series"][0]["values"] == pytest.approx(terms.tolist())
    assert f"{terms.sum():.4g} in all" in drawn["series"][0]["name"]
    assert f"PSI {terms.sum():.4f}" in drawn["words"]


@pytest.mark.parametrize("segment", ["", "c=b"])
def test_effects_are_those_of_the_latest_judgements(client, world, segment):
    drawn, found = chart(client, "effect", segment=segment), results(client, segment)
    assert drawn["axis"] == STARTS
    debiased, measured, usual = drawn["series"][:3]
    assert len(found) == len(STARTS)
    for name, values in (
        ("psi_debiased", debiased["values"]),
        ("psi_low", debiased["low"]),
        ("psi_high", debiased["high"]),
        ("psi", measured["values"]),
    ):
        assert values == pytest.approx([one["effect"][name] for one in found])
    assert drawn["levels"] == [{"value": 0.01, "name": "tolerance"}]
    assert debiased["weak"] == [0, 0, 0, 1]
    alarms = [one["decision"] in ("drift", "ongoing") for one in found]
    assert any(alarms)
    assert drawn["series"][3]["name"] == "in alarm"
    assert [value is not None for value in drawn["series"][3]["values"]] == alarms
    theirs = world.references[world.pointers["m", "1"].hash].binning
    at, counts = theirs.index["x"], world.references[world.pointers["m", "1"].hash].counts
    own = counts[theirs.groups.index(segment), theirs.offsets[at] : theirs.offsets[at + 1]]
    for value, one in zip(usual["values"], found, strict=True):
        effect = one["effect"]
        assert value == pytest.approx((len(own) - 1) * (1 / one["n"] + 1 / own.sum()))
        if effect["psi_debiased"]:
            assert value == pytest.approx(effect["psi"] - effect["psi_debiased"])


def test_charts_over_time_have_the_same_axis(client):
    start, end = START_MS + 10 * MINUTE, START_MS + 50 * MINUTE
    for name in ("effect", "evidence", "rows", "shares", "quantiles", "segment"):
        assert chart(client, name)["span"] == [start, end]


def test_usual_change_is_what_the_usual_detector_takes_off():
    reference = planted_reference(seed=3)
    window = planted_windows(seed=4, windows=1, shift_sd=3.0)[0]
    verdicts = build_detector("edetector", {}).judge(reference, window)
    held = SimpleNamespace(tensor=reference)
    checked = 0
    for one in verdicts:
        assert one.effects is not None
        usual = usual_psi(held, "edetector", one.column, one.segment, [_next(reference)], [one.n])[0]  # type: ignore[arg-type]  # all that it uses
        if one.effects.psi_debiased > 0:
            checked += 1
            assert usual == pytest.approx(one.effects.psi - one.effects.psi_debiased)
        else:
            assert usual >= one.effects.psi
    assert checked
    nothing = usual_psi(held, "edetector", "nothing", "", [0], [10])  # type: ignore[arg-type]  # as above
    assert np.isnan(nothing).all()


def _next(reference):
    return int(reference.starts_ms[-1]) + reference.window_ms


def test_incidents_of_the_column_are_marked(client):
    marks = chart(client, "effect", **{"from": "2026-01-01", "to": "2026-01-02"})["markers"]
    kinds = {mark["event"] for mark in marks}
    assert "reference" in kinds
    assert all(mark["url"].startswith("/incidents/") for mark in marks if mark["event"] == "incident")


def test_evidence_has_the_level_of_the_alarm(client):
    drawn = chart(client, "evidence")
    assert drawn["series"][0]["name"] == "evidence (powers of ten)"
    assert drawn["series"][0]["values"] == pytest.approx(np.array([-3.0, 0.5, 4.0, 7.5]) / np.log(10))
    assert drawn["levels"] == [{"value": 0.0, "name": "alarm level"}]
    without = chart(client, "evidence", page="/models/m/features/c")
    assert without["series"][0]["name"] == "statistic"  # this detector keeps no evidence


def test_rows_are_those_of_the_windows(client):
    assert chart(client, "rows")["series"][0]["values"] == [1_000, 1_000, 1_000, 80]
    found = [one["n"] for one in results(client, "c=b")]
    assert chart(client, "rows", segment="c=b")["series"][0]["values"] == found


def test_missing_and_invalid_values_are_counted_window_by_window(client):
    drawn = chart(client, "shares")
    assert drawn["axis"] == STARTS
    assert [one["name"] for one in drawn["series"]] == ["missing", "invalid"]
    assert drawn["series"][0]["values"] == pytest.approx([0.04, 0.04, 0.04, 0.5])
    assert drawn["series"][1]["values"] == pytest.approx([0.02, 0.02, 0.02, 0.25])
    levels = {level["name"]: level["value"] for level in drawn["levels"]}
    assert levels["contract: missing 2 % of rows"] == 0.02
    assert [one["name"] for one in chart(client, "shares", page="/models/m/features/c")["series"]][
        -1
    ] == "unseen"


def test_quantiles_are_those_of_the_numbers(client):
    drawn = chart(client, "quantiles")
    for place, minute in enumerate(WINDOWS[:3]):
        parts = [batch(m, shift=1.0 if minute == 30 else 0.0) for m in range(minute, minute + 10)]
        numbers = np.sort(np.concatenate([part.numbers[0][part.status[0] == 0] for part in parts]))
        for series, share in zip(drawn["series"], (0.1, 0.5, 0.9), strict=True):
            rank = np.searchsorted(numbers, series["values"][place]) / len(numbers)
            assert rank == pytest.approx(share, abs=0.03)


def test_charts_come_as_table_and_files(client):
    for form, media_type in (
        ("csv", "text/csv"),
        ("svg", "image/svg"),
        ("png", "image/png"),
        ("table", "text/html"),
    ):
        answer = client.get(f"{PAGE}/charts/effect.{form}")
        assert (answer.status_code, answer.headers["content-type"][: len(media_type)]) == (200, media_type)
    assert client.get(f"{PAGE}/charts/effect.pdf").status_code == 404
    assert client.get(f"{PAGE}/charts/nothing.json").status_code == 404


def test_of_too_many_slices_some_are_counted_from_all_of_the_range_and_that_is_said(client, monkeypatch):
    monkeypatch.setattr(history, "MOST_SLICES", 15)
    drawn = chart(client, "shares")
    assert drawn["axis"] == STARTS
    minutes = [minute for minute in range(10, 50) if (START_MS // MINUTE + minute) % 3 == 0]
    parts = [batch(m, **({"rows": 8} if m >= 40 else {})) for m in minutes]
    missing = [np.mean(part.status[0] == MISSING) for part in parts]
    rows = [len(part.event_ms) for part in parts]
    for place, first in enumerate(WINDOWS):
        own = [i for i, m in enumerate(minutes) if first <= m < first + 10]
        expected = np.average([missing[i] for i in own], weights=[rows[i] for i in own])
        assert drawn["series"][0]["values"][place] == pytest.approx(expected)
    said = "Counted from every 3rd stored slice, over the whole range."
    for name in ("shares", "quantiles", "distribution", "contributions"):
        assert said in chart(client, name)["words"]
    monkeypatch.setattr(history, "MOST_SLICES", 40)
    assert all("Counted from" not in chart(client, name)["words"] for name in ("shares", "distribution"))
    monkeypatch.setattr(history, "MOST_BYTES", 1)
    assert "Counted from every" in chart(client, "distribution")["words"]


def test_of_too_many_windows_some_are_read_from_all_of_the_range_and_that_is_said(client, monkeypatch):
    monkeypatch.setattr(judged, "MOST_WINDOWS", 2)
    drawn = chart(client, "effect")
    assert drawn["axis"] == [at for at in STARTS if at // (10 * MINUTE) % 2 == 0]
    for name in ("effect", "evidence", "rows", "segment"):
        assert "every 2nd window of it is read" in chart(client, name)["words"]
    page = client.get(f"{PAGE}?{urlencode(RANGE)}").text
    assert "2 of every 2nd judged windows of 10m" in page
    assert "every 2nd window of it is read" in page


def test_the_page_says_what_is_known(client):
    page = client.get(f"{PAGE}?{urlencode(RANGE)}").text
    for words in (
        "may not be missing; borne: 2 % of rows",
        "-3 to 3; borne",
        "4 judged windows of 10m",
        "x: 1 of 1,000 rows is above 3",
        "few rows",
        "e-&lt;7&gt;",
        "x = 99, score = (hidden)",
    ):
        assert words in page
    assert "0.123456" not in page
    assert page.count('data-chart="') == 10  # three are those of the segments


def test_segments_come_by_their_drift(client):
    page = client.get(f"{PAGE}?{urlencode(RANGE)}").text
    means = {
        segment: np.mean(
            [one["effect"]["psi_debiased"] for one in results(client, segment) if one["n"] >= 100]
        )
        for segment in ("c=a", "c=b", "c=<b>&")
    }
    ordered = sorted(means, key=lambda name: -means[name])
    places = [page.index(f"version=1&amp;segment={quote(name, safe='')}") for name in ordered]
    assert places == sorted(places)


def test_odd_names_lead_to_their_own_page(browser, address):
    visitor = Visitor(browser, address)
    page = visitor.visit(ODD_PAGE)
    assert page.locator("h1").inner_text() == ODD_COLUMN
    page.get_by_role("link", name="Only c=<b>&").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**segment=c%3D**")
    assert page.locator("h1").inner_text() == f"{ODD_COLUMN} where c=<b>&"
    visitor.charts_are_drawn()
    assert page.get_by_text("This chart cannot be shown").count() == 0
    finish(visitor, address)


def test_the_range_is_chosen_without_script(browser, address):
    visitor = Visitor(browser, address, java_script_enabled=False)
    page = visitor.visit(f"{PAGE}?{urlencode(RANGE)}")
    page.get_by_label("to", exact=True).fill("2026-01-01T00:30")
    page.locator("select[name=segment]").select_option("c=a")
    with page.expect_navigation():
        page.get_by_role("button", name="Show").press("Enter")
    assert "2 judged windows" in page.locator("main").inner_text()
    assert page.locator("h1").inner_text() == "x where c=a"
    finish(visitor, address)


def test_what_is_not_there_is_said(client):
    html = {"accept": "text/html"}
    missing = client.get("/models/m/features/scor", headers=html)
    assert missing.status_code == 404
    assert "did you mean score?" in missing.text
    assert client.get("/models/nobody/features/x", headers=html).status_code == 404
    assert client.get(f"{PAGE}?version=9").status_code == 404
    assert client.get(f"{PAGE}?segment=c%3Dnope").status_code == 404
    assert client.get(f"{PAGE}?by=x").status_code == 404
    assert client.get(f"{PAGE}?from=2026-01-02&to=2026-01-01").status_code == 422
    assert client.get(f"{PAGE}?colour=red").status_code == 422


def test_what_is_watched_besides_columns_has_a_page_too(client):
    page = client.get("/models/m/features/rows").text
    assert "rows has no bins in the reference" in page
    assert "Alarms raised" in page


def test_without_reference_or_segments_the_page_says_so(client):
    fresh = client.get("/models/fresh/features/x").text
    assert "There is no reference yet" in fresh
    assert "No window of the range has been judged" in fresh
    plain = client.get("/models/plain/features/x").text
    assert "No segments are configured" in plain


def test_small_charts_keep_the_farthest_windows(client, monkeypatch):
    monkeypatch.setattr(feature, "MOST_IN_SMALL", 2)
    drawn = chart(client, "segment", segment="c=b")
    alarms = sum(one["decision"] in ("drift", "ongoing") for one in results(client, "c=b"))
    assert drawn["words"] == f"{alarms} of 4 windows in alarm. Of each 2 neighbours the farthest is drawn."
    expected = [one["effect"]["psi_debiased"] for one in results(client, "c=b")]
    assert drawn["series"][0]["values"] == pytest.approx([max(expected[:2]), max(expected[2:])])


def test_pages_are_light(client):
    assert len(client.get(PAGE).content) < 60_000
