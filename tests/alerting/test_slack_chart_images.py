"""Charts as images: small, the same every time, readable whatever is in them; and in words."""

import io
import math
import threading
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alerting.charts.chart import distribution_chart, series_chart
from alerting.charts.data import (
    MAX_ALT_TEXT,
    MOST_BINS,
    Distribution,
    Point,
    Series,
    ShareOfBin,
    leading_finding,
    limited,
)
from alerting.finding import instant
from detectors.binning import NumericBins
from tests.alerting.factory import finding, notices, window

START = instant(1_767_261_600_000)
MOST_BYTES = 100_000
STEP = timedelta(minutes=10)


def distribution(shares, labels=None, is_ordered=True, title="age where carrier=UA, churn v1", **more):
    labels = labels or [f"[{at}, {at + 1})" for at in range(len(shares))]
    bins = tuple(ShareOfBin(label, *pair) for label, pair in zip(labels, shares, strict=True))
    return Distribution(title, bins, START, START + STEP, is_ordered, **more)


def normal(count, middle):
    weights = np.exp(-(((np.arange(count) - middle) / (count / 5)) ** 2)) + 0.01
    return (weights / weights.sum()).tolist()


def both(count):
    return list(zip(normal(count, count / 2), normal(count, count / 1.4), strict=True))


def series(values, **more):
    points = tuple(
        Point(START + at * STEP, value, value - 0.02, value + 0.03, value > 0.2)
        for at, value in enumerate(values)
    )
    return Series("age, churn v1", "PSI", points, **more)


def opened(chart):
    image = Image.open(io.BytesIO(chart.png))
    image.load()
    return image


def text_free_margin(image):
    """Whether nothing touches the edge, as letters that are cut off would."""
    grey = np.asarray(image.convert("L"))
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool((edge > 250).all())


CHARTS = {
    "two bins": distribution_chart(distribution([(0.9, 0.2), (0.1, 0.8)])),
    "many bins": distribution_chart(distribution(both(17))),
    "too many bins": distribution_chart(distribution(both(64))),
    "values": distribution_chart(
        distribution(both(30), [f"a value with a long name, {at}" for at in range(30)], is_ordered=False)
    ),
    "moved bins": distribution_chart(
        distribution(both(3), ["right", "wrong", "漢字"], False, is_partial=True)
    ),
    "odd names": distribution_chart(
        distribution([(0.5, 0.1), (0.5, 0.9)], [r"$\frac{x}$", "<b>&\n%s_^"], False, title="$x_1^2$ " * 40)
    ),
    "sixty windows": series_chart(
        series([0.02 + 0.3 * (at > 40) for at in range(60)], limit=0.01, limit_name="tolerance",
               onset_at=START + 41 * STEP)
    ),
    "one window": series_chart(series([0.3], limit=5.0)),
    "large values": series_chart(series([1e12 * (at % 7) for at in range(20)], onset_at=START + 3 * STEP)),
}  # fmt: skip
every_chart = pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS.keys())


@every_chart
def test_charts_are_small_images_of_twice_the_points(chart):
    image = opened(chart)
    assert image.format == "PNG"
    assert image.width == 1_600
    assert 800 <= image.height <= 2_100
    assert len(chart.png) <= MOST_BYTES


@every_chart
def test_the_background_is_solid_and_light_and_nothing_is_cut_off(chart):
    image = opened(chart)
    assert "transparency" not in image.info
    assert text_free_margin(image)


@every_chart
def test_charts_say_themselves_in_words(chart):
    assert 0 < len(chart.alt_text) <= MAX_ALT_TEXT
    assert chart.title
    assert chart.filename.endswith(".png")


def test_the_same_values_give_the_same_bytes_whoever_draws_beside():
    wanted = [distribution_chart(distribution(both(9))).png, series_chart(series([0.1, 0.3])).png]
    found = []

    def draw():
        found.append([distribution_chart(distribution(both(9))).png, series_chart(series([0.1, 0.3])).png])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4


def test_bars_differ_in_more_than_colour():
    """Without colours a hatched bar is still not a solid one."""
    image = opened(distribution_chart(distribution([(0.9, 0.9)] * 2)))
    grey = np.asarray(image.convert("L")).astype(int)
    row = grey[560]
    changes = int((np.abs(np.diff(row)) > 60).sum())
    assert changes > 30  # the hatching


def test_the_words_name_what_moved_and_where():
    bars = distribution([(0.5, 0.04), (0.3, 0.3), (0.2, 0.66)], ["a", "b", "c"], title="age, churn v1")
    assert bars.alt_text == (
        "Bar chart of shares of rows, age, churn v1: the window 10:00–10:10 UTC on 1 Jan 2026 beside the "
        "reference. Moved most: a 4 %, reference 50 %; c 66 %, reference 20 %; b 30 %, reference 30 %."
    )
    line = series([0.1, 0.3], limit=0.2, onset_at=START)
    assert line.alt_text == (
        "Line chart of PSI, age, churn v1, over 2 windows from 2026-01-01 10:00 UTC to 2026-01-01 10:10 UTC: "
        "lowest 0.1, highest 0.3, latest 0.3; 1 with an alarm. The threshold is 0.2. "
        "The incident began about 2026-01-01 10:00 UTC."
    )


# --- merging of bins ----------------------------------------------------------------------------------------

shares = st.floats(0, 1, allow_subnormal=False)


@given(st.lists(st.tuples(shares, shares, st.text(max_size=12)), min_size=1, max_size=80), st.booleans())
def test_merging_leaves_few_bins_and_loses_no_share(rows, is_ordered):
    whole = distribution([row[:2] for row in rows], [row[2] for row in rows], is_ordered)
    few = limited(whole)
    assert 1 <= len(few.bins) <= MOST_BINS
    for side in ("reference", "current"):
        kept, had = (math.fsum(getattr(one, side) for one in each.bins) for each in (few, whole))
        assert kept == pytest.approx(had)


@given(st.lists(st.integers(-9_999, 9_999), min_size=25, max_size=60, unique=True))
def test_ranges_that_are_merged_still_join_without_gaps(edges):
    bins = NumericBins(tuple(float(edge) for edge in sorted(edges)), -2e6, 2e6)
    labels = bins.labels()
    whole = distribution([(0.01, 0.01)] * len(labels), labels)
    few = limited(whole)
    names = [one.label for one in few.bins]
    assert names[-2:] == ["missing", "invalid"]
    assert names[0].startswith("< ")
    assert names[-3].startswith(">= ")
    for first, second in pairwise(names[:-2]):
        assert _end(first) == _start(second)


def _end(label):
    if label.startswith("< "):
        return label.removeprefix("< ")
    return label.removeprefix("= ") if label.startswith("= ") else label.split(", ")[1].rstrip(")]")


def _start(label):
    if label.startswith(">= "):
        return label.removeprefix(">= ")
    return label.removeprefix("= ") if label.startswith("= ") else label.split(", ")[0].lstrip("[")


@given(
    st.lists(st.tuples(st.text(max_size=60), shares, shares), min_size=1, max_size=8), st.text(max_size=120),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=12)
def test_no_names_can_keep_a_chart_from_being_drawn(rows, title, is_ordered):
    chart = distribution_chart(
        distribution([row[1:] for row in rows], [row[0] for row in rows], is_ordered, title=title)
    )
    assert opened(chart).width == 1_600


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=12), st.none() | st.floats(-1e300, 1e300))
@settings(max_examples=12)
def test_no_values_can_keep_a_chart_from_being_drawn(values, limit):
    chart = series_chart(series(values, limit=limit, onset_at=START))
    assert opened(chart).width == 1_600


def test_the_finding_of_the_incident_speaks():
    (told,) = notices(window(0, [finding("age"), finding("score"), finding("age", segment="plan=a")]))
    assert leading_finding(told).column == told.alert.column
    assert leading_finding(told).segment == told.alert.segment
