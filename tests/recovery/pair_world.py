"""A world of requests and responses that come apart, on two topics, some of them twice and some alone."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sqlalchemy import Engine, func, select

from monitor.config import Configuration
from monitor.store.engine import reading
from monitor.store.halves import complete_pairs
from monitor.store.positions import OUTCOMES, Place
from monitor.store.tables import half_message, slice_profile
from tests.recovery.world import MINUTE_MS, Member, World

REQUESTS, RESPONSES = "mlserver-input", "mlserver-output"
TYPE = "io.seldon.serving.inference"


def configuration() -> Configuration:
    """Two topics of predictions in any format."""
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": "sqlite:///unused.db",
            "streams": [
                {"topic": topic, "kind": "predictions", "format": "auto", "inputs": ["x"]}
                for topic in (REQUESTS, RESPONSES)
            ],
            "defaults": {"horizon": "30d", "windows": ["5m"], "dedupe": "1d"},
            "ingest": {"workers": 1, "batch": 20},
        }
    )


class PairWorld(World):
    """Every exchange whose halves were both sent has to be counted once, in the slice of its time."""

    def __init__(self, engine: Engine, seed: int) -> None:
        super().__init__(engine, seed, partitions=2, topics=(REQUESTS, RESPONSES))
        self.configuration = configuration()
        self.halves: dict[tuple[str, str], tuple[bytes, Any]] = {}
        self.rows: dict[str, tuple[int, int]] = {}
        self.waiting: list[tuple[str, str]] = []
        self.sent: Counter[tuple[str, str]] = Counter()
        self.broken = 0

    # --- producing -----------------------------------------------------------------------------------------

    def produce(self, number: int, place: Place | None = None) -> None:
        """Append messages: halves in any order, some of them again."""
        for _ in range(number):
            self._stamp_ms += self.random.randrange(0, 500)
            kind = self.random.random()
            if kind < 0.05:
                self.broken += 1
                self._send(self.random.choice([REQUESTS, RESPONSES]), b"no json", ())
            elif kind < 0.15 and self.sent:
                self._send_half(self.random.choice(sorted(self.sent)))
            else:
                if len(self.waiting) < 6:
                    self._begin()
                at = self.random.randrange(len(self.waiting))
                self._send_half(self.waiting.pop(at))

    def _begin(self) -> None:
        """Think of an exchange; both halves wait to be sent."""
        self._serial += 1
        id_ = f"e{self._serial}"
        rows = self.random.randrange(1, 4)
        at_ms = self._stamp_ms - self.random.randrange(0, 5 * MINUTE_MS)
        self.rows[id_] = at_ms // MINUTE_MS * MINUTE_MS, rows
        data = [self.random.randrange(100) for _ in range(rows)]
        request = {"id": id_, "inputs": [_tensor("x", "FP64", data)]}
        response = {"id": id_, "model_name": "m", "outputs": [_tensor("predict", "INT64", [1] * rows)]}
        for side, body in (("request", request), ("response", response)):
            headers = [
                ("Ce-Type", f"{TYPE}.{side}".encode()), ("Ce-Requestid", id_.encode()),
                ("Ce-Time", f"{_iso(at_ms)}Z".encode()),
            ]  # fmt: skip
            self.halves[id_, side] = json.dumps(body).encode(), headers
            self.waiting.append((id_, side))

    def _send_half(self, which: tuple[str, str]) -> None:
        self.sent[which] += 1
        self._send(REQUESTS if which[1] == "request" else RESPONSES, *self.halves[which])

    def _send(self, topic: str, value: bytes, headers: Any) -> None:
        place = Place(topic, self.random.randrange(2))
        headers = headers or [("ce_type", f"{TYPE}.request".encode())]
        self.produced[place].append((value, self._stamp_ms))
        self.broker.append(topic, place.partition, value, timestamp_ms=self._stamp_ms, headers=headers)

    # --- members -------------------------------------------------------------------------------------------

    def turn(self, member: Member) -> bool:
        """Let a member step once it is time for a commit, which is when pairs are taken, and commit."""
        self.clock.advance(5_000)
        return self.step(member) and self.commit(member)

    def settle_pairs(self) -> None:
        """Let everything heal, until no pair is complete and waits."""
        for _ in range(60):
            self.settle()
            if not self.complete():
                return
            for member in list(self.members):
                self.turn(member)
        message = f"{self.complete()} pairs still wait"
        raise AssertionError(message)

    def complete(self) -> int:
        """Pairs in the database of which nothing is counted yet."""
        places = [(place.topic, place.partition) for place in self.produced]
        with reading(self.engine) as connection:
            return len(complete_pairs(connection, places, most=10_000, most_bytes=1 << 30))

    # --- what must come of it ------------------------------------------------------------------------------

    def check_identity(self) -> None:
        """Every message has one outcome at any time, and what is said to wait does."""
        c = half_message.c
        query = select(c.topic, c.partition, func.count()).where(c.status == "waiting")
        with reading(self.engine) as connection:
            waiting = {Place(t, p): n for t, p, n in connection.execute(query.group_by(c.topic, c.partition))}
        for place, state in self.states().items():
            outcomes = {name: getattr(state, name) for name in OUTCOMES}
            assert state.fetched == sum(outcomes.values()), (place, outcomes)
            assert min(outcomes.values()) >= 0, (place, outcomes)
            assert outcomes["unpaired"] == waiting.get(place, 0), (place, outcomes)

    def check(self) -> None:
        """Compare the database with what was sent."""
        self.check_identity()
        complete = {i for i, side in self.sent if side == "request"}
        complete &= {i for i, side in self.sent if side == "response"}
        found: Counter[str] = Counter()
        for state in self.states().values():
            found.update({name: getattr(state, name) for name in OUTCOMES})
        assert found == Counter(
            counted=sum(self.rows[i][1] for i in complete),
            paired=len(complete),
            unpaired=sum(1 for i, _ in self.sent if i not in complete),
            duplicates=sum(self.sent.values()) - len(self.sent),
            dead_lettered=self.broken,
            late=0,
            future=0,
        )
        wanted: Counter[int] = Counter()
        for i in complete:
            wanted[self.rows[i][0]] += self.rows[i][1]
        slices: Counter[int] = Counter()
        with reading(self.engine) as connection:
            for row in connection.execute(select(slice_profile.c.slice_ms, slice_profile.c.rows)):
                slices[row.slice_ms] += row.rows
        assert slices == wanted


def _tensor(name: str, datatype: str, data: list[int]) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def _iso(at_ms: int) -> str:
    from datetime import UTC, datetime

    return (
        datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    )
