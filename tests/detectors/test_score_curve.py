"""Curves of scores: monotone, honest about few rows, drawn towards the whole as far as parts are alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.score_curve import PLACES, Curve, middles, pseudo_rows


def counts(places, n, successes):
    rows, good = np.zeros(PLACES), np.zeros(PLACES)
    rows[places], good[places] = n, successes
    return rows, good


@given(st.lists(st.tuples(st.integers(1, PLACES - 1), st.integers(1, 50), st.floats(0, 1)), max_size=30))
def test_a_curve_never_falls_and_never_reaches_0_or_1(cells):
    rows, good = np.zeros(PLACES), np.zeros(PLACES)
    for place, n, share in cells:
        rows[place] += n
        good[place] += round(n * share)
    curve = Curve.fit(rows, good)
    assert (np.diff(curve.p[1:]) >= -1e-12).all()
    assert ((curve.p > 0) & (curve.p < 1)).all()
    assert (curve.variance > 0).all()
    assert len(curve.variance) == curve.block.max() + 1


def test_large_references_are_taken_as_they_are():
    curve = Curve.fit(*counts([50, 150, 300], 10_000, [100, 4_000, 9_900]))
    assert curve.p[[50, 150, 300]] == pytest.approx([0.01, 0.4, 0.99])
    assert curve.variance[curve.block[150]] == pytest.approx(0.24 / 10_000)


def test_expected_successes_of_the_reference_itself_are_its_successes():
    generator = np.random.default_rng(1)
    rows = generator.integers(0, 40, PLACES).astype(float)
    good = generator.binomial(rows.astype(int), np.linspace(0.05, 0.95, PLACES)).astype(float)
    curve = Curve.fit(rows, good)
    assert (curve.p * rows).sum() == pytest.approx(good.sum(), abs=2.0)


def test_blocks_without_failures_are_given_half_of_one():
    curve = Curve.fit(*counts([300], [9], [9]))
    assert curve.p[300] == pytest.approx(1 - 0.05)


def test_scores_are_taken_at_their_word_without_a_reference():
    curve = Curve.fit(np.zeros(PLACES), np.zeros(PLACES))
    assert (curve.p[1:] == middles()).all()
    assert curve.p[0] == 0.5


def test_parts_that_are_alike_use_the_curve_of_the_whole():
    rows, good = counts([50, 300], 1_000, [100, 900])
    whole = Curve.fit(rows, good)
    assert whole.drawn_to(rows / 4, good / 4, float("inf"), rows) is whole


def test_parts_that_differ_keep_what_their_rows_say():
    rows, good = counts([50, 300], 1_000, [100, 900])
    whole = Curve.fit(rows, good)
    parts = [counts([50, 300], n, [0.4 * n, n]) for n in (10, 400)]
    few, many = (whole.drawn_to(n, successes, 100, rows).p[50] for n, successes in parts)
    assert few == pytest.approx(0.1 + 0.3 * 10 / 110)
    assert many == pytest.approx(0.1 + 0.3 * 400 / 500)


def test_parts_without_rows_are_as_uncertain_as_what_lies_between_parts():
    rows, good = counts([50, 300], 1_000, [100, 900])
    whole = Curve.fit(rows, good)
    part = whole.drawn_to(np.zeros(PLACES), np.zeros(PLACES), 9, rows)
    assert part.p == pytest.approx(whole.p)
    assert (part.variance[1:] > 5 * whole.variance[1:]).all()


@pytest.mark.parametrize("sd", [0.05, 0.1])
def test_pseudo_rows_are_found_from_the_spread_of_parts(sd):
    generator = np.random.default_rng(2)
    n = np.full(4_000, 300.0)
    share = generator.normal(0.5, sd, len(n)).clip(0, 1)
    found = pseudo_rows(n, generator.binomial(300, share).astype(float), np.array(0.5), np.array(0.25))
    assert found == pytest.approx(0.25 / sd**2 - 1, rel=0.1)


def test_parts_of_one_row_or_none_tell_nothing():
    assert pseudo_rows(np.zeros(3), np.zeros(3), np.array(0.5), np.array(0.25)) == float("inf")
    assert pseudo_rows(np.ones(3), np.ones(3), np.array(0.5), np.array(0.25)) == float("inf")
