"""The detection benchmark's own parts: streams, distances, tuning and delays, without any other tool."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.benchmarks.detection import tables
from tests.benchmarks.detection.results import Results, load_all
from tests.benchmarks.detection.sorted_sample import SortedSample
from tests.benchmarks.detection.streams import (
    BACKGROUNDS,
    FULL,
    HORIZON,
    QUICK,
    RAMP,
    REFERENCE_WINDOWS,
    SIZES,
    Base,
    Plan,
    Streams,
    World,
    base_path,
    build,
    read,
    worlds,
    write,
)


@pytest.fixture(scope="module")
def base() -> Base:
    generator = np.random.default_rng(1)
    first = generator.normal(10, 2, 4_000)
    numeric = np.stack(
        [first, first + generator.normal(0, 1, 4_000), generator.exponential(1, 4_000)], axis=1
    )
    numeric[generator.random(4_000) < 0.02, 2] = np.nan
    codes = np.stack([generator.choice(3, 4_000, p=[0.6, 0.3, 0.1]), generator.integers(0, 4, 4_000)], axis=1)
    label = generator.integers(0, 2, 4_000)
    wrong = generator.random(4_000) < 0.1
    names = ("a", "b", "c"), ("d", "e")
    categories = (("x", "y", "z"), ("p", "q", "r", "s"))
    return Base("invented", *names, categories, numeric, codes, label, np.where(wrong, 1 - label, label))


def streams(base: Base, background: str = "iid", rows: int = 2_000) -> Streams:
    return build(World(3, base.name, background, rows, 14, 9, 0, 0), base)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_world_is_the_same_each_time_and_another_one_is_not(base, background):
    one, again = streams(base, background, 50), streams(base, background, 50)
    for part in ("reference", "calm", "changing", "dice", "other_dice"):
        np.testing.assert_array_equal(getattr(one, part), getattr(again, part))
    other = build(replace(one.world, number=4), base)
    assert not np.array_equal(one.calm, other.calm)
    assert one.reference.shape == (REFERENCE_WINDOWS, 50)
    assert one.changed.shape == (HORIZON, 50)


def test_backgrounds_vary_as_they_are_called(base):
    means = {}
    for background in BACKGROUNDS:
        drawn = streams(base, background, 5_000)
        means[background] = np.concatenate(
            [base.numeric[drawn.reference, 0], base.numeric[drawn.calm, 0]]
        ).mean(1)
    noise = base.deviations[0] / np.sqrt(5_000)
    assert means["iid"].std() < 1.5 * noise
    weekly = means["weekday"].reshape(-1, 7)
    assert weekly.std(axis=0).mean() < 1.5 * noise < 3 * noise < weekly.mean(axis=0).std()
    wandering = means["autocorrelated"]
    assert wandering.std() > 3 * noise
    assert np.corrcoef(wandering[1:], wandering[:-1])[0, 1] > 0.4


def test_changes_have_the_size_that_they_say(base):
    drawn = streams(base)
    before, sd = base.numeric[drawn.changed, 0], base.deviations[0]

    def planted(change: str, size: float):
        return drawn.planted(change, "abrupt", size)

    np.testing.assert_allclose(planted("mean", 0.3).numeric[..., 0], before + 0.3 * sd)
    assert planted("scale", 1.5).numeric[..., 0].std() == pytest.approx(1.5 * before.std(), rel=0.02)
    far = planted("tail", 0.05).numeric[..., 0] >= base.means[0] + 4 * sd
    assert far.mean() == pytest.approx(0.05, abs=0.003)
    assert np.isnan(planted("nulls", 0.2).numeric[..., 0]).mean() == pytest.approx(0.2, abs=0.006)
    rarest = (planted("category", 0.1).codes[..., 0] == base.rarest[0]).mean()
    assert rarest == pytest.approx(0.1 + 0.9 * (base.codes[:, 0] == 2).mean(), abs=0.01)
    wrong = base.error.mean()
    found = planted("label flip", 0.2).error.mean()
    assert found == pytest.approx(0.8 * wrong + 0.2 * (1 - wrong), abs=0.01)


def test_a_correlation_goes_and_the_margins_stay(base):
    drawn = streams(base)
    assert base.pair == (0, 1)
    found = drawn.planted("correlation", "abrupt", 1.0).numeric
    before = base.numeric[drawn.changed]
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(before, axis=1))
    assert abs(np.corrcoef(found[..., 0].ravel(), found[..., 1].ravel())[0, 1]) < 0.05
    assert np.corrcoef(before[..., 0].ravel(), before[..., 1].ravel())[0, 1] > 0.8


def test_a_gradual_change_grows_until_it_is_complete(base):
    drawn = streams(base)
    before = base.numeric[drawn.changed, 0].mean(axis=1)
    moved = drawn.planted("mean", "gradual", 0.5).numeric[..., 0].mean(axis=1) - before
    expected = 0.5 * base.deviations[0] * np.minimum((np.arange(HORIZON) + 1) / RAMP, 1)
    np.testing.assert_allclose(moved, expected)


@pytest.mark.parametrize("change", SIZES)
def test_a_change_touches_what_it_is_called_after_alone(base, change):
    drawn = streams(base, rows=200)
    found = drawn.planted(change, "abrupt", SIZES[change][-1])
    touched = {
        "numeric": not np.array_equal(found.numeric, base.numeric[drawn.changed], equal_nan=True),
        "codes": not np.array_equal(found.codes, base.codes[drawn.changed]),
        "label": not np.array_equal(found.label, base.label[drawn.changed]),
    }
    where = {"category": "codes", "label flip": "label"}.get(change, "numeric")
    assert [name for name, is_touched in touched.items() if is_touched] == [where]


def test_plans_have_ten_streams_in_every_cell():
    cells = [(world.rows, world.background) for world in worlds(FULL)]
    assert min(cells.count(cell) for cell in set(cells)) >= 10
    assert len(worlds(QUICK)) < len(worlds(FULL)) / 4
    assert [world.number for world in worlds(FULL)] == list(range(len(cells)))


def test_a_work_folder_keeps_what_was_built(base, tmp_path):
    plan = Plan(("invented",), ((20, 1, 5),))
    base.save(base_path(tmp_path, "invented"))
    assert write(tmp_path, plan) == len(BACKGROUNDS)
    kept = [*read(tmp_path, 0, 2), *read(tmp_path, 1, 2)]
    assert sorted(one.world.number for one in kept) == [0, 1, 2]
    again = build(kept[0].world, base)
    np.testing.assert_array_equal(kept[0].calm, again.calm)
    np.testing.assert_array_equal(kept[0].base.numeric, base.numeric)


@pytest.mark.parametrize("seed", range(10))
def test_distances_are_those_of_scipy(seed):
    generator = np.random.default_rng(seed)
    known = np.round(generator.normal(0, 1, 700), int(generator.integers(0, 4)))
    window = np.round(
        generator.normal(0.2, 1.3, int(generator.integers(1, 90))), int(generator.integers(0, 4))
    )
    sample = SortedSample(np.append(known, np.nan))
    assert sample.wasserstein(window) == pytest.approx(stats.wasserstein_distance(known, window))
    assert sample.kolmogorov(window) == pytest.approx(stats.ks_2samp(known, window).statistic)


def test_alarms_that_go_on_count_once():
    alarms = np.array([[True, True, False, True], [False, True, True, True]])
    assert tables.begun(alarms).astype(int).tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]


def test_a_threshold_is_tuned_to_the_rate_that_is_asked_for():
    calm = [np.random.default_rng(seed).random((3, 1_000)) for seed in range(4)]
    for allowed in (0, 12, 120):
        threshold = tables.tuned_threshold(calm, allowed)
        alarms = sum(int(tables.begun(scores > threshold).sum()) for scores in calm)
        assert alarms == allowed
        fresh = np.random.default_rng(9).random((1, 12_000)) > threshold
        assert tables.begun(fresh).sum() == pytest.approx(allowed, abs=4 * math.sqrt(allowed) + 4)


def test_scores_that_are_all_the_same_raise_no_alarm():
    assert tables.tuned_threshold([np.zeros((2, 50))], 3) == 0.0


def test_a_setting_is_the_last_before_the_first_with_too_many_alarms():
    calm = np.zeros((4, 1, 30), bool)
    for setting, count in enumerate((0, 2, 5, 1)):
        calm[setting, 0, : 2 * count : 2] = True
    assert [tables.tuned_setting([calm], allowed) for allowed in (0, 2, 4, 5)] == [0, 1, 1, 3]
    assert tables.tuned_setting([calm[1:]], 1) == -1


def test_delays_count_from_the_first_changed_window():
    alarms = np.array([[True, False, False], [False, False, True], [False, False, False]])
    assert tables.delays(alarms).tolist() == [1.0, 3.0, math.inf]
    found = tables.Delays((1.0, 3.0, 2.0, math.inf))
    assert (found.median, found.missed) == (3.0, 0.25)
    assert math.isinf(tables.Delays((1.0, math.inf, math.inf)).median)


def made(tool: str, planted: list[int], settings: tuple[str, ...] = ()) -> Results:
    """Findings in one world: scores of 0 to 1 in calm windows, and of 9 from a given window on."""
    results = Results(tool, "1", {"mean": "numeric"}, settings)
    calm = np.linspace(0, 1, 500).reshape(1, 500)
    after = np.zeros((2, 5, HORIZON))
    for size, first in enumerate(planted):
        after[:, size, first:] = 9.0
    often = np.arange(500).reshape(1, 500) % 2 == 0
    results.calm["numeric", "0000"] = np.stack([calm > 2, often]) if settings else calm
    results.planted["mean", "0000"] = np.stack([after > 1, after >= 0]) if settings else after
    results.default["numeric", "0000"] = calm > 0.9
    return results


def test_tools_are_compared_in_each_cell():
    world = World(0, "invented", "iid", 100, 500, 9, 0, 0)
    tuned = {
        "Driftline": tables.tune(made("Driftline", [21, 4, 2, 1, 0], ("low", "high")), {"0000": world}),
        tables.OWN[1]: tables.tune(made(tables.OWN[1], [0, 0, 0, 0, 0]), {"0000": world}),
        "other": tables.tune(made("other", [21, 5, 2, 0, 0]), {"0000": world}),
    }
    found = tables.compared("Driftline", tuned)
    assert len(found) == 10
    abrupt = [found[tables.Cell("iid", 100, "mean", "abrupt", size)] for size in SIZES["mean"]]
    assert [one.is_no_worse for one in abrupt] == [True, True, True, False, True]
    assert [one.is_found for one in abrupt] == [False, True, True, True, True]
    assert [one.median for one in abrupt] == [math.inf, 5, 3, 2, 1]
    assert tables.share(found.values()) == "8 of 10 (80%)"
    assert "abrupt 0.5: 2 / 1 other" in tables.table_of_losses("Driftline", tuned)[2]


def test_false_alarms_are_counted_per_stream_week():
    world = World(0, "invented", "iid", 100, 500, 9, 0, 0)
    alarms, weeks = tables.false_alarms(made("other", []), {"0000": world}, ("iid", 100), ("numeric",))
    assert alarms == 1
    assert weeks == pytest.approx(500 / 7)


def test_parts_of_findings_come_together(tmp_path):
    one, other = made("a tool", [1]), Results("a tool", "1", {"mean": "numeric"})
    one.notes, other.notes = {"columns": 2.0, "largest x": 0.5}, {"columns": 3.0, "largest x": 0.25}
    other.planted["mean", "0001"] = np.ones((2, 5, HORIZON))
    one.save(tmp_path, 0)
    other.save(tmp_path, 1)
    found = load_all(tmp_path)
    assert [results.tool for results in found] == ["a tool"]
    assert sorted(world for _, world in found[0].planted) == ["0000", "0001"]
    assert found[0].notes == {"columns": 5.0, "largest x": 0.5}
