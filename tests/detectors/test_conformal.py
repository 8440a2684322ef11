"""Conformal bands: nine in ten hold whatever happens, and the state survives as bytes."""

import numpy as np
import pytest

from detectors.conformal import GAIN, MEMORY, Bands, Estimate, held_out, least_off
from detectors.outcomes import RECORD
from schemas.errors import ProfileError


def drifting(generator, windows):
    """Errors in standard errors: calm, then a step, a slow rise, noise that grows, and back."""
    t = np.arange(windows)
    fifth = windows // 5
    centre = np.select([t < fifth, t < 2 * fifth, t < 3 * fifth], [0.0, 2.5, 4.0 * (t / fifth - 2)], 0.0)
    spread = np.select([t < 3 * fifth, t < 4 * fifth], [1.0, 1.0 + 2 * np.abs(np.sin(t / 40))], 1.0)
    return generator.normal(centre, spread)


def run(bands, errors):
    held = []
    for error in errors:
        guess = Estimate.of(0.8, 0.01**2, 1_000, level=0.9)
        band, truth = bands.band(guess), 0.8 + 0.01 * error
        held.append(band.low <= truth <= band.high)
        bands = bands.updated(guess, float(truth))
    return np.mean(held), bands


@pytest.mark.parametrize("seed", range(3))
def test_nine_in_ten_of_5000_bands_hold_while_everything_drifts(seed):
    generator = np.random.default_rng(seed)
    bands = Bands.start(generator.normal(0, 1, 40))
    held, _ = run(bands, drifting(generator, 5_000))
    assert held == pytest.approx(0.9, abs=0.01)


def test_the_guarantee_holds_against_an_adversary():
    """Estimates are off by a little more than the band whenever it is finite."""
    bands, missed, windows = Bands.start(np.ones(40)), 0, 2_000
    for _ in range(windows):
        guess = Estimate.of(500.0, 1.0, 10, level=0.9, most=float("inf"))
        band = bands.band(guess)
        truth = 500.0 if band.high == float("inf") else band.high * 1.001
        missed += truth > band.high
        bands = bands.updated(guess, truth)
    assert abs(missed / windows - 0.1) <= (0.9 + GAIN) / (GAIN * windows)


def test_bands_without_scores_are_everything_the_metric_can_be():
    guess = Estimate.of(0.8, 1e-4, 100, level=0.9)
    band = Bands.start(np.zeros(0)).band(guess)
    assert (band.low, band.high) == (0.0, 1.0)


def test_certain_estimates_have_bands_as_well():
    guess = Estimate.of(0.8, 0.0, 100, level=0.9)
    for bands in (Bands.start(np.ones(40)), Bands.start(np.zeros(0))):
        assert bands.updated(guess, 0.8).band(guess).value == 0.8


def test_coverage_is_that_of_the_level():
    generator = np.random.default_rng(4)
    held, _ = run(Bands.start(generator.normal(0, 1, 40), level=0.7), drifting(generator, 5_000))
    assert held == pytest.approx(0.7, abs=0.01)


def test_bands_continue_from_bytes():
    generator = np.random.default_rng(5)
    bands = Bands.start(generator.normal(0, 1, 40))
    _, bands = run(bands, drifting(generator, 300))
    data = bands.to_bytes()
    assert Bands.from_bytes(data) == bands
    assert len(bands.scores) == MEMORY
    assert len(data) < 12 * MEMORY


def constant(off, name="accuracy"):
    """Judge that is off by the same in every window."""

    def judge(reference, window):
        guess = Estimate.of(0.5, 0.01, 10, level=0.9)
        return {name: (guess, 0.5 + off), "recall": (None, 0.5)}

    return judge


def test_the_least_off_is_chosen_and_the_first_of_equals():
    windows = [np.zeros(0, RECORD)] * 3
    assert least_off(windows, [constant(0.2), constant(-0.1), constant(0.1)]) == 1
    assert least_off(windows, [constant(0.1), constant(-0.1)]) == 0
    assert least_off(windows, [constant(0.0), constant(0.1)]) == 0
    assert least_off(windows, [constant(0.1), constant(0.0, "f1")]) == 0
    assert held_out(windows, constant(0.2))["accuracy"] == pytest.approx([2.0] * 3)


def test_other_bytes_are_refused():
    data = Bands.start(np.ones(3)).to_bytes()
    for wrong in (b"", b"ACB0" + data[4:], data[:-2], data[:-1] + b"?"):
        with pytest.raises(ProfileError, match="conformal bands"):
            Bands.from_bytes(wrong)
