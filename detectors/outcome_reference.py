"""What outcomes were like in a stretch of time that is taken for normal, and windows on the same bins.

The columns are ``performance.error``, ``label``, ``label.delay`` and ``label.coverage``, and for numbers also
``performance.loss``. A predicted number is wrong if it is further off than nine of ten of the reference were.
Only labels of at most a certain age count, in the reference as in every window, so that a window is compared
with what the reference looked like when it was as old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import msgspec
import numpy as np

from detectors.calibration_watch import Wandering, wandering
from detectors.calibrator import Calibrator
from detectors.cells import keys_to_floats
from detectors.outcomes import (
    AGE_LIMITS_MS,
    EVERYTHING,
    NO_SCORE,
    NUMBER_SHIFT,
    RECORD,
    Family,
    Records,
    joined,
)
from detectors.readings import RIGHT, WRONG
from detectors.sealed import seal, unseal
from detectors.tensor import FloatArray, IntArray, ReferenceCounts, TensorLayout
from schemas.column import LABEL, LABEL_COVERAGE, LABEL_DELAY, PERFORMANCE_ERROR, PERFORMANCE_LOSS
from schemas.duration import format_duration
from schemas.errors import UnusableReference
from schemas.verdict import Lane

MAGIC = b"DLO1"
MOST_CLASSES = 30
MOST_SEGMENTS = 50
FEWEST_OF_SEGMENT = 200  # labelled predictions that a segment needs to be judged
FEWEST_LABELS = 100
WRONG_FROM = 0.9  # quantile of the reference's absolute residuals
QUANTILES = np.array([0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995])
COLUMNS = {
    PERFORMANCE_ERROR: Lane.PERFORMANCE,
    PERFORMANCE_LOSS: Lane.QUALITY,
    LABEL: Lane.QUALITY,
    LABEL_DELAY: Lane.QUALITY,
    LABEL_COVERAGE: Lane.QUALITY,
}


class _Stored(msgspec.Struct):
    from_ms: int
    to_ms: int
    window_ms: int
    age: int
    is_number: bool
    segments: dict[int, str]
    classes: dict[int, str]
    positive: list[int]
    has_delays: bool
    is_before: bool
    starts_ms: list[int]
    windows: list[bytes]


@dataclass(frozen=True, eq=False)
class OutcomeReference:
    """Outcomes of the windows of a stretch of time.

    Parameters
    ----------
    from_ms, to_ms : int
        The stretch, epoch milliseconds.
    window_ms : int
        Length of a window.
    age : int
        Largest index among `AGE_LIMITS_MS` of labels that count.
    is_number : bool
        Predictions are numbers.
    segments : dict of int to str
        Names of the segments that are judged, by hash as int64.
    classes : dict of int to str
        Names of classes, by hash as int64.
    positive : tuple of int
        Hash of the positive class of a binary classifier; empty for others.
    has_delays : bool
        It is known how long labels took; otherwise neither that nor their coverage is watched.
    is_before : bool
        All of it is from before the stream, whatever its timestamps say: training data.
    starts_ms : tuple of int
    windows : tuple of records
        Outcomes of each window, with labels of any age up to `age`.
    """

    from_ms: int
    to_ms: int
    window_ms: int
    age: int
    is_number: bool
    segments: Mapping[int, str]
    classes: Mapping[int, str]
    positive: tuple[int, ...]
    has_delays: bool
    is_before: bool
    starts_ms: tuple[int, ...]
    windows: tuple[Records, ...]

    @classmethod
    def build(
        cls,
        windows: Mapping[int, Records],
        names: Mapping[int, str],
        *,
        from_ms: int,
        to_ms: int,
        window_ms: int,
        age: int,
        positive: Sequence[int] = (),
        has_delays: bool = True,
        is_before: bool = False,
    ) -> OutcomeReference:
        """Make a reference of the outcomes of windows.

        Parameters
        ----------
        windows : mapping of int to records
            By the start of the window.
        names : mapping of int to str
            Names of classes and of segments (``name=value``) by hash.
        from_ms, to_ms, window_ms, age, positive, has_delays, is_before
            See the class.

        Raises
        ------
        UnusableReference
            If there are too few labels.
        """
        kept = {start: up_to_age(records, age) for start, records in sorted(windows.items())}
        every = joined([records.tobytes() for records in kept.values()])
        is_number = bool(np.isin(every["family"], (Family.ESTIMATED, Family.RESIDUAL)).any())
        labelled = _labelled(every)
        of_all = int(labelled["n"][labelled["segment"] == EVERYTHING].sum())
        if of_all < FEWEST_LABELS:
            msg = f"{of_all} labels in the reference's time ({FEWEST_LABELS} at least are needed)"
            raise UnusableReference(msg)
        of_classes = every[np.isin(every["family"], (Family.PREDICTED, Family.LABELLED))]
        classes = (set(of_classes["a"].tolist()) | set(of_classes["b"].tolist())) & names.keys()
        return cls(
            from_ms,
            to_ms,
            window_ms,
            age,
            is_number,
            _largest_segments(labelled, names),
            {hash_: names[hash_] for hash_ in sorted(classes)},
            tuple(positive),
            has_delays,
            is_before,
            tuple(kept),
            tuple(kept.values()),
        )

    def to_bytes(self) -> bytes:
        """Serialise; the inverse of `from_bytes`."""
        return seal(
            MAGIC,
            _Stored(
                self.from_ms, self.to_ms, self.window_ms, self.age, self.is_number,
                dict(self.segments), dict(self.classes), list(self.positive),
                self.has_delays, self.is_before, list(self.starts_ms),
                [records.tobytes() for records in self.windows],
            ),
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes) -> OutcomeReference:
        """Read a reference.

        Raises
        ------
        ProfileError
            If the bytes are damaged or of another version.
        """
        s = unseal(MAGIC, data, _Stored, "reference of outcomes")
        windows = tuple(np.frombuffer(window, RECORD) for window in s.windows)
        return cls(
            s.from_ms, s.to_ms, s.window_ms, s.age, s.is_number, s.segments, s.classes,
            tuple(s.positive), s.has_delays, s.is_before, tuple(s.starts_ms), windows,
        )  # fmt: skip

    @cached_property
    def hash(self) -> str:
        """SHA-256 of its bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @cached_property
    def wandering(self) -> Wandering:
        """How much the meaning of scores differed between its windows."""
        known = self.calibrator
        return Wandering(1.0, 1.0) if known is None else wandering(known, self.windows)

    @property
    def judged_from_ms(self) -> int:
        """First instant of the windows that are compared with it."""
        return 0 if self.is_before else self.to_ms

    @cached_property
    def labels(self) -> int:
        """Number of labels."""
        labelled = _labelled(self.records)
        return int(labelled["n"][labelled["segment"] == EVERYTHING].sum())

    @cached_property
    def records(self) -> Records:
        """Outcomes of all its windows."""
        return joined([records.tobytes() for records in self.windows])

    @cached_property
    def calibrator(self) -> Calibrator | None:
        """What scores were worth; None for numbers, and for classes without scores."""
        if self.is_number or not (self.records["cell"] != NO_SCORE).any():
            return None
        return Calibrator.fit(self.records, self.positive)

    @cached_property
    def tensor(self) -> ReferenceCounts:
        """Counts on the bins that every window is compared on."""
        windows = np.stack([self.window(records) for records in self.windows])
        return ReferenceCounts(
            layout=self._bins.layout,
            segments=("", *self.segments.values()),
            counts=windows.sum(axis=0),
            windows=windows,
            sd=np.full(len(self._bins.layout.columns), np.nan),
            starts_ms=np.array(self.starts_ms, np.int64),
            window_ms=self.window_ms,
        )

    def columns(self, at: Sequence[int]) -> ReferenceCounts:
        """Return `tensor` of some columns; the same object each time, by which detectors know it."""
        kept = self._selections
        if tuple(at) not in kept:
            kept[tuple(at)] = some_columns(self.tensor, at)
        return kept[tuple(at)]

    @cached_property
    def errors(self) -> ReferenceCounts:
        """The first column, ``performance.error``, of all rows alone."""
        first = self.columns([0])
        return replace(first, segments=("",), counts=first.counts[:1], windows=first.windows[:, :1])

    @cached_property
    def _selections(self) -> dict[tuple[int, ...], ReferenceCounts]:
        return {}

    def window(self, records: Records) -> IntArray:
        """Counts of a window, ``[S, C, K]``; labels older than `age` do not count."""
        bins = self._bins
        kept = up_to_age(records, self.age)
        hashes = np.array([EVERYTHING, *self.segments], np.int64)
        order = np.argsort(hashes)
        at = np.minimum(np.searchsorted(hashes[order], kept["segment"].view(np.int64)), len(hashes) - 1)
        row = order[at]
        is_ours = hashes[row] == kept["segment"].view(np.int64)
        kept, row = kept[is_ours], row[is_ours]
        counts = np.zeros((len(hashes), *bins.layout.shape), np.int64)
        for column in range(len(bins.layout.columns)):
            which, bin_, weight = bins.place(column, kept)
            np.add.at(counts[:, column], (row[which], bin_), weight)
        return counts

    @cached_property
    def _bins(self) -> _Bins:
        return _Bins.of(self)


def up_to_age(records: Records, age: int) -> Records:
    """Records of predictions, and of labels of at most this age."""
    found: Records = records[records["age"] <= age]
    return found


def _labelled(records: Records) -> Records:
    found: Records = records[np.isin(records["family"], (Family.LABELLED, Family.RESIDUAL))]
    return found


def _largest_segments(labelled: Records, names: Mapping[int, str]) -> dict[int, str]:
    """Segments with enough labels, the largest first and then by name."""
    hashes, at = np.unique(labelled["segment"].view(np.int64), return_inverse=True)
    sizes = np.bincount(at, labelled["n"], len(hashes)).astype(np.int64)
    found = [
        (-size, names[h], h)
        for h, size in zip(hashes.tolist(), sizes.tolist(), strict=True)
        if h != EVERYTHING and h in names and size >= FEWEST_OF_SEGMENT
    ]
    return {h: name for _, name, h in sorted(found)[:MOST_SEGMENTS]}


@dataclass(frozen=True, eq=False)
class _Bins:
    """Bins of the columns, and how records fall into them."""

    layout: TensorLayout
    wrong_from: float
    loss_edges: FloatArray
    label_edges: FloatArray
    classes: IntArray
    seen: IntArray

    @classmethod
    def of(cls, reference: OutcomeReference) -> _Bins:
        records, age, names = reference.records, reference.age, reference.classes
        is_number = reference.is_number
        every = records[records["segment"] == EVERYTHING]
        residuals, truths = every[every["family"] == Family.RESIDUAL], every[every["family"] == Family.TRUTH]
        magnitudes = _magnitudes(residuals["b"])
        loss = _quantile_edges(magnitudes, residuals["n"], QUANTILES)
        wrong_from = _quantiles(magnitudes, residuals["n"], np.array([WRONG_FROM]))
        label = _quantile_edges(_lowest(truths["b"]), truths["n"], QUANTILES)
        labelled = every[every["family"] == Family.LABELLED]
        seen, at = np.unique(labelled["b"], return_inverse=True)
        sizes = np.bincount(at, labelled["n"], len(seen))
        listed = sorted(zip((-sizes).tolist(), seen.tolist(), strict=True))[:MOST_CLASSES]
        classes = np.array([hash_ for _, hash_ in listed], np.int64)
        of_label = (
            (LABEL, _ordered_labels(label), _positions(label))
            if is_number
            else (LABEL, [*(names.get(h, f"{h:x}") for h in classes.tolist()), "other", "unseen"], None)
        )
        limits = [format_duration(limit) for limit in AGE_LIMITS_MS]
        delays = [f"up to {limit}" for limit in limits[: age + 1]]
        delays += ["longer"] * (age + 1 - len(delays))
        of_loss = [(PERFORMANCE_LOSS, _ordered_labels(loss), _positions(loss))] if is_number else []
        columns: list[tuple[str, list[str], FloatArray | None]] = [
            (PERFORMANCE_ERROR, [RIGHT, WRONG], None),
            *of_loss,
            of_label,
        ]
        if reference.has_delays:
            at = np.log(np.append(AGE_LIMITS_MS, 2 * AGE_LIMITS_MS[-1]))[: age + 1]
            columns += [
                (LABEL_DELAY, delays, at),
                (LABEL_COVERAGE, ["labelled", "not labelled"], None),
            ]
        edge = float(wrong_from[0]) if len(wrong_from) else 0.0
        return cls(_layout(columns), edge, loss, label, classes, seen)

    def place(self, column: int, records: Records) -> tuple[IntArray, IntArray, IntArray]:
        """Records that count in a column, their bins and their numbers of rows."""
        family = records["family"]
        name = self.layout.columns[column]
        if name == LABEL_COVERAGE:
            return self._coverage(records)
        if name == PERFORMANCE_LOSS:
            at = np.flatnonzero(family == Family.RESIDUAL)
            bins = np.searchsorted(self.loss_edges, _magnitudes(records["b"][at]), side="right")
        elif name == LABEL and PERFORMANCE_LOSS in self.layout.columns:  # labels are numbers
            at = np.flatnonzero(family == Family.TRUTH)
            bins = np.searchsorted(self.label_edges, _lowest(records["b"][at]), side="right")
        else:
            at = np.flatnonzero(np.isin(family, (Family.LABELLED, Family.RESIDUAL)))
            bins = self._of_labelled(name, records[at])
        return at, bins.astype(np.int64), records["n"][at]

    def _of_labelled(self, name: str, records: Records) -> IntArray:
        if name == PERFORMANCE_ERROR:
            is_number = records["family"] == Family.RESIDUAL
            is_far = _magnitudes(records["b"]) > self.wrong_from
            found: IntArray = np.where(is_number, is_far, records["a"] != records["b"]).astype(np.int64)
            return found
        if name == LABEL_DELAY:
            return records["age"].astype(np.int64)
        order = np.argsort(self.classes)
        at = np.minimum(np.searchsorted(self.classes[order], records["b"]), len(self.classes) - 1)
        is_listed = self.classes[order][at] == records["b"]
        other = np.where(np.isin(records["b"], self.seen), len(self.classes), len(self.classes) + 1)
        return np.where(is_listed, order[at], other).astype(np.int64)

    @staticmethod
    def _coverage(records: Records) -> tuple[IntArray, IntArray, IntArray]:
        family = records["family"]
        labelled = np.flatnonzero(np.isin(family, (Family.LABELLED, Family.RESIDUAL, Family.UNREADABLE)))
        made = np.flatnonzero(np.isin(family, (Family.PREDICTED, Family.ESTIMATED)))
        # Those without a label are all predictions less those with one.
        return (
            np.concatenate((labelled, made, labelled)),
            np.concatenate((np.zeros(len(labelled)), np.ones(len(made) + len(labelled)))).astype(np.int64),
            np.concatenate((records["n"][labelled], records["n"][made], -records["n"][labelled])),
        )


def _magnitudes(cells: IntArray) -> FloatArray:
    """Lowest magnitude of the cells of residuals: that of their last number where they lie below 0."""
    last = keys_to_floats(((cells.astype(np.int64) + 1) << np.int64(NUMBER_SHIFT)) - 1)
    found: FloatArray = np.where(cells < 0, np.abs(last), _lowest(cells))
    return found


def _lowest(cells: IntArray) -> FloatArray:
    return keys_to_floats(cells.astype(np.int64) << np.int64(NUMBER_SHIFT))


def _quantile_edges(values: FloatArray, weights: IntArray, quantiles: FloatArray) -> FloatArray:
    """Distinct inner edges at quantiles of values that come `weights` times."""
    edges = np.unique(_quantiles(values, weights, quantiles))
    inner: FloatArray = edges[edges > values.min()] if len(edges) else edges
    return inner


def _quantiles(values: FloatArray, weights: IntArray, quantiles: FloatArray) -> FloatArray:
    """Quantiles of values that come `weights` times; empty if there are none."""
    order = np.argsort(values, kind="stable")
    values, total = values[order], np.cumsum(weights[order])
    if not len(total) or total[-1] <= 0:
        return np.zeros(0)
    at = np.searchsorted(total, quantiles * total[-1], side="left").clip(0, len(total) - 1)
    found: FloatArray = values[at]
    return found


def _ordered_labels(edges: FloatArray) -> list[str]:
    texts = [f"{edge:.4g}" for edge in edges]
    if not texts:
        return ["any"]
    inner = [f"[{low}, {high})" for low, high in pairwise(texts)]
    return [f"< {texts[0]}", *inner, f">= {texts[-1]}"]


def _positions(edges: FloatArray) -> FloatArray:
    if not len(edges):
        return np.zeros(1)
    middle = (edges[:-1] + edges[1:]) / 2
    return np.concatenate(([edges[0]], middle, [edges[-1]]))


def _layout(columns: Sequence[tuple[str, list[str], FloatArray | None]]) -> TensorLayout:
    widest = max(len(labels) for _, labels, _ in columns)
    valid = np.array([np.arange(widest) < len(labels) for _, labels, _ in columns])
    positions = np.full((len(columns), widest), np.nan)
    for row, (_, labels, at) in enumerate(columns):
        if at is not None:
            positions[row, : len(labels)] = at
    ordered = np.isfinite(positions)
    return TensorLayout(
        columns=tuple(name for name, _, _ in columns),
        lanes=tuple(COLUMNS[name] for name, _, _ in columns),
        labels=tuple(tuple(labels) for _, labels, _ in columns),
        valid=valid,
        ordered=ordered,
        positions=positions,
        widths=np.where(ordered, 0.0, np.nan),
    )


def some_columns(reference: ReferenceCounts, columns: Sequence[int]) -> ReferenceCounts:
    """Return a reference of some columns of another."""
    at = list(columns)
    layout = reference.layout
    chosen = TensorLayout(
        columns=tuple(layout.columns[i] for i in at),
        lanes=tuple(layout.lanes[i] for i in at),
        labels=tuple(layout.labels[i] for i in at),
        valid=layout.valid[at],
        ordered=layout.ordered[at],
        positions=layout.positions[at],
        widths=layout.widths[at],
    )
    return replace(
        reference,
        layout=chosen,
        counts=_picked(reference.counts, at),
        windows=_picked(reference.windows, at),
        sd=reference.sd[at],
    )


def _picked(counts: IntArray, columns: list[int]) -> IntArray:
    found: IntArray = np.ascontiguousarray(counts[..., columns, :])
    return found
