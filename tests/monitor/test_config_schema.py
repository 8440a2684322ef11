"""The JSON Schema and the page of options say what the loader does."""

from pathlib import Path

import pytest

from monitor.config import Configuration
from monitor.config.options_table import updated
from monitor.config.schema import json_schema, resolve, schema_at
from monitor.config.settings import METRICS, PerformanceOptions

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def every_option():
    sections = {"": json_schema(), **json_schema()["$defs"]}
    return [
        pytest.param(section, key, id=f"{name}.{key}")
        for name, section in sections.items()
        for key in section.get("properties", {})
        if key != "type"
    ]


@pytest.mark.parametrize(("section", "key"), every_option())
def test_every_option_is_described(section, key):
    option = resolve(section["properties"][key])
    assert option.get("description")
    assert option.get("title") or "properties" in option


def test_the_page_of_options_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page) == page, "run: python -m monitor.config.options_table docs/configuration.md"


def test_the_page_needs_its_markers():
    with pytest.raises(ValueError, match="options: begin"):
        updated("# Configuration\n")


def test_durations_are_strings_with_a_pattern_and_a_default():
    option = schema_at(("defaults", "slice"), {})
    assert (option["type"], option["default"]) == ("string", "1m")
    assert "pattern" in option


def test_defaults_in_the_schema_are_what_the_file_would_say():
    settings = {
        key: option["default"]
        for key, option in json_schema()["$defs"]["ModelSettings"]["properties"].items()
        if "default" in option
    }
    base = {
        "kafka": {"bootstrap_servers": "b"},
        "database_url": "sqlite:///d.db",
        "streams": [{"topic": "p", "kind": "labels"}],
    }
    plain, explicit = (
        Configuration.model_validate(base),
        Configuration.model_validate({**base, "defaults": settings}),
    )
    assert plain.hash_for("m") == explicit.hash_for("m")


def test_a_receiver_is_described_by_its_type():
    data = {"receivers": {"a": {"type": "webhook"}}}
    assert "secret_env" in schema_at(("receivers", "a"), data)["properties"]
    assert "discriminator" in schema_at(("receivers", "b"), data)


def test_every_metric_says_which_tasks_it_suits():
    assert set(METRICS) == set(PerformanceOptions.model_fields["metric"].annotation.__args__)
