"""All targets by name."""

from __future__ import annotations

from functools import cache

from tests.fuzz.formats import format_targets, pair_target
from tests.fuzz.requests import request_target
from tests.fuzz.schemas import schema_target
from tests.fuzz.target import Target
from tests.fuzz.texts import configuration_target, contract_targets


@cache
def targets() -> dict[str, Target]:
    """Everything that is fuzzed."""
    found = (
        *format_targets(),
        pair_target(),
        schema_target(),
        request_target(),
        *contract_targets(),
        configuration_target(),
    )
    return {target.name: target for target in found}
