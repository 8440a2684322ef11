"""A world with labels: what must come of pairing them, computed from the produced messages alone.

Three models share their event ids: one of two classes, one of several classes with a score each, and one of
numbers. Predictions come in two versions; labels come in two topics, before or after their predictions,
twice, corrected, out of order, without a prediction, or after the horizon. The oracle is plain Python.
"""

from __future__ import annotations

import json
import math
import struct
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Engine, select

from detectors.hashing import hash_numbers, hash_strings
from detectors.outcomes import Family, class_hash, joined, score_edges
from monitor.config import Configuration
from monitor.labels.labelling import model_id, place_id
from monitor.labels.packing import labels_in, unpacked
from monitor.labels.pairing import FATES, Status
from monitor.labels.pending import hashes_of, keys_of, version_id
from monitor.store.engine import reading
from monitor.store.positions import Place, accounting
from monitor.store.tables import (
    joined_version,
    label_account,
    outcome_commit,
    outcome_slice,
    outcome_window,
    pending,
    term,
    truth,
)
from tests.recovery.world import CARRIERS, HORIZON_MS, MINUTE_MS, NOW_MS, Oracle, World

LABEL_HORIZON_MS = 30 * MINUTE_MS
YEAR_MS = 365 * 24 * 60 * MINUTE_MS
FLIGHTS, TRUTH, CORRECTIONS = "flights", "truth", "corrections"
BINARY, CLASSES, NUMBERS = "flight-delay", "fares", "minutes"
MODELS = (BINARY, CLASSES, NUMBERS)
FARES = ("low", "mid", "high")
AGES_MS = [
    minutes * MINUTE_MS
    for minutes in (
        1, 5, 15, 60, 180, 360, 720, 1440, 2880, 4320, 7200, 10080, 20160, 30240, 43200, 86400, 129600,
    )
]  # fmt: skip
UNIT = 2.0**32
MANTISSA = 2.0**31


class Record(NamedTuple):
    """What a stored record counts, with names instead of hashes."""

    model: str
    version: str
    slice_ms: int
    segment: str
    family: int
    a: str | int
    b: str | int
    cell: int
    age: int


class Sums(NamedTuple):
    """Numbers of a record."""

    n: int
    s1: int = 0
    s2: int = 0


Key = tuple[str, str]  # model and event id


@dataclass
class Joined:
    """What pairing must end in."""

    predictions: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    labels: dict[Key, list[tuple[Place, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(list))
    in_force: dict[Key, dict[str, Any]] = field(default_factory=dict)
    earliest: dict[Key, int] = field(default_factory=dict)
    status: dict[Key, Status] = field(default_factory=dict)
    records: dict[Record, Sums] = field(default_factory=dict)

    def versions_of(self, key: Key) -> list[dict[str, Any]]:
        """Predictions that share a key."""
        return [e for (model, id_, _), e in self.predictions.items() if (model, id_) == key]


def configuration() -> Configuration:
    """Predictions in one topic, labels in two."""
    kinds = {FLIGHTS: "predictions", TRUTH: "labels", CORRECTIONS: "labels"}
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": "sqlite:///unused.db",
            "streams": [{"topic": topic, "kind": kind} for topic, kind in kinds.items()],
            "defaults": {
                "horizon": "20m", "windows": ["5m", "1h"], "segments": ["carrier"],
                "labels": {"horizon": "30m", "sample_per_s": 1_000_000},
            },
            "models": {NUMBERS: {"task": "regression"}},
            "ingest": {"workers": 1, "batch": 40},
        }
    )  # fmt: skip


class LabelWorld(World):
    """Broker, database and members, with labels.

    Parameters
    ----------
    engine : Engine
        An empty, migrated database.
    seed : int
    roams : bool
        Whether labels of the same event may come in any partition. Then which of them counts as the first
        depends on who commits first, and only sums over the partitions can be foretold.
    """

    def __init__(self, engine: Engine, seed: int, *, roams: bool = False) -> None:
        super().__init__(engine, seed, partitions=3, topics=(FLIGHTS, TRUTH, CORRECTIONS))
        self.configuration = configuration()
        self._roams = roams
        self._backlog: list[tuple[Place, bytes]] = []

    # --- producing -----------------------------------------------------------------------------------------

    def places(self, *topics: str) -> list[Place]:
        """Partitions of topics."""
        return [place for place in self.produced if place.topic in topics]

    def produce(self, number: int, place: Place | None = None) -> None:
        """Append messages, of several events at a time in any order."""
        assert place is None
        for _ in range(number):
            while len(self._backlog) < 60:
                self._backlog += self._event()
            self._stamp_ms += self.random.randrange(0, 2_000)
            at, value = self._backlog.pop(self.random.randrange(len(self._backlog)))
            self._append(at, value)

    def produce_all(self) -> None:
        """Append everything that belongs to events which have begun."""
        self.random.shuffle(self._backlog)
        while self._backlog:
            self._append(*self._backlog.pop())

    def append(self, place: Place, event: dict[str, Any]) -> None:
        """Append one event."""
        self._append(place, json.dumps(event).encode())

    def _event(self) -> list[tuple[Place, bytes]]:
        """Messages about one event: predictions and labels of some models, in no order."""
        rng = self.random
        if rng.random() < 0.03:
            wrong = [b"", b"no json", b'{"event_id": 3}', b'{"event_id":"x","model":"fares","label":null}']
            return [(rng.choice(list(self.produced)), rng.choice(wrong))]
        self._serial += 1
        id_, at_ms = f"e{self._serial}", self._stamp_ms - rng.randrange(0, 2 * MINUTE_MS)
        found: list[tuple[Place, bytes]] = []
        for model in rng.sample(MODELS, rng.choice([1, 1, 2, 3])):
            shift_ms = rng.choice([-5 * HORIZON_MS, -HORIZON_MS, YEAR_MS]) if rng.random() < 0.05 else 0
            if rng.random() < 0.92:  # otherwise its labels are orphans
                found += self._predictions(model, id_, at_ms + shift_ms)
            found += self._labels(model, id_, at_ms + shift_ms)
        return found

    def _predictions(self, model: str, id_: str, at_ms: int) -> list[tuple[Place, bytes]]:
        rng = self.random
        found = []
        for version in rng.choice([["1"], ["1"], ["2"], ["1", "2"], ["1", "2"]]):
            event = {
                "event_id": id_,
                "model": model,
                "version": version,
                "role": "champion" if version == "1" else "challenger",
                "timestamp": at_ms + (rng.randrange(0, MINUTE_MS) if version == "2" else 0),
                "features": {"distance": rng.randrange(0, 300), "carrier": rng.choice(CARRIERS)},
                **self._outputs(model),
            }
            value = json.dumps(event).encode()
            place = rng.choice(self.places(FLIGHTS))
            found.append((place, value))
            if rng.random() < 0.1:  # sent twice, maybe by another producer
                found.append((rng.choice([place, place, rng.choice(self.places(FLIGHTS))]), value))
        return found

    def _outputs(self, model: str) -> dict[str, Any]:
        rng = self.random
        if model == NUMBERS:
            return {"prediction": rng.randrange(-400, 4_000) / 16}
        if model == BINARY:
            outputs: dict[str, Any] = {"prediction": rng.choice([0, 1, 1, 0, True, False])}
            if rng.random() < 0.9:
                outputs["score"] = rng.choice([0, 1, 2, 31, 32, 33, 63, 64, 96, *range(5, 60)]) / 64
            return outputs
        outputs = {"prediction": rng.choice(FARES)}
        if rng.random() < 0.8:
            outputs["scores"] = {name: rng.randrange(0, 65) / 64 for name in rng.sample(FARES, 3)}
            if rng.random() < 0.2:
                del outputs["scores"][rng.choice(FARES)]
        return outputs

    def _label(self, model: str) -> Any:
        rng = self.random
        if model == NUMBERS:
            return rng.choice([rng.randrange(-50, 300), rng.randrange(-50, 3_000) / 8, "cancelled", 0])
        if model == BINARY:
            return rng.choice([0, 1, True, False, "1", "0", 1.0])
        return rng.choice([*FARES, *FARES, "free"])

    def _labels(self, model: str, id_: str, at_ms: int) -> list[tuple[Place, bytes]]:
        """Labels in the order of their making; the order of arrival is another matter."""
        rng = self.random
        if rng.random() < 0.15:
            return []
        home = rng.choice(self.places(TRUTH, CORRECTIONS))
        delays = rng.sample(
            [-90, 0, 30, 60, 61, 200, 300, 600, 900, 1_200, 1_700], rng.choice([1, 1, 1, 2, 3])
        )
        if rng.random() < 0.05:
            delays = [32 * 60 + rng.randrange(1_000)]  # after the horizon of either version
        found = []
        for delay_s in delays:
            label_ms = at_ms + delay_s * 1_000
            if rng.random() < 0.02:
                label_ms += YEAR_MS
            event = {"event_id": id_, "model": model, "timestamp": label_ms, "label": self._label(model)}
            for _ in range(2 if rng.random() < 0.15 else 1):
                place = rng.choice(self.places(TRUTH, CORRECTIONS)) if self._roams else home
                found.append((place, json.dumps(event).encode()))
        return found

    # --- what must come of it ------------------------------------------------------------------------------

    def oracle(self) -> Oracle:
        """Work through the messages of each partition, one by one."""
        every = self.produced
        self.produced = {place: every[place] for place in self.places(FLIGHTS)}
        try:
            oracle = super().oracle()
        finally:
            self.produced = every
        for place in self.places(TRUTH, CORRECTIONS):
            for offset, (value, _) in enumerate(every[place]):
                event = _read(value, "label")
                fate = "dead_lettered" if event is None else "future" if _is_future(event) else "counted"
                oracle.outcomes[place].update(("fetched", fate))
                if fate != "counted":
                    oracle.dead.add((place.topic, place.partition, offset))
        return oracle

    def joined(self) -> Joined:
        """Pair everything that counts."""
        found = Joined()
        for place in self.places(FLIGHTS):
            newest: dict[str, int] = {}
            for value, _ in self.produced[place]:
                event = _read(value, "prediction")
                if event is None or _is_future(event):
                    continue
                model, at_ms = event["model"], event["timestamp"]
                late = at_ms < newest.get(model, -1) - HORIZON_MS
                newest[model] = max(newest.get(model, -1), at_ms)
                if not late:  # duplicates are equal, and change nothing
                    found.predictions[model, event["event_id"], event["version"]] = event
        for place in self.places(TRUTH, CORRECTIONS):
            for value, _ in self.produced[place]:
                event = _read(value, "label")
                if event is not None and not _is_future(event):
                    found.labels[event["model"], event["event_id"]].append((place, event))
        by_key: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        for (model, id_, _), event in found.predictions.items():
            by_key[model, id_].append(event)
        for key, labels in found.labels.items():
            latest = max((event for _, event in labels), key=lambda e: int(e["timestamp"]))
            found.in_force[key] = latest
            first = min(int(event["timestamp"]) for _, event in labels)
            found.earliest[key] = first
            within = [first <= e["timestamp"] + LABEL_HORIZON_MS for e in by_key[key]]
            found.status[key] = (
                Status.MATCHED if any(within) else Status.EXPIRED if within else Status.WAITING
            )
        sums: dict[Record, list[int]] = defaultdict(lambda: [0, 0, 0])
        for (model, id_, _), event in found.predictions.items():
            for record, numbers in records_of(
                event, found.in_force.get((model, id_)), found.earliest.get((model, id_), 0)
            ):
                for at, number in enumerate(numbers):
                    sums[record][at] += number
        found.records = {record: Sums(*numbers) for record, numbers in sums.items()}
        return found

    # --- what came of it -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Compare every number in the database with the oracle."""
        super().check()
        wanted = self.joined()
        with reading(self.engine) as connection:
            assert stored_records(connection) == wanted.records
            check_pending(connection, wanted)
            check_truth(connection, wanted, roams=self._roams)
            check_windows(connection, wanted)
            check_commits(connection)
            self._check_accounts(connection, wanted)
            versions = {(r.model, r.version): r for r in connection.execute(select(joined_version))}
        assert set(versions) == {(model, version) for model, _, version in wanted.predictions}
        for (model, version), row in versions.items():
            assert (row.id, row.model_id) == (id_of_version(model, version), model_id(model))
            assert (row.slice_ms, row.positive) == (MINUTE_MS, "1")

    def _check_accounts(self, connection: Connection, wanted: Joined) -> None:
        """Every label event is counted once, at its partition."""
        for row in accounting(connection):
            outcomes = ("counted", "late", "future", "dead_lettered", "duplicates")
            assert row["fetched"] == sum(row[name] for name in outcomes), row
            if row["kind"] == "labels":
                fates = (row[name] for name in FATES if name != "duplicates")
                assert row["counted"] == sum(fates), row
        stored: dict[Place, Counter[str]] = defaultdict(Counter)
        for account in connection.execute(select(label_account)):
            place = Place(account.topic, account.partition)
            assert account.place == place_id(place.topic, place.partition)
            numbers = {name: getattr(account, name) for name in FATES}
            assert min(numbers.values()) >= 0
            stored[place] = +Counter(numbers)
        exact: dict[Place, Counter[str]] = defaultdict(Counter)
        for key, labels in wanted.labels.items():
            newest = None
            for place, event in labels:
                fate = "duplicates"
                if newest is None:
                    fate = wanted.status[key].name.lower()
                elif event["timestamp"] > newest:
                    fate = "corrected"
                newest = max(newest or 0, event["timestamp"])
                exact[place][fate] += 1
        if not self._roams:
            # A label that is too late for a known prediction is not kept: repeated, it is no duplicate.
            assert {p: _lenient(c) for p, c in stored.items()} == {p: _lenient(c) for p, c in exact.items()}
            return
        for fate in ("matched", "waiting"):
            assert sum(c[fate] for c in stored.values()) == sum(c[fate] for c in exact.values())
        assert {p: c.total() for p, c in stored.items()} == {p: c.total() for p, c in exact.items()}


def _lenient(fates: Counter[str]) -> Counter[str]:
    """Take repetitions and labels that are too late together."""
    found = Counter(fates)
    found["expired or again"] = found.pop("expired", 0) + found.pop("duplicates", 0)
    return +found


def _read(value: bytes, what: str) -> dict[str, Any] | None:
    """Read an event, None for what is not one."""
    try:
        event: dict[str, Any] = json.loads(value)
    except ValueError:
        return None
    return event if {"event_id", "model", "timestamp", what} <= event.keys() else None


def _is_future(event: dict[str, Any]) -> bool:
    return bool(event["timestamp"] > NOW_MS + YEAR_MS // 2)


def text_of(value: Any) -> str:
    """Name of a class."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value)


def class_of(label: Any) -> np.uint64:
    """Hash of a label as a class; a number with a fraction has no name."""
    if isinstance(label, float) and not label.is_integer():
        return np.uint64(class_hash(hash_numbers(np.array([label])))[0])
    return np.uint64(hashes_of([text_of(label)])[0])


def number_of(label: Any) -> float:
    """Label as a number; NaN for texts."""
    return math.nan if isinstance(label, str) else float(label)


# --- records ------------------------------------------------------------------------------------------------


def score_cell(score: float | None) -> int:
    """Cell of a score, found among the edges."""
    if score is None or not 0 <= score <= 1:
        return -1
    edges = score_edges().tolist()
    last = len(edges) - 2
    if score < 0.5:
        return bisect_right(edges, score) - 1
    if score == 0.5:
        return last // 2
    return bisect_left(edges, score) - 1


def number_cell(value: float) -> int:
    """Cell of a number: sign, exponent and four bits."""
    bits = struct.unpack("<q", struct.pack("<d", value + 0.0))[0]
    return int((bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF) >> 48)


def records_of(
    event: dict[str, Any], label: dict[str, Any] | None, first_ms: int
) -> list[tuple[Record, Sums]]:
    """Records of one prediction, and of its label if the first one was in time."""
    slice_ms = event["timestamp"] // MINUTE_MS * MINUTE_MS
    bare = [(-1, *row) for row in _of_prediction(event)]
    if label is not None and first_ms <= event["timestamp"] + LABEL_HORIZON_MS:
        age = bisect_left(AGES_MS, first_ms - event["timestamp"])
        bare += [(age, *row) for row in _of_label(event, label["label"])]
    return [
        (Record(event["model"], event["version"], slice_ms, segment, family, a, b, cell, age), sums)
        for age, family, a, b, cell, sums in bare
        for segment in ("", f"carrier={event['features']['carrier']}")
    ]


_Bare = tuple[int, str | int, str | int, int, Sums]


def _own_score(event: dict[str, Any]) -> float | None:
    scores = event.get("scores") or {}
    score: float | None = event.get("score", scores.get(event["prediction"]))
    return score


def _of_prediction(event: dict[str, Any]) -> list[_Bare]:
    if event["model"] == NUMBERS:
        return [(Family.ESTIMATED, number_cell(event["prediction"]), 0, -1, Sums(1))]
    cell = score_cell(_own_score(event))
    return [(Family.PREDICTED, text_of(event["prediction"]), "", cell, Sums(1))]


def _of_label(event: dict[str, Any], label: Any) -> list[_Bare]:
    if event["model"] == NUMBERS:
        return _of_number(event["prediction"], number_of(label))
    predicted, name, score = text_of(event["prediction"]), text_of(label), _own_score(event)
    scores: dict[str, float] = event.get("scores") or {}
    squared = log_loss = 0.0
    if scores:
        squared = sum((p - (one == name)) * (p - (one == name)) for one, p in scores.items())
        squared += name not in scores
        total = sum(scores.values())
        log_loss = _log_loss(scores.get(name, 0.0) / (total or 1.0))
    elif score_cell(score) != -1:
        assert score is not None
        squared = (score - (name == "1")) * (score - (name == "1"))
        log_loss = _log_loss(score if name == "1" else 1.0 - score)
    sums = Sums(1, round(squared * UNIT), round(log_loss * UNIT))
    found: list[_Bare] = [(Family.LABELLED, predicted, name, score_cell(score), sums)]
    for one, p in scores.items():
        found.append((Family.ONE_AGAINST_REST, one, int(one == name), score_cell(p), Sums(1)))
    return found


def _log_loss(likelihood: float) -> float:
    return -float(np.log(min(1.0, max(1e-15, likelihood))))


def _of_number(predicted: float, label: float) -> list[_Bare]:
    if math.isnan(label):
        return [(Family.UNREADABLE, 0, 0, -1, Sums(1))]
    residual = predicted - label
    return [
        (Family.RESIDUAL, number_cell(predicted), number_cell(residual), -1, _scaled(residual)),
        (Family.TRUTH, 0, number_cell(label), -1, _scaled(label)),
    ]


def _scaled(value: float) -> Sums:
    mantissa, _ = math.frexp(abs(value))
    return Sums(1, round(mantissa * MANTISSA), round(mantissa * mantissa * MANTISSA))


# --- what is stored -----------------------------------------------------------------------------------------


def stored_records(connection: Connection) -> dict[Record, Sums]:
    """All outcomes, with names instead of hashes."""
    names = {row.hash: row.text for row in connection.execute(select(term))}
    names[0] = ""
    parts: dict[tuple[str, str, int], list[bytes]] = defaultdict(list)
    for row in connection.execute(select(outcome_slice).order_by(outcome_slice.c.id)):
        parts[row.model, row.version, row.slice_ms].append(row.records)
    found: dict[Record, Sums] = {}
    for slice_, data in parts.items():
        for record in joined(data):
            family = int(record["family"])
            a, b = int(record["a"]), int(record["b"])
            segment = names[int(record["segment"].view("<i8"))]
            key = Record(
                *slice_,
                segment,
                family,
                names[a] if family in (Family.PREDICTED, Family.LABELLED, Family.ONE_AGAINST_REST) else a,
                names[b] if family in (Family.PREDICTED, Family.LABELLED) else b,
                int(record["cell"]),
                int(record["age"]),
            )
            assert key not in found
            found[key] = Sums(int(record["n"]), int(record["s1"]), int(record["s2"]))
    return found


def key_of(model: str, id_: str) -> int:
    """Key of a model and an event id."""
    hashes = hash_strings(pa.array([id_], pa.string()))
    return int(keys_of(np.array([model_id(model)], np.int64), hashes)[0])


def id_of_version(model: str, version: str) -> int:
    """Id of a model version, as configured here."""
    return version_id(model, version, MINUTE_MS, "1")


def check_pending(connection: Connection, wanted: Joined) -> None:
    """Every prediction that counts is kept once."""
    rows = {(row.key, row.version_id): row for row in connection.execute(select(pending))}
    events = {
        (key_of(m, id_), id_of_version(m, version)): e for (m, id_, version), e in wanted.predictions.items()
    }
    assert rows.keys() == events.keys()
    for key, event in events.items():
        row = rows[key]
        assert row.until_ms == event["timestamp"] + LABEL_HORIZON_MS
        kept = unpacked(np.frombuffer(row.payload, np.uint8)[None])
        assert kept.event_ms[0] == event["timestamp"]
        if event["model"] == NUMBERS:
            assert (kept.predicted[0], kept.value[0]) == (0, event["prediction"])
        else:
            assert kept.predicted[0] == hashes_of([text_of(event["prediction"])])[0]
            score = _own_score(event)
            assert kept.score[0] == score if score is not None else math.isnan(kept.score[0])
        carrier = hashes_of([f"carrier={event['features']['carrier']}"])[0]
        assert kept.segments.tolist() == [[int(carrier)]]


def check_truth(connection: Connection, wanted: Joined, *, roams: bool) -> None:
    """The label in force of each key, unless it came too late for a known prediction."""
    rows = {row.key: row for row in connection.execute(select(truth))}
    keys = {key_of(*key): key for key in wanted.labels}
    kept = {at for at, key in keys.items() if wanted.status[key] is not Status.EXPIRED}
    assert kept <= rows.keys() <= keys.keys()
    until: dict[Key, int] = defaultdict(int)
    for (model, id_, _), event in wanted.predictions.items():
        until[model, id_] = max(until[model, id_], event["timestamp"])
    for at, row in rows.items():
        key = keys[at]
        label = wanted.in_force[key]
        value = number_of(label["label"])
        (stored,) = labels_in([row.payload])
        assert stored["label_ms"] == label["timestamp"]
        assert stored["label"] == class_of(label["label"])
        assert math.isnan(stored["value"]) if math.isnan(value) else stored["value"] == value
        assert stored["model"] == model_id(key[0])
        assert row.status == wanted.status[key]
        assert row.until_ms >= max(label["timestamp"], until[key]) + LABEL_HORIZON_MS + 1, (key, row)
        places = [place for place, _ in wanted.labels[key]]
        assert stored["place"] in {place_id(p.topic, p.partition) for p in (places if roams else places[:1])}


def check_windows(connection: Connection, wanted: Joined) -> None:
    """All windows of the first length that have outcomes are to be judged, and no others."""
    rows = connection.execute(select(outcome_window)).all()
    slices = {(record.model, record.version, record.slice_ms) for record in wanted.records}
    length = 5 * MINUTE_MS
    assert {(r.model, r.version, r.window, r.start_ms, r.end_ms) for r in rows} == {
        (model, version, "5m", start := slice_ms - slice_ms % length, start + length)
        for model, version, slice_ms in slices
    }
    assert all(row.touched > row.judged for row in rows)


def check_commits(connection: Connection) -> None:
    """Each offset went into one commit at most."""
    ids: set[int] = set()
    taken: set[tuple[str, str, int]] = set()
    for row in connection.execute(select(outcome_commit)):
        ids.add(row.id)
        for topic, partitions in json.loads(row.sources).items():
            for partition, ranges in partitions.items():
                offsets = {(topic, partition, at) for low, high in ranges for at in range(low, high)}
                assert not offsets & taken
                taken |= offsets
    assert {row.commit_id for row in connection.execute(select(outcome_slice))} <= ids
