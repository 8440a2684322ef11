"""Whatever stands in a file, the answer is a configuration or problems with places, never an exception."""

import re
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config.alerts import Budget
from monitor.config.loader import examine_text
from monitor.config.values import read_duration, read_instant, read_window
from schemas.duration import format_duration
from tests.monitor.test_config_messages import GOOD

KEYS = [*sorted(set(re.findall(r"\w+(?=:)", GOOD))), "columns", "reference", "from", "labels", "<<", "x"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["1h", "1h/15m", "7d", "1 per week", "psi", "webhook", "sqlite:///x", "numeric", "a:b@c://d"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
LINES = st.lists(
    st.one_of(st.sampled_from(GOOD.splitlines()), st.text(alphabet=string.printable, max_size=20)),
    max_size=25,
)


def flow(value):
    """Write a value as YAML in flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {flow(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str):
        escaped = "".join(f"\\U{ord(sign):08x}" if not sign.isalnum() else sign for sign in value)
        return f'"{escaped}"'
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if not isinstance(value, float)
        else str(value)
    )


def check(text):
    configuration, problems = examine_text(text)
    assert (configuration is None) == bool(problems)
    for problem in problems:
        assert re.match(r"driftline\.yaml:\d+: .", str(problem))
        assert "\n" not in str(problem)
        assert "Traceback" not in str(problem)
    return problems


@given(st.text(max_size=200))
def test_any_text(text):
    check(text)


@given(LINES)
def test_lines_of_a_configuration_in_any_order(lines):
    check("\n".join(lines))


@given(st.sampled_from(re.findall(r"\w+(?=:)", GOOD)), VALUES)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_value_under_any_key(key, value):
    check(re.sub(rf"\b{key}: (\[.*?\]|[^,}}\n]*)", lambda _: f"{key}: {flow(value)}", GOOD, count=1))


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_data(data):
    check(flow(data))


@given(st.integers(min_value=0, max_value=36_500 * 86_400_000))
def test_durations_are_read_back_as_written(span_ms):
    assert read_duration(format_duration(span_ms)) == span_ms


@given(st.one_of(SCALARS, st.from_regex(r"[0-9]{0,45}(ms|s|m|h|d|w|y)?(/[0-9]+m)?", fullmatch=True)))
def test_a_value_is_read_or_refused_with_a_reason(value):
    for read in (read_duration, read_window, read_instant, Budget.parse):
        try:
            read(value)
        except ValueError as error:
            reason = str(error)
        else:
            continue
        assert re.search(r"\(use .*\)", reason)


@given(st.integers(min_value=1, max_value=10_000), st.integers(min_value=1, max_value=50))
def test_windows_are_read_back_as_written(step_s, times):
    text = f"{step_s * times}s/{step_s}s"
    window = read_window(text)
    assert (window.length_ms, window.every_ms) == (step_s * times * 1_000, step_s * 1_000)
    assert read_window(str(window)) == window
