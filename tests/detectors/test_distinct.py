"""Distinct counts: the set decides, not its order; the error keeps to its bound; bytes come back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.distinct import Distinct, update_all
from detectors.hashing import hash_numbers
from schemas.errors import ProfileError, UsageError

HASHES = arrays.arrays(np.uint64, st.integers(0, 200), elements=st.integers(0, 2**64 - 1))
PRECISIONS = st.sampled_from([4, 9, 12, 16])


def sketch_of(hashes: np.ndarray, precision: int = 9) -> Distinct:
    sketch = Distinct(precision)
    sketch.update(hashes)
    return sketch


def by_definition(hashes: list[int], precision: int) -> list[int]:
    registers = [0] * 2**precision
    for value in hashes:
        bits = format(value, "064b")
        ones = (at for at, bit in enumerate(reversed(bits[precision:]), 1) if bit == "1")
        rank = next(ones, 65 - precision)
        place = int(bits[:precision], 2)
        registers[place] = max(registers[place], rank)
    return registers


@settings(deadline=None, max_examples=40)
@given(HASHES, PRECISIONS)
def test_registers_equal_the_definition(hashes, precision):
    assert sketch_of(hashes, precision).registers.tolist() == by_definition(hashes.tolist(), precision)


@settings(deadline=None, max_examples=40)
@given(HASHES, HASHES, HASHES, PRECISIONS)
def test_split_order_and_merge_do_not_matter(first, second, third, precision):
    parts = [sketch_of(part, precision) for part in (first, second, third)]
    whole = sketch_of(np.concatenate([third, first, second, first]), precision)
    assert parts[0].merge(parts[1]).merge(parts[2]) == whole
    assert parts[2].merge(parts[1].merge(parts[0])).to_bytes() == whole.to_bytes()


@settings(deadline=None, max_examples=40)
@given(HASHES, PRECISIONS)
def test_bytes_come_back_identical(hashes, precision):
    sketch = sketch_of(hashes, precision)
    again = Distinct.from_bytes(sketch.to_bytes())
    assert again == sketch
    assert again.precision == precision
    assert again.to_bytes() == sketch.to_bytes()
    assert again.estimate() == sketch.estimate()


@pytest.mark.parametrize("precision", [4, 9, 14])
@pytest.mark.parametrize("true", [1, 5, 50, 500, 1_000, 2_500, 10_000, 300_000])
def test_estimate_is_within_four_standard_errors(true, precision):
    errors = []
    for seed in range(5):
        sketch = sketch_of(hash_numbers(np.arange(true) + seed * 1e8), precision)
        errors.append(abs(sketch.estimate() / true - 1))
    assert max(errors) <= 4 * sketch.relative_error


def test_estimate_has_no_bias_to_speak_of():
    for true in (100, 1_000, 20_000):
        values = hash_numbers(np.arange(200.0 * true)).reshape(200, true)
        ratio = np.mean([sketch_of(part).estimate() for part in values]) / true
        assert abs(ratio - 1) < 4 * 0.046 / np.sqrt(200)


def test_nothing_everything_and_hostile_hashes():
    assert Distinct().estimate() == 0
    assert sketch_of(np.array([], dtype=np.uint64)) == Distinct()
    full = Distinct(4)
    full.update(np.arange(16, dtype=np.uint64) << np.uint64(60))  # every register at the end mark
    assert full.registers.tolist() == [61] * 16
    assert full.estimate() == 2.0**64


def test_few_values_take_few_bytes():
    assert len(Distinct().to_bytes()) == 3
    assert len(sketch_of(hash_numbers(np.arange(10.0))).to_bytes()) == 33
    assert len(sketch_of(hash_numbers(np.arange(10_000.0))).to_bytes()) == 515


@pytest.mark.parametrize("precision", [3, 17, -1])
def test_precision_out_of_range_is_refused(precision):
    with pytest.raises(UsageError, match=f"precision: {precision} .4 to 16"):
        Distinct(precision)


@settings(deadline=None, max_examples=60)
@given(HASHES, HASHES, PRECISIONS, PRECISIONS, st.integers(0, 1))
def test_precisions_merge_to_the_coarser_as_if_all_had_been_counted_there(first, second, one, other, zeros):
    if zeros:  # ranks at the end mark, of which the bits that are dropped count
        first = first & ~np.uint64(2**52 - 1)
    parts = sketch_of(first, one), sketch_of(second, other)
    merged = parts[0].merge(parts[1])
    sizes = [p for p, part in zip((one, other), (first, second), strict=True) if len(part)]
    precision = min(sizes, default=max(one, other))
    assert merged.precision == precision
    assert merged.registers.tolist() == by_definition([*first.tolist(), *second.tolist()], precision)
    assert parts[1].merge(parts[0]).to_bytes() == merged.to_bytes()


EXACT = 12
FEW = arrays.arrays(np.uint64, st.integers(0, 20), elements=st.integers(0, 2**64 - 1) | st.integers(0, 9))
KINDS = st.sampled_from([(9, 0), (14, EXACT), (14, 5), (11, EXACT)])
PARTS = st.lists(st.tuples(FEW, KINDS), min_size=1, max_size=5)


def exactly(hashes: np.ndarray, kind: tuple[int, int]) -> Distinct:
    sketch = Distinct(*kind)
    for part in np.array_split(hashes, 3):
        sketch.update(part)
    return sketch


def added(sketches: list[Distinct]) -> Distinct:
    total = sketches[0]
    for sketch in sketches[1:]:
        total = total.merge(sketch)
    return total


@settings(deadline=None, max_examples=100)
@given(PARTS, st.randoms(use_true_random=False), st.booleans())
def test_sketches_of_any_kind_add_up_in_any_order_and_grouping(parts, order, stored):
    made = [exactly(hashes, kind) for hashes, kind in parts]
    if stored:
        made = [Distinct.from_bytes(sketch.to_bytes()) for sketch in made]
    whole = added(made).to_bytes()
    order.shuffle(made)
    cut = order.randint(0, len(made) - 1)
    grouped = added(made[:cut]).merge(added(made[cut:])) if cut else added(made)
    assert grouped.to_bytes() == whole
    different = len(set(np.concatenate([hashes for hashes, _ in parts]).tolist()))
    kinds = [kind for hashes, kind in parts if len(hashes)]
    most = min((exact for _, exact in kinds), default=max(exact for _, (_, exact) in parts))
    assert grouped.is_exact == (0 < most >= different)
    if grouped.is_exact:
        assert (grouped.estimate(), grouped.relative_error) == (different, 0)


def test_operands_of_a_merge_do_not_change():
    few, many = exactly(np.arange(5, dtype=np.uint64), (14, EXACT)), Distinct(14, EXACT)
    before = few.to_bytes(), many.to_bytes()
    merged = few.merge(many)
    merged.update(np.arange(100, dtype=np.uint64) << np.uint64(50))
    assert (few.to_bytes(), many.to_bytes()) == before
    assert not merged.is_exact


@pytest.mark.parametrize("true", [0, 1, 4_095, 4_096])
def test_few_values_are_counted_exactly(true):
    sketch = Distinct.fine()
    values = np.random.default_rng(3).permutation(np.repeat(np.arange(true), 3).astype(float))
    for part in np.array_split(values, 7):
        sketch.update(hash_numbers(part))
    assert sketch.estimate() == len(np.unique(values)) == true
    assert sketch.relative_error == 0
    assert len(sketch.to_bytes()) == 7 + 8 * true


@pytest.mark.parametrize("true", [4_097, 20_000, 150_000])
def test_many_values_are_estimated_within_a_thirtieth(true):
    for seed in range(5):
        values = np.random.default_rng(seed).integers(0, true, 3 * true).astype(float) + seed * 1e8
        sketch = Distinct.fine()
        sketch.update(hash_numbers(values))
        different = len(np.unique(values))
        if different <= 4_096:
            continue
        assert not sketch.is_exact
        assert 4 * sketch.relative_error == pytest.approx(0.0325)
        assert abs(sketch.estimate() / different - 1) < 0.0325
        assert sketch.size_bytes == 2**14


def test_hashes_that_are_kept_are_bounded():
    with pytest.raises(UsageError, match=r"exact: -1 \(0 to 1048576"):
        Distinct(9, -1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x09",
        b"\x02\x09\x01",
        b"\x01\x03\x01",
        b"\x01\x09\x05",
        b"\x01\x09\x00short",
        b"\x01\x09\x01\x00",
        b"\x01\x09\x01\x00\x02\x05",
        b"\x01\x09\x01\x05\x00\x02\x05\x00\x03",
        b"\x01\x09\x01\x00\x00\x39",
        b"\x01\x09\x02",
        b"\x02\x0e\x02\x02\x00\x00",
        b"\x02\x0e\x02\x00\x00\x00\x00",
        b"\x02\x0e\x02\xff\xff\xff\xff",
        b"\x02\x0e\x02\x02\x00\x00\x00" + bytes(7),
        b"\x02\x0e\x02\x02\x00\x00\x00" + bytes(16),
        b"\x02\x0e\x02\x01\x00\x00\x00" + bytes(8) + b"\x01" + bytes(7),
        b"\x02\x0e\x03\x02\x00\x00\x00",
    ],
)
def test_bytes_that_are_no_sketch_are_refused(data):
    with pytest.raises(ProfileError):
        Distinct.from_bytes(data)


@pytest.mark.parametrize("part_only", [False, True])
def test_many_sketches_at_once_are_as_each_on_its_own(part_only):
    generator = np.random.default_rng(5)
    hashes = generator.integers(0, 2**64, (3, 40_000), dtype=np.uint64)
    use = generator.random(hashes.shape) < 0.7 if part_only else None
    together = [Distinct() for _ in hashes]
    for part in np.array_split(np.arange(hashes.shape[1]), [1, 9_000, 9_100]):
        update_all(together, hashes[:, part], None if use is None else use[:, part])
    for i, sketch in enumerate(together):
        assert sketch == sketch_of(hashes[i] if use is None else hashes[i, use[i]])
    assert together[0].registers.min() > 2  # so that hashes were skipped
