"""Every format of stored state that is not in `tests.golden`: an example, and how it is read.

``python -m tests.upgrades.formats`` writes the files of formats that are new. A file that is there is never
written anew: it is what an older version has left in somebody's database. If a format changes, give the new
form a name of its own here and keep reading the old one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alerting import codec, payload, record
from alerting.digest import Digest, DigestNotice
from alerting.finding import Severity
from alerting.held import HeldIncident, HeldNotice
from alerting.retraining.request import RetrainingRequest
from detectors import outcomes
from detectors.base import Detector, Example, Moment, Step
from detectors.catalog import build, detectors
from detectors.comparison import PairedSums
from detectors.conformal import Bands, Estimate
from detectors.events import EventBudget, judge_events
from detectors.fairness_parts import FairnessRule
from detectors.joint import judge_window, lanes_of
from detectors.outcome_reference import OutcomeReference
from detectors.outcome_windows import judge_outcomes, outcome_lanes
from detectors.outcomes import Predictions
from detectors.profile import profile_batch
from detectors.quality.facts import Facts
from monitor.labels.packing import packed, packed_labels, unpacked, unpacked_labels
from monitor.labels.pairing import LabelRows
from monitor.retraining.proposals import read_request, write_request
from monitor.seen import Seen
from schemas.batch import Batch
from tests.alerting.factory import notices, play, window
from tests.detectors.outcome_rows import NEGATIVE, POSITIVE, of_classes
from tests.detectors.test_relations import MINUTE, learned, rows_of
from tests.golden.test_bytes import SLICE_MS, arrived, with_quality

FOLDER = Path(__file__).with_name("golden")
MEANINGS = FOLDER / "meanings.json"
AT = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_MS = 86_400_000
RULES = (FairnessRule("sex", {"demographic_parity": 0.1, "calibration": 0.1}, 10),)


@dataclass(frozen=True)
class Format:
    """One form of stored bytes.

    Parameters
    ----------
    write : callable
        Makes the same example in every version.
    read : callable
        Reads it, and says in plain values what it means.
    """

    write: Callable[[], bytes]
    read: Callable[[bytes], Any]


def formats() -> dict[str, Format]:
    """All of them, by the name of the file."""
    every = {
        "alert": Format(
            lambda: codec.to_bytes(_alert()), lambda data: codec.document(codec.from_bytes(data))
        ),
        "incident": Format(lambda: record.to_bytes(_record()), lambda data: asdict(record.from_bytes(data))),
        "notice": Format(lambda: payload.encode(notices(window(0, ["age"]))[0]).encode(), _payload),
        "held": Format(lambda: payload.encode(_held()).encode(), _payload),
        "digest": Format(lambda: payload.encode(_digest()).encode(), _payload),
        "retraining": Format(
            lambda: write_request(_request()).encode(), lambda data: asdict(read_request(data.decode()))
        ),
        "comparison": Format(lambda: _sums().to_bytes(), lambda data: _fields(PairedSums.from_bytes(data))),
        "bands": Format(lambda: _bands().to_bytes(), lambda data: _plain(vars(Bands.from_bytes(data)))),
        "outcomes": Format(
            lambda: _outcomes(1)[::20].tobytes(), lambda data: outcomes.joined([data]).tolist()
        ),
        "outcome-reference": Format(
            lambda: _outcome_reference().to_bytes(), lambda data: _meaning(OutcomeReference.from_bytes(data))
        ),
        "prediction": Format(lambda: packed(_predictions()).tobytes(), _read_predictions),
        "label": Format(lambda: packed_labels(_labels()).tobytes(), _read_labels),
        "seen": Format(_seen, _read_seen),
        "judged-events": Format(
            lambda: _judged_events(b"").state, lambda data: _verdicts(_judged_events(data).verdicts)
        ),
        "judged-together": Format(
            lambda: _judged_together(b"").state, lambda data: _verdicts(_judged_together(data).verdicts)
        ),
        "judged-outcomes": Format(
            lambda: _judged_outcomes(b"").state, lambda data: _verdicts(_judged_outcomes(data).verdicts)
        ),
    }
    for name in sorted(detectors()):
        if _state(name):
            every[name] = Format(partial(_state, name), partial(next_verdicts, name))
    return every


def next_verdicts(detector: str, state: bytes) -> list[Any]:
    """What a detector says of the window after those of its example, going on from stored state."""
    made, example = _built(detector)
    step = made.step(example.reference, example.shifted[2], state, _moment(example, 4))
    return _verdicts(step.verdicts)


def _built(name: str) -> tuple[Detector, Example]:
    example = detectors()[name].examples()[0]
    return build(name, example.parameters), example


def _state(name: str) -> bytes:
    made, example = _built(name)
    state = b""
    for number, counts in enumerate([*example.null[:2], *example.shifted[:2]]):
        state = made.step(example.reference, counts, state, _moment(example, number)).state
    return state


def _moment(example: Example, number: int) -> Moment:
    reference = example.reference
    start_ms = int(reference.starts_ms[-1]) + (number + 1) * reference.window_ms
    return Moment(start_ms, start_ms + reference.window_ms, np.full(reference.counts.shape[:2], 1e-4))


def _verdicts(verdicts: list[Any]) -> list[Any]:
    return [(v.segment, v.column, v.decision.value, v.n, v.statistic, v.evidence_log) for v in verdicts]


def _judged_events(state: bytes) -> Step:
    """Two windows of events: of a stream of its own, and of the state that the first one leaves."""
    reference, detector = with_quality(), build("edetector", {})
    profile = profile_batch(arrived(), SLICE_MS, reference.binning, reference.hash, sample_rows=40)[SLICE_MS]
    start_ms = SLICE_MS * (3 if state else 2)
    budget = np.full((len(reference.tensor.segments), len(lanes_of(reference, detector))), 1e-4)
    return judge_events(
        detector, reference, Facts.of(profile), profile.sample, state,
        start_ms=start_ms, end_ms=start_ms + SLICE_MS, budget=EventBudget(budget, 1e-4),
    )  # fmt: skip


def _judged_together(state: bytes) -> Step:
    """Two windows of rows of which two columns go together, then less so: alarms of columns and of pairs."""

    def rows(seed: int, n: int, minutes: int, less: float = 0.0) -> Batch:
        first, second, third = np.random.default_rng(seed).normal(size=(3, n))
        columns = {"a": first, "b": first + (0.5 + less) * second, "c": third}
        return rows_of(columns, seed, minutes=minutes)

    reference, detector = learned(rows(1, 6_000, 20)), build("edetector", {})
    window = rows(3 if state else 2, 600, 1, less=1.0)
    profile = profile_batch(window, MINUTE, reference.binning, reference.hash, sample_rows=600)[0]
    streams = len(reference.tensor.segments), len(lanes_of(reference, detector))
    start_ms = MINUTE * (22 if state else 20)
    moment = Moment(start_ms, start_ms + 2 * MINUTE, np.full(streams, 1e-4))
    return judge_window(detector, reference, profile.counts, profile.sample, state, moment)


def _judged_outcomes(state: bytes) -> Step:
    reference, detector = _outcome_reference(), build("edetector", {})
    streams = len(reference.tensor.segments), len(outcome_lanes(detector, reference, RULES))
    start_ms = DAY_MS * (5 if state else 4)
    moment = Moment(start_ms, start_ms + DAY_MS, np.full(streams, 1e-4))
    return judge_outcomes(detector, reference, _outcomes(9), state, moment, fairness=RULES)


def _alert() -> Any:
    return play(window(0, ["age", "score"]), window(1, ["age"]), window(2))[0]


def _record() -> record.Record:
    return record.Record(
        "i" * 32, 3, {"slack": 2}, 5, 6, ("pager",), "silenced by ann", 7, record.HeldBy.SILENCE, {"mail": 8}
    )


def _held() -> HeldNotice:
    return HeldNotice(
        "h", (HeldIncident("i", "churn", "1", Severity.PAGE, "firing", "é"),), 2, "20 per hour", AT
    )


def _digest() -> DigestNotice:
    return DigestNotice("d", Digest(AT, AT, True, 0.1, 12, (), 0), AT)


def _request() -> RetrainingRequest:
    return RetrainingRequest(
        "a" * 32, "churn", "1", "age drifted", Severity.PAGE, AT, AT + DAY, AT, columns=("age",)
    )


def _sums() -> PairedSums:
    rows = np.arange(1.0, 9.0)
    return PairedSums(reach=1.0, slice_rows=8.0).added(rows, np.sin(rows))


def _bands() -> Bands:
    bands = Bands.start(np.arange(1.0, 21.0) / 10)
    return bands.updated(Estimate.of(0.8, 0.01, 100.0, 0.9), 0.7)


def _outcomes(seed: int) -> outcomes.Records:
    i = np.arange(400)
    label = (i * 7 + seed) % 10 < 4
    found = of_classes(label ^ (i % 11 == seed), label, (i * 37 % 97) / 97, segments=(1 + i % 2)[:, None])
    return outcomes.joined([found.predicted.tobytes(), found.labelled.tobytes()])


def _outcome_reference() -> OutcomeReference:
    windows = {i * DAY_MS: _outcomes(i) for i in range(4)}
    names = {NEGATIVE: "no", POSITIVE: "yes", 1: "sex=f", 2: "sex=m"}
    return OutcomeReference.build(
        windows, names, from_ms=0, to_ms=4 * DAY_MS, window_ms=DAY_MS, age=8, positive=[POSITIVE]
    )


def _meaning(reference: OutcomeReference) -> Any:
    counts = reference.tensor.counts
    return (
        reference.hash,
        reference.labels,
        dict(reference.classes),
        counts.shape,
        counts.sum(axis=-1).tolist(),
    )


def _predictions() -> Predictions:
    i = np.arange(3)
    return Predictions(
        i + 5, i.astype(np.uint64) + np.uint64(2**63), i / 3, i / 4,
        np.full((3, 2), 9, np.uint64), np.full((3, 1), 11, np.uint64), np.full((3, 1), 0.5),
    )  # fmt: skip


def _read_predictions(data: bytes) -> Any:
    rows = unpacked(np.frombuffer(data, np.uint8).reshape(3, -1))
    return {field.name: getattr(rows, field.name).tolist() for field in fields(rows)}


def _labels() -> LabelRows:
    i = np.arange(3)
    return LabelRows(
        key=i, label_ms=i + 10, first_ms=i + 5, label=i.astype(np.uint64), value=i / 8, place=i, model=i + 1,
        horizon_ms=i + 100, is_sampled=np.ones(3, bool), status=i * 0,
    )  # fmt: skip


def _read_labels(data: bytes) -> Any:
    i = np.arange(3)
    rows = unpacked_labels(np.frombuffer(data, np.uint8).reshape(3, -1), i, i * 2 + 111, i * 0)
    return {field.name: getattr(rows, field.name).tolist() for field in fields(rows)}


def _seen() -> bytes:
    seen = Seen(600_000)
    seen.check(np.arange(5, dtype=np.uint64), np.arange(5) * 60_000)
    return b"".join(data for _, data in seen.take_new())


def _read_seen(data: bytes) -> Any:
    seen = Seen(600_000)
    seen.restore([(4 * 60_000, data)])
    return seen.check(np.arange(3, 7, dtype=np.uint64), np.full(4, 300_000)).tolist()


def _payload(data: bytes) -> Any:
    return msgspec.to_builtins(payload.decode(data.decode()))


def _fields(state: PairedSums) -> Any:
    return {name: _plain(getattr(state, name)) for name in state.__struct_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def meaning(value: Any) -> Any:
    """What JSON makes of it, numbers to six digits."""
    if isinstance(value, dict):
        return {str(key): meaning(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [meaning(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if isfinite(value) else str(value)
    return value if isinstance(value, int | bool | None) else str(value)


def write_new() -> None:
    """Write the files of formats that have none, and what they mean."""
    meanings = json.loads(MEANINGS.read_text()) if MEANINGS.exists() else {}
    for name, one in formats().items():
        file = FOLDER / f"{name}.bin"
        if not file.exists():
            file.write_bytes(one.write())
            meanings[name] = meaning(one.read(file.read_bytes()))
    MEANINGS.write_text(json.dumps(meanings, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_new()
