"""Above a rate only a share of the predictions is kept for pairing: the same one on both sides, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from detectors.hashing import hash_strings
from monitor.labels.pending import id_of, keys_of
from monitor.performance.outcomes import measure_together, read_outcomes
from monitor.store import joining
from monitor.store import shares as module
from monitor.store.engine import immediate, reading
from monitor.store.positions import accounting
from monitor.store.shares import Shares, adapt, is_kept, shares_of
from tests.monitor.outcome_world import MINUTE_MS, START_MS, OutcomeWorld

MOST = 60  # predictions of a minute: one a second
FATES = ("matched", "waiting", "corrected", "orphaned", "expired", "sampled_out")


class ShareWorld(OutcomeWorld):
    """A world that keeps one prediction a second for pairing."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, labels={"sample_per_s": 1, "horizon": "1d"}, slice="1m", segments=[], **options)
        self.made: list[tuple[str, str, int]] = []

    def minute(
        self, minute: int, number: int, *, delay: tuple[int, int] = (1, 2), **options: Any
    ) -> list[Any]:
        """Take in the predictions of one minute with labels for all of them, which come after those."""
        first = self.serial
        options = {"model": "churn", "labelled": 1.0, "delay": delay, "per_minute": number, **options}
        labels = self.predict(minute, 1, **options)
        self.made += [(options["model"], f"e{i}", minute) for i in range(first, self.serial)]
        self.take_in()
        self.tell(labels)
        self.take_in()
        return labels

    def shares(self, model: str = "churn") -> dict[int, float]:
        """Shares by the minute from which they hold."""
        rows = self.rows(f"SELECT from_ms, share FROM join_share WHERE model = '{model}' ORDER BY from_ms")
        return {(from_ms - START_MS) // MINUTE_MS: share for from_ms, share in rows}

    def share_at(self, minute: int, model: str = "churn") -> float:
        """Share in force for a slice."""
        return next((share for at, share in reversed(self.shares(model).items()) if at <= minute), 1.0)

    def wanted(self, model: str = "churn") -> set[int]:
        """Keys that must be stored, by the shares of their slices."""
        found = set()
        for minute in {at for of, _, at in self.made if of == model}:
            keys = keys_of_events(model, [id_ for of, id_, at in self.made if (of, at) == (model, minute)])
            share = np.full(len(keys), self.share_at(minute, model))
            found |= set(keys[is_kept(keys, share)].tolist())
        return found

    def stored(self, table: str = "pending") -> set[int]:
        """Keys that are stored."""
        return {int(key) for (key,) in self.rows(f"SELECT key FROM {table}")}

    def fates(self) -> dict[str, int]:
        """What became of the labels; what was fetched is always all of them."""
        with reading(self.engine) as connection:
            rows = [row for row in accounting(connection) if row["kind"] == "labels"]
        for row in rows:
            assert row["counted"] == sum(row[name] for name in FATES)
            others = ("late", "future", "dead_lettered", "duplicates")
            assert row["fetched"] == row["counted"] + sum(row[name] for name in others)
        return {name: n for name in FATES if (n := sum(row[name] for row in rows))}


def keys_of_events(model: str, ids: list[str]) -> np.ndarray:
    """Keys of events."""
    hashes = hash_strings(pa.array(ids, pa.string()))
    return keys_of(np.full(len(ids), id_of(model), np.int64), hashes)


@pytest.fixture
def world(database_url: str) -> Iterator[ShareWorld]:
    made = ShareWorld(database_url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _labels_look_at_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels go by the largest share of the hour before them, so that none is lost when the share falls."""
    monkeypatch.setattr(joining, "LOOK_BACK_MS", 0, raising=False)


# --- which are kept -----------------------------------------------------------------------------------------


@given(keys=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), halvings=st.integers(0, 30))
def test_a_smaller_share_is_a_part_of_a_larger_one(keys: list[int], halvings: int) -> None:
    array = np.array(keys, np.int64)
    smaller, larger = (is_kept(array, np.full(len(keys), 2.0**-n)) for n in (halvings + 1, halvings))
    assert not (smaller & ~larger).any()
    assert is_kept(array, np.ones(len(keys))).all()


def test_a_share_of_the_keys_is_kept() -> None:
    keys = keys_of_events("m", [f"e{i}" for i in range(40_000)])
    for share in (0.5, 0.25, 1 / 64):
        kept = int(is_kept(keys, np.full(len(keys), share)).sum())
        assert abs(kept - 40_000 * share) < 4 * (40_000 * share) ** 0.5


def test_a_share_holds_from_its_slice_on() -> None:
    shares = Shares(np.array([100, 200], np.int64), np.array([0.5, 0.25]))
    assert shares.at(np.array([-5, 99, 100, 199, 200, 10**15])).tolist() == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert shares.latest == 0.25
    none = Shares(np.zeros(0, np.int64), np.zeros(0))
    assert none.at(np.array([0])).tolist() == [1.0]
    assert none.latest == 1.0


# --- choosing -----------------------------------------------------------------------------------------------


def test_the_share_halves_until_a_slice_fits(world: ShareWorld) -> None:
    world.minute(0, MOST)
    assert world.shares() == {}
    world.minute(1, MOST + 1)
    assert world.shares() == {2: 0.5}
    world.minute(2, 2 * MOST)
    assert world.shares() == {2: 0.5}
    world.minute(3, 7 * MOST)
    assert world.shares() == {2: 0.5, 4: 0.125}
    assert world.stored() == world.wanted()


def test_the_share_grows_back_step_by_step_after_a_quiet_hour(
    world: ShareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_SLICES", 4)
    world.minute(0, 4 * MOST)
    assert world.shares() == {1: 0.25}
    for minute in range(1, 4):
        world.minute(minute, 5)
        assert world.shares() == {1: 0.25}
    for minute in range(4, 8):
        world.minute(minute, 5)
    assert world.shares() == {1: 0.25, 5: 0.5, 6: 1.0}
    assert world.stored() == world.wanted()


def test_the_share_does_not_go_to_and_fro(world: ShareWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate between what one share allows and what the next one does."""
    monkeypatch.setattr(module, "QUIET_SLICES", 2)
    for minute in range(8):
        world.minute(minute, MOST + 10 if minute % 3 == 0 else MOST - 10)
    assert world.shares() == {1: 0.5}


def test_models_and_their_versions(world: ShareWorld) -> None:
    """Each model has a share of its own, and all versions of a model have one together."""
    for version in ("1", "2"):
        world.minute(0, 45, version=version)
    world.minute(0, 45, model="other")
    assert (world.shares(), world.shares("other")) == ({1: 0.5}, {})


def test_a_share_that_was_chosen_already_stays(world: ShareWorld) -> None:
    with immediate(world.engine) as connection:
        connection.execute(
            text("INSERT INTO join_share (model, from_ms, share) VALUES ('churn', :at, 0.5)"),
            {"at": START_MS + MINUTE_MS},
        )
    world.minute(0, 8 * MOST)
    assert world.shares() == {1: 0.5}
    world.minute(1, 8 * MOST)
    assert world.shares() == {1: 0.5, 2: 0.125}


def test_rates_that_are_far_too_low_are_not_looked_at(
    world: ShareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.minute(0, 3)
    with reading(world.engine) as connection:
        shares = shares_of(connection, ["churn", "nobody"])
        assert shares["nobody"].latest == 1.0
        monkeypatch.setattr(connection, "execute", None)
        for came in ({}, {START_MS: 3}):
            adapt(connection, "churn", shares["churn"], came, slice_ms=MINUTE_MS, most_per_s=100.0)


# --- both sides alike ---------------------------------------------------------------------------------------


def test_labels_of_predictions_that_were_left_out_are_counted_as_such(world: ShareWorld) -> None:
    world.minute(0, 3 * MOST)
    kept = len(world.stored())
    assert kept == 3 * MOST
    for minute in range(1, 5):
        world.minute(minute, 3 * MOST)
    assert world.shares() == {1: 0.25}
    assert world.stored() == world.wanted() == world.stored("truth")
    kept = len(world.stored())
    assert abs(kept - 3 * MOST - 3 * MOST) < 40
    assert world.fates() == {"matched": kept, "sampled_out": 15 * MOST - kept}
    found = world.rows("SELECT DISTINCT status FROM truth")
    assert found == [(0,)]


def test_early_labels_are_sampled_alike(world: ShareWorld) -> None:
    """Labels of events whose predictions are read later."""
    world.minute(0, 3 * MOST)
    at_ms = START_MS + 2 * MINUTE_MS
    ids = [f"x{i}" for i in range(200)]
    world.tell([{"event_id": id_, "model": "churn", "timestamp": at_ms, "label": 1} for id_ in ids])
    world.take_in()
    keys = keys_of_events("churn", ids)
    kept = set(keys[is_kept(keys, np.full(200, 0.25))].tolist())
    assert world.fates() == {
        "matched": 3 * MOST, "waiting": len(kept), "sampled_out": 200 - len(kept)
    }  # fmt: skip
    for id_ in ids:
        event = {"event_id": id_, "model": "churn", "version": "1", "timestamp": at_ms, "prediction": 1}
        world.append("pp", {**event, "features": {"age": 40, "origin": "EWR"}})
    world.take_in()
    assert kept <= world.stored()
    assert world.fates() == {"matched": 3 * MOST + len(kept), "sampled_out": 200 - len(kept)}


def test_early_labels_of_predictions_from_before_the_share_fell(
    world: ShareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read before their predictions, which are all kept."""
    monkeypatch.setattr(joining, "LOOK_BACK_MS", 3_600_000)
    world.minute(0, 4 * MOST)
    assert world.shares() == {1: 0.25}
    event = {"model": "churn", "timestamp": START_MS + MINUTE_MS + 1_000, "label": 1}
    world.tell([{"event_id": f"y{i}", **event} for i in range(100)])
    world.take_in()
    for i in range(100):
        made = {"event_id": f"y{i}", "model": "churn", "version": "1", "timestamp": START_MS + MINUTE_MS - 1}
        world.append("pp", {**made, "prediction": 1, "features": {"age": 40, "origin": "EWR"}})
    world.take_in()
    assert world.fates() == {"matched": 4 * MOST + 100}


def test_a_label_of_a_kept_prediction_is_never_left_out(world: ShareWorld) -> None:
    """It was kept at a larger share than the one in force when its label came."""
    labels = world.predict(0, 1, labelled=1.0, delay=(600, 601), per_minute=3 * MOST)
    world.take_in()
    world.minute(1, 8 * MOST)
    world.tell(labels)
    world.take_in()
    assert world.share_at(10) == 0.125
    assert world.stored("truth") == world.stored()


def test_figures_are_about_what_was_kept(world: ShareWorld) -> None:
    for minute in range(4):
        world.minute(minute, 4 * MOST)
    with reading(world.engine) as connection:
        parts = read_outcomes(connection, "churn", ["1"], START_MS, START_MS + 4 * MINUTE_MS)
        found = measure_together(connection, world.configuration.for_model("churn"), parts.values()).realised
    assert found.predicted == found.labelled == len(world.stored())
    assert found.coverage == 1.0
    assert found.measures["accuracy"].value == pytest.approx(0.9, abs=0.06)


def test_two_members_agree(database_url: str) -> None:
    """Each reads some of the partitions of both topics, and commits when it likes."""
    world = ShareWorld(database_url, members=2, partitions=4)
    one, two = world.members
    for minute in range(6):
        labels = world.predict(minute, 1, labelled=1.0, delay=(1, 2), per_minute=5 * MOST)
        first = world.serial - 5 * MOST
        world.made += [("churn", f"e{i}", minute) for i in range(first, world.serial)]
        for member in (one, two, two, one) if minute % 2 else (two, one):
            member.step()
            if minute != 3:
                member.commit()
        world.tell(labels)
        world.take_in()
    assert all(len(member._owned) == 4 for member in world.members)
    assert list(world.shares().values())[-1] == 0.125
    assert world.stored() == world.wanted()
    fates = world.fates()
    assert set(fates) == {"matched", "sampled_out"}
    assert fates["matched"] == len(world.stored())
    world.close()
