"""What was taken in since the last commit, and how one transaction is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.dead_letters.replay import Replay
from monitor.intake import Intake
from monitor.labels.labelling import model_id, place_id
from monitor.pairs.taking import Pairs
from monitor.partitions import EventTimes, Partition, owned_delta
from monitor.profiling import Collected, Profiler, Refused
from monitor.registry import Registry
from monitor.source.source import Source
from monitor.store.committing import Commit, PartitionDelta, SliceDelta
from monitor.store.joining import JoinedVersions, JoinWork
from monitor.store.positions import Place


class Batch:
    """Events on their way into one commit: fetched, replayed from dead letters, or paired at last.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    source : Source
    clock : Clock
    registry : Registry
    owned : dict
        Partitions that this process owns; shared with the loop, which changes it.
    times : EventTimes
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        source: Source,
        clock: Clock,
        registry: Registry,
        owned: dict[Place, Partition],
        times: EventTimes,
    ) -> None:
        self._configuration, self._clock, self._registry = configuration, clock, registry
        self._owned, self._times = owned, times
        has_labels = any(stream.kind == "labels" for stream in configuration.streams)
        self.profiler = profiler = Profiler(configuration.ingest.workers, keeps_pending=has_labels)
        self._versions = JoinedVersions(configuration.for_model)
        self.intake = Intake(configuration, source, clock, registry, profiler, owned, times)
        self.replay = Replay(configuration, engine, clock, registry, profiler, owned, times)
        self.pairs = Pairs(configuration, engine, clock, registry, profiler, owned, times)

    @property
    def is_full(self) -> bool:
        """Whether it should be committed before its time."""
        limits = self._configuration.ingest
        return (
            self.intake.events >= limits.commit_events
            or self.profiler.size_bytes + self.intake.held_bytes >= limits.memory_mib << 20
            or self.replay.has_more
            or self.pairs.has_more
        )

    def take_waiting(self) -> None:
        """Take in what waits in the database, at the beginning of a batch."""
        self.replay.take()
        self.pairs.take()

    def begin_anew(self) -> None:
        """Begin the next one: this one is committed."""
        self.intake.begin_anew()
        self.replay.begin_anew()
        self.pairs.begin_anew()

    def drop(self) -> None:
        """Forget everything; it is read again."""
        self.profiler.drop()
        self.intake.drop()
        self.replay.drop()
        self.pairs.drop()

    def close(self) -> None:
        """End the workers."""
        self.profiler.close()

    def collect(self) -> Collected:
        """Wait for what the workers make."""
        self.intake.submit_all()
        self.replay.intake.submit_all()
        self.pairs.intake.submit_all()
        return self.profiler.collect()

    def gather(self, collected: Collected) -> tuple[Commit, dict[str, int]]:
        """Put the transaction together; with the newest event time of each model in it."""
        self._bury_refused(collected)
        slices = [
            SliceDelta(model, version, slice_ms, profile.reference_hash, profile.rows, data)
            for ((model, version, slice_ms), profile), data in zip(
                collected.profiles, collected.data, strict=True
            )
        ]
        now_ms = self._clock.now_ms()
        deltas = owned_delta(self._owned, self._times, now_ms)
        work = Commit(
            partitions=deltas,
            slices=slices,
            windows=self._windows([(s.model, s.version, s.slice_ms) for s in slices]),
            dead_letters=list(self.intake.dead_letters),
            replayed=list(self.replay.settled),
            halves=self.pairs.gather(self.replay.intake.halves, self.intake.halves),
            references_seen=self._registry.references_seen,
            joining=self._joining(collected),
            outcome_windows=self._outcome_windows,
            **self._registry.news(collected.profiles, self._roles(), now_ms),
        )
        return work, _newest(deltas)

    def _roles(self) -> dict[tuple[str, str], str]:
        """Latest role of each model version."""
        return self.replay.intake.roles | self.pairs.intake.roles | self.intake.roles

    def _bury_refused(self, collected: Collected) -> None:
        """Keep messages with an event that only its worker could tell must not be counted."""
        by_slot = {p.slot: p for p in self._owned.values()}
        messages: dict[tuple[int, int], list[Refused]] = {}
        for event in sorted(collected.refused, key=lambda one: (one.slot, one.offset)):
            partition = by_slot.get(event.slot)
            if partition is not None and not self._is_noted(partition.claim.place, event):
                messages.setdefault((event.slot, event.offset), []).append(event)
        for (slot, offset), events in messages.items():
            partition, first = by_slot[slot], events[0]
            partition.outcomes["counted"] -= len(events)
            self.intake.bury(
                partition.claim.place, first.kind, first.reason, offset, first.value, first.raw,
                first.stamp_ms, events=len(events), is_remembered=True,
            )  # fmt: skip

    def _is_noted(self, place: Place, event: Refused) -> bool:
        """Whether it is one that was not fetched, but taken in otherwise, which is noted there."""
        return self.replay.refused(place, event) or self.pairs.refused(place, event)

    def _joining(self, collected: Collected) -> JoinWork | None:
        """Put together what has to be paired."""
        labels = [*self.replay.intake.labels, *self.intake.labels]
        if not collected.pending and not labels:
            return None
        models = self.replay.intake.label_models | self.intake.label_models
        for (model, version, _), _profile in collected.profiles:
            self._versions.add(model, version)
            models[model_id(model)] = model
        return JoinWork(
            versions=self._versions,
            predictions=collected.pending,
            labels=labels,
            places={place_id(p.topic, p.partition): (p.topic, p.partition) for p in self._owned},
            terms=collected.terms | self.replay.intake.terms.texts | self.intake.terms.texts,
            models=models,
        )

    def _windows(self, slices: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
        """Windows that the slices belong to."""
        touched: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        for model, version, slice_ms in set(slices):
            for spec in self._configuration.for_model(model).windows:
                for start in spec.starts_covering(slice_ms):
                    touched[model, version, str(spec), start] = {
                        "model": model, "version": version, "window": str(spec), "start_ms": start,
                        "end_ms": start + spec.length_ms, "touched": 1, "judged": 0, "revision": 0,
                    }  # fmt: skip
        return [touched[key] for key in sorted(touched)]

    def _outcome_windows(self, slices: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
        """Windows whose outcomes are judged, of the slices."""
        touched: dict[tuple[str, str, int], dict[str, Any]] = {}
        for model, version, slice_ms in set(slices):
            spec = self._configuration.for_model(model).windows[0]
            for start in spec.starts_covering(slice_ms):
                touched[model, version, start] = {
                    "model": model, "version": version, "window": str(spec), "start_ms": start,
                    "end_ms": start + spec.length_ms, "touched": 1, "judged": 0, "estimated": 0,
                    "revision": 0, "digest": None,
                }  # fmt: skip
        return [touched[key] for key in sorted(touched)]


def _newest(deltas: list[PartitionDelta]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for delta in deltas:
        for model, (event_ms, _) in delta.models.items():
            newest[model] = max(newest.get(model, 0), event_ms)
    return newest
