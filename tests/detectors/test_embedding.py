"""What is watched of embeddings: against scikit-learn, and what happens to vectors that cannot be used."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from detectors.embedding import EmbeddingModel
from schemas.batch import CODE_INVALID
from schemas.errors import ProfileError, UnusableReference, UsageError

NAMES = ("norm", "cluster", "pc1", "pc2", "pc3", "pc4", "reconstruction_error")


def blobs(n=2_000, dimension=12, centres=5, seed=1):
    """Vectors around some centres, the first the most frequent."""
    generator = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(centres, dimension)) * 3
    weights = np.arange(centres, 0, -1) / np.arange(1, centres + 1).sum()
    labels = generator.choice(centres, n, p=weights)
    return middles[labels] + generator.normal(size=(n, dimension)) * 0.2, labels


def test_coordinates_and_errors_are_those_of_scikit_learn():
    vectors, _ = blobs()
    found = EmbeddingModel.fit(vectors, seed=1).columns(vectors)
    oracle = PCA(n_components=4, svd_solver="full").fit(vectors)
    places = oracle.transform(vectors)
    for i in range(4):
        mine = found[f"pc{i + 1}"]
        sign = np.sign(mine @ places[:, i])
        assert mine == pytest.approx(sign * places[:, i], abs=1e-4)
    rest = vectors - oracle.inverse_transform(places)
    assert found["reconstruction_error"] == pytest.approx(np.linalg.norm(rest, axis=1), abs=1e-4)
    assert found["norm"] == pytest.approx(np.linalg.norm(vectors, axis=1))
    assert tuple(found) == EmbeddingModel.fit(vectors, seed=1).names == NAMES


def test_clusters_are_those_that_were_planted_the_largest_first():
    vectors, labels = blobs()
    model = EmbeddingModel.fit(vectors, seed=1, clusters=5)
    found = model.columns(vectors)["cluster"]
    sizes = np.bincount(found)
    assert sorted(sizes.tolist(), reverse=True) == sizes.tolist()
    assert model.cluster_names == ("cluster 00", "cluster 01", "cluster 02", "cluster 03", "cluster 04")
    oracle = KMeans(5, n_init=5, random_state=1).fit(vectors)
    inertia = ((vectors - model.centres[found]) ** 2).sum()
    assert inertia <= 1.01 * oracle.inertia_
    assert all(len(np.unique(found[labels == label])) == 1 for label in range(5))


def test_the_nearest_centre_is_nearest():
    vectors, _ = blobs(n=1_500)
    model = EmbeddingModel.fit(vectors, seed=2)
    others = np.random.default_rng(3).normal(size=(200, 12)) * 4
    apart = np.linalg.norm(others[:, None] - model.centres[None], axis=2)
    assert model.columns(others)["cluster"].tolist() == apart.argmin(axis=1).tolist()
    assert len(model.centres) == 32


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    vectors, _ = blobs(n=800)
    one, again, other = (EmbeddingModel.fit(vectors, seed=seed).to_bytes() for seed in (4, 4, 5))
    assert one == again
    assert one != other


def test_axes_point_the_same_way_wherever_they_are_computed():
    for dimension in (3, 12):
        axes = EmbeddingModel.fit(blobs(dimension=dimension)[0], seed=1).axes
        assert axes.shape == (min(4, dimension), dimension)
        assert axes @ axes.T == pytest.approx(np.eye(len(axes)), abs=1e-6)
        assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes)


def test_bytes_bring_everything_back():
    vectors, _ = blobs(n=500)
    model = EmbeddingModel.fit(vectors, seed=4)
    again = EmbeddingModel.from_bytes(model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    for name, values in model.columns(vectors).items():
        assert np.array_equal(again.columns(vectors)[name], values)


@pytest.mark.parametrize("damage", [b"", b"DLV1", b"DLV2" + bytes(20)])
def test_damaged_bytes_are_refused(damage):
    with pytest.raises(ProfileError):
        EmbeddingModel.from_bytes(damage)
    whole = EmbeddingModel.fit(blobs(n=100)[0], seed=4).to_bytes()
    for at in range(4, len(whole), 211):
        with pytest.raises(ProfileError):
            EmbeddingModel.from_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])


def test_vectors_that_cannot_be_used_are_invalid_and_change_no_others():
    vectors, _ = blobs(n=600)
    model = EmbeddingModel.fit(vectors, seed=4)
    mixed = vectors[:8].copy()
    mixed[[1, 3, 5, 6], 2] = np.nan, np.inf, -np.inf, 1e300
    found, clean = model.columns(mixed), model.columns(vectors[:8])
    bad = np.array([1, 3, 5, 6])
    good = np.setdiff1d(np.arange(8), bad)
    assert found["cluster"][bad].tolist() == [CODE_INVALID] * 4
    assert found["cluster"][good].tolist() == clean["cluster"][good].tolist()
    for name in set(NAMES) - {"cluster"}:
        assert np.isnan(found[name][bad]).all()
        assert found[name][good] == pytest.approx(clean[name][good], rel=1e-9)
    wrong = model.columns(np.ones((3, 11)))
    assert wrong["cluster"].tolist() == [CODE_INVALID] * 3
    assert np.isnan(wrong["norm"]).all()
    assert {len(values) for values in model.columns(np.ones((0, 12))).values()} == {0}


def test_a_model_is_not_disturbed_by_vectors_that_cannot_be_used():
    vectors, _ = blobs(n=300)
    holes = np.insert(vectors, [0, 150], np.nan, axis=0)
    assert EmbeddingModel.fit(holes, seed=4).to_bytes() == EmbeddingModel.fit(vectors, seed=4).to_bytes()


def test_any_split_of_the_rows_says_the_same():
    vectors, _ = blobs(n=700)
    model = EmbeddingModel.fit(vectors, seed=4)
    whole = model.columns(vectors)
    parts = [model.columns(part) for part in np.split(vectors, [1, 2, 300])]
    for name in NAMES:
        assert np.concatenate([part[name] for part in parts]) == pytest.approx(whole[name], abs=1e-9)


def test_input_is_not_changed_and_32_bits_will_do():
    vectors, _ = blobs(n=300)
    short = vectors.astype(np.float32)
    model = EmbeddingModel.fit(short, seed=4)
    found = model.columns(short)
    assert np.array_equal(short, vectors.astype(np.float32))
    assert found["norm"] == pytest.approx(np.linalg.norm(vectors, axis=1), rel=1e-6)


@pytest.mark.parametrize(
    "vectors",
    [
        np.ones((500, 6)),
        np.ones((1, 3)),
        np.zeros((40, 2)),
        np.eye(4)[:2].repeat(30, axis=0),
        np.ones((50, 1)),
    ],
    ids=["constant", "a single one", "zero", "two values", "one number"],
)
def test_vectors_that_hardly_vary_make_a_model(vectors):
    model = EmbeddingModel.fit(vectors, seed=1)
    found = model.columns(vectors)
    assert len(model.centres) <= len(np.unique(vectors, axis=0))
    assert found["reconstruction_error"] == pytest.approx(0.0, abs=1e-6)
    assert all(np.isfinite(values).all() for values in found.values())
    assert model.names == tuple(found)


def test_nothing_to_fit_to_is_refused():
    for nothing in (np.zeros((0, 4)), np.full((5, 4), np.nan), np.zeros((5, 0))):
        with pytest.raises(UnusableReference, match="finite"):
            EmbeddingModel.fit(nothing, seed=1)
    with pytest.raises(UsageError, match="clusters"):
        EmbeddingModel.fit(np.ones((5, 2)), seed=1, clusters=0)


def test_lists_become_vectors():
    model = EmbeddingModel.fit(np.random.default_rng(1).normal(size=(50, 2)), seed=1)
    lists = pa.array([[0.5, 1.0], None, [], [1.0], [2.0, None], [3.0, 4.0], [1.0, 2.0, 3.0]])
    matrix = model.matrix(lists)
    assert matrix[[0, 5]].tolist() == [[0.5, 1.0], [3.0, 4.0]]
    valid = ~np.isnan(model.columns(matrix)["norm"])
    assert valid.tolist() == [True, False, False, False, False, True, False]
    assert np.array_equal(model.matrix(lists.slice(4)), matrix[4:], equal_nan=True)
    assert model.matrix(pa.array([[1, 2]])).tolist() == [[1.0, 2.0]]
