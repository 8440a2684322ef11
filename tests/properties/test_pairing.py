"""Any order, batches and repetitions of predictions and labels end in the same outcomes and accounts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.outcomes import Family, Predictions, Records, joint, summed
from monitor.labels.packing import packed, packed_labels, unpacked, unpacked_labels
from monitor.labels.pairing import FATES, LabelRows, Pairing, PredictionRows, Status, pair

HORIZON_MS = 100_000
POSITIVE = np.uint64(11)
CLASSES = (11, 22)
SAMPLED_BELOW = 8  # ids of which predictions are kept


@dataclass(frozen=True)
class Prediction:
    """One event."""

    id: int
    version: int
    at_ms: int
    predicted: int
    score: float
    segment: int


@dataclass(frozen=True)
class Label:
    """One event."""

    id: int
    at_ms: int
    label: int
    place: int


ids = st.integers(0, 9)
predictions = st.builds(
    Prediction,
    ids,
    st.integers(1, 2),
    st.just(0),
    st.sampled_from(CLASSES),
    st.sampled_from([0.1, 0.5, 0.93]),
    st.integers(0, 2),
)
labels = st.builds(
    Label,
    ids,
    st.sampled_from([0, 10, 20, 30, HORIZON_MS, HORIZON_MS + 1]),
    st.sampled_from(CLASSES),
    st.integers(1, 2),
)
streams = st.lists(st.one_of(predictions, labels), max_size=40)


def prediction_rows(events: list[Prediction]) -> PredictionRows:
    at = np.array([e.at_ms for e in events], np.int64)
    n = len(events)
    rows = Predictions(
        at,
        np.array([e.predicted for e in events], np.uint64),
        np.full(n, np.nan),
        np.array([e.score for e in events], np.float64),
        np.array([[e.segment] for e in events], np.uint64).reshape(n, 1),
        np.zeros((n, 0), np.uint64),
        np.zeros((n, 0)),
    )
    return PredictionRows(
        np.array([e.id for e in events], np.int64),
        np.array([e.version for e in events], np.int64),
        at // 60_000 * 60_000,
        at + HORIZON_MS,
        np.full(n, POSITIVE),
        rows,
    )


def label_rows(events: list[Label]) -> LabelRows:
    n = len(events)
    return LabelRows(
        np.array([e.id for e in events], np.int64),
        np.array([e.at_ms for e in events], np.int64),
        np.array([e.at_ms for e in events], np.int64),
        np.array([e.label for e in events], np.uint64),
        np.array([e.label for e in events], np.float64),
        np.array([e.place for e in events], np.int64),
        np.full(n, HORIZON_MS),
        np.array([e.id < SAMPLED_BELOW for e in events], bool),
        np.full(n, Status.WAITING),
        np.zeros(n, np.int64),
    )


@dataclass
class Stored:
    """What a database would hold."""

    predictions: PredictionRows = field(default_factory=lambda: prediction_rows([]))
    labels: dict[int, LabelRows] = field(default_factory=dict)
    parts: list[tuple[np.ndarray[Any, Any], Records]] = field(default_factory=list)
    fates: dict[int, np.ndarray[Any, Any]] = field(default_factory=dict)

    def take(self, events: list[Prediction | Label]) -> None:
        new = prediction_rows([e for e in events if isinstance(e, Prediction)])
        come = label_rows([e for e in events if isinstance(e, Label)])
        keys = np.unique(np.concatenate((new.key, come.key)))
        known = self.predictions.take(np.flatnonzero(np.isin(self.predictions.key, keys)))
        stored = label_rows([])
        for key in keys.tolist():
            if key in self.labels:
                stored = stored.plus(self.labels[key])
        self._keep(pair(new, come, known, stored))

    def _keep(self, pairing: Pairing) -> None:
        fresh = pairing.fresh
        again = replace(fresh, rows=unpacked(packed(fresh.rows)))
        self.predictions = self.predictions.plus(again)
        for at, key in enumerate(pairing.labels.key.tolist()):
            self.labels[key] = pairing.labels.take(np.array([at]))
        self.parts.append((pairing.version, pairing.records))
        for place, counts in pairing.fates.items():
            self.fates[place] = self.fates.get(place, np.zeros(len(FATES), np.int64)) + counts

    def outcomes(self) -> Counter[tuple[int, ...]]:
        """Counts by version, family, segment, predicted, label and age."""
        version = np.concatenate([v for v, _ in self.parts])
        group, records = summed(version, np.concatenate([r for _, r in self.parts]))
        names = ("family", "segment", "a", "b", "age", "n")
        found: Counter[tuple[int, ...]] = Counter()
        for v, row in zip(
            group.tolist(), zip(*(records[n].tolist() for n in names), strict=True), strict=True
        ):
            assert row[-1] > 0
            found[(v, *row[:-1])] += row[-1]
        return found


def expected(events: list[Prediction | Label]) -> Counter[tuple[int, ...]]:
    """Outcomes by definition: the first prediction of each version, with the latest label of its id.

    The age is that of the earliest label.
    """
    earliest: dict[int, int] = {}
    first: dict[tuple[int, int], Prediction] = {}
    latest: dict[int, Label] = {}
    for event in events:
        if isinstance(event, Label):
            earliest[event.id] = min(earliest.get(event.id, event.at_ms), event.at_ms)
        if isinstance(event, Prediction):
            first.setdefault((event.id, event.version), event)
        elif event.at_ms <= HORIZON_MS and (event.id not in latest or event.at_ms > latest[event.id].at_ms):
            latest[event.id] = event
    found: Counter[tuple[int, ...]] = Counter()
    for (id_, version), event in first.items():
        for segment in {0, event.segment}:
            found[version, Family.PREDICTED, segment, event.predicted, 0, -1] += 1
            if (label := latest.get(id_)) is not None:
                age = 0 if earliest[id_] <= 60_000 else 1
                found[version, Family.LABELLED, segment, event.predicted, label.label, age] += 1
    return found


def kept(events: list[Prediction | Label]) -> list[Prediction | Label]:
    """Predictions that are not sampled never reach the join."""
    return [e for e in events if isinstance(e, Label) or e.id < SAMPLED_BELOW]


@given(streams, st.lists(st.integers(1, 6), min_size=1))
@settings(max_examples=300, deadline=None)
def test_any_batches_give_the_same_outcomes(events: list[Prediction | Label], sizes: list[int]) -> None:
    events = kept(events)
    timely = [e for e in events if isinstance(e, Prediction) or e.at_ms <= HORIZON_MS]
    stored = Stored()
    at = turn = 0
    while at < len(timely):
        size = sizes[turn % len(sizes)]
        stored.take(timely[at : at + size])
        at, turn = at + size, turn + 1
    if stored.parts:
        assert stored.outcomes() == expected(timely)


@given(streams, st.lists(st.integers(1, 6), min_size=1))
@settings(max_examples=300, deadline=None)
def test_every_label_event_is_counted_once(events: list[Prediction | Label], sizes: list[int]) -> None:
    events = kept(events)
    stored = Stored()
    at = turn = 0
    while at < len(events):
        size = sizes[turn % len(sizes)]
        stored.take(events[at : at + size])
        at, turn = at + size, turn + 1
    came = Counter(e.place for e in events if isinstance(e, Label))
    for counts in stored.fates.values():
        assert counts.min() >= 0
    assert sum(int(counts.sum()) for counts in stored.fates.values()) == came.total()
    total = sum(stored.fates.values(), np.zeros(len(FATES), np.int64))
    status = Counter(int(rows.status[0]) for rows in stored.labels.values())
    assert total[FATES.index("waiting")] == status[Status.WAITING]
    assert total[FATES.index("matched")] == status[Status.MATCHED]
    for rows in stored.labels.values():
        assert (int(rows.key[0]) in stored.predictions.key.tolist()) == (rows.status[0] != Status.WAITING)


def test_rows_of_different_shapes_and_one_length_are_packed_and_read() -> None:
    named = Predictions(
        np.array([5]), np.array([11], np.uint64), np.array([np.nan]), np.array([0.25]),
        np.array([[3, 4]], np.uint64), np.zeros((1, 0), np.uint64), np.zeros((1, 0)),
    )  # fmt: skip
    scored = Predictions(
        np.array([9]), np.array([22], np.uint64), np.array([1.5]), np.array([np.nan]),
        np.zeros((1, 0), np.uint64), np.array([[5]], np.uint64), np.array([[0.75]]),
    )  # fmt: skip
    both = joint(named, scored)
    read = unpacked(np.concatenate((packed(named), packed(scored))))
    for f in fields(Predictions):
        assert np.array_equal(
            getattr(read, f.name), getattr(both, f.name), equal_nan=f.name in ("value", "score")
        )


def test_labels_are_packed_and_read() -> None:
    come = label_rows([Label(1, 10, 11, 1), Label(2, 20, 22, 2)])
    come = replace(come, value=np.array([np.nan, -0.1]), label=np.array([2**64 - 1, 1], np.uint64))
    until_ms = come.label_ms + come.horizon_ms + 1
    read = unpacked_labels(packed_labels(come), come.key, until_ms, come.status)
    for f in fields(LabelRows):
        assert np.array_equal(getattr(read, f.name), getattr(come, f.name), equal_nan=f.name == "value")
