"""Turns decoded events into partial profiles, in worker threads, until a commit collects them.

Arrow and numpy release the interpreter's lock, so two threads profile nearly twice as fast as one. Each
thread adds to profiles of its own; a commit writes all of them, and addition happens when they are read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.binning import Binning
from detectors.prepared import Prepared
from detectors.profile import Profile
from monitor import interpreter
from monitor.config.settings import ModelSettings
from monitor.decode.batch import Events, Outputs, make_batch
from monitor.decode.columns import Columns
from monitor.decode.features import FeatureDecoder
from monitor.enforcement import Enforced, Strains, enforce, merged
from monitor.labels.pairing import PredictionRows
from monitor.labels.pending import Segments, Terms, pending_rows
from schemas.batch import Batch
from schemas.column import ColumnSpec, Kind, Source
from schemas.contract import COUNT_BYTES

TOGETHER = 16  # profiles that a worker serialises at a time
WAITING_TASKS = 8  # for each worker: those of many small models come in bursts
SUMMARY_BYTES = 4_000
CELL_BYTES = 24
UNIQUE_BYTES = 50_000
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
        self.contract = settings.build_contract()
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


@dataclass(frozen=True)
class Refused:
    """One event that only its worker could tell must not be counted.

    Parameters
    ----------
    slot, offset : int
        Where its message was.
    value : bytes
    raw : object
        The message as the source has it.
    stamp_ms : int
        Time of the record.
    kind, reason : str
        Of the dead letter.
    """

    slot: int
    offset: int
    value: bytes
    raw: Any
    stamp_ms: int
    kind: str
    reason: str


@dataclass
class Collected:
    """What the workers made since the last collection.

    Parameters
    ----------
    profiles : list of (key, Profile)
        Model, version and start of the slice; a key may come more than once.
    data : list of bytes
        The profiles, serialised.
    refused : list of Refused
        Events whose features cannot be read, or that break the contract.
    pending : list of PredictionRows
        Predictions that wait for their labels.
    terms : dict of int to str
        What hashes in them stand for.
    strains : dict
        How much partitions strain the rules that can stop them.
    """

    profiles: list[tuple[SliceKey, Profile]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    pending: list[PredictionRows] = field(default_factory=list)
    terms: dict[int, str] = field(default_factory=dict)
    strains: Strains = field(default_factory=dict)


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
        self._strains: Strains = {}
        self._pool = ThreadPoolExecutor(workers, "profile")
        self._room = threading.Semaphore(workers * WAITING_TASKS)
        self._futures: list[Future[list[Refused]]] = []
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
            collected.strains = self._strains
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
        self._pending, self._terms, self._strains = [], {}, {}
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

    def _profile_all(self, work: Sequence[Work], generation: int) -> list[Refused]:
        refused: list[Refused] = []
        for key, state, events in work:
            refused += self._profile(key, state, events, generation)
        return refused

    def _profile(self, key: Key, state: ModelState, events: Events, generation: int) -> list[Refused]:
        self._repeat(key, state, events, generation)
        if not len(events):
            return []
        features, rows, problems = state.decoder.decode(events.features)
        refused = _refused(events, problems, "undecodable")
        if not len(rows):
            return refused
        batch = make_batch(events, rows, features, state.widen(events), state.settings.segments)
        share = self._share(generation)
        if state.contract.acting is not None:
            enforced = enforce(state.contract, key[0], batch, events.places)
            faults = [(int(rows[row]), reason) for row, reason in sorted(enforced.reasons.items())]
            refused += _refused(events, faults, "contract")
            if not events.is_replay:  # what was said of them when they came
                self._note(key, state, batch, enforced, share)
            batch = batch if enforced.kept is None else batch.take(enforced.kept)
            if not len(batch):
                return refused
        self._add(key, state, batch, share)
        return refused

    def _repeat(self, key: Key, state: ModelState, events: Events, generation: int) -> None:
        """Count events that came once more in the slices of their times."""
        if not events.repeated_ms:
            return
        share, slice_ms = self._share(generation), state.settings.slice_ms
        index = np.concatenate(events.repeated_ms) // slice_ms * slice_ms
        starts, numbers = np.unique(index, return_counts=True)
        for start, number in zip(starts.tolist(), numbers.tolist(), strict=True):
            self._profile_of(key, state, start, state.pointer_at(start), share).arrivals.repeat(number)

    def _note(
        self, key: Key, state: ModelState, batch: Batch, enforced: Enforced, share: dict[SliceKey, Profile]
    ) -> None:
        """Note which rules rows break that are kept out, in their slices, and what strains partitions."""
        with self._lock:
            merged(self._strains, enforced.strains)
        index = batch.event_ms // state.settings.slice_ms * state.settings.slice_ms
        for rule, rows in enforced.broken:
            for slice_ms in np.unique(index[rows]).tolist():
                mine = rows[index[rows] == slice_ms]
                pointer = state.pointer_at(slice_ms)
                profile = self._profile_of(key, state, slice_ms, pointer, share)
                profile.add_kept_out(batch, mine, rule, state.contract)

    def _profile_of(
        self,
        key: Key,
        state: ModelState,
        slice_ms: int,
        pointer: Pointer | None,
        share: dict[SliceKey, Profile],
    ) -> Profile:
        slice_key = (*key, slice_ms)
        profile = share.get(slice_key)
        if profile is None:
            binning, hash_ = (pointer.binning, pointer.hash) if pointer else (None, "")
            profile = share[slice_key] = Profile(binning, hash_, state.settings.slice_sample_rows)
        return profile

    def _add(self, key: Key, state: ModelState, batch: Batch, share: dict[SliceKey, Profile]) -> None:
        """Count the rows of a batch in the slices of their times."""
        if self._keeps_pending:
            self._keep_pending(key, state, batch)
        slice_ms = state.settings.slice_ms
        index = batch.event_ms // slice_ms * slice_ms
        for pointer, picked in _by_pointer(state, index):
            binning = pointer.binning if pointer else None
            part = batch if picked is None else batch.take(picked)
            prepared = Prepared(part, binning, slice_ms, state.contract)
            for section in prepared.sections:
                is_new = (*key, section.slice_ms) not in share
                profile = self._profile_of(key, state, section.slice_ms, pointer, share)
                if is_new:
                    self.size_bytes += profile.counts.nbytes + SUMMARY_BYTES * len(batch.columns)
                    self.size_bytes += 8 * profile.sample.most * len(batch.columns)
                    self.size_bytes += COUNT_BYTES * len(prepared.violations)
                    self.size_bytes += 8 * len(prepared.violations) * len(profile.groups)
                    self.size_bytes += UNIQUE_BYTES * len(prepared.unique)
                profile.add(prepared, section)
            if binning is None:
                self.size_bytes += CELL_BYTES * len(batch) * len(batch.columns)

    def _keep_pending(self, key: Key, state: ModelState, batch: Batch) -> None:
        terms = Terms()
        rows = pending_rows(key, state.settings, batch, state.told_apart, terms)
        if rows is not None:
            with self._lock:
                self._pending.append(rows)
                self._terms |= terms.texts
                self.size_bytes += PENDING_BYTES * len(rows)


def _refused(events: Events, problems: Sequence[tuple[int, str]], kind: str) -> list[Refused]:
    """Events that go to the dead letters, by their places among the events, and why."""
    if not problems:
        return []
    at = [row for row, _ in problems]
    slot, offset, stamp, message = (
        np.concatenate(column)[at].tolist()
        for column in (events.partition, events.offset, events.stamp_ms, events.message)
    )
    return [
        Refused(slot[i], offset[i], events.value[message[i]], events.raw[message[i]], stamp[i], kind, reason)
        for i, (_, reason) in enumerate(problems)
    ]


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
