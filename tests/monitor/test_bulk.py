"""Many rows at a time: what is put is found again, bit for bit, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError

from detectors.tensor import IntArray
from monitor.store import bulk, schema
from monitor.store import engine as databases
from monitor.store.bulk import Payload, look_up, put
from monitor.store.engine import immediate, reading
from monitor.store.tables import pending, truth
from schemas.errors import Unavailable

LOWEST, HIGHEST = -(2**63), 2**63 - 1
EXTREMES = np.array([LOWEST, LOWEST + 1, -10_000, -1, 0, 1, 9_999, 10_000, HIGHEST], np.int64)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = databases.create(database_url)
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 4)
    monkeypatch.setattr(bulk, "INSERTED_AT_ONCE", 3)


def payloads(rows: int, length: int, seed: int = 1) -> Payload:
    return np.random.default_rng(seed).integers(0, 256, (rows, length)).astype(np.uint8)


def put_pending(engine: Engine, key: IntArray, version: IntArray, until: IntArray, payload: Payload) -> None:
    with immediate(engine) as connection:
        put(connection, pending, {"key": key, "version_id": version, "until_ms": until}, payload)


def found(engine: Engine, keys: IntArray) -> dict[tuple[int, int], tuple[int, bytes]]:
    with reading(engine) as connection:
        parts = look_up(connection, pending, keys)
    rows = [
        ((key, version), (until, payload.tobytes()))
        for part in parts
        for key, version, until, payload in zip(
            *(part.columns[name].tolist() for name in ("key", "version_id", "until_ms")),
            part.payload,
            strict=True,
        )
    ]
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_integers_of_any_size_and_all_bytes_come_back(engine: Engine) -> None:
    payload = payloads(len(EXTREMES), 256)
    put_pending(engine, EXTREMES, EXTREMES[::-1], np.roll(EXTREMES, 3), payload)
    wanted = {
        (key, version): (until, data.tobytes())
        for key, version, until, data in zip(
            EXTREMES.tolist(), EXTREMES[::-1].tolist(), np.roll(EXTREMES, 3).tolist(), payload, strict=True
        )
    }
    assert found(engine, EXTREMES) == wanted
    with reading(engine) as connection:
        rows = connection.execute(select(pending)).all()
    assert {(r.key, r.version_id): (r.until_ms, bytes(r.payload)) for r in rows} == wanted


def test_only_rows_with_the_keys_are_found_and_all_of_them(engine: Engine) -> None:
    key = np.repeat(np.arange(20), 2)
    put_pending(engine, key, np.tile([5, 6], 20), key * 10, payloads(40, 3))
    rows = found(engine, np.array([-7, 3, 4, 19, 77]))
    assert rows.keys() == {(k, version) for k in (3, 4, 19) for version in (5, 6)}
    assert not found(engine, np.zeros(0, np.int64))
    assert not found(engine, np.array([20]))


def test_payloads_of_different_lengths_are_found_together(engine: Engine) -> None:
    for length in (1, 7, 300):
        put_pending(
            engine, np.arange(5), np.full(5, length), np.full(5, -length), payloads(5, length, length)
        )
    rows = found(engine, np.arange(5))
    assert {at: len(data) for at, (_, data) in rows.items()} == {
        (key, length): length for key in range(5) for length in (1, 7, 300)
    }
    assert rows[4, 300] == (-300, payloads(5, 300, 300)[4].tobytes())


def test_stored_rows_are_replaced_and_others_are_not_touched(engine: Engine) -> None:
    def put_truth(key: IntArray, status: IntArray, seed: int, replaced: IntArray) -> None:
        with immediate(engine) as connection:
            put(
                connection, truth, {"key": key, "until_ms": key * 2, "status": status},
                payloads(len(key), 48, seed), np.isin(key, replaced),
            )  # fmt: skip

    none = np.zeros(0, np.int64)
    put_truth(np.arange(12), np.arange(12) % 2, 1, none)
    put_truth(np.arange(6, 18), np.full(12, 5), 2, np.arange(6, 12))
    with reading(engine) as connection:
        rows = {r.key: (r.status, bytes(r.payload)) for r in connection.execute(select(truth))}
    first, second = payloads(12, 48, 1), payloads(12, 48, 2)
    assert rows == {
        **{key: (key % 2, first[key].tobytes()) for key in range(6)},
        **{key: (5, second[key - 6].tobytes()) for key in range(6, 18)},
    }


def test_a_row_that_nobody_said_is_stored_is_not_replaced(engine: Engine) -> None:
    one = np.ones(1, np.int64)
    put_pending(engine, one, one, one, payloads(1, 8))
    with pytest.raises(IntegrityError):
        put_pending(engine, np.arange(6), np.ones(6, np.int64), np.arange(6), payloads(6, 8, 2))
    assert found(engine, np.arange(6)) == {(1, 1): (1, payloads(1, 8).tobytes())}


@pytest.mark.acceptance
def test_a_connection_that_is_lost_means_that_the_database_is_away(postgres_url: str) -> None:
    engine = databases.create(postgres_url)
    schema.upgrade(engine)

    def lose_it_and(use: str) -> None:
        with immediate(engine) as connection:
            pid = connection.execute(select(func.pg_backend_pid())).scalar()
            with immediate(engine) as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            one = np.ones(1, np.int64)
            if use == "put":
                put(connection, pending, {"key": one, "version_id": one, "until_ms": one}, payloads(1, 8))
            else:
                look_up(connection, pending, one)

    for use in ("put", "look up"):
        with pytest.raises(Unavailable):
            lose_it_and(use)
    assert not found(engine, np.ones(1, np.int64))
    engine.dispose()
