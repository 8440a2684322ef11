"""E-detector: time, memory, false alarms and delay: ``python -m tests.benchmarks.bench_edetector``.

The suite has each of these in a small form. ``… bench_edetector speed`` (or ``null``, ``noise``, ``delay``)
measures one of them alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import special

from detectors import ReferenceCounts
from detectors.calibration import Z_REFERENCE, calibrate
from detectors.digest import WeeklyEvidence
from detectors.edetector import STREAMS_AT_ONCE
from detectors.ledger import Ledger
from detectors.tensor import BoolArray, FloatArray, IntArray
from detectors.tilts import AXIS, axis_directions, log_evalues, smoothed, tilt_weights
from tests.detectors.layouts import numeric_layout

SHARES = np.array([0.002, 0.008, 0.04, 0.05, *[0.1] * 8, 0.05, 0.04, 0.008, 0.002])
EDGES = special.ndtri(np.cumsum(SHARES)[:-1])
BINS = len(SHARES)
DIRECTIONS = AXIS + BINS
ONE_A_WEEK = 1 / (168 * 100_000)  # of 100,000 streams judged every hour
HOUR_MS = 3_600_000


def normal_shares(shift_sd: FloatArray | float = 0.0, scale: float = 1.0) -> FloatArray:
    """Shares of the bins when a normal column is shifted and scaled: ``[..., K]``."""
    below = special.ndtr((EDGES - np.asarray(shift_sd)[..., None]) / scale)
    ends = np.zeros((*below.shape[:-1], 1))
    shares = np.diff(np.concatenate([ends, below, ends + 1], axis=-1))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def autoregressive(
    generator: np.random.Generator, windows: int, streams: int, sd: float, rho: float
) -> FloatArray:
    """Levels ``[T, N]`` of standard deviation `sd` and autocorrelation `rho`."""
    noise = generator.normal(0, sd, (windows, streams))
    levels = noise.copy()
    for t in range(1, windows):
        levels[t] = rho * levels[t - 1] + np.sqrt(1 - rho * rho) * noise[t]
    return levels


class Streams:
    """Many streams of 16 bins, judged as the service judges them, without its verdicts."""

    def __init__(
        self, p: FloatArray, epsilon: FloatArray, dispersion: FloatArray, ordered: BoolArray
    ) -> None:
        self.p, self.epsilon, self.dispersion, self.ordered = p, epsilon, dispersion, ordered
        self.valid = np.ones(p.shape, dtype=bool)
        self.ledger = Ledger.empty(len(p), AXIS + p.shape[1])
        self.week, self.windows = WeeklyEvidence.new(len(p)), 0

    def step(self, x: IntArray, budget: float) -> BoolArray:
        """Take in one hour of counts ``[N, K]``; returns alarms."""
        steps = []
        for begin in range(0, len(x), STREAMS_AT_ONCE):
            at = slice(begin, begin + STREAMS_AT_ONCE)
            counts = np.ascontiguousarray(x[at].T.astype(np.float64))
            p, epsilon, dispersion = (
                np.ascontiguousarray(array[at].T) for array in (self.p, self.epsilon, self.dispersion)
            )
            ordered, valid = (np.ascontiguousarray(array[at].T) for array in (self.ordered, self.valid))
            axis = axis_directions(p, ordered)
            evidence = log_evalues(counts, p, axis, epsilon, dispersion)
            part = Ledger(self.ledger.mass[:, :, at])
            steps.append(part.step(evidence, np.full(len(x[at]), budget), tilt_weights(valid, axis)))
        start_ms, rows = self.windows * HOUR_MS, x.sum(axis=1)
        led_log = np.concatenate([step.led_log for step in steps])
        self.week.take(start_ms, start_ms + HOUR_MS, led_log, rows, np.zeros(len(x)))
        self.windows += 1
        return np.concatenate([step.is_alarm for step in steps])


def plain_streams(p: FloatArray, epsilon: float) -> Streams:
    """Streams without overdispersion; the last two bins are off the axis."""
    shape = (len(p), DIRECTIONS)
    ordered = np.broadcast_to(np.arange(BINS) < BINS - 2, p.shape)
    return Streams(p, np.full(shape, epsilon), np.ones(shape), ordered)


def say(text: str) -> None:
    """Print one line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def resident_bytes(kind: str) -> int:
    """Resident memory of this process, now (``VmRSS``) or at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(kind))


def speed() -> None:
    """One window of 10,000, 50,000 and 100,000 streams, each in a process of its own."""
    for count in (10_000, 50_000, 100_000):
        process = get_context("spawn").Process(target=speed_of, args=(count,))
        process.start()
        process.join()


def speed_of(count: int) -> None:
    """Time, and memory beyond the counts and the shares."""
    generator = np.random.default_rng(1)
    p = generator.dirichlet(np.full(BINS, 2.0), count)
    x = generator.multinomial(1_000, p)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident_bytes("VmRSS")
    streams = plain_streams(p, 0.15)
    spans = []
    for _ in range(5):
        start = perf_counter()
        streams.step(x, ONE_A_WEEK)
        spans.append(perf_counter() - start)
    added = resident_bytes("VmHWM") - before
    say(
        f"{count:>7,} streams x {DIRECTIONS * 12} tilts: {min(spans):6.3f} s, "
        f"{1e6 * min(spans) / count:5.2f} us each; peak memory + {added / 1e6:4.0f} MB, "
        f"of which masses {streams.ledger.mass.nbytes / 1e6:.0f} MB"
    )


def null(count: int = 10_000, windows: int = 1_000, rows: int = 300, budget: float = 1e-3) -> None:
    """Truths on the edge of the tolerated ball and moving inside it: alarms against the budget."""
    generator = np.random.default_rng(2)
    p = smoothed(1e4 * generator.dirichlet(np.full(BINS, 2.0), count), np.ones((count, BINS), dtype=bool))
    streams = plain_streams(p, 0.1)
    axis = axis_directions(p.T.copy(), np.ascontiguousarray(streams.ordered.T))
    corners = [edge(p, sign * axis[place].T, 0.1) for place in range(AXIS) for sign in (-1, 1)]
    corners += [edge(p, sign * np.eye(BINS)[k] + 0 * p, 0.1) for k in (0, 7) for sign in (-1, 1)]
    alarms = [0, 0]
    moves = np.arange(count) % 2 == 1
    place = generator.integers(0, len(corners), count)
    for _ in range(windows):
        # Odd streams move to another corner, and part of the way, by the evidence so far; even ones stay.
        mass = streams.ledger.mass.sum(axis=0)
        leads_location = mass[0] > mass[AXIS:].mean(axis=0)
        place = np.where(moves & ~leads_location, generator.integers(0, len(corners), count), place)
        truth = np.stack(corners)[place, np.arange(count)]
        share = np.where(moves & (generator.random(count) < 0.3), generator.random(count), 1.0)[:, None]
        x = generator.multinomial(rows, np.maximum(p + share * (truth - p), 0))
        found = streams.step(x, budget)
        alarms[0] += int(found[~moves].sum())
        alarms[1] += int(found[moves].sum())
    total = count * windows * budget
    say(
        f"null: {count:,} streams x {windows:,} windows of {rows} rows: {sum(alarms)} alarms "
        f"({alarms[0]} on the edge, {alarms[1]} moving), budget {total:.0f}, "
        f"limit {total + 3 * np.sqrt(total):.0f}"
    )


def edge(p: FloatArray, toward: FloatArray, epsilon: float) -> FloatArray:
    """Move shares ``[N, K]`` as far as Σ(p' − p)²/p = ε² or their positivity allows."""
    move = (toward - (toward * p).sum(axis=1, keepdims=True)) * p
    size = np.sqrt((move**2 / p).sum(axis=1, keepdims=True))
    move *= np.where(size > 1e-9, epsilon / np.maximum(size, 1e-9), 0)
    room = np.where(move < 0, p / np.where(move < 0, -move, 1), np.inf).min(axis=1, keepdims=True)
    moved = np.maximum(p + move * np.minimum(room, 1), 0)
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))


def noisy_streams(
    generator: np.random.Generator, levels: FloatArray, rows: int, windows: int, columns: int
) -> tuple[Streams, IntArray]:
    """Streams calibrated on their own first windows, and the counts of all windows ``[T, N, K]``."""
    counts = generator.multinomial(rows, normal_shares(levels))
    layout = numeric_layout(BINS, columns=columns)
    shares, epsilons, dispersions = [], [], []
    for begin in range(0, levels.shape[1], columns):
        own = counts[:windows, None, begin : begin + columns]
        starts_ms = np.arange(windows) * HOUR_MS
        reference = ReferenceCounts(layout, ("",), own.sum(axis=0), own, np.ones(columns), starts_ms, HOUR_MS)
        calibration = calibrate(reference)
        p, known = calibration.at(0)
        shares.append(p)
        variation = calibration.variation
        epsilons.append(variation.radius(known.sum(axis=1), np.full(columns, 0.1), Z_REFERENCE))
        dispersions.append(variation.dispersion(np.full(columns, float(rows))))
    p = np.concatenate(shares)
    ordered = np.ones(p.shape, dtype=bool)
    return Streams(p, np.concatenate(epsilons), np.concatenate(dispersions), ordered), counts


def noise(count: int = 1_000, tested: int = 300) -> None:
    """References estimated from windows that vary: alarms over budget, with the dispersion they teach."""
    for (rows, windows), sd, rho in product(
        ((100, 10), (250, 40), (1_000, 28), (1_000, 100)), (0.05, 0.1), (0.0, 0.5, 0.7, 0.9)
    ):
        generator = np.random.default_rng(3)
        levels = autoregressive(generator, windows + tested, count, sd, rho)
        streams, counts = noisy_streams(generator, levels, rows, windows, columns=4)
        found = []
        for budget in (1e-3, 1e-5):
            streams.ledger = Ledger.empty(count, DIRECTIONS)
            alarms = sum(int(streams.step(x, budget).sum()) for x in counts[windows:])
            found.append(f"{alarms:>4} alarms for {count * tested * budget:g}")
        learned, true = np.median(streams.dispersion[:, 0]), 1 + rows * sd**2 * (1 + rho) / (1 - rho)
        say(
            f"noise: m {rows * windows:>7,} = {windows:>3} windows of {rows:>5}, sd {sd:.2f}, rho {rho:.1f}: "
            f"{'; '.join(found)}; D of location {learned:6.1f}, true {true:6.1f}"
        )


def delays(
    rows: int, tolerance: float, shift_sd: float, scale: float, known: int, count: int = 400
) -> tuple[float, float]:
    """Windows to the alarm, median and 95 %, at one false alarm a week of 100,000 hourly streams."""
    generator = np.random.default_rng(4)
    drawn = generator.multinomial(known, SHARES, count).astype(np.float64)
    shape = (count, DIRECTIONS)
    p = smoothed(drawn, np.ones(drawn.shape, dtype=bool))
    epsilon = np.full(shape, tolerance + Z_REFERENCE / np.sqrt(known))
    streams = Streams(p, epsilon, np.ones(shape), np.ones(p.shape, dtype=bool))
    first = np.full(count, np.inf)
    for t in range(1, 61):
        is_alarm = streams.step(
            generator.multinomial(rows, normal_shares(shift_sd, scale), count), ONE_A_WEEK
        )
        first = np.where(is_alarm, np.minimum(first, t), first)
    return float(np.median(first)), float(np.quantile(first, 0.95, method="higher"))


def delay() -> None:
    """The delays that the design promises."""
    for rows, tolerance, shift_sd, scale, promised in (
        (1_000, 0.1, 0.2, 1.0, "8/26"),
        (1_000, 0.1, 0.3, 1.0, "2/4"),
        (1_000, 0.1, 0.5, 1.0, "1/1"),
        (1_000, 0.1, 0.0, 1.25, "2/4"),
        (5_000, 0.1, 0.2, 1.0, "2/4"),
        (100, 0.0, 0.3, 1.0, "6/8"),
    ):
        median, late = delays(rows, tolerance, shift_sd, scale, known=100_000)
        say(
            f"delay: n {rows:>5}, tolerance {tolerance}, shift {shift_sd} sd, scale {scale}: "
            f"{median:g}/{late:g} windows, promised {promised}"
        )


PARTS: dict[str, Callable[[], None]] = {"speed": speed, "delay": delay, "noise": noise, "null": null}


def main() -> None:
    """Run what is asked for, or everything."""
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
