"""``N per minute|hour|day``: what is a limit, what is not, and where it stands."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from alerting.limit import LIMIT_PATTERN, PERIODS_MS, Limit, LimitText
from alerting.notifiers.catalog import notifiers

text = TypeAdapter(LimitText)


@given(st.integers(1, 999_999), st.sampled_from(sorted(PERIODS_MS)))
def test_a_limit_survives_a_round_trip(count, period):
    written = f"{count} per {period}"
    limit = text.validate_python(written)
    assert (limit.count, limit.per_ms, str(limit)) == (count, PERIODS_MS[period], written)
    assert text.validate_json(text.dump_json(limit)) == limit
    assert text.validate_python(limit) is limit


@given(st.text(max_size=30))
def test_the_pattern_of_the_schema_says_the_same(anything):
    assert text.json_schema()["pattern"] == LIMIT_PATTERN
    is_limit = bool(re.search(LIMIT_PATTERN, anything)) and not anything.endswith("\n")
    if is_limit:
        Limit.parse(anything)
    else:
        with pytest.raises(ValueError, match="not a limit"):
            Limit.parse(anything)


@pytest.mark.parametrize(
    "value",
    ["0 per hour", "-1 per hour", "1.5 per hour", "20 per week", "20/hour", "20 per  hour", "1000000 per day",
     "20 per hour\n", "٢ per hour", "", 20, None, ["20 per hour"]],
)  # fmt: skip
def test_what_is_no_limit_is_refused(value):
    with pytest.raises(ValidationError, match="use N per minute, hour or day"):
        text.validate_python(value)


@pytest.mark.parametrize(("count", "per_ms"), [(0, 60_000), (1_000_000, 60_000), (1, 1)])
def test_a_limit_that_cannot_be_written_cannot_be_made(count, per_ms):
    with pytest.raises(ValueError, match="not a limit"):
        Limit(count, per_ms)


def test_every_receiver_takes_one():
    for cls in notifiers().values():
        option = cls.Options.model_json_schema()["properties"]["limit"]
        assert option["anyOf"][0]["pattern"] == LIMIT_PATTERN
        assert option["description"].startswith("Most messages")
        assert cls.Options.model_fields["limit"].default is None
