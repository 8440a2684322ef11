"""Measured side: Driftline's default detectors, through its library.

``python -m tests.benchmarks.detection.side_driftline WORK PART PARTS``, in the product's environment.
References and windows are made of pandas frames, as in docs/library.md. With its defaults every detector is
stepped through the calm windows, with one false alarm a week over all worlds of the same background and
window size. For the tuned comparison the budget is varied: the same evidence goes through as many ledgers
as there are budgets. That both ways give the same evidence is checked in every world.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from detectors import EDetector, Moment, ReferenceCounts
from detectors.base import Detector
from detectors.binning import CategoricalBins, NumericBins
from detectors.calibration import calibrate
from detectors.correlation import judge_correlations
from detectors.hashing import hash_strings
from detectors.joint import lanes_of
from detectors.rate import RateEDetector
from detectors.reference import Reference
from detectors.relations import Relations, Together
from detectors.tensor import BoolArray, FloatArray, IntArray
from monitor.config.alerts import Alerts
from monitor.config.settings import ModelSettings
from monitor.frames import reference_from_frame, windows_of_frame
from monitor.judging.budget import window_budget
from monitor.version import code_version
from schemas.column import PERFORMANCE_ERROR, ColumnSpec, Kind, Source
from schemas.verdict import Lane
from tests.benchmarks.detection.ledgers import DAY_MS, Ledgers, PairLedgers, RateLedgers
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
from tests.benchmarks.detection.whole_rows import together

START_MS = 1_767_571_200_000  # Monday, 5 January 2026
FAMILIES = {
    "mean": "numeric",
    "scale": "numeric",
    "tail": "numeric",
    "category": "categorical",
    "nulls": "nulls",
    "correlation": "joint",
    "label flip": "error",
}


@dataclass(frozen=True)
class Watch:
    """The detectors of one row of the tables: of shares, of wrong predictions and of missing values."""

    shares: EDetector
    wrong: RateEDetector
    missing: RateEDetector

    def of(self, family: str) -> Detector:
        """Detector of a family of checks."""
        return {"error": self.wrong, "nulls": self.missing}.get(family, self.shares)


DETECTORS = {
    "Driftline": Watch(
        EDetector(), RateEDetector(), RateEDetector("missing", margin=0.002, relative_margin=0.1)
    ),
    "Driftline, tolerance 0.0009": Watch(
        EDetector(tolerance=0.0009, z_reference=2.0),
        RateEDetector(margin=0.0, z_reference=2.0),
        RateEDetector("missing", margin=0.0, z_reference=2.0),
    ),
}
BUDGETS = np.logspace(-3, 2, 101)
NAMES = ("n0", "n1", "n2", "c0", "c1", PERFORMANCE_ERROR)
PLACES = {"numeric": (0, 1, 2), "categorical": (3, 4), "nulls": (0, 1, 2), "error": (5,)}
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


def stepped(
    detector: Detector, reference: ReferenceCounts, windows: IntArray, starts: IntArray, budget: FloatArray
) -> tuple[BoolArray, FloatArray, float]:
    """Step a detector through windows ``[T, 1, C, K]``: alarms, evidence ``[C, T]``, budget spent."""
    state, spent = b"", 0.0
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


def stepped_pairs(
    relations: Relations, looks: list[Together], starts: IntArray, budget: float
) -> tuple[BoolArray, float]:
    """Step the watch of pairs through windows: alarms ``[1, T]``, budget spent."""
    assert relations.correlations is not None
    detector, state, spent = EDetector(), b"", 0.0
    alarms = np.zeros((1, len(looks)), bool)
    for t, (look, start_ms) in enumerate(zip(looks, starts.tolist(), strict=True)):
        verdict, state = judge_correlations(
            relations.correlations,
            relations.gram,
            look.gram,
            state,
            start_ms=start_ms,
            end_ms=start_ms + DAY_MS,
            budget=budget,
            tolerance=detector.tolerance,
            z_reference=detector.z_reference,
            detector=detector.name,
        )
        alarms[0, t] = verdict.decision.value == "drift"
        spent += verdict.budget or 0.0
    return alarms, spent


@dataclass(frozen=True)
class Seen:
    """What Driftline sees of a world.

    Parameters
    ----------
    streams : Streams
    reference : Reference
    starts, windows
        Of the calm stretch, from `windows_of_frame`.
    looks : list of Together
        Whole rows of the calm stretch.
    """

    streams: Streams
    reference: Reference
    starts: IntArray
    windows: IntArray
    looks: list[Together]

    @classmethod
    def of(cls, streams: Streams) -> Seen:
        """Learn the reference of a world, and count its calm stretch."""
        reference = reference_from_frame(
            frame(streams, unchanged(streams, streams.reference), 0), SETTINGS, SPECS
        )
        calm = frame(streams, unchanged(streams, streams.calm), REFERENCE_WINDOWS)
        starts, windows = windows_of_frame(calm, reference, SETTINGS, SPECS)
        return cls(streams, reference, starts, windows, list(together(calm, reference, SETTINGS, SPECS)))

    @property
    def relations(self) -> Relations:
        """What is known of whole rows."""
        assert self.reference.relations is not None
        return self.reference.relations

    @property
    def places(self) -> IntArray:
        """Columns of the world's own streams."""
        return np.array([self.reference.binning.index[name] for name in NAMES])

    @property
    def derived(self) -> IntArray:
        """Columns made of whole rows."""
        return np.setdiff1d(np.arange(self.windows.shape[2]), self.places)

    def watch_defaults(self, results: Results, worlds: int) -> None:
        """Judge the calm stretch with defaults, and compare the evidence with that of `Ledgers`."""
        tensor, watch = self.reference.tensor, DETECTORS["Driftline"]
        lanes = (*lanes_of(self.reference, watch.shares), *[Lane.QUALITY] * 3)
        alerts = Alerts.model_validate({"budget": "1 per week"})
        budget = window_budget(alerts, DAY_MS, worlds, lanes, 1)
        columns = len(tensor.layout.columns)
        shares, missing = budget[:, :columns].copy(), np.zeros((1, columns))
        wrong = np.zeros((1, columns))
        shares[0, self.places[5]], wrong[0, self.places[5]] = 0.0, shares[0, self.places[5]]
        missing[0, self.places[:3]] = budget[0, -3:]
        spent, world = 0.0, self.streams.world
        for detector, its, families in (
            (watch.shares, shares, ("numeric", "categorical")),
            (watch.wrong, wrong, ("error",)),
            (watch.missing, missing, ("nulls",)),
        ):
            alarms, evidence, its_spent = stepped(detector, tensor, self.windows, self.starts, its)
            spent += its_spent
            for family in families:
                results.default[family, world.key] = alarms[self.places[list(PLACES[family])]]
            self.check_evidence(detector, its[0], evidence)
            if detector is watch.shares:
                results.default["joint", world.key] = alarms[self.derived]
        pairs, its_spent = stepped_pairs(self.relations, self.looks, self.starts, float(budget[0, columns]))
        results.default["joint", world.key] = np.concatenate([results.default["joint", world.key], pairs])
        note = f"spent {world.background} {world.rows}"
        results.notes[note] = results.notes.get(note, 0.0) + spent + its_spent

    def check_evidence(self, detector: Detector, budget: FloatArray, evidence: FloatArray) -> None:
        """Compare the evidence of a detector with that of its ledgers, for two columns with a budget."""
        for place in np.flatnonzero(budget)[[0, -1]].tolist():
            ledgers = ledgers_of(
                detector, self.reference.tensor, np.array([place, place]), budget[place : place + 1]
            )
            for t, x in enumerate(self.windows[:20, 0, place]):
                _, own = ledgers.step(np.stack([x, x]), int(self.starts[t]))
                if not np.isclose(own[0, 0], evidence[place, t], rtol=1e-4, atol=1e-3):
                    msg = f"column {place}, window {t}: evidence {own[0, 0]} and not {evidence[place, t]}"
                    raise RuntimeError(msg)

    def note_seasons(self, results: Results) -> None:
        """Write down what was learned."""
        seasons, background = calibrate(self.reference.tensor), self.streams.world.background
        uncalibrated = int((~seasons.is_calibrated).sum())
        for name, count in (
            ("columns", len(NAMES)),
            ("uncalibrated", uncalibrated),
            (f"uncalibrated {background}", uncalibrated),
            (f"by weekday {background}", sum(name == "day of week" for name in seasons.slot_names)),
        ):
            results.notes[name] = results.notes.get(name, 0) + count


def ledgers_of(
    detector: Detector, reference: ReferenceCounts, places: IntArray, budgets: FloatArray
) -> Ledgers | RateLedgers:
    """Ledgers with many budgets for columns of a reference."""
    if isinstance(detector, RateEDetector):
        return RateLedgers(detector, reference, places, budgets)
    assert isinstance(detector, EDetector)
    return Ledgers(detector, reference, places, budgets)


def followed(ledgers: Ledgers | RateLedgers, series: IntArray, begin_ms: int) -> BoolArray:
    """Alarms ``[V, B, T]`` of counts ``[V, T, K]``, one day after the other."""
    days = range(series.shape[1])
    return np.stack([ledgers.step(series[:, t], begin_ms + t * DAY_MS)[0] for t in days], axis=-1)


def judge(streams: Streams, found: dict[str, Results], worlds: int) -> None:
    """Judge one world with all detectors."""
    world, seen = streams.world, Seen.of(streams)
    counting = Counting(seen.reference, streams)
    check_counts(counting, seen.windows)
    seen.watch_defaults(found["Driftline"], worlds)
    seen.note_seasons(found["Driftline"])
    planted = list(variants(streams, counting))
    rows = WholeRows.of(seen)
    begin = int(seen.starts[0])
    for name, watch in DETECTORS.items():
        for family, at in PLACES.items():
            places = seen.places[list(at)]
            ledgers = ledgers_of(watch.of(family), seen.reference.tensor, places, BUDGETS)
            calm = followed(ledgers, np.moveaxis(seen.windows[:, 0, places], 0, 1), begin)
            found[name].calm[family, world.key] = np.moveaxis(calm, 1, 0)
            mine = [(change, place, x) for change, place, x in planted if FAMILIES[change] == family]
            columns = np.array([place for _, place, _ in mine])
            ledgers = ledgers_of(watch.of(family), seen.reference.tensor, columns, BUDGETS)
            after = followed(ledgers, np.stack([x for _, _, x in mine]), begin)[:, :, world.lead :]
            kinds = np.array([change for change, _, _ in mine])
            for change in np.unique(kinds).tolist():
                shape = (len(BUDGETS), len(SHAPES), len(SIZES[change]), HORIZON)
                its = np.moveaxis(after[kinds == change], 1, 0)
                found[name].planted[change, world.key] = its.reshape(shape)
        rows.judge(watch.shares, found[name])


@dataclass(frozen=True)
class WholeRows:
    """The calm stretch and every planted correlation, as the streams of whole rows see them.

    Parameters
    ----------
    seen : Seen
    series : list of list of Together
        Calm windows and changed ones of each planted correlation.
    """

    seen: Seen
    series: list[list[Together]]

    @classmethod
    def of(cls, seen: Seen) -> WholeRows:
        """Plant correlations."""
        streams = seen.streams

        def looks(part: Planted, first: int) -> list[Together]:
            return list(together(frame(streams, part, first), seen.reference, SETTINGS, SPECS))

        lead = looks(unchanged(streams, streams.lead), REFERENCE_WINDOWS)
        first = REFERENCE_WINDOWS + streams.world.lead
        planted = [
            looks(streams.planted("correlation", shape, size), first)
            for shape in SHAPES
            for size in SIZES["correlation"]
        ]
        return cls(seen, [lead + changed for changed in planted])

    def judge(self, detector: EDetector, results: Results) -> None:
        """Judge them; an alarm of any stream is one of all whole rows."""
        world = self.seen.streams.world
        calm = self._alarms(detector, [self.seen.looks])
        results.calm["joint", world.key] = np.moveaxis(calm, 1, 0)
        after = self._alarms(detector, self.series)[:, :, world.lead :]
        shape = (len(BUDGETS), len(SHAPES), len(SIZES["correlation"]), HORIZON)
        results.planted["correlation", world.key] = np.moveaxis(after, 1, 0).reshape(shape)

    def _alarms(self, detector: EDetector, series: list[list[Together]]) -> BoolArray:
        """Alarms ``[V, B, T]``."""
        begin, relations, tensor = int(self.seen.starts[0]), self.seen.relations, self.seen.reference.tensor
        assert relations.correlations is not None
        pairs = PairLedgers(detector, relations.correlations, len(series), BUDGETS)
        days = enumerate(zip(*series, strict=True))
        grams = [([look.gram for look in looks], begin + t * DAY_MS) for t, looks in days]
        found = np.stack([pairs.step(window, start_ms)[0] for window, start_ms in grams], axis=-1)
        counts = np.stack([[self._counts(look) for look in looks] for looks in series])
        for at, place in enumerate(self.seen.derived.tolist()):
            # Never one stream alone; see `detectors.tilts`.
            twice = np.repeat(counts[:, :, at], 2, axis=0)
            ledgers = Ledgers(detector, tensor, np.full(len(twice), place), BUDGETS)
            found |= followed(ledgers, twice, begin)[::2]
        return found

    def _counts(self, look: Together) -> IntArray:
        """Counts of the derived columns, ``[columns, K]``."""
        none = np.zeros((1, int(self.seen.reference.binning.offsets[-1])), np.int64)
        return self.seen.reference.window(none, look.counts)[0, self.seen.derived]


def variants(streams: Streams, counting: Counting) -> Iterator[tuple[str, int, IntArray]]:
    """Every change, with its column and the counts of the calm windows before it and of its own."""
    calm = unchanged(streams, streams.lead)
    for change in (change for change, family in FAMILIES.items() if family != "joint"):
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
