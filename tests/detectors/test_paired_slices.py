"""Slices of two versions: rows of both, and what one lost more than the other."""

import pytest

from detectors.paired_slices import absolute_error, cost_of, paired, right, squared_error
from tests.detectors.outcome_rows import NEGATIVE, POSITIVE, of_classes, of_numbers


def test_differences_of_slices_are_those_of_their_events():
    first = of_classes([0, 1, 1, 0], [0, 1, 0, 1], [0.2, 0.9, 0.6, 0.4]).labelled
    second = of_classes([0, 1, 0, 0], [0, 1, 0, 1], [0.1, 0.9, 0.4, 0.4]).labelled
    rows, differences = paired([first, first], [second, second[:0]], right)
    assert (rows.tolist(), differences.tolist()) == ([4.0, 0.0], [1.0, 0.0])
    _, squared = paired([first], [second], squared_error)
    assert squared[0] == pytest.approx(0.1**2 + 0.4**2 - 0.2**2 - 0.6**2)
    _, cost = paired([first], [second], cost_of({(POSITIVE, NEGATIVE): 5.0, (NEGATIVE, POSITIVE): 1.0}))
    assert cost.tolist() == [-5.0]
    numbers = [of_numbers([1.0, 2.0], label).labelled for label in ([2.0, 2.0], [1.5, 2.0])]
    _, absolute = paired(numbers[:1], numbers[1:], absolute_error)
    assert absolute.tolist() == pytest.approx([-0.5])


def test_unequal_slices_count_for_the_smaller_one():
    three, one = of_classes([0, 0, 1], [0, 1, 1]).labelled, of_classes([0], [1]).labelled
    rows, differences = paired([three], [one], right)
    assert rows.tolist() == [1.0]
    assert differences[0] == pytest.approx(-2 / 3)
    assert [len(x) for x in paired([], [], right)] == [0, 0]
