"""Measured side: Driftline's default detector, through its library.

``python -m tests.benchmarks.detection.side_driftline WORK PART PARTS``, in the product's environment.
References and windows are made of pandas frames, as in docs/library.md. With its defaults `EDetector` is
stepped through the calm windows, with one false alarm a week over all worlds of the same background and
window size. For the tuned comparison the budget is varied: the same evidence goes through as many ledgers
as there are budgets. That both ways give the same evidence is checked in every world.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from detectors import EDetector, Moment, ReferenceCounts
from detectors.binning import CategoricalBins, NumericBins
from detectors.calibration import (
    calibrate,
    overall_dispersion,
    rank_evalues,
    relative_distance,
)
from detectors.edetector import SINGLE_SHARE
from detectors.hashing import hash_strings
from detectors.ledger import Ledger
from detectors.reference import Reference
from detectors.stability import stability_index
from detectors.streams import StreamStates
from detectors.surprise import log_surprise
from detectors.tensor import BoolArray, FloatArray, IntArray
from detectors.tilts import AXIS, axis_directions, log_evalues, tilt_weights
from monitor.budget import window_budget
from monitor.config.alerts import Alerts
from monitor.config.settings import ModelSettings
from monitor.frames import reference_from_frame, windows_of_frame
from monitor.version import code_version
from schemas.column import PERFORMANCE_ERROR, ColumnSpec, Kind, Source
from tests.benchmarks.detection.results import Results
from tests.benchmarks.detection.streams import (
    HORIZON,
    REFERENCE_WINDOWS,
    SHAPES,
    SIZES,
    Planted,
    Streams,
    known_worlds,
    read,
)

DAY_MS = 86_400_000
START_MS = 1_767_571_200_000  # Monday, 5 January 2026
FAMILIES = {
    "mean": "numeric",
    "scale": "numeric",
    "tail": "numeric",
    "category": "categorical",
    "nulls": "numeric",
    "label flip": "error",
}
DETECTORS = {
    "Driftline": EDetector(),
    "Driftline, tolerance 0.0009": EDetector(tolerance=0.0009, z_reference=2.0),
}
BUDGETS = np.logspace(-3, 2, 101)
NAMES = ("n0", "n1", "n2", "c0", "c1", PERFORMANCE_ERROR)
PLACES = {"numeric": (0, 1, 2), "categorical": (3, 4), "error": (5,)}
SETTINGS = ModelSettings.model_validate({"slice": "1d", "windows": ["1d"]})
SPECS = {
    PERFORMANCE_ERROR: ColumnSpec(
        PERFORMANCE_ERROR, Kind.CATEGORICAL, Source.PERFORMANCE, ("performance", "error")
    )
}
OUTCOMES = ("right", "wrong")


def unchanged(streams: Streams, rows: IntArray) -> Planted:
    """Windows of rows as they are in the base table."""
    base = streams.base
    return Planted(base.numeric[rows], base.codes[rows], base.label[rows], base.prediction[rows])


def frame(streams: Streams, part: Planted, first: int) -> pd.DataFrame:
    """Events of windows, spread evenly over days from day `first` on."""
    days, count = part.label.shape
    within = np.arange(count) * DAY_MS // count
    times = (START_MS + (first + np.arange(days)) * DAY_MS)[:, None] + within
    columns: dict[str, Any] = {"timestamp": times.ravel()}
    columns |= {f"n{i}": part.numeric[..., i].ravel() for i in range(3)}
    for i, values in enumerate(streams.base.categories):
        columns[f"c{i}"] = pd.Categorical.from_codes(part.codes[..., i].ravel(), pd.Index(list(values)))
    columns[PERFORMANCE_ERROR] = pd.Categorical.from_codes(part.error.ravel(), pd.Index(OUTCOMES))
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Counting:
    """Counts values on the bins of a reference, a column at a time."""

    reference: Reference
    streams: Streams

    def place(self, name: str) -> int:
        """Position of a column in the reference."""
        return self.reference.binning.index[name]

    def numbers(self, name: str, windows: FloatArray) -> IntArray:
        """Counts ``[windows, K]`` of numbers ``[windows, rows]``; nan is missing."""
        bins = self.reference.binning.bins[self.place(name)]
        assert isinstance(bins, NumericBins)
        found = np.full(windows.shape, bins.size - 2, np.int64)
        known = ~np.isnan(windows)
        found[known] = bins.codes(windows[known])
        return self._counted(found)

    def categories(self, name: str, values: tuple[str, ...], windows: IntArray) -> IntArray:
        """Counts ``[windows, K]`` of positions in `values`."""
        bins = self.reference.binning.bins[self.place(name)]
        assert isinstance(bins, CategoricalBins)
        return self._counted(bins.codes(hash_strings(pa.array(values)))[windows])

    def _counted(self, codes: IntArray) -> IntArray:
        width = self.reference.tensor.layout.shape[1]
        return np.stack([np.bincount(row, minlength=width) for row in codes])

    def of(self, change: str, part: Planted) -> tuple[int, IntArray]:
        """Column that a change is planted in, and its counts."""
        world, base = self.streams.world, self.streams.base
        if change == "category":
            name = f"c{world.categorical}"
            codes = part.codes[:, :, world.categorical]
            return self.place(name), self.categories(name, base.categories[world.categorical], codes)
        if change == "label flip":
            return self.place(PERFORMANCE_ERROR), self.categories(PERFORMANCE_ERROR, OUTCOMES, part.error)
        name = f"n{world.numeric}"
        return self.place(name), self.numbers(name, part.numeric[:, :, world.numeric])


class Ledgers:
    """The e-detector with many budgets at a time: the arithmetic of `EDetector.step` without its verdicts.

    Parameters
    ----------
    detector : EDetector
    reference : ReferenceCounts
    places : int64 array [V]
        Column of each stream.
    budgets : float64 array [B]
        For every window; each stream is judged with all of them.
    """

    def __init__(
        self, detector: EDetector, reference: ReferenceCounts, places: IntArray, budgets: FloatArray
    ) -> None:
        self._detector, self._places, self._budgets = detector, places, budgets
        self._calibration = calibrate(reference)
        self._variation = self._calibration.variation.at(places)
        layout = reference.layout
        self._layout = replace(
            layout,
            columns=tuple(str(i) for i in range(len(places))),
            lanes=tuple(layout.lanes[i] for i in places),
            labels=tuple(layout.labels[i] for i in places),
            **{what: getattr(layout, what)[places] for what in ("valid", "ordered", "positions", "widths")},
        )
        self._states = StreamStates.new(len(places) * len(budgets), AXIS + layout.shape[1], 0)

    def step(self, x: IntArray, start_ms: int) -> tuple[BoolArray, FloatArray]:
        """Take in counts ``[V, K]`` of the next window; alarms and logarithms of evidence ``[V, B]``."""
        all_shares, all_counts = self._calibration.at(start_ms)
        shares, counts = all_shares[self._places], all_counts[self._places]
        rows = x.sum(axis=1).astype(np.float64)
        dispersion = self._variation.dispersion(rows)
        tolerance = np.full(len(x), self._detector.tolerance)
        epsilon = self._variation.radius(counts.sum(axis=1), np.sqrt(tolerance), self._detector.z_reference)
        p, window = shares.T.copy(), x.T.astype(np.float64)
        axis = axis_directions(p, self._layout.ordered.T.copy())
        evidence = log_evalues(window, p, axis, epsilon.T.copy(), dispersion.T.copy())
        evidence[:, :, rows == 0] = 0.0
        self._use_ranks(evidence, x.astype(np.float64), shares)
        weights = tilt_weights(self._layout.valid.T.copy(), axis)
        many = len(self._budgets)
        budget = np.where(self._states.is_open, 0.0, np.tile(self._budgets, len(x)))
        surprise = log_surprise(window, p, axis, weights, epsilon.T.copy(), self._variation)
        is_calibrated = self._calibration.is_calibrated[self._places]
        single = np.repeat(np.where(is_calibrated, SINGLE_SHARE, 0.0), many) * budget
        with np.errstate(divide="ignore"):
            jump = np.repeat(surprise, many) + np.log(single)
        ledger = Ledger(self._states.mass)
        found = ledger.step(
            np.repeat(evidence, many, axis=2),
            budget - single,
            np.repeat(weights, many, axis=1),
            single_log=jump,
        )
        self._states.mass[:] = ledger.mass
        overall = overall_dispersion(shares, dispersion)
        index = stability_index(counts, x, self._layout, 0.95, overall)
        is_calm = np.repeat(index.debiased <= tolerance / 2, many) & (found.window_log < 0)
        has_data = np.repeat(rows > 0, many)
        self._states.take(found.is_alarm, is_calm, has_data, found.evidence_log, budget, start_ms + DAY_MS)
        shape = (len(x), many)
        return found.is_alarm.reshape(shape), found.evidence_log.reshape(shape)

    def _use_ranks(self, evidence: FloatArray, x: FloatArray, shares: FloatArray) -> None:
        known = self._calibration
        wild = ~known.is_calibrated[self._places] & (x.sum(axis=1) > 0)
        if wild.any():
            at = self._places[wild]
            far = relative_distance(x[wild], shares[wild], known.excess[at])
            evidence[:, :, wild] = rank_evalues(far, known.distances[:, at]) / known.lasting[at]


def with_defaults(
    reference: ReferenceCounts, windows: IntArray, starts: IntArray, worlds: int
) -> tuple[BoolArray, FloatArray, float]:
    """Step `EDetector` through windows ``[T, 1, C, K]``: alarms, evidence ``[C, T]``, budget spent."""
    alerts = Alerts.model_validate({"budget": "1 per week"})
    budget = window_budget(alerts, DAY_MS, worlds, reference.layout.lanes, 1)
    detector, state, spent = EDetector(), b"", 0.0
    alarms = np.zeros((windows.shape[2], len(windows)), bool)
    evidence = np.zeros(alarms.shape)
    for t, (window, start_ms) in enumerate(zip(windows, starts.tolist(), strict=True)):
        moment = Moment(start_ms, start_ms + DAY_MS, budget)
        verdicts, state = detector.step(reference, window, state, moment)
        alarms[:, t] = [verdict.decision.value == "drift" for verdict in verdicts]
        evidence[:, t] = [
            verdict.evidence_log if verdict.evidence_log is not None else -np.inf for verdict in verdicts
        ]
        spent += sum(verdict.budget or 0.0 for verdict in verdicts)
    return alarms, evidence, spent


def judge(streams: Streams, found: dict[str, Results], worlds: int) -> None:
    """Judge one world with both tolerances."""
    world = streams.world
    reference = reference_from_frame(
        frame(streams, unchanged(streams, streams.reference), 0), SETTINGS, SPECS
    )
    counting, tensor = Counting(reference, streams), reference.tensor
    starts, windows = windows_of_frame(
        frame(streams, unchanged(streams, streams.calm), REFERENCE_WINDOWS), reference, SETTINGS, SPECS
    )
    places = np.array([counting.place(name) for name in NAMES])
    check_counts(counting, windows)
    alarms, evidence, spent = with_defaults(tensor, windows, starts, worlds)
    first = found["Driftline"]
    for family, at in PLACES.items():
        first.default[family, world.key] = alarms[places[list(at)]]
    others = np.setdiff1d(np.arange(len(alarms)), places)  # what is watched of whole rows
    if len(others):
        first.default["joint", world.key] = alarms[others]
    note = f"spent {world.background} {world.rows}"
    first.notes[note] = first.notes.get(note, 0.0) + spent
    check_evidence(tensor, windows, starts, evidence, worlds)
    seasons = calibrate(tensor)
    first.notes["columns"] = first.notes.get("columns", 0) + len(NAMES)
    first.notes["uncalibrated"] = first.notes.get("uncalibrated", 0) + int((~seasons.is_calibrated).sum())
    first.notes[f"uncalibrated {world.background}"] = first.notes.get(
        f"uncalibrated {world.background}", 0
    ) + int((~seasons.is_calibrated).sum())
    slots = sum(name == "day of week" for name in seasons.slot_names)
    first.notes[f"by weekday {world.background}"] = (
        first.notes.get(f"by weekday {world.background}", 0) + slots
    )
    planted = list(variants(streams, counting))
    for name, detector in DETECTORS.items():
        ledgers = Ledgers(detector, tensor, places, BUDGETS)
        calm = np.stack(
            [ledgers.step(x[0][places], t)[0] for x, t in zip(windows, starts.tolist(), strict=True)], axis=-1
        )
        for family, at in PLACES.items():
            found[name].calm[family, world.key] = np.moveaxis(calm[list(at)], 1, 0)
        columns = np.array([place for _, place, _ in planted])
        ledgers = Ledgers(detector, tensor, columns, BUDGETS)
        series = np.stack([counts for _, _, counts in planted])
        begin = START_MS + REFERENCE_WINDOWS * DAY_MS
        after = np.stack(
            [ledgers.step(series[:, t], begin + t * DAY_MS)[0] for t in range(series.shape[1])], axis=-1
        )
        after = np.moveaxis(after[:, :, world.lead :], 1, 0)
        kinds = np.array([change for change, _, _ in planted])
        for change in FAMILIES:
            shape = (len(BUDGETS), len(SHAPES), len(SIZES[change]), HORIZON)
            found[name].planted[change, world.key] = after[:, kinds == change].reshape(shape)


def variants(streams: Streams, counting: Counting) -> Iterator[tuple[str, int, IntArray]]:
    """Every change, with its column and the counts of the calm windows before it and of its own."""
    calm = unchanged(streams, streams.lead)
    for change in FAMILIES:
        _, before = counting.of(change, calm)
        for shape in SHAPES:
            for size in SIZES[change]:
                place, after = counting.of(change, streams.planted(change, shape, size))
                yield change, place, np.concatenate([before, after])


def check_counts(counting: Counting, windows: IntArray) -> None:
    """Compare counts of columns with those of a frame."""
    streams = counting.streams
    part = unchanged(streams, streams.calm)
    for change in ("mean", "category", "label flip"):
        place, counts = counting.of(change, part)
        if not np.array_equal(counts, windows[:, 0, place]):
            msg = f"world {streams.world.key}: {change}: counts differ from those of windows_of_frame"
            raise RuntimeError(msg)


def check_evidence(
    reference: ReferenceCounts, windows: IntArray, starts: IntArray, evidence: FloatArray, worlds: int
) -> None:
    """Compare the evidence of `Ledgers` with that of `EDetector`, where all columns have the same budget."""
    alerts = Alerts.model_validate({"budget": "1 per week"})
    budget = window_budget(alerts, DAY_MS, worlds, reference.layout.lanes, 1)[0]
    for place, mine in enumerate(budget.tolist()):
        if place not in (0, len(budget) - 1):
            continue
        ledgers = Ledgers(EDetector(), reference, np.array([place, place]), np.array([mine]))
        for t, x in enumerate(windows[:20, 0, place]):
            _, own = ledgers.step(np.stack([x, x]), int(starts[t]))
            if not np.isclose(own[0, 0], evidence[place, t], rtol=1e-4, atol=1e-3):
                msg = f"column {place}, window {t}: evidence {own[0, 0]} and not {evidence[place, t]}"
                raise RuntimeError(msg)


def main() -> None:
    """Judge the worlds of one part of a work folder."""
    work, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    worlds = Counter((world.background, world.rows) for world in known_worlds(work))
    settings = tuple(f"{budget:.3g}" for budget in BUDGETS)
    found = {name: Results(name, code_version(), FAMILIES, settings) for name in DETECTORS}
    for streams in read(work, part, parts):
        judge(streams, found, worlds[streams.world.background, streams.world.rows])
    for results in found.values():
        results.save(work, part)


if __name__ == "__main__":
    main()
