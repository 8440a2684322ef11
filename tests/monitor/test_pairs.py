"""Requests and responses that come apart: joined once, in any order, and given up when one does not come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from detectors.profile import Profile
from monitor.pairs import giving_up, taking
from monitor.profiling import Refused
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.schema import upgrade
from monitor.store.tables import dead_letter, half_message, partition_state, slice_profile
from tests.monitor.pair_world import MINUTE_MS, NOW_MS, Bench

REQUEST = {"instances": [[1.5, 2.0], [3.5, 4.0]]}
RESPONSE = {"predictions": [0, 1]}
BEFORE = "2025-12-31T23:00:00Z"
BEFORE_MS = NOW_MS - 60 * MINUTE_MS


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty, migrated database."""
    made = databases.create(database_url, patience_s=5)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    """A process that has begun."""
    made = Bench(engine)
    yield made
    made.ingest.abandon()


@pytest.mark.parametrize("order", [("request", "response"), ("response", "request")])
def test_a_pair_is_counted_once_whatever_comes_first(bench: Bench, order: tuple[str, str]) -> None:
    bodies = {"request": REQUEST, "response": RESPONSE}
    bench.kserve(order[0], "a", bodies[order[0]], at=BEFORE)
    assert bench.take() == {"fetched": 1, "unpaired": 1}
    assert bench.halves() == [(order[0], "waiting")]
    bench.kserve(order[1], "a", bodies[order[1]], at="2025-12-31T23:00:01Z")
    assert bench.take() == {"fetched": 3, "counted": 2, "paired": 1}
    assert bench.halves() == [("request", "paired"), ("response", "paired")]
    assert all(row.value == b"" for row in bench.rows(half_message))
    assert bench.slices() == {("iris", "unversioned", BEFORE_MS): 2}


def test_features_prediction_and_latency_are_of_both(bench: Bench) -> None:
    bench.kserve("request", "a", {"instances": [[1.5, 2.0]]}, at=BEFORE)
    bench.kserve("response", "a", RESPONSE | {"predictions": [1]}, at="2025-12-31T23:00:00.250Z")
    assert bench.take() == {"fetched": 2, "counted": 1, "paired": 1}
    profile = Profile.from_bytes(bench.rows(slice_profile)[0].bytes, None)
    sums = {name: summary.sum for name, summary in profile.summaries.items()}
    assert sums == {"a": 1.5, "b": 2.0, "latency_ms": 250.0, "prediction": 0.0}
    assert profile.rows == 1


def test_without_times_the_stamp_of_the_request_holds(bench: Bench) -> None:
    bench.kserve("request", "a", REQUEST)
    bench.clock.advance(3 * MINUTE_MS)
    bench.kserve("response", "a", RESPONSE)
    assert bench.take()["counted"] == 2
    assert set(bench.slices()) == {("iris", "unversioned", NOW_MS)}


def test_halves_on_two_topics(bench: Bench) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
    out = {"name": "predict", "shape": [1], "datatype": "INT64", "data": [1]}
    headers = [("mlserver-model", b"iris"), ("mlserver-version", b"v2")]
    bench.send("mlserver-input", {"inputs": [tensor]}, headers, key=b"k1")
    said = [("Ce-Type", b"io.seldon.serving.inference.response"), ("Ce-Requestid", b"k1")]
    bench.send("mlserver-output", {"model_name": "iris", "id": "k1", "outputs": [out]}, said)
    assert bench.take("mlserver-input") == {"fetched": 1, "paired": 1}
    assert bench.take("mlserver-output") == {"fetched": 1, "counted": 1}
    assert bench.slices() == {("iris", "v2", NOW_MS): 1}


def test_components_behind_each_other_are_pairs_of_their_own(bench: Bench) -> None:
    for component in ("transformer", "predictor"):
        bench.kserve("request", "a", REQUEST, component=component)
    bench.kserve("response", "a", RESPONSE, component="predictor")
    assert bench.take() == {"fetched": 4, "counted": 2, "paired": 1, "unpaired": 1}


def test_a_repeated_half_is_a_duplicate_before_and_after_it_is_paired(engine: Engine) -> None:
    bench = Bench(engine, partitions=2)
    for partition in (0, 0, 1):
        bench.kserve("request", "a", REQUEST, partition=partition)
    assert bench.take() == {"fetched": 3, "unpaired": 1, "duplicates": 2}
    for partition in (1, 0):
        bench.kserve("response", "a", RESPONSE, partition=partition)
    assert bench.take() == {"fetched": 6, "counted": 2, "paired": 1, "duplicates": 3}
    for side, body in (("request", REQUEST), ("response", RESPONSE)):
        bench.kserve(side, "a", body, partition=1)
    assert bench.take() == {"fetched": 8, "counted": 2, "paired": 1, "duplicates": 5}
    told = {
        outcome: bench.telemetry.registry.get_sample_value(
            "driftline_events_total", {"topic": "serving", "outcome": outcome}
        )
        for outcome in ("counted", "duplicate", "paired")
    }
    assert told == {"counted": 2, "duplicate": 5, "paired": 1}
    bench.ingest.abandon()


def test_paired_halves_are_remembered_as_long_as_ids_are(bench: Bench) -> None:
    bench.kserve("request", "a", REQUEST)
    bench.kserve("response", "a", RESPONSE)
    bench.take()
    bench.clock.advance(9 * MINUTE_MS)
    bench.take()
    assert len(bench.halves()) == 2
    bench.clock.advance(2 * MINUTE_MS)
    bench.take()
    assert bench.halves() == []


def test_a_half_whose_other_does_not_come_becomes_a_dead_letter_that_can_be_replayed(bench: Bench) -> None:
    bench.kserve("request", "a", REQUEST)
    bench.take()
    bench.clock.advance(59 * MINUTE_MS)
    assert bench.take() == {"fetched": 1, "unpaired": 1}
    bench.clock.advance(2 * MINUTE_MS)
    assert bench.take() == {"fetched": 1, "dead_lettered": 1}
    (letter,) = bench.rows(dead_letter)
    assert letter.reason == (
        "a request whose response did not come within 1h (kserve:default/iris/predictor/:a)"
    )
    assert (letter.kind, letter.status, bench.halves()) == ("unpaired", "waiting", [])
    bench.kserve("response", "a", RESPONSE)
    assert bench.take() == {"fetched": 2, "dead_lettered": 1, "unpaired": 1}
    assert bench.mark() == 1
    assert bench.take(turns=5) == {"fetched": 3, "counted": 2, "paired": 1}
    assert bench.letters() == [(0, "unpaired", "replayed", 0)]
    assert set(bench.slices()) == {("iris", "unversioned", NOW_MS)}


def test_one_that_was_replayed_may_wait_in_vain_again(bench: Bench) -> None:
    bench.kserve("response", "a", RESPONSE)
    bench.take()
    for attempt in range(2):
        bench.clock.advance(61 * MINUTE_MS)
        assert bench.take() == {"fetched": 1, "dead_lettered": 1}
        assert [row.attempts for row in bench.rows(dead_letter)] == [attempt]
        assert bench.mark() == 1
        assert bench.take() == {"fetched": 1, "unpaired": 1}


def test_nobody_is_given_up_while_a_partition_is_behind(bench: Bench) -> None:
    """The response may be among what was not read yet."""
    bench.send("mlserver-input", {"inputs": []}, [("mlserver-model", b"m")], key=b"k")
    bench.take()
    with bench.engine.begin() as connection:
        behind = partition_state
        where = partition_state.c.topic == "mlserver-output"
        connection.execute(behind.update().where(where).values(at_end_since_ms=None, stamp_ms=NOW_MS))
    bench.ingest._owned.pop(positions.Place("mlserver-output", 0))
    bench.clock.advance(120 * MINUTE_MS)
    assert bench.take("mlserver-input") == {"fetched": 1, "unpaired": 1}
    with bench.engine.begin() as connection:
        connection.execute(behind.update().where(where).values(stamp_ms=NOW_MS + 61 * MINUTE_MS))
    assert bench.take("mlserver-input") == {"fetched": 1, "dead_lettered": 1}


def test_more_pairs_and_more_lost_halves_than_one_commit_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "MOST_PAIRS", 3)
    monkeypatch.setattr(taking, "MOST_HALVES", 3)
    monkeypatch.setattr(giving_up, "MOST_HALVES", 3)
    for number in range(10):
        bench.kserve("request", f"p{number}", REQUEST)
        bench.kserve("response", f"p{number}", RESPONSE)
    for _ in range(6):  # one after the other, without waiting for the interval
        bench.clock.advance(0 if bench.ingest._batch.pairs.has_more else 5_000)
        bench.ingest.step()
    assert bench.take(turns=1) == {"fetched": 30, "counted": 20, "paired": 10}
    for number in range(7):
        bench.kserve("response", f"lost{number}", RESPONSE)
    bench.take()
    bench.clock.advance(61 * MINUTE_MS)
    bench.take(turns=1)
    for _ in range(4):
        bench.ingest.step()
        bench.clock.advance(0 if bench.ingest._batch.pairs.has_more else 5_000)
    assert bench.take(turns=1) == {"fetched": 37, "counted": 20, "paired": 10, "dead_lettered": 7}


def test_a_pair_that_cannot_be_read_is_two_dead_letters_that_pair_again(bench: Bench) -> None:
    bench.kserve("request", "a", REQUEST)
    bench.kserve("response", "a", {"predictions": [1]})
    assert bench.take() == {"fetched": 2, "dead_lettered": 2}
    assert bench.letters() == [(0, "undecodable", "waiting", 1), (1, "undecodable", "waiting", 1)]
    reasons = {row.reason for row in bench.rows(dead_letter)}
    assert reasons == {"v1: predictions: 1 rows of outputs, but 2 rows of inputs"}
    assert bench.halves() == []
    assert bench.mark() == 2
    assert bench.take(turns=5) == {"fetched": 2, "dead_lettered": 2}
    assert bench.letters() == [(0, "undecodable", "refused", 1), (1, "undecodable", "refused", 1)]


def test_a_pair_from_the_future_is_two_dead_letters(bench: Bench) -> None:
    bench.kserve("request", "a", REQUEST, at="2026-01-01T03:00:00Z")
    bench.kserve("response", "a", RESPONSE)
    assert bench.take() == {"fetched": 3, "future": 3}
    assert bench.letters() == [(0, "future", "waiting", 1), (1, "future", "waiting", 2)]
    bench.clock.advance(180 * MINUTE_MS)
    assert bench.mark() == 2
    assert bench.take(turns=5) == {"fetched": 3, "counted": 2, "paired": 1}


def refuse(bench: Bench, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers refuse some events of the second message, as they do for a contract."""
    profiler = bench.ingest._batch.profiler
    collect = profiler.collect

    def collected() -> Any:
        found = collect()
        if found.profiles:
            slot = bench.ingest._owned[positions.Place("serving", 0)].slot
            found.refused += [Refused(slot, 1, b"", None, NOW_MS, "contract", "too large")] * number
            found.profiles.clear()
            found.data.clear()
            monkeypatch.setattr(profiler, "collect", collect)
        return found

    monkeypatch.setattr(profiler, "collect", collected)


def test_a_pair_of_which_workers_refuse_everything_can_be_replayed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kserve("request", "a", REQUEST)
    bench.kserve("response", "a", RESPONSE)
    refuse(bench, 2, monkeypatch)
    assert bench.take() == {"fetched": 3, "dead_lettered": 3}
    assert bench.letters() == [(0, "contract", "waiting", 1), (1, "contract", "waiting", 2)]
    assert bench.halves() == []
    assert bench.mark() == 2
    assert bench.take(turns=5) == {"fetched": 3, "counted": 2, "paired": 1}  # though their ids are known


def test_a_pair_of_which_workers_refuse_a_part_is_counted_for_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kserve("request", "a", REQUEST)
    bench.kserve("response", "a", RESPONSE)
    refuse(bench, 1, monkeypatch)
    assert bench.take() == {"fetched": 3, "counted": 1, "dead_lettered": 1, "paired": 1}
    assert bench.letters() == [(1, "contract", "waiting", 1)]
    assert bench.mark() == 1
    assert bench.take(turns=5) == {"fetched": 3, "counted": 1, "duplicates": 1, "paired": 1}


def test_halves_that_cannot_be_told_are_dead_letters(bench: Bench) -> None:
    bench.kserve("request", "", REQUEST)
    bench.kserve("request", "x" * 2_000, REQUEST)
    bench.kserve("request", "b", b"no json")
    assert bench.take() == {"fetched": 3, "dead_lettered": 3}
    reasons = sorted(row.reason for row in bench.rows(dead_letter))
    assert reasons[0].startswith("JSON is malformed")
    assert reasons[1:] == [
        "kserve: ce-id: has a NUL character or more than 1024 characters",
        "kserve: ce-id: required, to find the other half by",
    ]


def test_a_process_that_goes_on_finds_what_waits(bench: Bench) -> None:
    bench.kserve("request", "a", REQUEST)
    bench.take()
    bench.ingest.leave()
    bench.kserve("response", "a", RESPONSE)
    bench.ingest = bench.start()
    assert bench.take() == {"fetched": 3, "counted": 2, "paired": 1}
