"""Every effect size against scipy on the same bins, and on inputs that would break careless arithmetic."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from scipy.spatial.distance import jensenshannon

from detectors.effects import EffectArrays, compare
from detectors.stability import debiased_psi
from schemas.errors import UsageError
from tests.detectors.layouts import nominal_layout, numeric_layout, ragged_layout

SD = 2.5


def counts(bins: int, largest: int = 300) -> st.SearchStrategy[np.ndarray]:
    """Counts of which some are 0 and at least one is not."""
    elements = st.integers(0, largest) | st.just(0)
    return arrays.arrays(np.int64, bins, elements=elements).filter(lambda array: array.sum() > 0)


PAIRS = st.integers(2, 12).flatmap(lambda bins: st.tuples(counts(bins), counts(bins)))


def effects_of(reference, window, layout, sd=SD, **options) -> EffectArrays:
    return compare(reference[None], window[None], layout, np.array([sd]), **options)


@settings(deadline=None, max_examples=150)
@given(PAIRS)
def test_shares_and_tables_agree_with_scipy(pair):
    reference, window = pair
    one = effects_of(reference, window, nominal_layout(len(window))).stream(0)
    p, q = reference / reference.sum(), window / window.sum()
    assert one.js**2 == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-14)
    assert one.js == pytest.approx(jensenshannon(p, q, base=2), abs=1e-10) or one.js < 1e-5
    assert one.hellinger == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2), abs=1e-10)
    assert one.total_variation == pytest.approx(np.maximum(q - p, 0).sum(), abs=1e-10)
    assert one.linf == pytest.approx(np.linalg.norm(q - p, np.inf), abs=1e-10)
    table = np.stack([reference, window])[:, reference + window > 0]
    pearson = stats.chi2_contingency(table, correction=False).statistic
    likelihood = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    assert one.chi2 == pytest.approx(pearson, rel=1e-10, abs=1e-10)
    assert one.g == pytest.approx(likelihood, rel=1e-10, abs=1e-10)
    if table.shape[1] > 1:
        cramer = stats.contingency.association(table, method="cramer")
        assert one.cramers_v == pytest.approx(cramer, abs=1e-10)
    assert (one.ks, one.wasserstein, one.wasserstein_error) == (None, None, None)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:scipy.stats._continuous_distns")  # of a p-value not used
@settings(deadline=None, max_examples=150)
@given(PAIRS, st.lists(st.sampled_from([0.0, 1.0]) | st.floats(-50, 50), min_size=12, max_size=12))
def test_distances_on_the_axis_agree_with_scipy(pair, values):
    reference, window = pair
    positions = np.sort(values[: len(window)])
    layout = replace(numeric_layout(len(window)), positions=positions[None])
    one = effects_of(reference, window, layout).stream(0)
    expected = stats.wasserstein_distance(positions, positions, reference, window) / SD
    assert one.wasserstein == pytest.approx(expected, rel=1e-10, abs=1e-10)
    places = np.arange(len(window))
    ks = stats.ks_2samp(np.repeat(places, reference), np.repeat(places, window), method="asymp").statistic
    assert one.ks == pytest.approx(ks, abs=1e-10)


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_bins_off_the_axis_do_not_touch_the_distances_on_it(pair):
    reference, window = pair
    alone = effects_of(reference, window, numeric_layout(len(window))).stream(0)
    mixed = effects_of(
        np.append(reference, [7, 900]),
        np.append(window, [500, 0]),
        numeric_layout(len(window) + 2, unordered=2),
    ).stream(0)
    assert mixed.ks == pytest.approx(alone.ks, abs=1e-12)
    assert mixed.wasserstein == pytest.approx(alone.wasserstein, abs=1e-12)
    assert mixed.wasserstein_error == pytest.approx(alone.wasserstein_error, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.floats(1, 20))
def test_psi_follows_its_formula(pair, dispersion):
    reference, window = pair
    bins, n, m = len(window), window.sum(), reference.sum()
    effects = effects_of(reference, window, nominal_layout(bins), dispersion=dispersion)
    p, q = (reference + 0.5) / (m + bins / 2), (window + 0.5) / (n + bins / 2)
    one = effects.stream(0)
    assert one.psi == pytest.approx(float(((q - p) * np.log(q / p)).sum()), abs=1e-12)
    by_chance = (bins - 1) * (1 / n + 1 / m) * dispersion
    assert one.psi_debiased == pytest.approx(max(0, one.psi - by_chance), abs=1e-12)
    assert 0 <= one.psi_low <= one.psi_debiased <= one.psi_high < np.inf
    assert effects.psi_terms.min() >= 0
    if dispersion == 1:
        assert debiased_psi(reference[None], window[None], nominal_layout(bins))[0] == one.psi_debiased


@settings(deadline=None, max_examples=40)
@given(PAIRS)
def test_ranges_symmetry_and_identity(pair):
    reference, window = pair
    layout = numeric_layout(len(window))
    one, turned = (
        effects_of(reference, window, layout).stream(0),
        effects_of(window, reference, layout).stream(0),
    )
    for name, value in asdict(one).items():
        assert value == pytest.approx(getattr(turned, name), rel=1e-6, abs=1e-9)
        assert value >= 0
    for name in ("js", "hellinger", "total_variation", "linf", "cramers_v", "ks"):
        assert getattr(one, name) <= 1 + 1e-12
    same = effects_of(reference, reference, layout).stream(0)
    assert (same.psi, same.js, same.total_variation, same.ks, same.wasserstein) == (0, 0, 0, 0, 0)


def test_streams_are_independent_of_the_batch_and_of_padding():
    generator = np.random.default_rng(5)
    layout = ragged_layout()
    reference = generator.integers(0, 90, (4, 3, 5)) * layout.valid
    window = generator.integers(0, 90, (2, 4, 3, 5)) * layout.valid
    sd = np.array([1.5, np.nan, np.nan])
    effects = compare(reference, window, layout, sd)
    assert effects.psi.shape == (2, 4, 3)
    streams = effects.streams()
    temp = replace(numeric_layout(5, unordered=1), positions=layout.positions[:1], widths=layout.widths[:1])
    for batch, segment in np.ndindex(2, 4):
        first = effects_of(reference[segment, 0], window[batch, segment, 0], temp, 1.5).stream(0)
        assert asdict(effects.stream(batch, segment, 0)) == pytest.approx(asdict(first), abs=1e-12)
        assert streams[(batch * 4 + segment) * 3] == effects.stream(batch, segment, 0)
        carriers = reference[segment, 1, :2], window[batch, segment, 1, :2]
        second = effects_of(*carriers, nominal_layout(2)).stream(0)
        assert asdict(effects.stream(batch, segment, 1)) == pytest.approx(asdict(second), abs=1e-12)


def cases() -> dict[str, tuple[list[int], list[int]]]:
    big = 10**8
    return {
        "no window": ([5, 5, 5, 5, 5], [0] * 5),
        "no reference": ([0] * 5, [5, 5, 5, 5, 5]),
        "nothing": ([0] * 5, [0] * 5),
        "all missing": ([5, 5, 5, 5, 5], [0, 0, 0, 0, 9]),
        "reference all missing": ([0, 0, 0, 0, 9], [5, 5, 5, 5, 5]),
        "one row each": ([1, 0, 0, 0, 0], [0, 0, 0, 1, 0]),
        "constant": ([0, 9, 0, 0, 0], [0, 9, 0, 0, 0]),
        "huge": ([big] * 5, [big, big, big, big, 2 * big]),
        "huge and far": ([big, 0, 0, 0, 0], [0, 0, 0, big, 0]),
        "huge and equal": ([big] * 5, [big] * 5),
    }


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("bins", [5, 2, 1])
def test_degenerate_input_gives_numbers_and_no_warning(name, bins):
    reference, window = (np.array(side[-bins:]) for side in cases()[name])
    for layout in (numeric_layout(bins), nominal_layout(bins), numeric_layout(bins, unordered=1)):
        for sd in (1.0, 0.0, np.nan):
            one = effects_of(reference, window, layout, sd).stream(0)
            values = {key: value for key, value in asdict(one).items() if value is not None}
            high = values.pop("psi_high")
            assert np.isfinite(list(values.values())).all()
            assert min(values.values()) >= 0
            assert np.isfinite(high) == bool(window.sum() and reference.sum())
            assert high >= one.psi_debiased
            assert (one.wasserstein is None) >= (not sd > 0)
            if not (window.sum() and reference.sum()):
                assert (one.psi, one.psi_low, one.js, one.chi2, one.linf, high) == (0, 0, 0, 0, 0, np.inf)
            if bins == 1:
                assert (one.psi, one.psi_debiased, one.js, one.linf) == (0, 0, 0, 0)


def test_input_is_not_changed():
    reference, window = np.array([[3, 4, 0]]), np.array([[0, 4, 9]])
    compare(reference, window, numeric_layout(3), np.ones(1))
    assert reference.tolist() == [[3, 4, 0]]
    assert window.tolist() == [[0, 4, 9]]


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, np.nan])
def test_levels_that_cannot_be_meant_are_refused(level):
    with pytest.raises(UsageError, match=f"level: {level} "):
        effects_of(np.array([3, 4]), np.array([1, 2]), nominal_layout(2), level=level)


@pytest.mark.parametrize("seed", range(5))
def test_wasserstein_error_bounds_what_binning_hides(seed):
    generator = np.random.default_rng(seed)
    edges = np.sort(generator.normal(size=9)) * 2
    edges[[0, -1]] = -9, 9
    before, after = generator.normal(size=3_000), generator.normal(0.3, 1.2, size=2_000)
    places = generator.uniform(edges[:-1], edges[1:])
    layout = replace(numeric_layout(8), positions=places[None], widths=np.diff(edges)[None])
    effects = effects_of(np.histogram(before, edges)[0], np.histogram(after, edges)[0], layout, before.std())
    exact = stats.wasserstein_distance(before, after) / before.std()
    assert abs(exact - effects.wasserstein[0]) <= effects.wasserstein_error[0]


def test_shift_of_the_mean_reads_as_its_square_in_psi():
    edges = stats.norm.ppf(np.linspace(0, 1, 41))
    before, after = (
        np.round(10**7 * np.diff(stats.norm.cdf(edges - shift))).astype(int) for shift in (0, 0.2)
    )
    one = effects_of(before, after, numeric_layout(40)).stream(0)
    assert one.psi == pytest.approx(0.2**2, rel=0.03)
    assert 8 * one.hellinger**2 == pytest.approx(0.2**2, rel=0.03)
