"""The Gram matrix of normal scores: against numpy and scikit-learn; its evidence without and with drift."""

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA

from detectors.binning import Binning, CategoricalBins, NumericBins
from detectors.gram import FEWEST_ROWS, STRENGTHS, UNIT, Ellipsoid, Gram, NormalScores, correlation_drift
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError, UsageError

EDGES = tuple(stats.norm.ppf(np.linspace(0.05, 0.95, 17)).tolist())
BINS = len(EDGES) + 3


def numeric(columns):
    """Columns on the same edges, standard normal under the reference."""
    specs = tuple(ColumnSpec(f"x{i}", Kind.NUMERIC) for i in range(columns))
    return Binning(specs, (NumericBins(EDGES, -4.0, 4.0),) * columns)


def coded(values):
    """Flat bins of values [columns, n]; nan is missing."""
    codes = np.searchsorted(EDGES, values, side="right")
    return np.where(np.isnan(values), BINS - 2, codes) + BINS * np.arange(len(values))[:, None]


def scores_of(codes):
    binning = numeric(len(codes))
    return NormalScores.of(binning, np.bincount(codes.ravel(), minlength=BINS * len(codes)))


def gram_of(codes, scores):
    gram = Gram(scores)
    gram.add(codes)
    return gram


def correlated(n, correlation, columns=3, seed=1):
    generator = np.random.default_rng(seed)
    common = generator.normal(size=n)
    noise = generator.normal(size=(columns, n))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * noise


def covariance_of(z):
    """Covariances of pandas, pair by pair over the rows that have both, with n in place of n − 1."""
    both = (~np.isnan(z)).astype(float) @ (~np.isnan(z)).T
    return pd.DataFrame(z.T).cov().to_numpy() * (both - 1) / both


def test_scores_are_those_of_the_mid_ranks_of_bins():
    codes = coded(correlated(5_000, 0.3))
    scores = scores_of(codes)
    counts = np.bincount(codes[0], minlength=BINS)[: BINS - 2]
    ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
    wanted = np.clip(special.ndtri(ranks), -3, 3)
    assert scores.table[: BINS - 2] / UNIT == pytest.approx(wanted, abs=0.5 / UNIT)
    everywhere = scores.of_bins(np.arange(4) * BINS)
    assert np.isnan(everywhere[0, BINS:]).all()
    assert np.isnan(everywhere[:, BINS - 2 : BINS]).all()
    assert everywhere[1, BINS : 2 * BINS - 2].tolist() == (scores.table[BINS : 2 * BINS - 2] / UNIT).tolist()


def test_only_numeric_columns_that_vary_have_scores():
    specs = (
        ColumnSpec("carrier", Kind.CATEGORICAL),
        ColumnSpec("constant", Kind.NUMERIC),
        ColumnSpec("temp", Kind.NUMERIC),
    )
    bins = (
        CategoricalBins(("UA",), (1,), (0,)),
        NumericBins((0.0,), 0.0, 0.0),
        NumericBins((0.0,), -1.0, 1.0),
    )
    scores = NormalScores.of(Binning(specs, bins), np.array([9, 0, 0, 0, 0, 9, 0, 0, 0, 4, 4, 1, 0]))
    assert scores.columns == ("temp",)
    assert scores.rows.tolist() == [2]
    gram = Gram(scores)
    gram.add(np.array([[0, 0], [6, 6], [9, 10]]))
    assert gram.rows == 2
    assert gram.products.item() > 0


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("columns", [1, 4, 20])
def test_sums_are_those_of_numpy_and_pandas(columns, missing):
    generator = np.random.default_rng(columns)
    values = correlated(3_000, 0.4, columns)
    values[generator.random(values.shape) < missing] = np.nan
    codes = coded(values)
    scores = scores_of(codes)
    gram = gram_of(codes, scores)
    z = scores.of_codes(codes)
    whole = np.where(np.isnan(z), 0, z)
    present = (~np.isnan(z)).astype(float)
    assert gram.both[0].tolist() == (present @ present.T).tolist()
    assert (gram.sums[0] / UNIT).tolist() == (whole @ present.T).tolist()
    assert (gram.products[0] / UNIT**2).tolist() == (whole @ whole.T).tolist()
    assert gram.squares[0] / UNIT**4 == pytest.approx(whole**2 @ (whole**2).T)
    assert gram.means == pytest.approx(np.nanmean(z, axis=1))
    assert gram.covariance == pytest.approx(covariance_of(z), abs=1e-12)
    if not missing:
        assert gram.correlation == pytest.approx(np.atleast_2d(np.corrcoef(z)), abs=1e-12)


def test_more_than_128_columns_are_kept_in_blocks():
    values = correlated(400, 0.4, 130)
    values[3, ::5] = np.nan
    codes = coded(values)
    scores = scores_of(codes)
    gram = gram_of(codes, scores)
    assert gram.both.shape == (2, 65, 65)
    z = scores.of_codes(codes)
    wanted = covariance_of(z)
    assert gram.covariance[:65, :65] == pytest.approx(wanted[:65, :65], abs=1e-12)
    assert gram.covariance[65:, 65:] == pytest.approx(wanted[65:, 65:], abs=1e-12)
    assert not gram.covariance[:65, 65:].any()
    drift = correlation_drift(gram, gram)
    assert len(drift.pairs) == 2 * 65 * 64 // 2
    assert ("x0", "x64") in drift.pairs
    assert ("x64", "x65") not in drift.pairs


def test_the_last_block_is_padded_with_nothing():
    codes = coded(correlated(300, 0.4, 129))
    gram = gram_of(codes, scores_of(codes))
    assert gram.both.shape == (2, 65, 65)
    assert gram.both[1, 63].tolist() == [300] * 64 + [0]
    assert not gram.both[1, 64].any()
    assert len(gram.means) == 129
    drift = correlation_drift(gram, gram)
    assert len(drift.pairs) == 65 * 64 // 2 + 64 * 63 // 2
    assert np.isfinite(drift.log_evalues).all()


@pytest.mark.parametrize(("tolerance", "z_reference"), [(0.0, 0.0), (0.04, 0.0), (0.0, 2.0), (0.01, 4.0)])
def test_evidence_follows_its_formula(tolerance, z_reference):
    reference_codes, codes = coded(correlated(2_000, 0.5)), coded(correlated(80, 0.1, seed=2))
    scores = scores_of(reference_codes)
    found = correlation_drift(
        gram_of(reference_codes, scores),
        gram_of(codes, scores),
        tolerance=tolerance,
        z_reference=z_reference,
        dispersion=2.0,
    )
    z, later = scores.of_codes(reference_codes), scores.of_codes(codes)
    each = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        product = z[i] * z[j]
        s, v = (later[i] * later[j]).mean() - product.mean(), product.var()
        radius = (np.sqrt(tolerance) + z_reference / np.sqrt(2_000)) * np.sqrt(v)
        logs = [
            (theta * 80 * s - abs(theta) * 80 * radius - 80 * theta**2 * v / 2) / 2.0
            for strength in STRENGTHS
            for theta in (strength / np.sqrt(v), -strength / np.sqrt(v))
        ]
        each.append(np.mean(np.exp(logs)))
    assert found.pairs == (("x0", "x1"), ("x0", "x2"), ("x1", "x2"))
    assert found.log_evalues == pytest.approx(np.log(each), rel=1e-9)
    assert found.log_evalue == pytest.approx(np.log(np.mean(each)), rel=1e-9)
    assert found.reference == pytest.approx(np.corrcoef(z)[np.triu_indices(3, 1)])
    assert found.window == pytest.approx(np.corrcoef(later)[np.triu_indices(3, 1)])


def test_without_drift_the_mean_evidence_is_at_most_1():
    reference_codes = coded(correlated(20_000, 0.5))
    scores = scores_of(reference_codes)
    reference = gram_of(reference_codes, scores)
    evidence = []
    for seed in range(400):
        window = gram_of(coded(correlated(500, 0.5, seed=1_000 + seed)), scores)
        evidence.append(np.exp(correlation_drift(reference, window, tolerance=0.0).log_evalue))
    assert np.mean(evidence) <= 1.0 + 3 * np.std(evidence) / 20
    assert max(evidence) < 1_000


def test_the_pair_that_no_longer_goes_together_is_found():
    values, later = correlated(5_000, 0.6, 5), correlated(1_000, 0.6, 5, seed=9)
    later[3] = np.random.default_rng(4).permutation(later[3])
    codes = coded(values)
    scores = scores_of(codes)
    found = correlation_drift(gram_of(codes, scores), gram_of(coded(later), scores))
    assert found.log_evalue > np.log(1e6)
    leading = found.leading(4)
    assert all("x3" in pair for pair, _, _ in leading)
    assert all(before > 0.5 and abs(now) < 0.1 for _, before, now in leading)


def test_too_few_rows_are_no_evidence():
    codes = coded(correlated(5_000, 0.6))
    scores = scores_of(codes)
    reference = gram_of(codes, scores)
    turned = coded(correlated(FEWEST_ROWS, 0.6) * np.array([[1.0], [-1.0], [1.0]]))
    assert correlation_drift(reference, gram_of(turned[:, 1:], scores), tolerance=0.0).log_evalue == 0.0
    assert correlation_drift(reference, gram_of(turned, scores), tolerance=0.0).log_evalue > 1.0
    none = correlation_drift(reference, Gram(scores))
    assert none.log_evalue == 0.0
    assert np.isnan(none.window).all()
    alone = coded(correlated(100, 0.5, 1))
    single = gram_of(alone, scores_of(alone))
    assert correlation_drift(single, single).log_evalue == 0.0


def test_no_numeric_columns_give_an_empty_matrix():
    binning = Binning((ColumnSpec("c", Kind.CATEGORICAL),), (CategoricalBins((), (), ()),))
    gram = Gram(NormalScores.of(binning, np.array([0, 3, 0, 0])))
    gram.add(np.array([[1, 1]]))
    assert gram.rows == 2
    assert correlation_drift(gram, gram).log_evalue == 0.0
    assert Gram.from_bytes(gram.to_bytes(), gram.scores).rows == 2
    assert Ellipsoid.of(gram).mahalanobis(np.array([[1, 1]])).tolist() == [0.0, 0.0]


def test_distances_are_those_of_scikit_learn():
    codes = coded(correlated(4_000, 0.5, 6))
    scores = scores_of(codes)
    cloud = Ellipsoid.of(gram_of(codes, scores), explained=0.8)
    z = scores.of_codes(codes).T
    oracle = EmpiricalCovariance().fit(z)
    assert cloud.mahalanobis(codes) ** 2 == pytest.approx(oracle.mahalanobis(z), rel=1e-8)
    axes = PCA(n_components=0.8, svd_solver="full").fit(z)
    assert cloud.leading == axes.n_components_
    rest = z - axes.inverse_transform(axes.transform(z))
    assert cloud.reconstruction_error(codes) == pytest.approx(np.linalg.norm(rest, axis=1), abs=1e-8)


def test_distances_see_what_single_columns_do_not():
    codes = coded(correlated(5_000, 0.9, 2))
    cloud = Ellipsoid.of(gram_of(codes, scores_of(codes)))
    together, apart, half = coded(np.array([[1.5, 1.5, 1.5], [1.5, -1.5, np.nan]])).T[:, :, None]
    assert cloud.mahalanobis(apart) > 3 * cloud.mahalanobis(together)
    assert cloud.reconstruction_error(apart) > 10 * cloud.reconstruction_error(together)
    assert np.isfinite(cloud.mahalanobis(half))


def test_columns_that_always_agreed_give_finite_distances():
    values = correlated(500, 0.5, 1)
    codes = coded(np.vstack([values, values]))
    cloud = Ellipsoid.of(gram_of(codes, scores_of(codes)))
    assert cloud.reconstruction_error(codes).max() < 1e-6
    assert np.isfinite(cloud.mahalanobis(coded(np.array([[2.0], [-2.0]])))).all()


def test_matrices_of_other_scores_are_refused():
    codes = coded(correlated(500, 0.5))
    one = gram_of(codes, scores_of(codes))
    other = gram_of(codes, scores_of(coded(correlated(500, 0.5) + 1)))
    with pytest.raises(ProfileError, match="different references"):
        one.merge(other)
    with pytest.raises(UsageError, match="other scores"):
        correlation_drift(one, other)
    with pytest.raises(ProfileError, match="another reference"):
        Gram.from_bytes(one.to_bytes(), other.scores)
    with pytest.raises(UsageError, match="shape"):
        one.add(codes[:2])


@pytest.mark.parametrize(
    "parameters", [{"tolerance": -1.0}, {"z_reference": np.nan}, {"dispersion": 0.5}], ids=str
)
def test_parameters_that_cannot_be_meant_are_refused(parameters):
    codes = coded(correlated(500, 0.5))
    gram = gram_of(codes, scores_of(codes))
    with pytest.raises(UsageError, match=next(iter(parameters))):
        correlation_drift(gram, gram, **parameters)
    for wrong in ({"explained": 0.0}, {"explained": 1.5}, {"smallest": 0.0}):
        with pytest.raises(UsageError, match="allowed"):
            Ellipsoid.of(gram, **wrong)
