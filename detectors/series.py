"""River's sequential detectors on one number a window; a restart replays the series of numbers."""

from __future__ import annotations

import hashlib
import struct
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isnan
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from detectors.base import Moment, Step
from detectors.effects import EffectArrays, compare
from detectors.readings import Reader, Reading, error_indicators, window_means
from detectors.tensor import BoolArray, FloatArray, IntArray, ReferenceCounts
from detectors.verdicts import make_verdicts
from schemas.errors import UsageError
from schemas.verdict import Verdict

HISTORY = 1_000
_MOST_LIVE = 100_000  # river detectors kept in memory; beyond that the oldest are dropped and replayed
_MAGIC = b"DLS1"
_HEADER = struct.Struct("<QQ")  # streams, windows


class RiverDetector(Protocol):
    """What all of river's drift detectors can do."""

    def update(self, x: float, /) -> object:
        """Take in one value."""

    @property
    def drift_detected(self) -> bool:
        """Whether the latest value completed the evidence of a change; the next one begins anew."""


Running: TypeAlias = dict[int, RiverDetector]


def check_history(name: str, history: int, fewest: int) -> None:
    """Refuse a history that is too short for what the detector needs to begin.

    Raises
    ------
    UsageError
        If the history is shorter than `fewest`.

    Examples
    --------
    >>> check_history("kswin", 50, fewest=200)
    Traceback (most recent call last):
    schemas.errors.UsageError: kswin: history: 50 (a whole number of 200 or more is allowed)
    """
    if history < fewest:
        msg = f"{name}: history: {history} (a whole number of {fewest} or more is allowed)"
        raise UsageError(msg)


def check_range(name: str, parameter: str, value: float, low: float, high: float = inf) -> None:
    """Refuse a parameter that is not a finite number above `low` and below `high`.

    Raises
    ------
    UsageError
        If it is not.

    Examples
    --------
    >>> check_range("adwin", "delta", 2.0, 0, 1)
    Traceback (most recent call last):
    schemas.errors.UsageError: adwin: delta: 2.0 (a number above 0 and below 1 is allowed)
    """
    if not low < value < high:
        limit = f" and below {high:g}" if high < inf else ""
        msg = f"{name}: {parameter}: {value} (a number above {low:g}{limit} is allowed)"
        raise UsageError(msg)


def check_least(name: str, parameter: str, value: int, least: int) -> None:
    """Refuse a whole number that is too small.

    Raises
    ------
    UsageError
        If it is less than `least`.

    Examples
    --------
    >>> check_least("adwin", "clock", 0, 1)
    Traceback (most recent call last):
    schemas.errors.UsageError: adwin: clock: 0 (a whole number of 1 or more is allowed)
    """
    if value < least:
        msg = f"{name}: {parameter}: {value} (a whole number of {least} or more is allowed)"
        raise UsageError(msg)


@dataclass(frozen=True)
class Series:
    """One value for each stream and window since the stream's latest alarm.

    Parameters
    ----------
    values : FloatArray
        ``[N, T]``: N streams, T windows, the latest last; nan where a stream had no value, and for everything
        up to its latest alarm.

    Examples
    --------
    >>> series = Series(np.array([[1.0, np.nan], [2.0, 3.0]]))
    >>> Series.from_bytes(series.to_bytes(), streams=2).values.tolist()
    [[1.0, nan], [2.0, 3.0]]
    """

    values: FloatArray

    @classmethod
    def from_bytes(cls, state: bytes, streams: int) -> Series:
        """Read what `to_bytes` wrote; no bytes are a series of no windows.

        Raises
        ------
        UsageError
            If the bytes are damaged, of another kind or of another number of streams.
        """
        if not state:
            return cls(np.empty((streams, 0)))
        start = len(_MAGIC) + _HEADER.size
        if state[: len(_MAGIC)] != _MAGIC or len(state) < start:
            msg = "state of a series: it does not begin like one"
            raise UsageError(msg)
        stored, windows = _HEADER.unpack_from(state, len(_MAGIC))
        if stored != streams:
            msg = f"state of a series: {stored} streams ({streams} are expected)"
            raise UsageError(msg)
        try:
            raw = pa.decompress(state[start:], 8 * streams * windows, codec="zstd", asbytes=True)
            values = np.frombuffer(raw, "<f8").reshape(streams, windows)
        except (OSError, OverflowError, ValueError, pa.ArrowException) as error:
            msg = f"state of a series: damaged ({error})"
            raise UsageError(msg) from error
        return cls(values.astype(np.float64))

    def to_bytes(self) -> bytes:
        """Serialise; versioned and compressed."""
        packed: bytes = pa.compress(self.values.astype("<f8").tobytes(), codec="zstd", asbytes=True)
        return _MAGIC + _HEADER.pack(*self.values.shape) + packed

    def with_window(self, values: FloatArray, is_alarm: BoolArray) -> Series:
        """Append one value for each stream; an alarm makes a stream forget all of its own."""
        longer = np.column_stack([self.values, values])
        longer[is_alarm] = np.nan
        return Series(longer)

    def shortened(self, history: int) -> Series:
        """Keep the later half of `history` windows once there is no room for another one.

        Cutting half, and not one, leaves detectors that are running in step with the series nearly always.
        """
        if self.values.shape[1] < history:
            return self
        return Series(self.values[:, -(history // 2) :])


@dataclass(frozen=True, eq=False)
class SeriesWatch:
    """Steps one river detector for each stream.

    Parameters
    ----------
    name : str
        Name of the Driftline detector.
    start : callable
        Makes a new river detector.
    read : Reader
        Makes one number of each stream's window.
    history : int
        Windows that the state keeps at most.

    Guarantees
    ----------
    Verdicts and state follow from the reference, the window and the state before alone.
    River detectors that have seen a state's series are kept in memory under the hash of that state; where
    there are none, they are made by replaying the series. All of river's detectors begin anew after an alarm,
    hence the values up to it are not needed for a replay.
    """

    name: str
    start: Callable[[], RiverDetector]
    read: Reader
    history: int
    _live: OrderedDict[bytes, Running] = field(default_factory=OrderedDict)

    def step(self, reference: ReferenceCounts, window: IntArray, state: bytes) -> Step:
        """Judge the next window; see `detectors.base.Detector.step`."""
        reference.check_window(window)
        effects = compare(reference.counts, window, reference.layout, reference.sd)
        reading = self.read(reference, window, effects)
        values = reading.values.ravel()
        stored = Series.from_bytes(state, len(values))
        series = stored.shortened(self.history)
        running = self._live.pop(_key(state), None)
        if running is None or series is not stored:
            running = self._replayed(series)
        is_alarm = self._updated(running, values)
        new_state = series.with_window(values, is_alarm).to_bytes()
        self._keep(new_state, running)
        verdicts = make_verdicts(
            self.name,
            reference,
            effects,
            statistic=is_alarm.reshape(reading.values.shape).astype(np.float64),
            is_drift=is_alarm.reshape(reading.values.shape),
            thresholds=np.ones(len(reading.needed)),
            threshold_sources=[
                f"needs {needed}"
                if needed
                else "1 where river detects a change; no stated false-alarm guarantee"
                for needed in reading.needed
            ],
        )
        return Step(verdicts, new_state)

    def _updated(self, running: Running, values: FloatArray) -> BoolArray:
        """Feed one value to each stream's detector, and tell which detect a change."""
        is_alarm = np.zeros(len(values), bool)
        for stream, value in enumerate(values.tolist()):
            if isnan(value):
                continue
            detector = running.get(stream)
            if detector is None:
                detector = running[stream] = self.start()
            detector.update(value)
            is_alarm[stream] = detector.drift_detected
        return is_alarm

    def _replayed(self, series: Series) -> Running:
        running: Running = {}
        for stream, row in enumerate(series.values):
            values = row[~np.isnan(row)].tolist()
            if values:
                running[stream] = self.start()
            for value in values:
                running[stream].update(value)
        return running

    def _keep(self, state: bytes, running: Running) -> None:
        self._live[_key(state)] = running
        while len(self._live) > 1 and sum(map(len, self._live.values())) > _MOST_LIVE:
            self._live.popitem(last=False)


class OnSeries(ABC):
    """What detectors on a series share: a frozen dataclass inherits this before `Detector`.

    Attributes
    ----------
    name : str
    history : int
        Windows that the state keeps at most.
    """

    name: ClassVar[str]
    history: int

    @staticmethod
    @abstractmethod
    def read(reference: ReferenceCounts, window: IntArray, effects: EffectArrays) -> Reading:
        """Make one number of each stream's window."""

    @abstractmethod
    def start(self) -> RiverDetector:
        """Make a new detector of river."""

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge a first window; see `detectors.base.Detector.judge`."""
        return self._watch.step(reference, window, b"").verdicts

    def step(self, reference: ReferenceCounts, window: IntArray, state: bytes, moment: Moment) -> Step:
        """Judge the next window of a series; see `detectors.base.Detector.step`.

        Raises
        ------
        UsageError
            If the window or the state do not belong to the reference.
        """
        return self._watch.step(reference, window, state)

    @cached_property
    def _watch(self) -> SeriesWatch:
        return SeriesWatch(self.name, self.start, self.read, self.history)


class OnMeans(OnSeries):
    """A detector on the means of columns; see `detectors.readings.window_means`."""

    read = staticmethod(window_means)


class OnErrors(OnSeries):
    """A detector on windows with too many errors; see `detectors.readings.error_indicators`."""

    read = staticmethod(error_indicators)


def _key(state: bytes) -> bytes:
    return hashlib.blake2b(state, digest_size=16).digest()
