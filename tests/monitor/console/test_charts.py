"""What a chart looks like in the browser and as a file: nothing is hidden, cut or left unsaid."""

import csv
import io

import pytest

from monitor.web.charting.chart import Chart, Event, Level, Look, Marker, Series
from monitor.web.charting.drawing import png_of, svg_of
from monitor.web.charting.forms import csv_of, table
from tests.kit.browser import Visitor
from tests.monitor.columns_world import RANGE, columns_world
from tests.monitor.console.conftest import serving
from tests.monitor.console.looks import finish

HOUR_MS = 3_600_000
LONG = "a name of a column that is far too long to stand beside a bar, number "
WORDS = "Every value is where it should be, and this goes on for a while so that it has to be wrapped. " * 2


RED_BELOW_AXIS = """(canvas, height) => {
    const ratio = devicePixelRatio, over = canvas.parentElement.querySelector('.u-over');
    const low = Math.round((over.offsetTop + height) * ratio), context = canvas.getContext('2d');
    const drawn = context.getImageData(0, low, canvas.width, Math.round(8 * ratio)).data;
    let red = 0;
    for (let i = 0; i < drawn.length; i += 4) red += drawn[i + 3] > 0 && drawn[i] > 120 && drawn[i + 1] < 60;
    return red;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    made = columns_world(f"sqlite:///{tmp_path_factory.mktemp('charts') / 'driftline.db'}")
    with serving(made) as running:
        yield running.url
    made.engine.dispose()


def over_time(series=12, **more):
    axis = [i * HOUR_MS for i in range(3)]
    lines = [Series(f"{LONG}{i}", [0.1 * i, None, 0.2]) for i in range(series)]
    alarms = Series("in alarm", [None, 0.0, 0.2], Look.POINTS)
    return Chart(
        "Title", f"{WORDS}At the end.", axis, [*lines, alarms], levels=[Level(0.1, "tolerance")], **more
    )


def test_places_that_are_marked_are_yes_in_tables_not_heights():
    rows = list(csv.DictReader(io.StringIO(csv_of(over_time(1)))))
    assert [row["in alarm"] for row in rows] == ["", "yes", "yes"]
    assert table(over_time(1)).count(">yes<") == 2


def test_a_file_has_its_words_whole_its_time_zone_and_the_values_of_its_levels():
    drawn = svg_of(over_time(span=(0, 24 * HOUR_MS))).decode()
    assert "At the end." in drawn
    assert "1970-01-01 00:00 UTC to 1970-01-02 00:00 UTC" in drawn
    assert "tolerance 0.1" in drawn
    assert png_of(over_time()).startswith(b"\x89PNG")


def test_a_file_that_leaves_bars_out_says_so():
    names = [f"{LONG}{i}" for i in range(60)]
    drawn = svg_of(Chart("Title", "Words.", names, [Series("rows", [1.0] * 60, Look.BARS)])).decode()
    assert "The first 40 of 60; all are in the CSV." in drawn
    few = svg_of(Chart("Title", "Words.", names[:40], [Series("rows", [1.0] * 40, Look.BARS)])).decode()
    assert "The first 40" not in few


def answered(visitor, chart):
    """Let the charts of a page be this one."""
    visitor.page.route("**/charts/*.json*", lambda route: route.fulfill(json=chart.document()))


def test_levels_are_told_in_the_legend_and_alarms_below_the_axis(browser, address):
    visitor = Visitor(browser, address)
    answered(visitor, over_time(1, markers=[Marker(0, Event.INCIDENT, "it happened", "/incidents/x")]))
    page = visitor.visit(f"/models/m/features/x?from={RANGE['from']}&to={RANGE['to']}")
    visitor.charts_are_drawn()
    figure = page.locator("figure[data-chart*='/charts/effect.json']")
    legend = figure.locator(".legend").inner_text()
    assert legend.split()[-2:] == ["tolerance", "0.1"]
    assert "in alarm" in legend
    assert "1970-01-01 00:00 UTC: it happened" in figure.locator(".marks").inner_text()
    assert "At the end." in figure.locator("figcaption").inner_text()
    box = figure.locator(".u-over").bounding_box()
    assert box is not None
    figure.locator(".u-over").hover(position={"x": 0.9 * box["width"], "y": 40})
    figure.locator(".legend b", has_text="yes").wait_for()
    assert "1970-01-01 02:00 UTC" in figure.locator(".legend").inner_text()
    assert figure.locator("canvas").evaluate(RED_BELOW_AXIS, box["height"]) > 10
    finish(visitor, address)


NUMBERS = {
    "share": [(0.0, "0 %"), (0.00001, "< 0.01 %"), (0.000502, "0.05 %"), (0.4567, "45.7 %"), (1.0, "100 %")],
    "": [(0.0000135, "< 0.001"), (0.0412, "0.0412"), (6.6553, "6.66"), (12_345.6, "12,346"), (0.0, "0")],
    "ms": [(3.14159, "3.14 ms")],
}


@pytest.mark.parametrize("unit", NUMBERS)
def test_numbers_have_the_digits_that_somebody_needs(browser, address, unit):
    values, shown = zip(*NUMBERS[unit], strict=True)
    names = [f"{LONG}{i}" for i in range(len(values))]
    visitor = Visitor(browser, address)
    answered(visitor, Chart("Title", "", names, [Series("a", values, Look.BARS)], unit))
    page = visitor.visit(f"/models/m/features/x?from={RANGE['from']}&to={RANGE['to']}")
    visitor.charts_are_drawn()
    rows = page.locator("figure[data-chart*='/distribution.json'] tbody tr")
    assert rows.locator("td.number").all_inner_texts() == list(shown)
    assert rows.locator("bdi").first.inner_text() == "a name of a column…ar, number 0"
    assert rows.locator("bdi").first.get_attribute("title") == names[0]
    finish(visitor, address)


def test_names_are_no_markup_and_turn_nothing_around_them(browser, address):
    visitor = Visitor(browser, address)
    names = ["<b>x</b>", "\u202eright to left", "=1+1"]
    both = [Series(name, [0.1, 0.2, 0.3], Look.BARS) for name in ("<i>then</i>", "now")]
    answered(visitor, Chart("Title", "", names, both, "share"))
    page = visitor.visit(f"/models/m/features/x?from={RANGE['from']}&to={RANGE['to']}")
    visitor.charts_are_drawn()
    figure = page.locator("figure[data-chart*='/distribution.json']")
    assert figure.locator("tbody bdi").all_inner_texts() == names
    assert figure.locator("thead bdi").all_inner_texts() == ["<i>then</i>", "now"]
    assert figure.locator("tbody b, thead i, .legend i").count() == 0
    finish(visitor, address)
