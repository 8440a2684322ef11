"""Rules that act: rows go to quarantine or stop their partition, until the contract is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.config import Configuration
from monitor.dead_letters.marking import mark
from monitor.ingest import Ingest
from monitor.judging.judge import Judge
from monitor.source.memory import MemorySource
from monitor.store.engine import immediate
from monitor.store.positions import OUTCOMES, Place, resume
from monitor.store.queries.dead_letters import Wanted
from monitor.telemetry import Telemetry
from tests.monitor.test_judge import MINUTE_MS, START_MS, World

PLACE = Place("pp", 0)
CARRIER = {"values": ["UA", "AA"], "nullable": False}


def carrier(action: str, **more: Any) -> dict[str, Any]:
    """A contract of one column whose rule on values acts."""
    return {"carrier": {**CARRIER, "rules": {"allowed": {"action": action, **more}}}}


class Acting(World):
    """A world whose contract can be changed."""

    def __init__(self, url: str, columns: dict[str, Any]) -> None:
        super().__init__(url, columns=columns)

    def emit(self, minute: int, carriers: list[str | None], **more: Any) -> None:
        """Produce one event for each carrier, within a minute, with keys and headers."""
        for i, name in enumerate(carriers):
            event = {
                "event_id": f"e{self.sent}", "model": "churn", "version": "1",
                "timestamp": START_MS + minute * MINUTE_MS + i, "features": {"carrier": name, "x": i},
                "prediction": 1, **more,
            }  # fmt: skip
            self.broker.append(
                "pp", 0, json.dumps(event).encode(), timestamp_ms=self.clock.now_ms() - 5,
                key=b"k%d" % self.sent, headers=(("trace", b"t%d" % self.sent),),
            )  # fmt: skip
            self.sent += 1

    def read(self, rounds: int = 6) -> None:
        """Let the process fetch and commit a few times."""
        for _ in range(rounds):
            self.clock.advance(6_000)  # so that a commit is due
            self.ingest.step()

    def configure(self, columns: dict[str, Any], **defaults: Any) -> None:
        """Start the service again with another contract."""
        self.ingest.leave()
        document = self.configuration.model_dump(by_alias=True, exclude_unset=True)
        document["defaults"] |= {"columns": columns, **defaults}
        self.configuration = Configuration.model_validate(document)
        parts = (self.engine, self.clock, Telemetry())
        source = MemorySource(self.broker, self.clock)
        self.ingest = Ingest(self.configuration, self.engine, source, *parts[1:])
        self.ingest.begin()
        self.judge = Judge(self.configuration, *parts)

    def account(self) -> dict[str, int]:
        """Where the events went; the parts add up."""
        names = ("fetched", "next_offset", *OUTCOMES)
        (row,) = self.rows(f"SELECT {', '.join(names)} FROM partition_state")
        found = dict(zip(names, row, strict=True))
        assert found["fetched"] == sum(found[name] for name in OUTCOMES)
        (counted,) = self.rows("SELECT coalesce(sum(rows), 0) FROM slice_profile")
        assert counted == (found["counted"],)
        return {name: number for name, number in found.items() if number}

    def letters(self) -> list[tuple[Any, ...]]:
        return self.rows('SELECT "offset", kind, reason, events, status FROM dead_letter ORDER BY "offset"')

    def stopped(self) -> str | None:
        ((reason,),) = self.rows("SELECT stopped_reason FROM partition_state")
        return reason

    def replay(self) -> int:
        with immediate(self.engine) as connection:
            marked = mark(connection, Wanted()).marked
        self.read()
        return marked


@pytest.fixture
def made(database_url: str) -> Any:
    worlds: list[Acting] = []

    def make(columns: dict[str, Any]) -> Acting:
        worlds.append(Acting(database_url, columns))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_rows_in_quarantine_are_in_no_slice_and_among_the_dead_letters(made: Any) -> None:
    world = made(carrier("quarantine"))
    world.emit(0, ["UA", "XX", None, "AA", "YY"])
    world.read()
    assert world.account() == {"fetched": 5, "next_offset": 5, "counted": 3, "dead_lettered": 2}
    assert world.letters() == [
        (1, "contract", "contract: carrier: 'XX' is not allowed", 1, "waiting"),
        (4, "contract", "contract: carrier: 'YY' is not allowed", 1, "waiting"),
    ]
    ((key, headers, stamp),) = world.rows(
        'SELECT key, headers, timestamp_ms FROM dead_letter WHERE "offset" = 1'
    )
    assert (bytes(key), json.loads(headers)) == (b"k1", [["trace", "dDE="]])
    assert stamp < world.clock.now_ms() - 5


def test_letters_that_only_a_worker_could_refuse_keep_key_headers_and_time(made: Any) -> None:
    world = made({})
    world.emit(0, ["UA"])
    value = (
        b'{"event_id": "e", "model": "churn", "version": "1", "timestamp": %d, "prediction": 1, '
        b'"features": [1]}' % START_MS
    )
    world.broker.append("pp", 0, value, timestamp_ms=7, key=b"k", headers=(("h", b"v"),))
    world.read()
    ((kind, key, stamp, headers, events),) = world.rows(
        "SELECT kind, key, timestamp_ms, headers, events FROM dead_letter"
    )
    assert (kind, bytes(key), stamp, json.loads(headers), events) == (
        "undecodable", b"k", 7, [["h", "dg=="]], 1
    )  # fmt: skip


def test_a_personal_value_is_in_no_reason(made: Any) -> None:
    columns = carrier("quarantine")
    columns["carrier"]["personal"] = True
    world = made(columns)
    world.emit(0, ["secret"])
    world.read()
    assert [letter[2] for letter in world.letters()] == ["contract: carrier: is not allowed"]


def test_a_window_counts_what_was_put_in_quarantine_and_replays_are_counted_once(made: Any) -> None:
    world = made(carrier("quarantine"))
    world.emit(0, ["UA"] * 300)
    world.emit(59, ["UA"])
    world.emit(61, ["UA"] * 8 + ["XX"] * 2)
    world.emit(80, ["UA"])
    world.read()
    world.judge.sweep()
    query = (
        "SELECT decision, n, statistic FROM result WHERE detector = 'contract.allowed' "
        f"AND \"window\" = '10m' AND start_ms = {START_MS + 60 * MINUTE_MS} ORDER BY revision DESC"
    )
    assert world.rows(query)[0] == ("drift", 10, 2.0)
    assert world.replay() == 2
    assert [letter[4] for letter in world.letters()] == ["refused", "refused"]
    world.configure({"carrier": {**CARRIER, "values": ["UA", "AA", "XX"]}})
    assert world.replay() == 2
    assert [letter[4] for letter in world.letters()] == ["replayed", "replayed"]
    assert world.account() == {"fetched": 312, "next_offset": 312, "counted": 312}
    world.judge.sweep()
    assert world.rows(query)[0] == ("ok", 2, 0.0)  # those that were held against the new rule


def test_replays_under_another_action_are_counted_once(made: Any) -> None:
    world = made(carrier("quarantine"))
    world.emit(0, ["UA", "XX"])
    world.read()
    world.configure(carrier("count"))
    assert world.replay() == 1
    assert world.account() == {"fetched": 2, "next_offset": 2, "counted": 2}
    assert world.replay() == 0


def test_a_broken_producer_stops_its_partition_before_anything_is_taken_in(made: Any) -> None:
    world = made(carrier("quarantine", stop={"share": 0.5, "rows": 10}))
    world.emit(0, ["UA"] * 20)
    world.read()
    world.emit(1, ["UA"] * 5 + ["XX"] * 15)
    world.read()
    assert world.account() == {"fetched": 20, "next_offset": 20, "counted": 20}
    assert world.letters() == []
    reason = world.stopped()
    assert reason is not None
    assert reason.startswith(
        "churn: carrier: 15 of 20 rows (75 %, above 50 %) are none of UA, AA, first at offset 25 of pp/0 ["
    )
    changes = world.silences.sweep()
    assert [change.change for change in changes] == ["opened"]
    world.read()
    assert world.account() == {"fetched": 20, "next_offset": 20, "counted": 20}


def test_fewer_rows_than_the_limit_asks_for_stop_nothing(made: Any) -> None:
    world = made(carrier("stop", stop={"share": 0.5, "rows": 21}))
    world.emit(1, ["XX"] * 20)
    world.read()
    assert world.stopped() is None
    assert world.account() == {"fetched": 20, "next_offset": 20, "counted": 20}


@pytest.mark.parametrize(
    ("action", "wanted"),
    [("stop", {"counted": 20}), ("quarantine", {"counted": 5, "dead_lettered": 15})],
)
def test_an_accepted_stop_goes_on_where_it_stopped(made: Any, action: str, wanted: dict[str, int]) -> None:
    world = made(carrier(action, stop={"share": 0.5, "rows": 10}))
    world.emit(1, ["UA"] * 5 + ["XX"] * 15)
    world.read()
    assert world.stopped() is not None
    resume(
        world.engine, PLACE, next_offset=0, topic_id=world.broker.topic_id("pp"),
        now_ms=world.clock.now_ms(), judged_from=20,
    )  # fmt: skip
    world.read()
    assert world.stopped() is None
    assert world.account() == {"fetched": 20, "next_offset": 20, **wanted}
    world.emit(2, ["XX"] * 20)
    world.read()
    assert world.stopped() is not None  # what came later is judged again
    assert world.account() == {"fetched": 20, "next_offset": 20, **wanted}


def test_a_changed_contract_takes_a_stopped_partition_up_again(made: Any) -> None:
    world = made(carrier("stop", stop={"share": 0.5, "rows": 10}))
    world.emit(1, ["UA"] * 5 + ["XX"] * 15)
    world.read()
    world.configure(carrier("stop", stop={"share": 0.5, "rows": 10}))
    world.read()
    assert world.stopped() is not None
    assert world.account() == {}
    world.configure({"carrier": {**CARRIER, "values": ["UA", "XX"]}})
    world.read()
    assert world.stopped() is None
    assert world.account() == {"fetched": 20, "next_offset": 20, "counted": 20}
    assert world.rows("SELECT count(*) FROM gap WHERE accepted_at_ms IS NULL") == [(0,)]


def test_a_stopped_partition_holds_up_no_other(made: Any) -> None:
    world = made(carrier("stop", stop={"share": 0.5, "rows": 10}))
    world.ingest.leave()
    world.broker.add_partitions("pp", 1)
    world.configure(carrier("stop", stop={"share": 0.5, "rows": 10}))
    for i in range(20):
        event = {
            "event_id": f"o{i}", "model": "churn", "version": "1", "timestamp": START_MS + i,
            "features": {"carrier": "UA"}, "prediction": 1,
        }  # fmt: skip
        world.broker.append("pp", 1, json.dumps(event).encode(), timestamp_ms=world.clock.now_ms())
    world.emit(1, ["XX"] * 20)
    world.read(10)
    assert world.rows("SELECT partition, next_offset, counted FROM partition_state ORDER BY partition") == [
        (0, 0, 0), (1, 20, 20)
    ]  # fmt: skip
