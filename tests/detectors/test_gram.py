"""The Gram matrix of normal scores: against numpy and scikit-learn; distances of rows from its cloud."""

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA

from detectors.binning import Binning, CategoricalBins, NumericBins
from detectors.correlation import Correlations
from detectors.gram import UNIT, Ellipsoid, Gram, NormalScores
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
    pairs = Correlations.learn(gram, z, [], np.array([0, 1, 64, 65, 66]))
    assert pairs is not None
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [
        (0, 1), (0, 64), (1, 64), (65, 66),
    ]  # fmt: skip


def test_the_last_block_is_padded_with_nothing():
    codes = coded(correlated(300, 0.4, 129))
    gram = gram_of(codes, scores_of(codes))
    assert gram.both.shape == (2, 65, 65)
    assert gram.both[1, 63].tolist() == [300] * 64 + [0]
    assert not gram.both[1, 64].any()
    assert len(gram.means) == 129


def test_no_numeric_columns_give_an_empty_matrix():
    binning = Binning((ColumnSpec("c", Kind.CATEGORICAL),), (CategoricalBins((), (), ()),))
    gram = Gram(NormalScores.of(binning, np.array([0, 3, 0, 0])))
    gram.add(np.array([[1, 1]]))
    assert gram.rows == 2
    assert Correlations.learn(gram, np.zeros((0, 2)), [], np.zeros(0, np.int64)) is None
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
    with pytest.raises(ProfileError, match="another reference"):
        Gram.from_bytes(one.to_bytes(), other.scores)
    with pytest.raises(UsageError, match="shape"):
        one.add(codes[:2])


def test_parameters_that_cannot_be_meant_are_refused():
    codes = coded(correlated(500, 0.5))
    gram = gram_of(codes, scores_of(codes))
    for wrong in ({"explained": 0.0}, {"explained": 1.5}, {"smallest": 0.0}):
        with pytest.raises(UsageError, match="allowed"):
            Ellipsoid.of(gram, **wrong)
