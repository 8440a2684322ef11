"""The classic detectors against scipy: same statistic, same critical value, same decision."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import spatial, stats

from detectors.catalog import build
from detectors.cramer_von_mises import criterion, critical_value
from detectors.planted import planted_reference, planted_windows
from detectors.tensor import IntArray, ReferenceCounts, TensorLayout
from schemas.errors import UsageError
from schemas.verdict import Decision, Verdict
from tests.detectors.layouts import nominal_layout, numeric_layout

REFERENCE = planted_reference(seed=1)
THRESHOLDS = ("js", "hellinger", "linf", "wasserstein")
TESTS = ("ks", "cramer_von_mises", "chi2", "g")
ON_AN_AXIS = ("ks", "cramer_von_mises", "wasserstein")
# Around the point where tests on 1,000 rows begin to reject, so that both decisions occur.
WINDOWS = [
    window
    for place, shift in enumerate((0.0, 0.05, 0.1, 0.15, 0.5))
    for window in planted_windows(seed=20 + place, windows=12, shift_sd=shift)
]


def reference_of(counts: IntArray, layout: TensorLayout, segments: int = 1) -> ReferenceCounts:
    names = ("", *(f"s={number}" for number in range(1, segments)))
    sd = np.ones(len(layout.columns))
    return ReferenceCounts(layout, names, counts, counts[None], sd, np.zeros(1, np.int64), 1)


def streams(window: IntArray) -> list[tuple[int, IntArray, IntArray]]:
    """Column, reference counts and window counts of each stream, in the order of the verdicts."""
    segments, columns = window.shape[:2]
    return [
        (column, REFERENCE.counts[segment, column], window[segment, column])
        for segment in range(segments)
        for column in range(columns)
    ]


def judged(name: str, window: IntArray, **parameters: object) -> list[Verdict]:
    return build(name, parameters).judge(REFERENCE, window)


def rows(counts: IntArray, column: int = 0) -> np.ndarray:
    """One number for each row on the numeric axis: the position of its bin."""
    ordered = REFERENCE.layout.ordered[column]
    return np.repeat(REFERENCE.layout.positions[column][ordered], counts[ordered])


def distance(name: str, column: int, r: IntArray, x: IntArray) -> float:
    """What scipy and numpy make of it."""
    p, q = r / r.sum(), x / x.sum()
    if name == "js":
        return float(spatial.distance.jensenshannon(p, q, base=2))
    if name == "hellinger":
        return float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2))
    if name == "linf":
        return float(spatial.distance.chebyshev(p, q))
    ordered, positions = REFERENCE.layout.ordered[column], REFERENCE.layout.positions[column]
    if not ordered.any():
        return 0.0
    weights = (r[ordered], x[ordered])
    moved = stats.wasserstein_distance(positions[ordered], positions[ordered], *weights)
    return float(moved / REFERENCE.sd[column])


@pytest.mark.parametrize("name", THRESHOLDS)
def test_distances_are_those_of_scipy_and_decide(name):
    decisions = []
    for window in WINDOWS:
        verdicts = judged(name, window, threshold=0.06)
        for verdict, (column, r, x) in zip(verdicts, streams(window), strict=True):
            assert verdict.statistic == pytest.approx(distance(name, column, r, x), abs=1e-10)
            assert verdict.threshold == 0.06
            assert (verdict.decision is Decision.DRIFT) == (verdict.statistic >= 0.06)
            decisions.append(verdict.decision)
    assert set(decisions) == {Decision.OK, Decision.DRIFT}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_that_is_just_reached_is_drift(name):
    window = WINDOWS[-1]
    statistic = judged(name, window)[0].statistic
    above = float(np.nextafter(statistic, 1))
    assert judged(name, window, threshold=statistic)[0].decision is Decision.DRIFT
    assert judged(name, window, threshold=above)[0].decision is Decision.OK


@pytest.mark.parametrize(("name", "lambda_"), [("chi2", "pearson"), ("g", "log-likelihood")])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_chi2_and_g_are_those_of_scipy(name, lambda_, alpha):
    decisions = []
    for window in WINDOWS:
        for verdict, (_, r, x) in zip(judged(name, window, alpha=alpha), streams(window), strict=True):
            table = np.array([r, x])[:, r + x > 0]
            expected = stats.chi2_contingency(table, correction=False, lambda_=lambda_)
            assert verdict.statistic == pytest.approx(expected.statistic, rel=1e-9)
            assert verdict.threshold == pytest.approx(stats.chi2.isf(alpha, expected.dof))
            assert (verdict.decision is Decision.DRIFT) == (expected.pvalue <= alpha)
            decisions.append(verdict.decision)
    assert set(decisions) == {Decision.OK, Decision.DRIFT}


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_ks_is_that_of_scipy(alpha):
    decisions = []
    for window in WINDOWS:
        for verdict, (column, r, x) in zip(judged("ks", window, alpha=alpha), streams(window), strict=True):
            if column:
                continue
            expected = stats.ks_2samp(rows(r), rows(x), method="asymp")
            assert verdict.statistic == pytest.approx(expected.statistic, abs=1e-10)
            if abs(np.log(expected.pvalue / alpha)) > 0.1:  # scipy's limit has a correction for small samples
                assert (verdict.decision is Decision.DRIFT) == (expected.pvalue <= alpha)
                decisions.append(verdict.decision)
    assert set(decisions) == {Decision.OK, Decision.DRIFT}
    assert len(decisions) > 150


def untied(generator: np.random.Generator, n: int, m: int, shift: float) -> tuple[ReferenceCounts, IntArray]:
    """Bins so fine that each holds one row."""
    place = np.argsort(np.concatenate([generator.normal(shift, 1, n), generator.normal(0, 1, m)]))
    window = (place < n).astype(np.int64)[None, None]
    return reference_of(1 - window, numeric_layout(n + m)), window


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_cramer_von_mises_is_that_of_scipy_on_fine_bins(alpha):
    generator, decisions = np.random.default_rng(30), []
    for trial in range(120):
        reference, window = untied(generator, n=150, m=250, shift=0.4 * (trial % 3) / 2)
        x, y = np.flatnonzero(window), np.flatnonzero(reference.counts)
        expected = stats.cramervonmises_2samp(x, y, method="asymptotic")
        verdict = build("cramer_von_mises", {"alpha": alpha}).judge(reference, window)[0]
        assert verdict.statistic == pytest.approx(expected.statistic, rel=1e-9)
        if abs(np.log(expected.pvalue / alpha)) > 0.1:  # the variance is that of large samples
            assert (verdict.decision is Decision.DRIFT) == (expected.pvalue <= alpha)
            decisions.append(verdict.decision)
    assert set(decisions) == {Decision.OK, Decision.DRIFT}
    assert len(decisions) > 100


def test_critical_values_of_cramer_von_mises_are_those_of_the_tables():
    tabulated = {0.5: 0.11888, 0.1: 0.34730, 0.05: 0.46136, 0.01: 0.74346, 0.001: 1.16786}
    for alpha, value in tabulated.items():
        assert critical_value(alpha) == pytest.approx(value, abs=1e-5)
    assert critical_value(1e-9) == pytest.approx(critical_value(1e-8) + 2 * np.log(10) / np.pi**2, rel=0.01)


def test_mean_of_cramer_von_mises_is_that_of_all_ways_to_draw_the_window():
    pooled, n = [3, 2, 1, 2], 3
    places = np.repeat(np.arange(len(pooled)), pooled)
    drawn = [np.bincount(places[list(rows)], minlength=4) for rows in combinations(range(len(places)), n)]
    splits = [(reference_of((pooled - x)[None, None], numeric_layout(4)), x[None, None]) for x in drawn]
    statistics = [float(criterion(reference, x, 0.05)[0].item()) for reference, x in splits]
    # The critical value is mean + spread × (quantile − 1/6), so two of them tell the mean.
    quantiles = [critical_value(alpha) - 1 / 6 for alpha in (0.05, 0.01)]
    criticals = [float(criterion(*splits[0], alpha)[1].item()) for alpha in (0.05, 0.01)]
    spread = (criticals[1] - criticals[0]) / (quantiles[1] - quantiles[0])
    assert criticals[0] - spread * quantiles[0] == pytest.approx(np.mean(statistics), rel=1e-9)


def rejected(shares: list[float], n: int, m: int, alpha: float) -> dict[str, float]:
    """Share of 20,000 windows without drift that each test rejects."""
    generator, trials = np.random.default_rng(31), 20_000
    reference = reference_of(
        generator.multinomial(m, shares, (trials, 1)), numeric_layout(len(shares)), trials
    )
    window = generator.multinomial(n, shares, (trials, 1))
    statistic, critical = criterion(reference, window, alpha)
    few = slice(0, 4_000)  # verdicts take their time
    part = reference_of(reference.counts[few], reference.layout, 4_000)
    found = {"cramer_von_mises": float((statistic >= critical).mean())}
    for name in ("ks", "chi2"):
        verdicts = build(name, {"alpha": alpha}).judge(part, window[few])
        found[name] = sum(verdict.decision is Decision.DRIFT for verdict in verdicts) / len(verdicts)
    return found


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param([0.5, 0.5], id="2 even"),
        pytest.param([0.9, 0.1], id="2 uneven", marks=pytest.mark.full),
        pytest.param([0.3, 0.4, 0.3], id="3", marks=pytest.mark.full),
        pytest.param([0.1] * 10, id="10", marks=pytest.mark.full),
        pytest.param([0.01, 0.04, 0.45, 0.1, 0.4], id="5 uneven"),
    ],
)
def test_without_drift_ties_do_not_change_the_level(shares):
    found = rejected(shares, n=300, m=1_500, alpha=0.05)
    assert found["cramer_von_mises"] == pytest.approx(0.05, abs=0.007)
    assert found["chi2"] == pytest.approx(0.05, abs=0.012)
    assert found["ks"] <= 0.05


@pytest.mark.parametrize("name", ON_AN_AXIS)
def test_without_an_axis_there_is_an_effect_but_no_statement(name):
    counts = np.array([[[900, 100, 0]]])
    detector = build(name, {})
    verdict = detector.judge(reference_of(counts, nominal_layout(3)), np.array([[[0, 0, 1_000]]]))[0]
    assert (verdict.decision, verdict.statistic) == (Decision.OK, 0.0)
    assert verdict.threshold_source == "not on a numeric axis"
    assert verdict.effects.total_variation == 1
    all_missing = np.array([[[0, 0, 1_000]]])
    verdict = detector.judge(reference_of(counts, numeric_layout(3, unordered=1)), all_missing)[0]
    assert (verdict.decision, verdict.statistic) == (Decision.OK, 0.0)
    assert verdict.threshold_source == "nothing to compare on the numeric axis"


@pytest.mark.parametrize("name", sorted({*THRESHOLDS, *TESTS} - {*ON_AN_AXIS}))
def test_the_others_judge_columns_without_an_axis(name):
    reference = reference_of(np.array([[[900, 100, 0]]]), nominal_layout(3))
    assert build(name, {}).judge(reference, np.array([[[0, 0, 1_000]]]))[0].decision is Decision.DRIFT


@pytest.mark.parametrize("name", ON_AN_AXIS)
def test_rows_off_the_axis_do_not_count(name):
    reference = reference_of(np.array([[[300, 400, 300, 50]]]), numeric_layout(4, unordered=1))
    same = build(name, {}).judge(reference, np.array([[[30, 40, 30, 10_000]]]))[0]
    assert same.decision is Decision.OK
    few = build(name, {}).judge(reference, np.array([[[32, 41, 27, 10_000]]]))[0]
    assert few.statistic == pytest.approx(
        build(name, {}).judge(reference, np.array([[[32, 41, 27, 0]]]))[0].statistic
    )
    assert few.decision is Decision.OK


def test_a_reference_that_does_not_vary_has_no_wasserstein_distance():
    reference = replace(REFERENCE, sd=np.array([0.0, np.nan]))
    verdict = build("wasserstein", {}).judge(reference, WINDOWS[-1])[0]
    assert (verdict.decision, verdict.statistic) == (Decision.OK, 0.0)
    assert verdict.threshold_source == "nothing to compare on the numeric axis"


def test_threshold_sources_say_what_is_promised():
    for name in THRESHOLDS:
        assert judged(name, WINDOWS[0])[0].threshold_source == "configured; no stated false-alarm rate"
    for name in TESTS:
        source = judged(name, WINDOWS[0], alpha=0.01)[0].threshold_source
        assert source == "critical value at alpha = 0.01 for one window of one stream"


@pytest.mark.parametrize("name", THRESHOLDS)
def test_thresholds_out_of_range_are_refused(name):
    for value in (0.0, float("inf"), *([] if name == "wasserstein" else [1.01])):
        with pytest.raises(UsageError, match=f"{name}: threshold: {value} "):
            build(name, {"threshold": value})
    assert build(name, {"threshold": 1.0}).parameters() == {"threshold": 1.0}


@pytest.mark.parametrize("name", TESTS)
def test_levels_out_of_range_are_refused(name):
    for value in (0.0, 1e-10, 0.51, 1.0):
        with pytest.raises(UsageError, match=rf"{name}: alpha: {value} \(a number from 1e-09 to 0.5"):
            build(name, {"alpha": value})
    for value in (1e-9, 0.5):
        verdict = judged(name, WINDOWS[0], alpha=value)[0]
        assert np.isfinite(verdict.threshold)


SERIES = ("adwin", "kswin", "page_hinkley", "ddm", "eddm", "hddm")


@pytest.mark.parametrize("name", [*THRESHOLDS, *TESTS, *SERIES])
def test_the_page_about_detectors_gives_parameters_and_defaults(name):
    page = Path(__file__).parents[2] / "docs" / "detectors.md"
    row = next(line for line in page.read_text("utf-8").splitlines() if line.startswith(f"| `{name}` |"))
    told = dict(part.split(" ", 1) for part in row.split("|")[3].strip().split(", "))
    given = build(name, {}).parameters()
    assert told == {
        f"`{key}`": value if isinstance(value, str) else f"{value:g}" for key, value in given.items()
    }
    assert row.split("|")[5].strip() == ("level" if name in TESTS else "none")
