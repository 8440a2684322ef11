"""Calibrators: which curve serves whom, and that records of any order and number fit."""

import numpy as np
import pytest

from detectors.calibrator import SCORED, Calibrator, signed
from detectors.outcomes import EVERYTHING, RECORD
from detectors.score_curve import middles
from tests.detectors.outcome_rows import NEGATIVE, POSITIVE, of_classes


def test_hashes_are_known_as_either_kind_of_integer():
    assert signed([NEGATIVE, 2**63, -(2**63)]) == (NEGATIVE, -(2**63), -(2**63))


def test_with_a_positive_class_scores_share_a_curve_and_rows_without_scores_have_one_each():
    score = np.where(np.arange(400) % 2, np.nan, 0.7)
    predicted = np.repeat([0, 1], 200)
    calibrator = Calibrator.fit(of_classes(predicted, predicted, score).labelled, (POSITIVE,))
    assert set(calibrator.curves) == {(EVERYTHING, SCORED), (EVERYTHING, NEGATIVE), (EVERYTHING, POSITIVE)}
    assert calibrator.curve(EVERYTHING, SCORED).p[1:].max() == pytest.approx(0.5)
    assert calibrator.curve(EVERYTHING, NEGATIVE).p[0] < 0.01
    assert calibrator.curve(EVERYTHING, POSITIVE).p[0] > 0.99


def test_segments_fall_back_on_everything_and_nothing_on_the_scores():
    rows = of_classes([0, 1] * 50, [0, 1] * 50, [0.2, 0.8] * 50, segments=np.full((100, 1), 9))
    calibrator = Calibrator.fit(rows.labelled, (POSITIVE,))
    assert calibrator.curve(77, SCORED) is calibrator.curve(EVERYTHING, SCORED)
    empty = Calibrator.fit(np.zeros(0, RECORD), (POSITIVE,))
    assert (empty.curve(EVERYTHING, SCORED).p[1:] == middles()).all()


def test_each_column_is_drawn_towards_everything_as_far_as_its_own_segments_are_alike():
    generator = np.random.default_rng(1)
    segments = np.stack((generator.integers(1, 3, 20_000), generator.integers(11, 13, 20_000)), axis=1)
    label = generator.random(20_000) < np.where(segments[:, 0] == 1, 0.3, 0.7)
    rows = of_classes(label, label, np.full(20_000, 0.6), segments=segments)
    calibrator = Calibrator.fit(rows.labelled, (POSITIVE,), columns=[[1, 2], [11, 12]])
    common = calibrator.curve(EVERYTHING, SCORED)
    at = 1 + int(rows.labelled["cell"][0])
    assert calibrator.curve(1, SCORED).p[at] == pytest.approx(0.3, abs=0.02)
    assert calibrator.curve(2, SCORED).p[at] == pytest.approx(0.7, abs=0.02)
    assert calibrator.curve(11, SCORED).p[at] == pytest.approx(common.p[at], abs=0.01)


def test_blocks_of_all_curves_are_numbered_without_overlap():
    generator = np.random.default_rng(2)
    score = generator.random(5_000)
    label = generator.random(5_000) < score
    rows = of_classes(score > 0.5, label, score, segments=generator.integers(1, 4, (5_000, 1)))
    calibrator = Calibrator.fit(rows.labelled, (POSITIVE,))
    first, everything = calibrator.blocks
    places = np.arange(1, 300, 50)
    for segment in (0, 1, 2, 3):
        curve = calibrator.curve(segment, SCORED)
        p, block, _ = calibrator.look_up(np.full(6, segment), np.full(6, SCORED), places)
        assert (p == curve.p[places]).all()
        assert (block == first[id(curve)] + curve.block[places]).all()
        assert (everything.variance[block] == curve.variance[curve.block[places]]).all()


def test_losses_are_means_of_the_reference_with_one_row_at_the_middle_of_the_cell():
    rows = of_classes([1] * 9, [1] * 9, [0.8] * 9)
    calibrator = Calibrator.fit(rows.labelled, (POSITIVE,))
    place = 1 + int(rows.labelled["cell"][0])
    middle = middles()[place - 1]
    assert calibrator.losses[0, 1, place] == pytest.approx((9 * 0.04 + (1 - middle) ** 2) / 10)
    assert calibrator.losses[1, 1, place] == pytest.approx((-9 * np.log(0.8) - np.log(middle)) / 10)
    assert calibrator.losses[0, 0, place] == pytest.approx(middle**2)
