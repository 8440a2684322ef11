"""References of outcomes: what they count is what predictions and labels say, and bytes keep it all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.outcome_reference import FEWEST_LABELS, FEWEST_OF_SEGMENT, OutcomeReference, up_to_age
from detectors.outcomes import (
    AGE_LIMITS_MS,
    RECORD,
    Labels,
    Predictions,
    joined,
    labelled_records,
    negated,
    number_cell_bounds,
    number_cells,
    predicted_records,
    with_segments,
)
from schemas.column import LABEL, LABEL_COVERAGE, LABEL_DELAY, PERFORMANCE_ERROR, PERFORMANCE_LOSS
from schemas.errors import ProfileError, UnusableReference
from schemas.verdict import Lane

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
START_MS = 1_767_225_600_000
AGE = AGE_LIMITS_MS.index(DAY_MS)
CLASSES = np.array([2**63 + 11, 12, 2**63 + 13, 14], np.uint64)  # hashes use all 64 bits
SEGMENTS = np.array([2**63 + 71, 72, 73], np.uint64)
NAMES = dict(zip(CLASSES.view(np.int64).tolist(), ("yes", "no", "maybe", "never"), strict=True)) | dict(
    zip(SEGMENTS.view(np.int64).tolist(), ("origin=EWR", "origin=JFK", "origin=LGA"), strict=True)
)
UNLABELLED = -1


@dataclass
class Rows:
    """Raw predictions and labels in plain columns.

    Classes are positions in `CLASSES`; a row is labelled unless its delay is `UNLABELLED`; segments are
    positions in `SEGMENTS`, -1 for none.
    """

    predicted: np.ndarray
    label: np.ndarray
    delay_ms: np.ndarray
    segment: np.ndarray
    is_number: bool = False

    def take(self, at: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(
            self.predicted[at], self.label[at], self.delay_ms[at], self.segment[at], is_number=self.is_number
        )

    def parts(self, *, label: np.ndarray | None = None, only_labels: bool = False) -> np.ndarray:
        """Records as they are stored; `label` says something else than the rows do."""
        n = len(self.predicted)
        none = np.full(n, np.nan)
        segments = np.where(self.segment >= 0, SEGMENTS[self.segment], 0).astype(np.uint64)[:, None]
        rows = Predictions(
            np.zeros(n, np.int64),
            np.zeros(n, np.uint64) if self.is_number else CLASSES[self.predicted],
            self.predicted.astype(float) if self.is_number else none,
            none,
            segments,
            np.zeros((n, 0), np.uint64),
            np.zeros((n, 0)),
        )
        said = self.label if label is None else label
        has = np.flatnonzero(self.delay_ms != UNLABELLED)
        labels = Labels(
            self.delay_ms[has],
            np.zeros(len(has), np.uint64) if self.is_number else CLASSES[said[has]],
            said[has].astype(float) if self.is_number else none[has],
        )
        first, _ = with_segments(predicted_records(rows), np.arange(n), segments)
        then, row = labelled_records(rows.take(has), labels, np.zeros(len(has), bool))
        then, _ = with_segments(then, row, segments[has])
        return then if only_labels else np.concatenate((first, then))

    @property
    def records(self) -> np.ndarray:
        """Records, added up."""
        return total(self.parts())


def total(*parts: np.ndarray) -> np.ndarray:
    """Add records up, as the database's readers do."""
    return joined([part.tobytes() for part in parts])


def class_rows(
    rng: np.random.Generator, n: int, *, wrong: float = 0.1, labelled: float = 0.9, classes: int = 3
) -> Rows:
    """Predictions of classes, of which some are wrong, and labels that take up to three days."""
    label = rng.choice(classes, n, p=np.arange(classes, 0, -1) / (classes * (classes + 1) / 2))
    predicted = np.where(rng.random(n) < wrong, (label + 1) % classes, label)
    return Rows(predicted, label, delays(rng, n, labelled), rng.integers(-1, 2, n))


def number_rows(rng: np.random.Generator, n: int, *, sd: float = 5.0, labelled: float = 0.9) -> Rows:
    """Predictions of numbers from 0 to 100 with normal residuals."""
    label = 100 * rng.random(n)
    return Rows(
        label + rng.normal(0, sd, n), label, delays(rng, n, labelled), rng.integers(-1, 2, n), is_number=True
    )


def delays(rng: np.random.Generator, n: int, labelled: float, longest_ms: int = 3 * DAY_MS) -> np.ndarray:
    """Delays of labels, mostly of less than a day."""
    known = np.minimum(rng.exponential(4 * HOUR_MS, n), longest_ms).astype(np.int64)
    return np.where(rng.random(n) < labelled, known, UNLABELLED)


def reference_of(
    windows: list[Rows], names: dict[int, str] | None = None, age: int = AGE
) -> OutcomeReference:
    """Make a reference of windows of an hour."""
    return OutcomeReference.build(
        {START_MS + i * HOUR_MS: rows.records for i, rows in enumerate(windows)},
        NAMES if names is None else names,
        from_ms=START_MS,
        to_ms=START_MS + len(windows) * HOUR_MS,
        window_ms=HOUR_MS,
        age=age,
    )


def shown(reference: OutcomeReference, counts: np.ndarray, segment: str = "") -> dict[str, dict[str, int]]:
    """Counts by the names of columns and bins, without what is 0."""
    layout, at = reference.tensor.layout, reference.tensor.segments.index(segment)
    assert (counts[at][~layout.valid] == 0).all()
    return {
        name: {label: int(n) for label, n in zip(labels, row.tolist(), strict=False) if n}
        for name, labels, row in zip(layout.columns, layout.labels, counts[at], strict=True)
    }


def age_of(delay_ms: int) -> int:
    """Index of an age, in plain words: the first limit that it does not exceed."""
    return next((i for i, limit in enumerate(AGE_LIMITS_MS) if delay_ms <= limit), len(AGE_LIMITS_MS))


def counted(rows: Rows, age: int = AGE) -> dict[str, dict[str, int]]:
    """What must be counted of predictions of classes, row by row."""
    found: dict[str, dict[str, int]] = {
        name: {} for name in (PERFORMANCE_ERROR, LABEL, LABEL_DELAY, LABEL_COVERAGE)
    }
    limits = ("1m", "5m", "15m", "1h", "3h", "6h", "12h", "1d")

    def add(column: str, bin_: str) -> None:
        found[column][bin_] = found[column].get(bin_, 0) + 1

    for predicted, label, delay_ms in zip(rows.predicted, rows.label, rows.delay_ms, strict=True):
        if delay_ms == UNLABELLED or age_of(delay_ms) > age:
            add(LABEL_COVERAGE, "not labelled")
            continue
        add(LABEL_COVERAGE, "labelled")
        add(PERFORMANCE_ERROR, "right" if predicted == label else "wrong")
        add(LABEL_DELAY, f"up to {limits[age_of(delay_ms)]}")
        add(LABEL, NAMES[int(CLASSES[label].view(np.int64))] if label < 3 else "unseen")
    return found


def in_segment(rows: Rows, segment: int) -> Rows:
    """Rows of one segment."""
    return rows.take(np.flatnonzero(rows.segment == segment))


@pytest.fixture(scope="module")
def class_reference() -> OutcomeReference:
    rng = np.random.default_rng(1)
    return reference_of([class_rows(rng, 400) for _ in range(6)])


@pytest.fixture(scope="module")
def number_reference() -> OutcomeReference:
    rng = np.random.default_rng(2)
    return reference_of([number_rows(rng, 400) for _ in range(6)])


# --- bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["class_reference", "number_reference"])
def test_bytes_keep_everything(kind: str, request: pytest.FixtureRequest) -> None:
    one: OutcomeReference = request.getfixturevalue(kind)
    again = OutcomeReference.from_bytes(one.to_bytes())
    assert again.hash == one.hash
    assert again.to_bytes() == one.to_bytes()
    for name in ("from_ms", "to_ms", "window_ms", "age", "is_number", "positive", "labels"):
        assert getattr(again, name) == getattr(one, name), name
    assert (again.segments, again.classes, again.starts_ms) == (one.segments, one.classes, one.starts_ms)
    assert again.tensor.layout.columns == one.tensor.layout.columns
    assert again.tensor.layout.labels == one.tensor.layout.labels
    assert again.tensor.segments == one.tensor.segments
    for name in ("counts", "windows", "starts_ms"):
        np.testing.assert_array_equal(getattr(again.tensor, name), getattr(one.tensor, name))
    window = class_rows(np.random.default_rng(3), 50).records
    np.testing.assert_array_equal(again.window(window), one.window(window))


def test_the_order_in_which_rows_and_windows_came_leaves_no_trace() -> None:
    rng = np.random.default_rng(4)
    windows = [class_rows(rng, 300) for _ in range(3)]
    shuffled = [rows.take(rng.permutation(300)) for rows in windows]
    options: dict[str, Any] = {"from_ms": 0, "to_ms": 3 * HOUR_MS, "window_ms": HOUR_MS, "age": AGE}
    one = OutcomeReference.build({i: rows.records for i, rows in enumerate(windows)}, NAMES, **options)
    two = OutcomeReference.build(
        {i: shuffled[i].records for i in (2, 0, 1)}, dict(reversed(NAMES.items())), **options
    )
    assert one.hash == two.hash


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b"DLO9" + b[4:], lambda b: b + b"\0"])
def test_damaged_bytes_are_refused(class_reference: OutcomeReference, spoil) -> None:
    with pytest.raises(ProfileError, match="reference of outcomes"):
        OutcomeReference.from_bytes(spoil(class_reference.to_bytes()))


# --- counts -------------------------------------------------------------------------------------------------


def test_classes_are_counted_as_the_rows_say(class_reference: OutcomeReference) -> None:
    """Also labels that come too late, none at all, and classes that the reference never saw."""
    rng = np.random.default_rng(5)
    for n, classes in ((500, 3), (500, 4), (1, 3)):
        rows = class_rows(rng, n, wrong=0.3, labelled=0.7, classes=classes)
        counts = class_reference.window(rows.records)
        assert shown(class_reference, counts) == counted(rows)
        for at, name in enumerate(("origin=EWR", "origin=JFK")):
            assert shown(class_reference, counts, name) == counted(in_segment(rows, at))


def test_what_happens_in_segments_that_are_not_judged_counts_for_all_rows_only() -> None:
    rng = np.random.default_rng(6)
    learned = class_rows(rng, 2_000)
    learned.segment[:] = 0
    learned.segment[: FEWEST_OF_SEGMENT // 2] = 1
    reference = reference_of([learned])
    assert reference.tensor.segments == ("", "origin=EWR")
    rows = class_rows(rng, 300)
    rows.segment[:100] = 2
    counts = reference.window(rows.records)
    assert shown(reference, counts) == counted(rows)
    assert shown(reference, counts, "origin=EWR") == counted(in_segment(rows, 0))


def test_segments_need_enough_labels_that_came_in_time() -> None:
    rng = np.random.default_rng(7)
    rows = class_rows(rng, 3 * FEWEST_OF_SEGMENT)
    rows.delay_ms[:] = 0
    rows.segment = np.repeat([0, 1, 2], FEWEST_OF_SEGMENT)
    rows.delay_ms[2 * FEWEST_OF_SEGMENT] = UNLABELLED  # one fewer in the third
    rows.delay_ms[FEWEST_OF_SEGMENT] = 2 * DAY_MS  # and one too old in the second
    assert reference_of([rows]).tensor.segments == ("", "origin=EWR")
    unnamed = {h: name for h, name in NAMES.items() if name != "origin=EWR"}
    assert reference_of([rows], unnamed).tensor.segments == ("",)


def test_the_age_of_labels_that_count_is_a_limit_that_belongs_to_it() -> None:
    rng = np.random.default_rng(8)
    for limit_ms in (MINUTE_MS, HOUR_MS, 90 * DAY_MS):
        age = AGE_LIMITS_MS.index(limit_ms)
        reference = reference_of([_at_delays(rng, [0] * 300)], age=age)
        rows = _at_delays(rng, [-5_000, 0, limit_ms, limit_ms + 1, 100 * DAY_MS])
        found = shown(reference, reference.window(rows.records))
        assert found[LABEL_COVERAGE] == {"labelled": 3, "not labelled": 2}
        assert sum(found[LABEL_DELAY].values()) == sum(found[PERFORMANCE_ERROR].values()) == 3
        assert len(reference.tensor.layout.labels[reference.tensor.layout.columns.index(LABEL_DELAY)]) == (
            age + 1
        )


def _at_delays(rng: np.random.Generator, delays_ms: list[int]) -> Rows:
    rows = class_rows(rng, len(delays_ms))
    rows.delay_ms = np.array(delays_ms, np.int64)
    return rows


def test_numbers_are_counted_as_the_rows_say(number_reference: OutcomeReference) -> None:
    """Cells are sixteen an octave: the same cell, the same bin."""
    rng = np.random.default_rng(9)
    rows = number_rows(rng, 600, sd=8.0, labelled=0.7)
    rows.label[:5] = [-3.0, 1e6, np.nan, np.inf, 0.0]
    counts = number_reference.window(rows.records)
    layout = number_reference.tensor.layout
    for segment, name in ((None, ""), (0, "origin=EWR"), (1, "origin=JFK")):
        here = rows if segment is None else in_segment(rows, segment)
        in_time = (here.delay_ms != UNLABELLED) & (here.delay_ms <= DAY_MS)
        is_number = in_time & np.isfinite(here.label)
        found = shown(number_reference, counts, name)
        n = int(is_number.sum())
        assert found[LABEL_COVERAGE] == {"labelled": in_time.sum(), "not labelled": (~in_time).sum()}
        assert sum(found[LABEL_DELAY].values()) == n
        residual = (here.predicted - here.label)[is_number]
        for column, values in (
            (PERFORMANCE_LOSS, magnitude(residual)),
            (LABEL, lowest(here.label[is_number])),
        ):
            edges = edges_of(layout.labels[layout.columns.index(column)])
            expected = np.bincount(np.searchsorted(edges, as_shown(values), side="right"), minlength=1)
            at = layout.columns.index(column)
            row = counts[number_reference.tensor.segments.index(name), at]
            np.testing.assert_array_equal(row[: len(expected)], expected)
            assert row.sum() == n
    learned = number_rows_of_reference()
    edge = np.quantile(np.abs(learned.predicted - learned.label)[is_early(learned)], 0.9)
    residual = np.abs(rows.predicted - rows.label)[is_early(rows) & np.isfinite(rows.label)]
    errors = shown(number_reference, counts)[PERFORMANCE_ERROR]
    cell = 1 + 1 / 16
    assert (residual > edge * cell).sum() <= errors["wrong"] <= (residual > edge / cell).sum()
    assert errors["wrong"] + errors["right"] == len(residual)


def number_rows_of_reference() -> Rows:
    """All rows that `number_reference` is made of."""
    rng = np.random.default_rng(2)
    parts = [number_rows(rng, 400) for _ in range(6)]
    columns = ("predicted", "label", "delay_ms", "segment")
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    return Rows(**whole, is_number=True)


def is_early(rows: Rows) -> np.ndarray:
    """Labels that come within a day."""
    return (rows.delay_ms != UNLABELLED) & (rows.delay_ms <= DAY_MS)


def lowest(values: np.ndarray) -> np.ndarray:
    """Lower bound of the cells of numbers."""
    return number_cell_bounds(number_cells(values))[0]


def magnitude(values: np.ndarray) -> np.ndarray:
    """Lowest magnitude of the cells of numbers, which are alike on both sides of 0."""
    return lowest(np.abs(values))


def as_shown(values: np.ndarray) -> np.ndarray:
    """Numbers to the four digits that labels of bins have."""
    return np.array([float(f"{value:.4g}") for value in values])


def edges_of(labels: tuple[str, ...]) -> np.ndarray:
    """Edges, read from the labels of the bins."""
    return np.array(
        [float(text.split(" ")[1]) for text in labels[:1]]
        + [float(text.strip("[)").split(", ")[1]) for text in labels[1:-1]]
    )


def test_nine_of_ten_residuals_of_the_reference_are_right(number_reference: OutcomeReference) -> None:
    found = shown(number_reference, number_reference.tensor.counts)[PERFORMANCE_ERROR]
    assert found["wrong"] / sum(found.values()) == pytest.approx(0.1, abs=0.025)
    layout = number_reference.tensor.layout
    assert layout.columns == (PERFORMANCE_ERROR, PERFORMANCE_LOSS, LABEL, LABEL_DELAY, LABEL_COVERAGE)
    assert [str(lane) for lane in layout.lanes] == [Lane.PERFORMANCE] + 4 * [Lane.QUALITY]


@pytest.mark.parametrize("kind", ["class_reference", "number_reference"])
def test_windows_sum_to_the_tensor(kind: str, request: pytest.FixtureRequest) -> None:
    reference: OutcomeReference = request.getfixturevalue(kind)
    tensor = reference.tensor
    np.testing.assert_array_equal(tensor.windows.sum(axis=0), tensor.counts)
    np.testing.assert_array_equal(reference.window(reference.records), tensor.counts)
    np.testing.assert_array_equal(tensor.starts_ms, START_MS + HOUR_MS * np.arange(6))
    assert tensor.window_ms == HOUR_MS
    coverage = tensor.counts[0, tensor.layout.columns.index(LABEL_COVERAGE)]
    assert coverage.sum() == 2_400
    assert coverage[0] == reference.labels == tensor.counts[0, 0].sum()


def test_labels_that_are_too_old_are_not_kept_in_the_reference(class_reference: OutcomeReference) -> None:
    assert class_reference.records["age"].max() <= AGE
    rng = np.random.default_rng(1)
    rows = [class_rows(rng, 400) for _ in range(6)]
    in_time = sum(int(is_early(one).sum()) for one in rows)
    assert in_time < sum(int((one.delay_ms != UNLABELLED).sum()) for one in rows)
    assert class_reference.labels == in_time


@pytest.mark.parametrize("kind", ["class_reference", "number_reference"])
def test_an_empty_window_has_no_counts(kind: str, request: pytest.FixtureRequest) -> None:
    reference: OutcomeReference = request.getfixturevalue(kind)
    counts = reference.window(np.zeros(0, RECORD))
    assert counts.shape == reference.tensor.counts.shape
    assert not counts.any()


def test_selected_columns_are_the_same_object_each_time(class_reference: OutcomeReference) -> None:
    chosen = class_reference.columns([2, 0])
    assert class_reference.columns((2, 0)) is chosen
    assert chosen.layout.columns == (LABEL_DELAY, PERFORMANCE_ERROR)
    np.testing.assert_array_equal(chosen.counts, class_reference.tensor.counts[:, [2, 0]])
    np.testing.assert_array_equal(chosen.windows, class_reference.tensor.windows[:, :, [2, 0]])


# --- corrections --------------------------------------------------------------------------------------------


@given(data=st.data())
def test_corrected_labels_count_as_if_they_had_always_been_so(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    reference = reference_of([class_rows(np.random.default_rng(10), 500)])
    rows = class_rows(rng, 40, classes=4)
    after = Rows(rows.predicted, rng.integers(0, 4, 40), rows.delay_ms.copy(), rows.segment)
    later = rng.random(40) < 0.5
    after.delay_ms[later & (rows.delay_ms != UNLABELLED)] += data.draw(st.sampled_from([1, HOUR_MS, DAY_MS]))
    stored = total(rows.parts(), negated(rows.parts(only_labels=True)), after.parts(only_labels=True))
    counts = reference.window(stored)
    np.testing.assert_array_equal(counts, reference.window(after.records))
    assert shown(reference, counts) == counted(after)


def test_a_reference_of_corrected_labels_is_that_of_the_corrected_ones() -> None:
    rng = np.random.default_rng(11)
    rows = class_rows(rng, 500)
    wrong = (rows.label + 1) % 3
    stored = total(
        rows.parts(label=wrong),
        negated(rows.parts(label=wrong, only_labels=True)),
        rows.parts(only_labels=True),
    )
    options: dict[str, Any] = {
        "from_ms": START_MS,
        "to_ms": START_MS + HOUR_MS,
        "window_ms": HOUR_MS,
        "age": AGE,
    }
    assert OutcomeReference.build({START_MS: stored}, NAMES, **options).hash == reference_of([rows]).hash


# --- edges --------------------------------------------------------------------------------------------------


def test_too_few_labels_make_no_reference() -> None:
    rows = class_rows(np.random.default_rng(12), 3 * FEWEST_LABELS)
    rows.delay_ms[:] = UNLABELLED
    rows.delay_ms[: FEWEST_LABELS - 1] = 0
    rows.delay_ms[FEWEST_LABELS : 2 * FEWEST_LABELS] = DAY_MS + 1  # too old to count
    with pytest.raises(UnusableReference, match=rf"^{FEWEST_LABELS - 1} labels .*\({FEWEST_LABELS} at least"):
        reference_of([rows])
    rows.delay_ms[FEWEST_LABELS - 1] = 0
    assert reference_of([rows]).labels == FEWEST_LABELS
    with pytest.raises(UnusableReference, match=r"^0 labels"):
        reference_of([])


def test_one_class_is_enough() -> None:
    rng = np.random.default_rng(13)
    rows = class_rows(rng, 300, classes=1, wrong=0.0)
    reference = reference_of([rows])
    layout = reference.tensor.layout
    assert layout.labels[layout.columns.index(LABEL)] == ("yes", "other", "unseen")
    later = class_rows(rng, 100, classes=3)
    found = shown(reference, reference.window(later.records))
    in_time = is_early(later)
    first = int((later.label[in_time] == 0).sum())
    assert found[LABEL] == {"yes": first, "unseen": int(in_time.sum()) - first}


def test_classes_beyond_the_thirtieth_are_other_and_never_unseen() -> None:
    n, many = 4_000, 40
    rng = np.random.default_rng(14)
    label = rng.integers(0, many, n)
    label[: n // 2] = 0
    every = np.arange(100, 100 + many + 1).astype(np.uint64)
    reference = OutcomeReference.build(
        {START_MS: _of_hashes(every[label])},
        {int(h): f"c{h}" for h in every},
        from_ms=START_MS,
        to_ms=START_MS + HOUR_MS,
        window_ms=HOUR_MS,
        age=AGE,
    )
    labels = reference.tensor.layout.labels[reference.tensor.layout.columns.index(LABEL)]
    assert (len(labels), labels[0], labels[-2:]) == (32, "c100", ("other", "unseen"))
    counts = shown(reference, reference.window(_of_hashes(every)))[LABEL]
    assert (counts["other"], counts["unseen"], counts["c100"]) == (many - 30, 1, 1)


def _of_hashes(label: np.ndarray) -> np.ndarray:
    n = len(label)
    none = np.full(n, np.nan)
    rows = Predictions(
        np.zeros(n, np.int64), label, none, none, np.zeros((n, 0), np.uint64), np.zeros((n, 0), np.uint64),
        np.zeros((n, 0)),
    )  # fmt: skip
    then, _ = labelled_records(rows, Labels(np.zeros(n, np.int64), label, none), np.zeros(n, bool))
    return total(predicted_records(rows), then)


@pytest.mark.parametrize(
    "label", [np.full(300, 7.0), np.zeros(300), np.repeat([0.0, 1.0], 150)], ids=["constant", "zero", "two"]
)
def test_labels_that_hardly_vary_are_counted(label: np.ndarray) -> None:
    rng = np.random.default_rng(15)
    rows = Rows(
        label + rng.normal(0, 1, 300), label, np.zeros(300, np.int64), np.full(300, -1), is_number=True
    )
    reference = reference_of([rows])
    counts = reference.tensor.counts
    at = reference.tensor.layout.columns.index(LABEL)
    assert counts[0, at].sum() == 300
    assert (counts[0, at] > 0).sum() == len(np.unique(label))
    changed = Rows(rows.predicted, label + 100, rows.delay_ms, rows.segment, is_number=True)
    assert reference.window(changed.records)[0, at].sum() == 300


@pytest.mark.parametrize("residual", [0.0, 3.0, -3.0])
def test_residuals_that_are_all_alike_are_right(residual: float) -> None:
    """A constant bias is what is normal there; only what is further off is wrong."""
    rng = np.random.default_rng(16)
    label = rng.random(300) * 100
    label = np.round(label * 64) / 64  # so that sums are exact
    rows = Rows(label + residual, label, np.zeros(300, np.int64), np.full(300, -1), is_number=True)
    reference = reference_of([rows])
    assert shown(reference, reference.tensor.counts)[PERFORMANCE_ERROR] == {"right": 300}
    worse = Rows(label + 2 * residual + 1, label, rows.delay_ms, rows.segment, is_number=True)
    assert shown(reference, reference.window(worse.records))[PERFORMANCE_ERROR] == {"wrong": 300}


def test_residuals_of_both_signs_fall_into_the_same_bins() -> None:
    rng = np.random.default_rng(19)
    size = np.ldexp(rng.integers(16, 32, 600), rng.integers(-6, 3, 600))  # lower bounds of cells
    rows = Rows(
        size * rng.choice([-1, 1], 600), np.zeros(600), np.zeros(600, np.int64), np.full(600, -1), True
    )
    reference = reference_of([rows])
    at = reference.tensor.layout.columns.index(PERFORMANCE_LOSS)
    edges = edges_of(reference.tensor.layout.labels[at])
    assert (np.diff(edges) > 0).all()
    for sign in (1, -1):
        found = reference.window(Rows(sign * size, rows.label, rows.delay_ms, rows.segment, True).records)
        expected = np.bincount(np.searchsorted(edges, as_shown(size), side="right"))
        np.testing.assert_array_equal(found[0, at, : len(expected)], expected)


def test_where_delays_are_not_known_neither_they_nor_coverage_are_counted() -> None:
    rows = class_rows(np.random.default_rng(20), 500)
    windows = {START_MS: rows.records}
    options: dict[str, Any] = {"from_ms": START_MS, "to_ms": START_MS + HOUR_MS, "window_ms": HOUR_MS}
    reference = OutcomeReference.build(windows, NAMES, **options, age=AGE, has_delays=False)
    assert reference.tensor.layout.columns == (PERFORMANCE_ERROR, LABEL)
    expected = counted(rows)
    assert shown(reference, reference.tensor.counts) == {
        name: expected[name] for name in (PERFORMANCE_ERROR, LABEL)
    }
    assert OutcomeReference.from_bytes(reference.to_bytes()).tensor.layout.columns == (
        reference.tensor.layout.columns
    )


def test_extreme_numbers_are_finite_and_counted(number_reference: OutcomeReference) -> None:
    values = np.array([1e308, -1e308, 5e-324, -5e-324, 0.0, -0.0, 1e-300])
    rows = Rows(values, np.zeros(7), np.zeros(7, np.int64), np.full(7, -1), is_number=True)
    found = shown(number_reference, number_reference.window(rows.records))
    assert found[PERFORMANCE_ERROR] == {"right": 5, "wrong": 2}
    assert sum(found[PERFORMANCE_LOSS].values()) == sum(found[LABEL].values()) == 7
    tensor = number_reference.tensor
    assert np.isfinite(tensor.layout.positions[tensor.layout.ordered]).all()


def test_labels_without_a_residual_have_come_all_the_same(number_reference: OutcomeReference) -> None:
    rows = number_rows(np.random.default_rng(17), 50)
    rows.delay_ms[:] = 0
    rows.label[:20] = np.nan
    found = shown(number_reference, number_reference.window(rows.records))
    assert found[LABEL_COVERAGE] == {"labelled": 50}
    assert sum(found[LABEL].values()) == sum(found[PERFORMANCE_ERROR].values()) == 30


def test_predictions_always_count_and_labels_up_to_their_age() -> None:
    records = class_rows(np.random.default_rng(18), 100).records
    for age in (-1, 0, AGE):
        kept = up_to_age(records, age)
        assert kept["age"].max() <= age
        assert kept["n"][kept["age"] == -1].sum() == records["n"][records["age"] == -1].sum()
