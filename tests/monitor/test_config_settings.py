"""Settings in effect: merging, units, provenance, secrets."""

import json

import pytest

from alerting.policy import Route
from monitor.config import Configuration, ModelSettings
from monitor.config.alerts import Budget
from monitor.config.loader import examine_text
from schemas.errors import ConfigurationError
from schemas.verdict import Lane
from schemas.window import WindowSpec

KEY = "whsec_" + "a" * 32


def configuration(**parts):
    base = {
        "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
        "database_url": "sqlite:///driftline.db",
        "streams": [{"topic": "p", "kind": "predictions"}],
    }
    return Configuration.model_validate({**base, **parts})


def test_defaults():
    settings = configuration().for_model("anything")
    assert settings.slice_ms == 60_000
    assert settings.windows == (WindowSpec.parse("1h"), WindowSpec.parse("1d"))
    assert (settings.lateness_ms, settings.horizon_ms, settings.skew_ms) == (600_000, 604_800_000, 300_000)
    assert (settings.dedupe_ms, settings.idle_after_ms) == (600_000, 10_000)
    assert (settings.labels.horizon_ms, settings.labels.sample_per_s) == (2_592_000_000, 2_000)
    assert (settings.reference.span_ms, settings.reference.min_rows) == (604_800_000, 200)
    assert (settings.tolerance_psi, settings.threshold_psi, settings.detector) == (0.01, 0.1, "edetector")
    assert (settings.max_columns, settings.max_segment_values, settings.segments) == (500, 50, ())


def test_durations_of_the_service():
    assert configuration().commit_interval_ms == 5_000
    assert configuration(commit_interval="250ms").commit_interval_ms == 250


def test_an_entry_overrides_the_defaults_and_leaves_other_models_alone():
    config = configuration(defaults={"slice": "5m"}, models={"a": {"windows": ["1d"], "owner": "ann"}})
    assert config.for_model("a").windows == (WindowSpec.parse("1d"),)
    assert config.for_model("a").slice_ms == 300_000
    assert config.for_model("a").owner == "ann"
    assert config.for_model("b").windows == (WindowSpec.parse("1h"), WindowSpec.parse("1d"))


def test_an_entry_can_say_the_same_as_the_built_in_default():
    config = configuration(
        defaults={"slice": "5m", "segments": ["x"]}, models={"a": {"slice": "1m", "segments": []}}
    )
    assert config.for_model("a").slice_ms == 60_000
    assert config.for_model("a").segments == ()


def test_labels_columns_and_tags_merge_key_by_key():
    config = configuration(
        defaults={
            "labels": {"horizon": "1d"},
            "columns": {"t": {"min": 0}, "u": {"max": 1}},
            "tags": {"a": "1"},
        },
        models={"m": {"labels": {"sample_per_s": 5}, "columns": {"t": {"max": 9}}, "tags": {"b": "2"}}},
    )
    settings = config.for_model("m")
    assert (settings.labels.horizon_ms, settings.labels.sample_per_s) == (86_400_000, 5)
    assert (settings.columns["t"].min, settings.columns["t"].max, settings.columns["u"].max) == (0, 9, 1)
    assert settings.tags == {"a": "1", "b": "2"}


def test_a_reference_is_replaced_as_a_whole():
    config = configuration(
        defaults={"reference": {"first": "1d"}},
        models={
            "f": {"reference": {"file": "t.csv"}},
            "r": {"reference": {"from": "2026-01-01", "to": 1767312000000}},
        },
    )
    file, stretch = config.for_model("f").reference, config.for_model("r").reference
    assert (file.file, file.span_ms) == ("t.csv", None)
    assert (stretch.from_ms, stretch.to_ms, stretch.span_ms) == (1767225600000, 1767312000000, None)
    assert config.for_model("other").reference.span_ms == 86_400_000


def test_models_without_an_entry_share_one_object():
    config = configuration(models={"a": {"slice": "5m"}})
    assert config.for_model("x") is config.for_model("y")
    assert config.for_model("a") is config.for_model("a")


def test_the_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        configuration().for_model("a").slice_ms = 1


def test_settings_round_trip_through_their_written_form():
    written = {"slice": "5m", "windows": ["1h/15m"], "reference": {"from": "2026-01-01", "to": "2026-02-01"}}
    settings = ModelSettings.model_validate(written)
    dumped = json.loads(settings.model_dump_json(exclude_unset=True))
    assert dumped["windows"] == ["1h/15m"]
    assert dumped["reference"]["from"] == "2026-01-01T00:00:00.000Z"
    assert ModelSettings.model_validate(dumped) == settings


def test_the_hash_is_that_of_the_settings_in_effect():
    one = configuration(models={"a": {"slice": "5m"}, "b": {}})
    two = configuration(defaults={"slice": "5m"}, kafka={"bootstrap_servers": "elsewhere:1"})
    assert len(one.hash_for("a")) == 64
    assert one.hash_for("a") == two.hash_for("anything")
    assert one.hash_for("a") != one.hash_for("b")
    assert one.hash_for("b") == one.hash_for("never seen")


def test_the_hash_does_not_change_between_releases_by_accident():
    """A changed hash marks every stored result as made with other settings: do it on purpose."""
    assert configuration().hash_for("m") == configuration(defaults={"slice": "60s"}).hash_for("m")


def test_secrets_missing_names_each_place():
    text = """\
kafka:
  bootstrap_servers: b
  options: {sasl.password_env: NOPE}
database_url_file: /nowhere/url
streams: [{topic: p, kind: labels}]
receivers:
  hook:
    type: webhook
    url: https://example.org
    secret_env: HOOK
"""
    config, _ = examine_text(text)
    assert config.secrets_missing({}) == [
        "driftline.yaml:4: database_url_file: file '/nowhere/url' cannot be read: No such file or directory",
        'driftline.yaml:3: kafka.options["sasl.password_env"]: environment variable NOPE is not set',
        "driftline.yaml:10: receivers.hook.secret_env: environment variable HOOK is not set",
    ]


def test_secrets_are_fetched_from_the_environment_and_from_files(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("postgresql+psycopg://ann:hunter2@db/x\n")
    config = configuration(database_url=None, database_url_file=str(secret))
    assert config.database() == "postgresql+psycopg://ann:hunter2@db/x"
    assert config.secrets_missing({}) == []
    config = configuration(database_url=None, database_url_env="URL")
    assert config.database({"URL": "sqlite:///x.db"}) == "sqlite:///x.db"


@pytest.mark.parametrize("value", ["", "mysql://ann:hunter2@db/x", "hunter2"])
def test_a_bad_url_in_the_environment_is_not_repeated(value):
    config = configuration(database_url=None, database_url_env="URL")
    with pytest.raises(ConfigurationError) as caught:
        config.database({"URL": value})
    assert "hunter2" not in str(caught.value)
    assert "database_url_env" in str(caught.value)


def test_a_password_in_the_url_works_and_is_advised_against():
    config = configuration(database_url="postgresql+psycopg://ann:hunter2@db/x")
    advice = [str(problem) for problem in config.advice()]
    assert "database_url: contains a password" in advice[0]
    assert "hunter2" not in advice[0]
    assert "hunter2" not in repr(config)
    assert configuration().advice() == []


def test_a_reference_file_that_is_not_here_is_pointed_out(tmp_path):
    there = tmp_path / "train.csv"
    there.touch()
    models = {"a": {"reference": {"file": str(there)}}, "b": {"reference": {"file": "nowhere.csv"}}}
    advice = [str(problem) for problem in configuration(models=models).advice()]
    assert advice == ["driftline.yaml:1: models.b.reference.file: 'nowhere.csv' does not exist here"]


def test_client_options_hold_the_secrets(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("hunter2\n")
    kafka = {
        "bootstrap_servers": "b:1",
        "options": {"sasl.password_env": "P", "ssl.key.password_file": str(secret), "linger.ms": 5},
    }
    assert configuration(kafka=kafka).kafka.client_options({"P": "x"}) == {
        "bootstrap.servers": "b:1",
        "sasl.password": "x",
        "ssl.key.password": "hunter2",
        "linger.ms": 5,
    }


def test_lanes_keep_their_defaults_and_routes_match():
    alerts = configuration(
        alerts={
            "budget": "0.5 per day",
            "lanes": {"features": 0.1},
            "routes": [{"to": ["hook"], "match": {"lane": "features"}}],
        },
        receivers={"hook": {"type": "webhook", "url": "https://example.org", "secret_env": "HOOK"}},
    ).alerts
    assert alerts.budget == Budget(0.5, "day")
    assert (alerts.lanes.features, alerts.lanes.performance) == (0.1, 0.3)
    assert alerts.routes[0].match.lane == (Lane.FEATURES,)
    assert isinstance(alerts.routes[0], Route)


def test_a_budget_counts_by_event_time():
    assert Budget.parse("12 per year").expected_in(365.25 * 86_400_000) == pytest.approx(12)
    assert Budget.parse("12 per year").expected_in(1) == pytest.approx(
        Budget.parse("1 per month").expected_in(1)
    )


def test_settings_build_their_detector():
    config = configuration(
        defaults={"threshold_psi": 0.3, "detector": "psi"},
        models={
            "a": {"detector_parameters": {"calibrate": False}},
            "b": {"detector_parameters": {"threshold": 0.2}},
        },
    )
    built = {name: config.for_model(name).build_detector() for name in "abc"}
    assert [str(built[name]) for name in "abc"] == [
        "PsiThreshold(threshold=0.3, tolerance=0.01, calibrate=False)",
        "PsiThreshold(threshold=0.2, tolerance=0.01, calibrate=True)",
        "PsiThreshold(threshold=0.3, tolerance=0.01, calibrate=True)",
    ]


def test_tolerances_of_columns_reach_the_default_detector():
    config = configuration(
        defaults={"tolerance_psi": 0.02, "columns": {"temp": {"tolerance_psi": 0.1}, "hour": {}}}
    )
    detector = config.for_model("a").build_detector()
    assert detector.parameters() == {"tolerance": 0.02, "tolerances": {"temp": 0.1}, "z_reference": 4.0}
