"""The short form of fuzzing: every target with its seeds and some changes of them, always the same."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.catalog import targets
from tests.fuzz.mutation import mutated

INPUTS = 150
SLOW = {"http-events": 40, "configuration": 60}


@pytest.mark.parametrize("name", targets())
def test_what_is_promised_of_every_input(name: str) -> None:
    target, rng = targets()[name], random.Random(name)
    for seed in target.seeds:
        target.try_(seed)
    for _ in range(SLOW.get(name, INPUTS)):
        data = mutated(rng.choice(target.seeds), target, rng)
        try:
            target.try_(data)
        except Exception as broken:
            broken.add_note(f"{name}: {data[:2_000]!r}")
            raise
