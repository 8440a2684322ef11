"""Turns decoded events into partial profiles, in worker threads, until a commit collects them.

Arrow and numpy release the interpreter's lock, so two threads profile nearly twice as fast as one. Each
thread adds to profiles of its own; a commit writes all of them, and addition happens when they are read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.binning import Binning
from detectors.prepared import Prepared
from detectors.profile import Profile
from monitor import interpreter
from monitor.config.columns import contract_of
from monitor.config.settings import ModelSettings
from monitor.decode.batch import Events, Outputs, make_batch
from monitor.decode.columns import Columns
from monitor.decode.features import FeatureDecoder
from monitor.labels.pairing import PredictionRows
from monitor.labels.pending import Segments, Terms, pending_rows
from schemas.batch import Batch
from schemas.column import ColumnSpec, Kind, Source
from schemas.contract import COUNT_BYTES

TOGETHER = 16  # profiles that a worker serialises at a time
WAITING_TASKS = 8  # for each worker: those of many small models come in bursts
SUMMARY_BYTES = 4_000
CELL_BYTES = 24
PENDING_BYTES = 200  # of a prediction that waits for its label
SEGMENT_VALUES = 4  # times as many values as are judged


@dataclass(frozen=True)
class Pointer:
    """A reference in force for slices from `from_ms` on."""

    from_ms: int
    hash: str
    binning: Binning


class ModelState:
    """What profiling knows of one model version.

    Parameters
    ----------
    settings : ModelSettings
    specs : iterable of ColumnSpec
        Columns that are registered already.
    pointers : tuple of Pointer
        References, oldest first.
    """

    def __init__(
        self, settings: ModelSettings, specs: Iterable[ColumnSpec], pointers: tuple[Pointer, ...]
    ) -> None:
        self.settings = settings
        self.contract = contract_of(settings.columns, settings.task)
        self.columns = Columns(
            {n: Kind(c.kind) for n, c in settings.columns.items() if c.kind}, settings.max_columns
        )
        self.decoder = FeatureDecoder(self.columns)
        self.pointers = pointers
        self.outputs = Outputs(_prediction_kind(settings))
        self.told_apart = Segments(SEGMENT_VALUES * settings.max_segment_values)
        self.restore(specs)
        self._lock = threading.Lock()

    def restore(self, specs: Iterable[ColumnSpec]) -> None:
        """Take over registered columns; their kinds win."""
        specs = list(specs)
        self.columns.restore(spec for spec in specs if spec.source is Source.FEATURE)
        for spec in specs:
            if spec.source is Source.PREDICTION:
                self.outputs = Outputs(
                    spec.kind,
                    self.outputs.score,
                    self.outputs.classes,
                    self.outputs.latency,
                    self.outputs.error,
                )

    def widen(self, events: Events) -> Outputs:
        """Take in which outputs new events have."""
        with self._lock:
            self.outputs = self.outputs.widened(events)
            return self.outputs

    def pointer_at(self, slice_ms: int) -> Pointer | None:
        """Return the reference that a slice is counted on."""
        found = None
        for pointer in self.pointers:
            if pointer.from_ms <= slice_ms:
                found = pointer
        return found


def _prediction_kind(settings: ModelSettings) -> Kind | None:
    if settings.task is None:
        return None
    return Kind.NUMERIC if settings.task == "regression" else Kind.CATEGORICAL


Key = tuple[str, str]
SliceKey = tuple[str, str, int]
Work = tuple[Key, ModelState, Events]


@dataclass
class Collected:
    """What the workers made since the last collection.

    Parameters
    ----------
    profiles : list of (key, Profile)
        Model, version and start of the slice; a key may come more than once.
    data : list of bytes
        The profiles, serialised.
    refused : list of (int, int, bytes, str)
        Events whose features cannot be read: partition index, offset, message, reason.
    pending : list of PredictionRows
        Predictions that wait for their labels.
    terms : dict of int to str
        What hashes in them stand for.
    """

    profiles: list[tuple[SliceKey, Profile]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    refused: list[tuple[int, int, bytes, str]] = field(default_factory=list)
    pending: list[PredictionRows] = field(default_factory=list)
    terms: dict[int, str] = field(default_factory=dict)


class Profiler:
    """Profiles events in `workers` threads.

    Parameters
    ----------
    workers : int
    keeps_pending : bool
        Whether labels are to be expected.
    """

    def __init__(self, workers: int, *, keeps_pending: bool = False) -> None:
        interpreter.tune()
        self._workers, self._keeps_pending = workers, keeps_pending
        self._pending: list[PredictionRows] = []
        self._terms: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(workers, "profile")
        self._room = threading.Semaphore(workers * WAITING_TASKS)
        self._futures: list[Future[list[tuple[int, int, bytes, str]]]] = []
        self._local = threading.local()
        self._lock = threading.Lock()
        self._shares: list[dict[SliceKey, Profile]] = []
        self._generation = 0
        self.size_bytes = 0

    def submit(self, work: Sequence[Work]) -> None:
        """Profile events of some model versions, one after the other; waits while too many are under way.

        Raises
        ------
        Exception
            Whatever an earlier task raised.
        """
        self._room.acquire()
        try:
            future = self._pool.submit(self._profile_all, work, self._generation)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._room.release())
        self._futures.append(future)

    def collect(self) -> Collected:
        """Wait for all workers, take out what they made, and let them serialise it.

        Raises
        ------
        Exception
            Whatever a task raised; everything must then be dropped.
        """
        collected = Collected()
        futures, self._futures = self._futures, []
        for future in futures:
            collected.refused += future.result()
        with self._lock:
            for share in self._shares:
                collected.profiles += share.items()
            collected.pending, collected.terms = self._pending, self._terms
            self._forget()
        profiles = [profile for _, profile in collected.profiles]
        parts = [profiles[at : at + TOGETHER] for at in range(0, len(profiles), TOGETHER)]
        collected.data = [data for part in self._pool.map(_serialised, parts) for data in part]
        return collected

    def drop(self) -> None:
        """Wait for the workers and forget everything."""
        futures, self._futures = self._futures, []
        for future in futures:
            future.exception()
        with self._lock:
            self._forget()

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _forget(self) -> None:
        self._shares = []
        self._pending, self._terms = [], {}
        self._generation += 1
        self.size_bytes = 0

    def _share(self, generation: int) -> dict[SliceKey, Profile]:
        """Profiles of the calling thread."""
        if getattr(self._local, "generation", None) != generation:
            self._local.generation, self._local.share = generation, {}
            with self._lock:
                self._shares.append(self._local.share)
        share: dict[SliceKey, Profile] = self._local.share
        return share

    def _profile_all(self, work: Sequence[Work], generation: int) -> list[tuple[int, int, bytes, str]]:
        refused = []
        for key, state, events in work:
            refused += self._profile(key, state, events, generation)
        return refused

    def _profile(
        self, key: Key, state: ModelState, events: Events, generation: int
    ) -> list[tuple[int, int, bytes, str]]:
        features, rows, problems = state.decoder.decode(events.features)
        refused = []
        if problems:
            partition, offset = np.concatenate(events.partition), np.concatenate(events.offset)
            refused = [(int(partition[i]), int(offset[i]), events.value[i], reason) for i, reason in problems]
        if not len(rows):
            return refused
        batch = make_batch(events, rows, features, state.widen(events), state.settings.segments)
        if self._keeps_pending:
            self._keep_pending(key, state, batch)
        share = self._share(generation)
        slice_ms = state.settings.slice_ms
        index = batch.event_ms // slice_ms * slice_ms
        for pointer, picked in _by_pointer(state, index):
            binning, hash_ = (pointer.binning, pointer.hash) if pointer else (None, "")
            part = batch if picked is None else batch.take(picked)
            prepared = Prepared(part, binning, slice_ms, state.contract)
            for section in prepared.sections:
                slice_key = (*key, section.slice_ms)
                profile = share.get(slice_key)
                if profile is None:
                    profile = share[slice_key] = Profile(binning, hash_, state.settings.slice_sample_rows)
                    self.size_bytes += profile.counts.nbytes + SUMMARY_BYTES * len(batch.columns)
                    self.size_bytes += 8 * profile.sample.most * len(batch.columns)
                    self.size_bytes += COUNT_BYTES * len(prepared.violations)
                profile.add(prepared, section)
            if binning is None:
                self.size_bytes += CELL_BYTES * len(batch) * len(batch.columns)
        return refused

    def _keep_pending(self, key: Key, state: ModelState, batch: Batch) -> None:
        terms = Terms()
        rows = pending_rows(key, state.settings, batch, state.told_apart, terms)
        if rows is not None:
            with self._lock:
                self._pending.append(rows)
                self._terms |= terms.texts
                self.size_bytes += PENDING_BYTES * len(rows)


def _serialised(profiles: Sequence[Profile]) -> list[bytes]:
    return [profile.to_bytes() for profile in profiles]


def _by_pointer(
    state: ModelState, index: NDArray[np.int64]
) -> list[tuple[Pointer | None, NDArray[np.intp] | None]]:
    """Split rows by the reference that their slice is counted on; None for all rows."""
    first, last = state.pointer_at(int(index.min())), state.pointer_at(int(index.max()))
    if first is last:
        return [(first, None)]
    of_slice = {int(s): state.pointer_at(int(s)) for s in np.unique(index)}
    parts: dict[str, tuple[Pointer | None, list[int]]] = {}
    for slice_ms, pointer in of_slice.items():
        parts.setdefault(pointer.hash if pointer else "", (pointer, []))[1].append(slice_ms)
    return [(pointer, np.flatnonzero(np.isin(index, slices))) for pointer, slices in parts.values()]
