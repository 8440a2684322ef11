"""PSI against a threshold: both conditions, the calibrated threshold, and the words."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.planted import planted_reference, planted_windows
from detectors.psi import PsiThreshold
from detectors.stability import debiased_psi
from detectors.tensor import ReferenceCounts
from schemas.verdict import Decision, Lane
from tests.detectors.layouts import ragged_layout

REFERENCE = planted_reference(seed=1)


def small_reference(windows: int = 0) -> ReferenceCounts:
    counts = np.array([[[100, 400, 400, 100, 0], [900, 100, 0, 0, 0], [1_000, 0, 0, 0, 0]]])
    return ReferenceCounts(
        ragged_layout(),
        ("",),
        counts,
        np.repeat(counts[None], windows, axis=0),
        np.array([2.0, np.nan, np.nan]),
        np.arange(windows),
        1,
    )


def test_drift_needs_both_the_size_and_the_certainty():
    few_rows = planted_windows(seed=4, windows=200, rows=20)
    verdicts = [PsiThreshold(calibrate=False).judge(REFERENCE, window)[0] for window in few_rows]
    assert any(verdict.statistic >= 0.1 for verdict in verdicts)
    assert (
        sum(verdict.decision is Decision.DRIFT for verdict in verdicts) <= 10
    )  # 5 % by the interval's level
    for verdict in verdicts:
        assert verdict.effects is not None
        certain = verdict.statistic >= 0.1 and verdict.effects.psi_low > 0.01
        assert (verdict.decision is Decision.DRIFT) == certain


def test_a_certain_but_small_shift_is_no_drift():
    window = planted_windows(seed=5, windows=1, rows=10**6, shift_sd=0.2)[0]
    verdict = PsiThreshold().judge(REFERENCE, window)[0]
    assert verdict.effects is not None
    assert verdict.effects.psi_low > 0.01
    assert verdict.decision is Decision.OK
    assert PsiThreshold(threshold=0.02).judge(REFERENCE, window)[0].decision is Decision.DRIFT


def test_threshold_rises_to_what_the_reference_does_by_itself():
    restless = np.concatenate(
        [planted_windows(seed, 6, 2_000, shift) for seed, shift in ((6, 0.6), (7, -0.6))]
    )
    reference = replace(REFERENCE, windows=restless, starts_ms=np.arange(12))
    largest = debiased_psi(reference.counts[0], restless[:, 0], reference.layout).max(axis=0)
    window = planted_windows(seed=8, windows=1, rows=5_000, shift_sd=0.6)[0]
    amount, carrier, *segments = PsiThreshold().judge(reference, window)
    assert amount.threshold == 1.25 * largest[0] > 0.1
    assert amount.threshold_source == "1.25 × largest of 12 reference windows"
    assert (carrier.threshold, carrier.threshold_source) == (0.1, "configured")
    assert [verdict.threshold for verdict in segments] == [amount.threshold, carrier.threshold] * 2
    assert amount.decision is Decision.OK
    plain = PsiThreshold(calibrate=False).judge(reference, window)[0]
    assert (plain.threshold, plain.threshold_source, plain.decision) == (0.1, "configured", Decision.DRIFT)


def test_fewer_than_four_windows_with_data_do_not_calibrate():
    shifted = planted_windows(seed=9, windows=9, rows=2_000, shift_sd=1.0)
    for windows_with_data, calibrated in ((3, False), (4, True)):
        windows = shifted * (np.arange(9) < windows_with_data)[:, None, None, None]
        reference = replace(REFERENCE, windows=windows, starts_ms=np.arange(9))
        verdict = PsiThreshold().judge(reference, shifted[0])[0]
        assert (verdict.threshold > 0.1) == calibrated
        expected = "1.25 × largest of 4 reference windows" if calibrated else "configured"
        assert verdict.threshold_source == expected


def test_words_bins_and_lanes():
    window = np.array([[[20, 100, 200, 80, 100], [45, 55, 0, 0, 0], [0, 0, 0, 0, 0]]])
    temp, carrier, constant = PsiThreshold().judge(small_reference(), window)
    assert temp.explanation == (
        "temp: 20 % of rows are missing, reference 0 %; 20 % in [0, 1), reference 40 %; median 1 → 2.2"
    )
    assert [bin.label for bin in temp.moved][:2] == ["missing", "[0, 1)"]
    assert len(temp.moved) == 5
    assert temp.effects is not None
    assert sum(bin.psi for bin in temp.moved) == pytest.approx(temp.effects.psi)
    assert carrier.explanation == "carrier: 55 % of rows are DL, reference 10 %; 45 % are UA, reference 90 %"
    assert (carrier.moved[0].label, carrier.moved[0].reference_share, carrier.moved[0].share) == (
        "DL",
        0.1,
        0.55,
    )
    assert carrier.lane is Lane.PREDICTIONS
    assert constant.decision is Decision.NO_DATA
    assert (constant.effects, constant.moved, constant.statistic, constant.n) == (None, (), 0, 0)


def test_segments_are_named_in_words_and_have_their_own_lane():
    window = planted_windows(seed=10, windows=1, rows=4_000, shift_sd=-1.0)[0]
    verdict = PsiThreshold().judge(REFERENCE, window)[2]
    assert (verdict.segment, verdict.lane) == ("origin=EWR", Lane.SEGMENTS)
    assert verdict.explanation.startswith("amount where origin=EWR: ")
    assert verdict.explanation.endswith("median -0.004161 → -1.033")


def test_small_shares_are_not_written_as_nothing():
    window = np.array([[[0, 1, 5_000, 5_000, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]])
    verdict = PsiThreshold().judge(small_reference(), window)[0]
    assert "under 0.1 % of rows in [0, 1), reference 40 %" in verdict.explanation
