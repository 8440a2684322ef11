"""Attribution: cross-counts against pandas, identities to 1e-10, intervals by simulation, and the words."""

from math import inf

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.linear_model import Ridge

from detectors.attribution import (
    Decomposition,
    explain,
    find_slices,
    kitagawa,
    kitagawa_segments,
    regress,
)
from detectors.binning import Binning, CategoricalBins, NumericBins, SegmentValues
from detectors.cross_counts import CrossCounts, Outcome
from detectors.gram import Gram, NormalScores
from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, Batch, Categories
from schemas.column import ColumnSpec, Kind, Source
from schemas.errors import ProfileError, UsageError

TEMP = ColumnSpec("temp", Kind.NUMERIC)
CARRIER = ColumnSpec("carrier", Kind.CATEGORICAL)
SCORE = ColumnSpec("score", Kind.NUMERIC, Source.SCORE)
BINNING = Binning(
    (CARRIER, SCORE, TEMP),
    (
        CategoricalBins(("UA", "DL"), (1, 2), (0, 1)),  # bins 0 … 5
        NumericBins((0.0, 1.0), 0.0, 1.0),  # 6 … 10
        NumericBins((39.0, 57.0, 72.0), 20.0, 90.0),  # 11 … 16
    ),
    (SegmentValues("origin", ("EWR", "JFK"), (1, 2)),),  # groups 1 … 4
)
GROUPS = 4


def rows(seed, n, temps=(0.1, 0.3, 0.4, 0.2), effects=(0.1, 0.2, 0.4, 0.8), noise=0.1):
    """Codes, ŷ that goes with the temperature, and the segment of each row."""
    generator = np.random.default_rng(seed)
    temp = generator.choice(4, n, p=temps)
    codes = np.stack([generator.choice([0, 1, 4], n), np.full(n, 7), temp + 11])
    outcome = np.asarray(effects)[temp] + noise * generator.normal(size=n)
    return codes, outcome, generator.integers(0, GROUPS, n)


def cross(codes, outcome, segment, **options):
    found = CrossCounts(BINNING, "abc", **options)
    found.add(codes, outcome, [segment])
    return found


# --- cross-counts -----------------------------------------------------------------------------------------


def test_cross_counts_are_those_of_pandas():
    codes, outcome, segment = rows(1, 700)
    outcome[::9] = np.nan
    outcome[[1, 2]] = np.inf, 1e200
    found = cross(codes, outcome, segment, by_group=True)
    frame = pd.DataFrame({"y": outcome, "segment": segment, "all": -1})
    frame = frame[frame.y.abs() < 1e100]
    assert found.rows == len(frame)
    for row in codes:
        frame["bin"] = row[frame.index]
        for key in ("all", "segment"):
            grouped = frame.groupby([key, "bin"]).y
            table = pd.DataFrame(
                {"n": grouped.size(), "s": grouped.sum(), "q": grouped.apply(lambda y: (y**2).sum())}
            )
            for (group, place), n, s, q in table.itertuples():
                assert found.n[group + 1, place] == n
                assert found.sums[group + 1, place] == pytest.approx(s)
                assert found.squares[group + 1, place] == pytest.approx(q)
    assert found.n.sum() == 2 * 3 * len(frame)
    assert found.group_n[1:].tolist() == frame.segment.value_counts().sort_index().tolist()
    assert found.group_sums[1:] == pytest.approx(frame.groupby("segment").y.sum().to_numpy())
    lean = cross(codes, outcome, segment)
    assert np.array_equal(lean.n, found.n[:1])
    assert np.array_equal(lean.group_squares, found.group_squares)


def test_input_is_not_changed():
    codes, outcome, segment = rows(1, 50)
    copies = codes.copy(), outcome.copy(), segment.copy()
    cross(codes, outcome, segment, by_group=True)
    for now, before in zip((codes, outcome, segment), copies, strict=True):
        assert np.array_equal(now, before)


def test_shapes_that_do_not_fit_are_refused():
    codes, outcome, segment = rows(1, 50)
    for wrong in ((codes[:2], outcome, [segment]), (codes, outcome[:9], [segment[:9]])):
        with pytest.raises(UsageError, match="codes"):
            CrossCounts(BINNING).add(*wrong)
    for groups in ([], [segment[:9]], [segment, segment]):
        with pytest.raises(UsageError, match="groups"):
            CrossCounts(BINNING).add(codes, outcome, groups)


def test_cross_counts_on_other_bins_are_refused():
    one = cross(*rows(1, 50))
    other = CrossCounts(BINNING, "def")
    for act in (
        one.merge,
        lambda x: kitagawa(one, x),
        lambda x: kitagawa_segments(one, x),
        lambda x: find_slices(one, x),
    ):
        with pytest.raises(ProfileError, match="other bins"):
            act(other)
    with pytest.raises(ProfileError, match="other bins"):
        one.merge(CrossCounts(BINNING, "abc", by_group=True))
    with pytest.raises(ProfileError, match="do not fit"):
        CrossCounts.from_bytes(one.to_bytes(), Binning((TEMP,), (BINNING.bins[2],)))


# --- Kitagawa ---------------------------------------------------------------------------------------------

CELLS = arrays.arrays(np.int64, 6, elements=st.integers(0, 40) | st.just(0))
VALUES = arrays.arrays(np.float64, 40 * 6, elements=st.floats(-1e3, 1e3))


def filled(counts, values):
    found = CrossCounts(Binning((TEMP,), (BINNING.bins[2],)))
    places = np.repeat(np.arange(6), counts)
    found.add(places[None], values[: len(places)])
    return found


@given(CELLS, CELLS, VALUES, VALUES)
def test_mix_and_rate_sum_to_the_change_and_bins_to_both(counts, later, values, others):
    reference, window = filled(counts, values), filled(later, others)
    found = kitagawa(reference, window)
    if not counts.sum() or not later.sum():
        assert found.contributions == ()
        assert found.change == (0.0, inf, -inf, inf)
        return
    (one,) = found.contributions
    change = others[: later.sum()].mean() - values[: counts.sum()].mean()
    assert found.change.value == pytest.approx(change, abs=1e-10)
    assert one.mix.value + one.rate.value == pytest.approx(change, abs=1e-10)
    assert sum(part.mix for part in one.bins) == pytest.approx(one.mix.value, abs=1e-10)
    assert sum(part.rate for part in one.bins) == pytest.approx(one.rate.value, abs=1e-10)
    assert len(one.bins) == np.count_nonzero(counts + later)
    assert all(part.rate == 0 for part in one.bins if not part.share or not part.reference_share)
    assert np.isfinite([one.mix.se, one.rate.se, found.change.se]).all()


def test_terms_are_those_of_the_formula():
    codes, outcome, segment = rows(1, 900)
    other, later, there = rows(2, 400, temps=(0.0, 0.3, 0.3, 0.4), effects=(0.1, 0.3, 0.4, 0.7))
    found = kitagawa(cross(codes, outcome, segment), cross(other, later, there))
    assert {one.column for one in found.contributions} == {"temp", "carrier"}  # not the score itself
    temp = next(one for one in found.contributions if one.column == "temp")
    p = pd.Series(codes[2]).value_counts(normalize=True)
    q = pd.Series(other[2]).value_counts(normalize=True).reindex(p.index, fill_value=0.0)
    mean = pd.Series(outcome).groupby(codes[2]).mean()
    moved = pd.Series(later).groupby(other[2]).mean().reindex(p.index)
    moved = moved.fillna(mean)
    assert temp.mix.value == pytest.approx(((q - p) * (mean + moved) / 2).sum(), abs=1e-12)
    assert temp.rate.value == pytest.approx(((q + p) / 2 * (moved - mean)).sum(), abs=1e-12)
    assert abs(found.contributions[0].mix.value) >= abs(found.contributions[1].mix.value)
    assert found.reference_mean == pytest.approx(outcome.mean())
    assert found.mean == pytest.approx(later.mean())
    gone = next(part for part in temp.bins if part.label == "< 39")
    assert (gone.share, gone.rate, gone.mean) == (0.0, 0.0, gone.reference_mean)


@pytest.mark.parametrize("which", ["mix", "rate"])
def test_intervals_cover_95_percent(which):
    """Of the contributions in the populations, over many draws of reference and window."""
    before, after = np.array([0.1, 0.3, 0.4, 0.2]), np.array([0.2, 0.2, 0.25, 0.35])
    effects, moved = np.array([0.1, 0.2, 0.4, 0.8]), np.array([0.1, 0.3, 0.45, 0.7])
    truth = {
        "mix": ((after - before) * (effects + moved) / 2).sum(),
        "rate": ((after + before) / 2 * (moved - effects)).sum(),
    }[which]
    covered = []
    for seed in range(1_000):
        reference = cross(*rows(2 * seed, 300, before, effects, noise=0.3))
        window = cross(*rows(2 * seed + 1, 150, after, moved, noise=0.3))
        temp = next(one for one in kitagawa(reference, window).contributions if one.column == "temp")
        estimate = getattr(temp, which)
        covered.append(estimate.low <= truth <= estimate.high)
    assert 0.925 <= np.mean(covered) <= 0.975


def test_segments_are_decomposed_in_the_same_way():
    codes, outcome, segment = rows(1, 900)
    other, later, there = rows(2, 500)
    there[:200] = 0
    later = later + 0.5 * (there == 0)
    outcome = outcome + 0.5 * (segment == 0)
    found = kitagawa_segments(cross(codes, outcome, segment), cross(other, later, there))
    (origin,) = found.contributions
    assert origin.column == "origin"
    assert origin.mix.value + origin.rate.value == pytest.approx(later.mean() - outcome.mean(), abs=1e-10)
    assert origin.bins[0].label == "EWR"
    assert explain(found).endswith("comes with origin: more rows with EWR")


def test_a_segment_can_be_looked_at_alone():
    codes, outcome, segment = rows(1, 900)
    other, later, there = rows(2, 500, temps=(0.1, 0.2, 0.3, 0.4))
    sides = cross(codes, outcome, segment, by_group=True), cross(other, later, there, by_group=True)
    found = kitagawa(*sides, group="origin=JFK")
    mine = [CrossCounts(Binning((TEMP,), (BINNING.bins[2],))) for _ in range(2)]
    for x, (c, y, g) in zip(mine, ((codes, outcome, segment), (other, later, there)), strict=True):
        x.add(c[2:, g == 1] - 11, y[g == 1])
    alone = kitagawa(*mine)
    assert found.change == pytest.approx(alone.change)
    temp = next(one for one in found.contributions if one.column == "temp")
    assert temp.mix == pytest.approx(alone.contributions[0].mix)
    assert temp.rate == pytest.approx(alone.contributions[0].rate)
    for wrong in (sides[0], cross(codes, outcome, segment)):
        with pytest.raises(UsageError, match="group: 'origin=SFO'"):
            kitagawa(wrong, wrong, group="origin=SFO")


# --- words ------------------------------------------------------------------------------------------------


def said(temps=(0.1, 0.3, 0.4, 0.2), effects=(0.1, 0.2, 0.4, 0.8), outcome="score", scale=1.0):
    codes, y, segment = rows(1, 20_000)
    reference = cross(codes, scale * y, segment)
    codes, y, segment = rows(2, 5_000, temps, effects)
    return explain(kitagawa(reference, cross(codes, scale * y, segment)), outcome)


def test_words_name_the_column_and_the_bins_that_a_change_comes_with():
    assert said((0.1, 0.5, 0.3, 0.1)) == (
        "nearly all of the fall of the score (-0.075 of -0.075) comes with temp: "
        "fewer rows with values >= 72 and more rows in [39, 57)"
    )
    assert said((0.1, 0.1, 0.2, 0.6), outcome="predicted delay", scale=100.0) == (
        "nearly all of the rise of the predicted delay (20 of 20) comes with temp: "
        "more rows with values >= 72"
    )


def test_words_do_not_blame_a_column_for_what_happens_within_its_bins():
    assert said(effects=(0.0, 0.1, 0.3, 0.7)) == (
        "the fall of the score (-0.093) comes with no change of the rows in any one column: "
        "rows with the same values have lower ones than before"
    )
    half = said((0.1, 0.4, 0.3, 0.2), (0.0, 0.1, 0.3, 0.7))
    assert half.startswith("part of the fall of the score (-0.0")


def test_words_keep_silent_about_chance_and_nothing():
    assert said().startswith("the score has not changed beyond chance (95 % interval -0.0")
    nothing = kitagawa(cross(*rows(1, 50)), CrossCounts(BINNING, "abc"))
    assert explain(nothing) == "the score cannot be compared: there are no rows"
    assert nothing.contributions == ()
    flat = cross(rows(1, 50)[0], np.ones(50), np.zeros(50, int))
    assert explain(kitagawa(flat, flat)) == "the score has not changed beyond chance (95 % interval 0 to 0)"


@pytest.mark.parametrize(
    ("place", "words"),
    [(15, "without a value"), (16, "with an invalid value"), (13, "in [57, 72)"), (11, "with values < 39")],
)
def test_words_for_every_kind_of_bin(place, words):
    codes, outcome, segment = rows(1, 5_000)
    later = codes.copy()
    later[2, :2_000] = place
    outcome[:] = codes[2] == 12
    raised = np.where(later[2] == place, 3.0, outcome)
    lifted = np.where(codes[2] == place, 3.0, outcome)
    found = kitagawa(cross(codes, lifted, segment), cross(later, raised, segment))
    assert f"comes with temp: more rows {words}" in explain(found)


def test_no_column_is_blamed_where_there_are_none():
    lean = Binning((SCORE,), (BINNING.bins[1],))
    sides = []
    for level in (0.2, 0.5):
        side = CrossCounts(lean)
        side.add(np.ones((1, 100), int), np.full(100, level) + np.arange(100) / 1e4)
        sides.append(side)
    found = kitagawa(*sides)
    assert found.contributions == ()
    assert "comes with no change of the rows" in explain(found)
    assert isinstance(kitagawa_segments(*sides), Decomposition)


# --- columns that go together -----------------------------------------------------------------------------

EDGES = tuple(np.linspace(-2, 2, 15).tolist())


def together(seed, n, shift=0.0):
    """Three columns; x0 and x1 go together, ŷ follows x0 alone."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(3, n))
    x[0] += shift
    x[1] = 0.9 * x[0] + np.sqrt(1 - 0.81) * x[1]
    specs = tuple(ColumnSpec(f"x{i}", Kind.NUMERIC) for i in range(3))
    binning = Binning(specs, (NumericBins(EDGES, -4.0, 4.0),) * 3)
    codes = np.searchsorted(EDGES, x, side="right") + binning.offsets[:-1, None]
    return binning, codes


def test_regression_gives_the_change_to_the_column_that_carries_it():
    binning, codes = together(1, 5_000)
    _, later = together(2, 2_000, shift=0.5)
    scores = NormalScores.of(binning, np.bincount(codes.ravel(), minlength=int(binning.offsets[-1])))
    gram = Gram(scores)
    gram.add(codes)
    z, moved = scores.of_codes(codes), scores.of_codes(later)
    reference, window = CrossCounts(binning), CrossCounts(binning)
    reference.add(codes, 0.3 * z[0] + 1)
    window.add(later, 0.3 * moved[0] + 1)
    found = regress(reference, window, gram)
    oracle = Ridge(alpha=1e-3 * z.shape[1]).fit(z.T, 0.3 * z[0] + 1)
    coefficients = {one.column: one.coefficient for one in found.effects}
    assert [coefficients[f"x{i}"] for i in range(3)] == pytest.approx(oracle.coef_, abs=1e-10)
    assert found.change == pytest.approx(0.3 * (moved[0].mean() - z[0].mean()))
    assert sum(one.contribution for one in found.effects) + found.remainder == pytest.approx(
        found.change, abs=1e-12
    )
    assert found.effects[0].column == "x0"
    assert found.effects[0].moved == pytest.approx(moved[0].mean() - z[0].mean())
    assert found.effects[0].contribution == pytest.approx(found.change, rel=0.02)
    # Each column on its own carries most of the change: what the regression is for.
    alone = {one.column: one.mix.value for one in kitagawa(reference, window).contributions}
    assert alone["x1"] > 0.7 * found.change > 10 * abs(coefficients["x1"] * 0.45)


def test_what_is_no_column_is_left_as_a_remainder():
    binning, codes = together(1, 5_000)
    scores = NormalScores.of(binning, np.bincount(codes.ravel(), minlength=int(binning.offsets[-1])))
    gram = Gram(scores)
    gram.add(codes)
    z = scores.of_codes(codes)
    reference, window = CrossCounts(binning), CrossCounts(binning)
    reference.add(codes, 0.3 * z[0])
    window.add(codes, 0.3 * z[0] - 0.2)
    found = regress(reference, window, gram)
    assert found.remainder == pytest.approx(-0.2)
    assert all(one.contribution == 0 for one in found.effects)
    nothing = regress(reference, CrossCounts(binning), gram)
    assert (nothing.change, nothing.remainder) == (0.0, 0.0)
    with pytest.raises(UsageError, match="ridge"):
        regress(reference, window, gram, ridge=0.0)
    with pytest.raises(UsageError, match="bins"):
        regress(cross(*rows(1, 50)), cross(*rows(2, 50)), gram)


def test_missing_values_do_not_disturb_the_regression():
    binning, codes = together(1, 20_000)
    holes = codes.copy()
    missing = np.random.default_rng(5).random(codes.shape) < 0.1
    holes = np.where(missing, binning.offsets[1:, None] - 2, holes)
    scores = NormalScores.of(binning, np.bincount(holes.ravel(), minlength=int(binning.offsets[-1])))
    gram = Gram(scores)
    gram.add(holes)
    reference = CrossCounts(binning)
    reference.add(holes, 0.3 * scores.of_codes(codes)[0])
    _, later = together(2, 5_000, shift=0.5)
    window = CrossCounts(binning)
    window.add(later, 0.3 * scores.of_codes(later)[0])
    found = regress(reference, window, gram)
    assert found.effects[0].column == "x0"
    assert found.effects[0].contribution == pytest.approx(found.change, rel=0.1)


def test_coefficients_come_from_the_rows_that_have_a_value():
    """Also where it is the rows with a high ŷ that lack it."""
    binning, codes = together(1, 3_000)
    outcome = 0.3 * NormalScores.of(binning, np.bincount(codes.ravel())).of_codes(codes)[0]
    codes[0, (outcome > 0.2) & (np.arange(3_000) % 3 > 0)] = binning.offsets[1] - 2
    scores = NormalScores.of(binning, np.bincount(codes.ravel(), minlength=int(binning.offsets[-1])))
    gram, reference = Gram(scores), CrossCounts(binning)
    gram.add(codes)
    reference.add(codes, outcome)
    with_outcome = [np.cov(z[ok := ~np.isnan(z)], outcome[ok], ddof=0)[0, 1] for z in scores.of_codes(codes)]
    wanted = np.linalg.solve(gram.covariance + 0.01 * np.eye(3), with_outcome)
    found = {one.column: one.coefficient for one in regress(reference, reference, gram, ridge=0.01).effects}
    assert [found[f"x{i}"] for i in range(3)] == pytest.approx(wanted, abs=1e-10)


# --- slices -----------------------------------------------------------------------------------------------


def test_the_slice_whose_loss_grew_is_found():
    codes, loss, segment = rows(1, 4_000, effects=(0.2,) * 4)
    other, later, there = rows(2, 2_000, effects=(0.2,) * 4)
    planted = (there == 1) & (other[2] == 13)
    later = later + 0.6 * planted
    reference, window = cross(codes, loss, segment, by_group=True), cross(other, later, there, by_group=True)
    best = find_slices(reference, window)[0]
    assert (best.segment, best.column, best.label) == ("origin=JFK", "temp", "[57, 72)")
    assert best.rows == planted.sum()
    assert best.mean == pytest.approx(later[planted].mean())
    was = (segment == 1) & (codes[2] == 13)
    assert best.reference_rows == was.sum()
    assert best.reference_mean == pytest.approx(loss[was].mean())
    share = (planted.mean() + was.mean()) / 2
    assert best.rate.value == pytest.approx(share * (later[planted].mean() - loss[was].mean()))
    assert best.rate.low > 0
    nearer = [min(abs(one.rate.low), abs(one.rate.high)) for one in find_slices(reference, window, most=10)]
    assert nearer == sorted(nearer, reverse=True)
    assert find_slices(reference, window, fewest=10_000) == []
    assert find_slices(reference, reference) == []
    lean = find_slices(cross(codes, loss, segment), cross(other, later, there))
    assert {bool(one.segment) and bool(one.column) for one in lean} == {False}
    assert {(one.segment, one.label) for one in lean} >= {("origin=JFK", ""), ("", "[57, 72)")}
    assert find_slices(reference, CrossCounts(BINNING, "abc", by_group=True)) == []


def test_the_beam_limits_what_is_combined():
    codes, loss, segment = rows(1, 4_000, effects=(0.2,) * 4)
    other, later, there = rows(2, 2_000, effects=(0.2,) * 4)
    later = later + 0.6 * ((there == 1) & (other[2] == 13))
    sides = cross(codes, loss, segment, by_group=True), cross(other, later, there, by_group=True)
    assert all(not (one.segment and one.column) for one in find_slices(*sides, beam=0))
    pairs = [one for one in find_slices(*sides, beam=1, most=50) if one.segment and one.column]
    assert pairs
    assert len({one.segment for one in pairs}) == 1 or len({one.label for one in pairs}) == 1


# --- what stands for the prediction -----------------------------------------------------------------------


def batch():
    numbers = np.array([[0.1, 0.2, 0.0, 0.0], [0.7, 0.8, 0.9, 0.0]])
    status = np.array([[0, 0, MISSING, INVALID], [0, 0, 0, 0]], np.uint8)
    return Batch(
        event_ms=np.zeros(4, np.int64),
        numeric=(SCORE, ColumnSpec("score.late", Kind.NUMERIC, Source.SCORE)),
        numbers=numbers,
        status=status,
        categorical=(CARRIER, ColumnSpec("prediction", Kind.CATEGORICAL, Source.PREDICTION)),
        categories=(
            Categories(np.zeros(4, np.int32), pa.array(["UA"])),
            Categories(np.array([1, 0, CODE_MISSING, CODE_INVALID], np.int32), pa.array(["late", "on time"])),
        ),
    )


def test_the_score_comes_first_then_the_class_then_the_number():
    rest = batch().columns
    classes, number = rest[3], ColumnSpec("prediction", Kind.NUMERIC, Source.PREDICTION)
    assert Outcome.of(rest) == Outcome("score")
    assert Outcome.of(rest, "late") == Outcome("score.late")
    assert Outcome.of((CARRIER, rest[1])) == Outcome("score.late")
    assert Outcome.of((CARRIER, classes), "late") == Outcome("prediction", "late")
    assert Outcome.of((TEMP, number)) == Outcome("prediction")
    assert Outcome.of((TEMP, classes)) is None
    assert Outcome.of(()) is None


def test_values_of_a_batch():
    nan = np.nan
    for outcome, wanted in (
        (Outcome("score"), [0.1, 0.2, nan, nan]),
        (Outcome("score.late"), [0.7, 0.8, 0.9, 0.0]),
        (Outcome("prediction", "late"), [0.0, 1.0, nan, nan]),
        (Outcome("prediction", "never"), [0.0, 0.0, nan, nan]),
        (Outcome("elsewhere"), [nan] * 4),
        (Outcome("prediction"), [nan] * 4),
    ):
        assert np.array_equal(outcome.values(batch()), wanted, equal_nan=True)
