"""What older versions have stored is read, and means what it meant; today's version writes what it wrote."""

from __future__ import annotations

import json

import pytest

from detectors.reference import Reference
from schemas.errors import UnusableReference
from tests.upgrades.formats import FOLDER, MEANINGS, formats, meaning, next_verdicts

FORMATS = formats()
OLDER = {"edetector-without-week", "reference-first-format"}
"""Written by the code of earlier commits; nothing writes them any more."""
MOST_BYTES = 100_000


@pytest.mark.parametrize("name", FORMATS)
def test_stored_bytes_mean_what_they_meant(name: str) -> None:
    file = FOLDER / f"{name}.bin"
    assert file.exists(), "run: python -m tests.upgrades.formats"
    meant = json.loads(MEANINGS.read_text())[name]
    assert _is_close(meaning(FORMATS[name].read(file.read_bytes())), meant)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_today_means_the_same(name: str) -> None:
    """Its length may differ: what is compressed is other libraries' business."""
    stored, new = (FOLDER / f"{name}.bin").read_bytes(), FORMATS[name].write()
    assert new[:4] == stored[:4]
    assert _is_close(meaning(FORMATS[name].read(new)), meaning(FORMATS[name].read(stored)))


def test_the_state_of_alarms_from_before_there_were_weeks_goes_on() -> None:
    old = (FOLDER / "edetector-without-week.bin").read_bytes()
    assert old[:4] == b"DLE1"
    found, new = (next_verdicts("edetector", state) for state in (old, FORMATS["edetector"].write()))
    assert [verdict[:4] for verdict in found] == [verdict[:4] for verdict in new]


def test_a_reference_of_the_first_format_is_refused_by_name() -> None:
    """No version that was given to anybody wrote it."""
    with pytest.raises(UnusableReference, match=r"DLR1.*DLR2' is known"):
        Reference.from_bytes((FOLDER / "reference-first-format.bin").read_bytes())


def test_there_is_nothing_else_and_it_is_small() -> None:
    files = list(FOLDER.glob("*.bin"))
    assert {file.stem for file in files} == {*FORMATS, *OLDER}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < MOST_BYTES


def _is_close(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return other.keys() <= one.keys() and all(_is_close(one[key], other[key]) for key in other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_is_close(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return bool(one == pytest.approx(other, rel=1e-4, abs=1e-9))
    return one == other
