"""The map of segments over time: its numbers against the API, where it leads, what it says when empty."""

import csv
import io
import re
from urllib.parse import quote, urlencode

import pytest
from fastapi.testclient import TestClient

from monitor.store.queries import judged
from monitor.web.app import create_app
from monitor.web.console.segments import measures
from tests.kit.browser import Visitor
from tests.monitor.columns_world import ODD_COLUMN, ODD_MODEL, RANGE, WINDOWS, columns_world
from tests.monitor.console.conftest import serving
from tests.monitor.console.looks import check_page, finish
from tests.monitor.web_world import MINUTE, START_MS

PAGE = "/models/m/segments"
ODD_PAGE = f"/models/{quote(ODD_MODEL, safe='')}/segments"
SEGMENTS = ("c=a", "c=b", "c=<b>&")
READ = """table => [...table.tBodies[0].rows].map(row => [...row.cells].map(
    cell => ({text: cell.textContent.trim(), look: cell.className})))"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = columns_world(f"sqlite:///{tmp_path_factory.mktemp('segments') / 'driftline.db'}")
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


@pytest.fixture(scope="module")
def visitor(browser, address):
    made = Visitor(browser, address)
    yield made
    finish(made, address)


def rows_of(visitor, **asked):
    """Rows of the map: the segment's value, then text and classes of each cell."""
    page = visitor.visit(f"{PAGE}?{urlencode({**RANGE, **asked})}")
    read = page.locator("table.heat").evaluate(READ)
    return {row[0]["text"]: row[1:] for row in read}


def brief(value):
    return f"{value:.3g}" if value >= 1 else f"{value:.3f}".rstrip("0").rstrip(".")


def results(client, segment):
    asked = urlencode({"column": "x", "segment": segment, "detector": "psi", "limit": 500})
    return client.get(f"/api/v1/models/m/results?{asked}").json()["items"][::-1]


def profile(client, segment, minute, column="x"):
    at = START_MS + minute * MINUTE
    asked = {"from": at, "to": at + 10 * MINUTE, "column": column, "segment": segment}
    return client.get(f"/api/v1/models/m/profile?{urlencode(asked)}").json()


def test_the_page_is_for_everybody(browser, address):
    check_page(browser, address, f"{PAGE}?{urlencode({**RANGE, 'column': 'x'})}")


def test_the_map_begins_with_multiples_of_the_usual_change(client, visitor):
    """What was taken off the index to de-bias it is the usual change; where nothing is left, it is more."""
    found = rows_of(visitor, column="x")
    assert visitor.page.locator("select[name=measure]").input_value() == "usual"
    is_alarm = is_compared = False
    for segment in SEGMENTS:
        for cell, one in zip(found[segment[2:]], results(client, segment), strict=True):
            effect = one["effect"]
            ratio = float(cell["text"].split()[0])
            if effect["psi_debiased"]:
                is_compared = True
                assert ratio == pytest.approx(
                    effect["psi"] / (effect["psi"] - effect["psi_debiased"]), rel=5e-3
                )
            else:
                assert ratio <= 1
            alarmed = one["decision"] in ("drift", "ongoing")
            is_alarm |= alarmed
            level = max(sum(ratio >= limit for limit in (1, 2, 4)), 2 if alarmed else 0)
            assert cell["look"] == ("weak" if one["n"] < 100 else f"h{level}")
            assert ("alarm" in cell["text"]) == alarmed
    assert is_alarm
    assert is_compared
    assert "1 is what chance and the usual change from window to window give" in visitor.page.content()


def test_the_column_that_is_farthest_beyond_the_usual_comes_first(client):
    page = client.get(PAGE).text
    chosen = re.findall(r"<option selected>([^<]*)</option>", page.partition('name="column"')[2])[0]
    newest: dict[str, dict] = {}
    for one in client.get("/api/v1/models/m/results?segment=&detector=psi&limit=500").json()["items"]:
        newest.setdefault(one["column"], one)
    far = {
        name: effect["psi"] / (effect["psi"] - effect["psi_debiased"])
        for name, one in newest.items()
        if (effect := one["effect"])["psi_debiased"]
    }
    assert chosen == max(far, key=lambda name: far[name])


def test_psi_is_that_of_the_results(client, visitor):
    found = rows_of(visitor, column="x", measure="psi")
    assert "0: no farther off than chance and the usual change" in visitor.page.content()
    worst = {}
    for segment in SEGMENTS:
        expected = [one["effect"]["psi_debiased"] for one in results(client, segment)]
        cells = found[segment[2:]]
        assert [cell["text"].split()[0] for cell in cells] == [brief(value) for value in expected]
        level = [sum(value >= limit for limit in (0.01, 0.1, 0.25)) for value in expected]
        assert [cell["look"] for cell in cells[:3]] == [f"h{one}" for one in level[:3]]
        assert cells[3]["look"] == "weak"  # 80 rows of all segments
        worst[segment[2:]] = max(expected[:3])
        assert ["alarm" in cell["text"] for cell in cells] == [
            one["decision"] in ("drift", "ongoing") for one in results(client, segment)
        ]
    assert list(found) == sorted(worst, key=lambda name: -worst[name])


def test_rows_and_missing_shares_are_those_of_the_profile(client, visitor):
    rows = rows_of(visitor, measure="rows", column="x")
    missing = rows_of(visitor, measure="missing", column="x")
    for segment in SEGMENTS:
        for place, minute in enumerate(WINDOWS):
            made = profile(client, segment, minute)
            assert rows[segment[2:]][place]["text"] == f"{made['segment_count']:,}"
            part = made["columns"][0]["missing"] / made["segment_count"]
            assert missing[segment[2:]][place]["text"] == f"{100 * part:.1f} %"
            assert missing[segment[2:]][place]["look"] == (
                "weak" if minute == 40 else f"h{1 if part < 0.05 else 2}"
            )
        assert rows[segment[2:]][3]["look"] in ("h3", "h2")  # about a tenth of the usual


def test_performance_is_what_was_measured(visitor):
    found = rows_of(visitor, measure="performance")
    assert list(found) == ["b", "a"]  # the worst first
    assert [cell["text"] for cell in found["b"]] == ["80.0 %", "80.0 %", "30.0 %", "–"]
    assert [cell["look"] for cell in found["b"]] == ["h0", "h0", "h3", "weak"]
    assert visitor.page.locator("select[name=metric]").input_value() == "recall"


def test_long_ranges_are_put_together(visitor):
    day = {"from": "2025-12-01", "to": "2026-01-02"}
    hours = rows_of(visitor, **{**day, "column": "x"})
    assert len(next(iter(hours.values()))) == 32
    head = visitor.page.locator("table.heat thead a")
    assert head.count() == 32
    head.last.click()
    visitor.page.wait_for_url("**from=2026-01-01&to=2026-01-02**")


def test_a_cell_leads_to_the_column_and_back(browser, address):
    visitor = Visitor(browser, address)
    page = visitor.visit(f"{PAGE}?{urlencode({**RANGE, 'column': 'x'})}")
    page.get_by_role("rowheader", name="<b>&").get_by_role("link").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/m/features/x?segment=**")
    assert page.locator("h1").inner_text() == "x where c=<b>&"
    assert "1 judged window of 10m" in page.locator("main").inner_text()
    assert page.locator("input[name=from]").input_value() == "2026-01-01T00:30"
    page.get_by_role("link", name="All segments over time").press("Enter")
    page.wait_for_url("**/models/m/segments?**")
    assert page.locator("select[name=column]").input_value() == "x"
    page.get_by_role("rowheader", name="<b>&").get_by_role("link").press("Enter")
    page.wait_for_url("**segment=c%3D%3Cb%3E%26**")
    finish(visitor, address)


def test_odd_names_lead_to_their_own_pages(browser, address):
    visitor = Visitor(browser, address)
    page = visitor.visit(f"{ODD_PAGE}?{urlencode({'column': ODD_COLUMN})}")
    assert page.locator("h1").inner_text() == f"Segments of {ODD_MODEL}"
    page.get_by_role("rowheader", name="a", exact=True).get_by_role("link").click()
    page.wait_for_url("**/features/**")
    assert page.locator("h1").inner_text() == f"{ODD_COLUMN} where c=a"
    finish(visitor, address)


def test_the_map_comes_as_csv(client):
    answer = client.get(f"{PAGE}/map.csv?{urlencode({**RANGE, 'column': 'x', 'measure': 'psi'})}")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    for segment in SEGMENTS:
        found = results(client, segment)
        assert [float(row[segment]) for row in rows] == pytest.approx(
            [one["effect"]["psi_debiased"] for one in found]
        )
        assert [float(row[f"{segment}, rows"]) for row in rows] == [one["n"] for one in found]


@pytest.mark.parametrize("measure", ["usual", "psi", "rows", "performance"])
def test_what_cannot_be_read_at_once_is_said_and_comes_from_all_of_the_range(visitor, monkeypatch, measure):
    whole = rows_of(visitor, column="x", measure=measure)
    assert "The range is long" not in visitor.page.content()
    monkeypatch.setattr(measures, "MOST_READ", 10)  # two windows of these segments
    some = rows_of(visitor, column="x", measure=measure)
    assert "The range is long: every 2nd window of it is read." in visitor.page.content()
    for name, cells in some.items():
        assert [cells[1]["text"], cells[3]["text"]] == ["–", "–"]
        if measure != "rows":  # those are scaled up to all windows
            assert [cells[0]["text"], cells[2]["text"]] == [whole[name][0]["text"], whole[name][2]["text"]]


def test_of_very_many_windows_some_are_read_from_all_of_the_range(visitor, monkeypatch):
    monkeypatch.setattr(judged, "MOST_WINDOWS", 2)
    found = rows_of(visitor, column="x")
    assert "every 2nd window of it is read." in visitor.page.content()
    known = [at for at, minute in enumerate(WINDOWS) if (START_MS // MINUTE + minute) // 10 % 2 == 0]
    for cells in found.values():
        assert [at for at, cell in enumerate(cells) if cell["text"] != "–"] == known


def test_what_is_not_there_is_said(client):
    html = {"accept": "text/html"}
    wrong = client.get(f"{PAGE}?by=d", headers=html)
    assert wrong.status_code == 404
    assert "here is no segment column" in wrong.text
    assert client.get(f"{PAGE}?column=scor", headers=html).status_code == 404
    assert client.get(f"{PAGE}?metric=f2&measure=performance", headers=html).status_code == 404
    assert client.get(f"{PAGE}?measure=colour").status_code == 422
    assert client.get("/models/nobody/segments").status_code == 404
    beyond = client.get(f"{PAGE}?page=7&{urlencode(RANGE)}").text
    assert "There are no more segments" in beyond


def test_without_segments_reference_or_rows_the_page_says_so(client):
    assert "No segments are configured" in client.get("/models/plain/segments").text
    assert "There is no reference yet" in client.get("/models/fresh/segments").text
    assert "Nothing is known by c in the range" in client.get(f"{PAGE}?from=2020-01-01&to=2020-01-02").text
    odd = client.get(f"{ODD_PAGE}?measure=performance").text
    assert "No performance by c is known" in odd
