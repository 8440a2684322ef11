"""Stored profiles and references can still be read, and are still written byte for byte as they were.

If a format changes on purpose, give it a new version, keep reading the old one, and write the files anew with
``python -m tests.golden.test_bytes``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from detectors.cells import keys_to_floats
from detectors.hashing import hash_numbers
from detectors.profile import Profile, profile_batch
from detectors.reference import Reference, build
from schemas.arrived import Arrived
from schemas.batch import Batch, Categories
from schemas.column import ColumnSpec, Kind, Source
from schemas.contract import ColumnRules, Contract

FOLDER = Path(__file__).parent
SLICE_MS = 60_000
N = 40
HASH = "fe49a7839106903cd21486f2e8555c8f3c97248a5a45582b065adf195e2092bb"
HASH_WITH_QUALITY = "bcd0d668a3bdc989eb0d308b48001a09905e5deb90f98ce23e29170db7c5637c"


def batch() -> Batch:
    """Build a few rows of every kind."""
    i = np.arange(N)
    status = np.zeros((2, N), np.uint8)
    status[0, 3], status[0, 5] = 1, 2
    numbers = np.vstack([i % 7 - 3.5, (i % 3) / 4])
    numbers[status != 0] = 0.0
    return Batch(
        event_ms=i * 3_000,
        numeric=(
            ColumnSpec("delay", Kind.NUMERIC, path=("delay",)),
            ColumnSpec("score", Kind.NUMERIC, Source.SCORE),
        ),
        numbers=numbers,
        status=status,
        categorical=(ColumnSpec("carrier", Kind.CATEGORICAL, path=("flight", "carrier")),),
        categories=(Categories((i % 4 - 1).astype(np.int32), pa.array(["UA", "DL", "é"])),),
        vectors=((ColumnSpec("embedding", Kind.VECTOR, path=("embedding",)), (i % 5 == 0).astype(np.uint8)),),
        segments={"origin": Categories((i % 3 - 1).astype(np.int32), pa.array(["EWR", "JFK"]))},
    )


def reference() -> Reference:
    """Build a reference of all rows."""
    return build(
        profile_batch(batch(), SLICE_MS),
        slice_ms=SLICE_MS,
        window_ms=SLICE_MS,
        segments=("origin",),
        max_segment_values=1,
    )


def arrived() -> Batch:
    """Build the same rows with keys, and with how they arrived."""
    i = np.arange(N)
    rows = batch()
    return replace(rows, keys=hash_numbers(i / 8), arrived=Arrived(rows.event_ms + 7 ** (i % 12), i % 9 == 0))


def with_quality() -> Reference:
    """Build a reference of them."""
    slices = profile_batch(arrived(), SLICE_MS, sample_rows=N)
    slices[0].arrivals.repeat(3)
    return build(slices, slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=("origin",), max_segment_values=1)


CONTRACT = Contract(
    (
        ColumnRules("delay", Kind.NUMERIC, low=-2.0, counts_missing=True, is_unique=True),
        ColumnRules("carrier", values=("UA", "DL"), is_unique=True),
    )
)


def ruled() -> Profile:
    """Profile the rows of one slice with a contract."""
    return profile_batch(batch(), SLICE_MS, contract=CONTRACT)[SLICE_MS]


def made() -> dict[str, bytes]:
    """Write everything anew."""
    new = reference()
    binned = profile_batch(batch(), SLICE_MS, new.binning, new.hash)
    return {
        "reference.bin": new.to_bytes(),
        "profile-learned.bin": profile_batch(batch(), SLICE_MS)[SLICE_MS].to_bytes(),
        "profile-binned.bin": binned[SLICE_MS].to_bytes(),
        "reference-quality.bin": with_quality().to_bytes(),
        "profile-arrived.bin": profile_batch(arrived(), SLICE_MS, sample_rows=N)[SLICE_MS].to_bytes(),
        "profile-ruled.bin": ruled().to_bytes(),
    }


def test_what_was_stored_is_read_as_it_was_meant() -> None:
    stored = Reference.from_bytes((FOLDER / "reference.bin").read_bytes())
    assert stored.rows == N
    assert stored.binning.groups == ("", "origin=EWR", "origin=(other)", "origin=(missing)")
    assert stored.group_rows.tolist() == [40, 13, 13, 14]
    learned = Profile.from_bytes((FOLDER / "profile-learned.bin").read_bytes())
    assert (learned.rows, learned.missing("carrier"), learned.missing("embedding")) == (20, 5, 4)
    keys, counts = learned.cells["delay"].of_group(0)
    wanted = np.unique((np.arange(20, 40) % 7) - 3.5, return_counts=True)
    assert keys_to_floats(keys).tolist() == wanted[0].tolist()
    assert counts.tolist() == wanted[1].tolist()
    binned = Profile.from_bytes((FOLDER / "profile-binned.bin").read_bytes(), stored.binning)
    moved, _ = learned.rebinned(stored.binning, stored.hash)
    assert binned.reference_hash == stored.hash
    assert np.array_equal(binned.counts, moved.counts)
    assert np.array_equal(binned.group_rows, moved.group_rows)


def test_references_are_named_by_the_same_hash_as_ever() -> None:
    stored = Reference.from_bytes((FOLDER / "reference.bin").read_bytes())
    assert reference().hash == stored.hash == HASH


def test_what_references_know_of_quality_is_read_as_it_was_meant() -> None:
    stored = Reference.from_bytes((FOLDER / "reference-quality.bin").read_bytes())
    assert with_quality().hash == stored.hash == HASH_WITH_QUALITY
    assert stored.quality is not None
    assert stored.quality.arrivals.tolist() == [[20, 3, 3], [20, 0, 2]]
    assert stored.quality.lags.sum(axis=1).tolist() == [20, 20]
    assert stored.quality.complete.sum() == 0  # no feature is in nearly all rows
    assert stored.quality.decimals.sum(axis=(0, 1)).tolist() == [0, 13, 51, 0, 0, 0]
    assert stored.quality.gaps.tolist() == [[0, 1, 1]]
    assert Reference.from_bytes((FOLDER / "reference.bin").read_bytes()).quality is None


def test_how_rows_arrived_is_read_as_it_was_meant() -> None:
    stored = Profile.from_bytes((FOLDER / "profile-arrived.bin").read_bytes()).arrivals
    assert (stored.told, stored.repeated, stored.behind) == (20, 0, 2)
    [new] = [profile_batch(arrived(), SLICE_MS)[SLICE_MS].arrivals]
    assert stored.lags.tolist() == new.lags.tolist()
    older = Profile.from_bytes((FOLDER / "profile-learned.bin").read_bytes()).arrivals
    assert (older.told, older.lags.sum()) == (0, 0)


def test_violations_by_segment_and_exact_counts_are_read_as_they_were_meant() -> None:
    stored = Profile.from_bytes((FOLDER / "profile-ruled.bin").read_bytes())
    rules = [(key.check, key.column) for key in stored.by_segment.rules]
    assert rules == [
        ("allowed", "carrier"),
        ("missing", "delay"),
        ("range", "delay"),
        ("type", "carrier"),
        ("type", "delay"),
    ]
    assert stored.groups == ["", "origin=(missing)", "origin=EWR", "origin=JFK"]
    assert stored.by_segment.rows.tolist() == [[20, 7, 6, 7]] * 5
    i = np.arange(20, 40)
    late = [[i % 7 - 3.5 < -2, i % 3 == code] for code in (0, 1, 2)]
    range_ = stored.by_segment.broken[next(key for key in stored.by_segment.rules if key.check == "range")]
    assert range_.rows[1:].tolist() == [int((wrong & mine).sum()) for wrong, mine in late]
    assert range_.first_ms[1:].tolist() == [int(i[wrong & mine].min()) * 3_000 for wrong, mine in late]
    assert range_.last_ms[1:].tolist() == [int(i[wrong & mine].max()) * 3_000 for wrong, mine in late]
    assert {name: summary.distinct.is_exact for name, summary in stored.summaries.items()} == {
        "delay": True, "score": False, "carrier": True, "embedding": False
    }  # fmt: skip
    assert [stored.summaries[name].distinct.estimate() for name in ("delay", "carrier")] == [7, 3]
    new = ruled()
    assert new.by_segment.state(sorted(new.violations.counts)) == stored.by_segment.state(
        sorted(stored.violations.counts)
    )
    for name, summary in stored.summaries.items():
        assert summary.distinct.to_bytes() == new.summaries[name].distinct.to_bytes()
    older = Profile.from_bytes((FOLDER / "profile-learned.bin").read_bytes())
    assert older.by_segment.rules == []
    older.merge(stored)
    assert older.by_segment.rows[:, 0].tolist() == [20] * 5
    assert older.summaries["delay"].distinct.precision == 9


def test_profiles_carry_the_same_state_as_ever() -> None:
    """Their sketches are other libraries' bytes: compared by what they say."""
    for name, data in made().items():
        if name.startswith("reference"):
            continue
        binning = reference().binning if "binned" in name else None
        old = Profile.from_bytes((FOLDER / name).read_bytes(), binning)
        new = Profile.from_bytes(data, binning)
        assert data[:4] == (FOLDER / name).read_bytes()[:4]
        assert new.groups == old.groups
        assert np.array_equal(new.group_rows, old.group_rows)
        assert np.array_equal(new.counts, old.counts)
        assert list(new.summaries) == list(old.summaries)
        for column, summary in new.summaries.items():
            before = old.summaries[column]
            assert (summary.spec, summary.ok, summary.invalid) == (before.spec, before.ok, before.invalid)
            assert (summary.lowest, summary.highest) == (before.lowest, before.highest)
            assert summary.sum == before.sum
            assert summary.distinct.estimate() == before.distinct.estimate()
            assert summary.quantile([0.0, 0.5, 1.0]) == before.quantile([0.0, 0.5, 1.0])
            if summary.frequent is not None and before.frequent is not None:
                assert summary.frequent.items() == before.frequent.items()


def test_the_files_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.glob("*.bin")}
    assert set(sizes) == {
        "reference.bin", "profile-learned.bin", "profile-binned.bin", "reference-quality.bin",
        "profile-arrived.bin", "profile-ruled.bin",
    }  # fmt: skip
    assert all(size < 4_000 for size in sizes.values())


if __name__ == "__main__":
    for name, data in made().items():
        (FOLDER / name).write_bytes(data)
