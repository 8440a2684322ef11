"""What a reference learns of its rows as wholes: stored, recomputed elsewhere, moved by what it should be."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.spatial.distance import mahalanobis

from detectors.binning import NumericBins
from detectors.cross_counts import CrossCounts, Outcome
from detectors.effects import compare
from detectors.gram import Gram
from detectors.profile import profile_batch
from detectors.reference import Reference, build
from detectors.relations import FEWEST_ROWS, MOST_LEARNED, Relations
from detectors.sample import MOST_ROWS, Sample, union
from schemas.batch import INVALID, MISSING, Batch, Categories
from schemas.column import DISTANCE, RECONSTRUCTION_ERROR, ColumnSpec, Kind, Source
from schemas.verdict import Lane

GOLDEN = Path(__file__).parent.parent / "golden"
MINUTE = 60_000
PARTS = ("n", "sums", "squares", "group_n", "group_sums", "group_squares")
Columns = dict[str, np.ndarray]

_SOURCES = {"score": Source.SCORE, "prediction": Source.PREDICTION, "latency_ms": Source.LATENCY}


def rows_of(
    columns: Columns,
    seed: int,
    *,
    segment: np.ndarray | None = None,
    minutes: int = 10,
    holes: float = 0.0,
) -> Batch:
    """Rows of numbers and of strings, spread over some minutes, with random keys."""
    rng = np.random.default_rng([seed, 1])
    (n,) = {len(values) for values in columns.values()}
    numeric = [name for name, values in columns.items() if values.dtype.kind == "f"]
    status = np.zeros((len(numeric), n), np.uint8)
    if holes:
        status[rng.random(status.shape) < holes] = MISSING
        status[rng.random(status.shape) < holes] = INVALID
    numbers = np.array([columns[name] for name in numeric]).reshape(len(numeric), n)
    strings = [name for name in columns if name not in numeric]

    def spec(name: str, kind: Kind) -> ColumnSpec:
        return ColumnSpec(name, kind, _SOURCES.get(name, Source.FEATURE))

    return Batch(
        event_ms=np.sort(rng.integers(0, minutes * MINUTE, n)),
        numeric=tuple(spec(name, Kind.NUMERIC) for name in numeric),
        numbers=np.where(status == 0, numbers, 0.0),
        status=status,
        categorical=tuple(spec(name, Kind.CATEGORICAL) for name in strings),
        categories=tuple(_categories(columns[name]) for name in strings),
        segments=None if segment is None else {"origin": _categories(segment)},
        keys=rng.integers(0, 2**64 - 1, n, np.uint64),
    )


def _categories(values: np.ndarray) -> Categories:
    names, codes = np.unique(values, return_inverse=True)
    return Categories(codes.astype(np.int32), pa.array(names.tolist(), pa.string()))


def learned(batch: Batch, *, most: int = 20_000, **options: Any) -> Reference:
    """Make a reference the way the service does."""
    options = {"window_ms": 2 * MINUTE, "segments": tuple(batch.segments or ()), **options}
    return build(profile_batch(batch, MINUTE, sample_rows=most), slice_ms=MINUTE, **options)


def everything(batch: Batch, most: int = 100_000) -> Sample:
    sample = Sample(most)
    sample.add(batch)
    return sample


def normals(rows: int, seed: int, *, correlation: float = 0.0, shift: float = 0.0) -> Columns:
    """Two columns that go together, a third on its own, and a score of all of them."""
    rng = np.random.default_rng(seed)
    x, noise, z = rng.normal(size=(3, rows))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    x = x + shift
    return {"x": x, "y": y, "z": z, "score": 0.3 * x - 0.2 * y + 0.1 * z}


def origins(rows: int, seed: int, share: float = 0.3) -> np.ndarray:
    return np.where(np.random.default_rng([seed, 2]).random(rows) < share, "EWR", "JFK")


def known(reference: Reference) -> Relations:
    assert reference.relations is not None
    return reference.relations


def with_segments(seed: int = 0, rows: int = 3_000, **options: Any) -> Batch:
    return rows_of(normals(rows, seed, correlation=0.85), seed, segment=origins(rows, seed), **options)


# --- learning -----------------------------------------------------------------------------------------------


def test_the_derived_columns_are_judged_beside_the_others() -> None:
    reference = learned(with_segments())
    relations = known(reference)
    assert [spec.name for spec in relations.derived.columns] == [DISTANCE, RECONSTRUCTION_ERROR]
    assert {spec.source for spec in relations.derived.columns} == {Source.DERIVED}
    assert relations.gram.scores.columns == ("x", "y", "z")  # features only
    assert relations.outcome == Outcome("score")
    tensor = reference.tensor
    assert tensor.layout.columns == (*(spec.name for spec in reference.binning.columns), *_names(relations))
    assert tensor.layout.lanes[-2:] == (Lane.MULTIVARIATE, Lane.MULTIVARIATE)
    assert tensor.counts.shape[1] == len(tensor.layout.columns) == len(tensor.sd)
    assert tensor.windows.shape == (5, *tensor.counts.shape)
    assert np.isfinite(tensor.sd).all()
    # All rows were sampled, so every column counts all of them, in every window and segment.
    np.testing.assert_array_equal(tensor.counts.sum(axis=2), np.tile(reference.group_rows[:, None], (1, 6)))
    np.testing.assert_array_equal(tensor.windows.sum(axis=0), tensor.counts)


def _names(relations: Relations) -> tuple[str, ...]:
    return tuple(spec.name for spec in relations.derived.columns)


def test_what_was_learned_comes_back_from_bytes() -> None:
    reference = learned(with_segments(holes=0.02), most=250)
    again = Reference.from_bytes(reference.to_bytes())
    one, other = known(reference), known(again)
    assert again.hash == reference.hash == Reference.from_bytes(again.to_bytes()).hash
    assert other.to_bytes() == one.to_bytes()
    assert (other.derived, other.outcome, other.base) == (one.derived, one.outcome, one.base)
    for name in ("counts", "windows", "deviations"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
    for name in PARTS:
        np.testing.assert_array_equal(getattr(other.cross, name), getattr(one.cross, name))
    assert other.gram.to_bytes() == one.gram.to_bytes()
    assert other.gram.scores.columns == one.gram.scores.columns
    np.testing.assert_array_equal(again.tensor.counts, reference.tensor.counts)
    np.testing.assert_array_equal(again.tensor.windows, reference.tensor.windows)
    np.testing.assert_array_equal(again.tensor.sd, reference.tensor.sd)
    assert again.tensor.layout.labels == reference.tensor.layout.labels
    window = everything(with_segments(7, holes=0.02), MOST_ROWS)
    mine, theirs = one.of(window), other.of(window)
    np.testing.assert_array_equal(mine.counts, theirs.counts)
    assert mine.cross.raw() == theirs.cross.raw()
    assert mine.gram.raw() == theirs.gram.raw()


def test_batches_of_any_size_teach_the_same() -> None:
    batch = with_segments(holes=0.02)
    whole = learned(batch, most=150)
    rng = np.random.default_rng(5)
    slices = {start: [] for start in range(0, 10 * MINUTE, MINUTE)}  # type: dict[int, list[Any]]
    for rows in np.array_split(rng.permutation(len(batch)), 7):
        for start, profile in profile_batch(batch.take(rows), MINUTE, sample_rows=150).items():
            slices[start].append(profile)
    merged = {}
    for start, parts in slices.items():
        merged[start] = parts.pop()
        merged[start].merge(*parts)
    again = build(merged, slice_ms=MINUTE, window_ms=2 * MINUTE, segments=("origin",))
    assert again.hash == whole.hash


@pytest.mark.parametrize(("rows", "is_enough"), [(FEWEST_ROWS - 1, False), (FEWEST_ROWS, True)])
def test_too_few_rows_teach_nothing(rows: int, is_enough: bool) -> None:
    reference = learned(with_segments(rows=rows))
    assert (reference.relations is not None) is is_enough
    assert (reference.judged is reference.binning) is not is_enough
    assert len(reference.tensor.layout.columns) == (6 if is_enough else 4)


def test_a_reference_without_samples_has_no_relations() -> None:
    reference = learned(with_segments(), most=0)
    assert reference.relations is None
    assert reference.hash == learned(replace(with_segments(), keys=None), most=0).hash


def test_one_numeric_feature_has_no_distance_but_predictions_all_the_same() -> None:
    columns = normals(1_000, 3)
    reference = learned(rows_of({"x": columns["x"], "score": columns["score"]}, 3))
    relations = known(reference)
    assert relations.derived.columns == ()
    assert reference.judged is reference.binning
    assert reference.tensor.layout.columns == ("score", "x")
    assert relations.cross.rows == 1_000
    again = known(Reference.from_bytes(reference.to_bytes()))
    assert again.to_bytes() == relations.to_bytes()
    assert again.of(everything(rows_of(columns, 4))).counts.shape == (1, 0)


def test_at_most_so_many_rows_are_learned_from() -> None:
    rows = MOST_LEARNED + 4_000
    reference = learned(rows_of(normals(rows, 1), 1))
    relations = known(reference)
    assert reference.rows == rows
    # Of each of the five windows at most 4,096 rows, and the same share of each.
    assert relations.gram.rows == int(relations.counts[0, : relations.derived.bins[0].size].sum())
    assert 0.97 * MOST_LEARNED < relations.gram.rows <= MOST_LEARNED
    per_window = relations.windows[:, 0, : relations.derived.bins[0].size].sum(axis=1)
    assert (per_window <= MOST_ROWS).all()
    assert per_window.min() > 3_500


# --- references without relations ---------------------------------------------------------------------------


def test_references_from_before_keep_working() -> None:
    data = (GOLDEN / "reference.bin").read_bytes()
    reference = Reference.from_bytes(data)
    assert reference.relations is None
    assert reference.to_bytes() == data
    assert reference.judged is reference.binning
    groups, columns = len(reference.binning.groups), len(reference.binning.columns)
    assert reference.tensor.counts.shape[:2] == (groups, columns)
    window = reference.window(reference.counts)
    np.testing.assert_array_equal(window, reference.binning.tensor(reference.counts))
    np.testing.assert_array_equal(window, reference.tensor.counts)


def test_a_window_without_a_sample_counts_nothing_of_the_derived_columns() -> None:
    reference = learned(with_segments())
    relations = known(reference)
    window = reference.window(reference.counts)
    assert window.shape == reference.tensor.counts.shape
    assert window[:, -2:].sum() == 0
    np.testing.assert_array_equal(window[:, :-2], reference.tensor.counts[:, :-2])
    nothing = relations.of(Sample(MOST_ROWS))
    assert (nothing.rows, nothing.cross.rows, int(nothing.counts.sum())) == (0, 0, 0)
    np.testing.assert_array_equal(reference.window(reference.counts, nothing.counts), window)
    stacked = reference.window(np.stack([reference.counts] * 3), np.stack([relations.counts] * 3))
    np.testing.assert_array_equal(stacked, np.stack([reference.tensor.counts] * 3))


# --- the numbers --------------------------------------------------------------------------------------------


def scores_of(reference: Reference, batch: Batch, names: tuple[str, ...]) -> np.ndarray:
    """Normal scores of complete rows, from the counts and edges of the reference alone."""
    found = []
    for name in names:
        at = reference.binning.index[name]
        bins = reference.binning.bins[at]
        assert isinstance(bins, NumericBins)
        counts = reference.counts[0, reference.binning.offsets[at] : reference.binning.offsets[at + 1] - 2]
        ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
        score = np.round(np.clip(stats.norm.ppf(ranks), -3, 3) * 64) / 64
        (row,) = (i for i, spec in enumerate(batch.numeric) if spec.name == name)
        found.append(score[np.digitize(batch.numbers[row], bins.edges)])
    return np.array(found)


def test_distances_are_those_of_numpy_and_scipy() -> None:
    batch = with_segments()
    reference = learned(batch, most=120)
    relations = known(reference)
    names = ("x", "y", "z")
    parts = profile_batch(batch, MINUTE, sample_rows=120)
    windows = [
        union(parts[a].sample for a in (start, start + MINUTE)) for start in range(0, 10 * MINUTE, 2 * MINUTE)
    ]
    whole = union(windows, MOST_LEARNED).batch
    assert whole is not None
    assert relations.gram.rows == len(whole) < len(batch)
    z = scores_of(reference, whole, names)
    centre, covariance = z.mean(axis=1), np.cov(z, ddof=0)
    np.testing.assert_allclose(relations.gram.means, centre, atol=1e-12)
    np.testing.assert_allclose(relations.gram.covariance, covariance, atol=1e-12)

    window = with_segments(9, rows=800)
    late = scores_of(reference, window, names)
    inverse = np.linalg.inv(covariance)
    distance = np.array([mahalanobis(row, centre, inverse) for row in late.T])
    values, axes = np.linalg.eigh(covariance)
    kept = 1 + int(np.searchsorted(np.cumsum(values[::-1]) / values.sum(), 0.9))
    assert kept == 2
    rest = np.linalg.norm(axes[:, :1].T @ (late - centre[:, None]), axis=0)
    counts = relations.of(everything(window)).counts
    np.testing.assert_array_equal(counts, relations.count(everything(window)))
    is_ewr = (window.segments or {})["origin"].codes == 0
    for at, wanted in enumerate((distance, rest)):
        bins = relations.derived.bins[at]
        assert isinstance(bins, NumericBins)
        inside = slice(int(relations.derived.offsets[at]), int(relations.derived.offsets[at + 1]))
        codes = np.digitize(np.round(wanted * 64) / 64, bins.edges)
        np.testing.assert_array_equal(counts[0, inside], np.bincount(codes, minlength=bins.size))
        ewr = reference.binning.groups.index("origin=EWR")
        np.testing.assert_array_equal(counts[ewr, inside], np.bincount(codes[is_ewr], minlength=bins.size))
        assert counts[0, inside].sum() == 800
        # Edges lie where rounded distances do: between two of them nothing is cut.
        mine = np.round(wanted * 64) / 64
        assert bins.lowest * 64 == round(bins.lowest * 64)
        assert relations.deviations[at] == pytest.approx(mine.std(), rel=0.2)


def psi(reference: Reference, window: Batch) -> dict[str, float]:
    """Population stability index of every column, over all rows."""
    relations = known(reference)
    (profile,) = profile_batch(window, 100 * MINUTE, reference.binning, reference.hash, 100_000).values()
    together = relations.of(union([profile.sample]))
    tensor = reference.tensor
    counts = reference.window(profile.counts, together.counts)
    found = compare(tensor.counts[0], counts[0], tensor.layout, tensor.sd)
    return dict(zip(tensor.layout.columns, found.psi.tolist(), strict=True))


def test_columns_that_go_together_otherwise_move_the_distance_alone() -> None:
    def two(correlation: float, seed: int) -> Batch:
        columns = normals(20_000, seed, correlation=correlation)
        return rows_of({name: columns[name] for name in ("x", "y")}, seed)

    reference = learned(two(0.85, 1))
    same, apart = psi(reference, two(0.85, 2)), psi(reference, two(0.0, 3))
    assert max(same.values()) < 0.02
    assert apart[DISTANCE] > 0.1
    assert apart[RECONSTRUCTION_ERROR] > 0.1
    assert max(apart["x"], apart["y"]) < 0.02


def test_missing_values_lie_in_the_middle() -> None:
    reference = learned(rows_of(normals(3_000, 1), 1))
    relations = known(reference)
    nothing = rows_of(normals(300, 2), 2)
    nothing = replace(nothing, numbers=np.zeros((4, 300)), status=np.full((4, 300), MISSING, np.uint8))
    found = relations.of(everything(nothing))
    assert found.cross.rows == 0
    first = relations.derived.bins[0]
    assert isinstance(first, NumericBins)
    assert found.counts[0, int(first.codes(np.zeros(1))[0])] == 300


# --- exact sums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-12, 0.1, 3.0, 1e9])
def test_the_order_of_rows_changes_no_bit(scale: float) -> None:
    columns = normals(4_000, 1, correlation=0.5)
    columns["score"] = scale * np.random.default_rng(1).lognormal(0, 1, 4_000)
    batch = rows_of(columns, 1, segment=origins(4_000, 1), holes=0.01)
    relations = known(learned(batch))
    window = columns | {"score": columns["score"] * np.random.default_rng(2).choice([-40.0, 0.1, 3.0], 4_000)}
    rows = rows_of(window, 3, segment=origins(4_000, 3), holes=0.01)
    rng = np.random.default_rng(4)
    first, keys = relations.of(everything(rows)), rng.integers(0, 2**64 - 1, 4_000, np.uint64)
    assert first.rows == 4_000
    for _ in range(5):
        order = rng.permutation(4_000)
        # Rows of a sample come in the order of keys: other keys, another order.
        again = relations.of(everything(replace(rows.take(order), keys=keys[rng.permutation(4_000)])))
        assert again.cross.raw() == first.cross.raw()
        assert again.gram.raw() == first.gram.raw()
        np.testing.assert_array_equal(again.counts, first.counts)
    parts = [relations.of(everything(rows.take(part))) for part in np.array_split(rng.permutation(4_000), 9)]
    cross, gram = CrossCounts(relations.base), Gram(relations.gram.scores)
    cross.merge(*(part.cross for part in parts))
    gram.merge(*(part.gram for part in parts))
    assert cross.raw() == first.cross.raw()
    assert gram.raw() == first.gram.raw()


def test_outcomes_are_rounded_finely_and_cut_far_away() -> None:
    columns = normals(4_000, 1)
    relations = known(learned(rows_of(columns, 1)))
    found = relations.of(everything(rows_of(normals(4_000, 2), 2)))
    assert found.cross.group_sums[0] / 4_000 == pytest.approx(normals(4_000, 2)["score"].mean(), abs=1e-5)
    wild = columns | {"score": np.where(np.arange(4_000) == 0, 1e300, columns["score"])}
    found = relations.of(everything(rows_of(wild, 1)))
    assert found.cross.rows == 4_000
    largest = np.abs(columns["score"]).max()
    assert found.cross.group_sums[0] < columns["score"].sum() + 33 * largest
    assert np.isfinite(found.cross.squares).all()


def test_the_class_that_matters_stands_for_the_prediction() -> None:
    rng = np.random.default_rng(1)

    def outcome(classes: list[str], shares: list[float], **options: Any) -> Outcome | None:
        columns = {"x": rng.normal(size=900), "prediction": rng.choice(classes, 900, p=shares)}
        return known(learned(rows_of(columns, 1), **options)).outcome

    assert outcome(["0", "1"], [0.2, 0.8]) == Outcome("prediction", "1")
    assert outcome(["false", "true"], [0.8, 0.2]) == Outcome("prediction", "true")
    assert outcome(["late", "on time"], [0.2, 0.8]) == Outcome("prediction", "late")  # the rarer of two
    assert outcome(["a", "b", "c"], [0.2, 0.3, 0.5]) is None
    assert outcome(["a", "b", "c"], [0.2, 0.3, 0.5], positive="b") == Outcome("prediction", "b")
    assert known(learned(rows_of({"x": rng.normal(size=900)}, 1))).outcome is None
