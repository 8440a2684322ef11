"""Every kind of mistake in a configuration has a message that names the place and what is allowed."""

import pytest

from monitor.config.loader import examine_text

GOOD = """\
kafka: {bootstrap_servers: "127.0.0.1:9092"}
database_url: sqlite:///driftline.db
http: {port: 8420}
streams:
  - {topic: p, kind: predictions}
defaults:
  slice: 1m
  windows: [1h, 1d]
models:
  flight-delay:
    task: regression
    columns:
      t: {kind: numeric, min: 0, max: 5}
alerts:
  budget: 1 per week
  routes:
    - {match: {}, to: [hook]}
receivers:
  hook: {type: webhook, url: "https://example.org/x", secret_env: HOOK}
"""


def problems(text):
    return [str(problem) for problem in examine_text(text)[1]]


def test_the_good_file_has_no_problems():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "[1h, 1d]",
            "[1h, 5 minutes]",
            "8: defaults.windows[1]: '5 minutes' is not a duration (use 5m, 1h, 1d)",
        ),
        ("[1h, 1d]", "[1h/7m]", "8: defaults.windows[0]: '1h/7m' is not a window"),
        ("[1h, 1d]", "[1h/2/3]", "8: defaults.windows[0]: '1h/2/3' is not a window"),
        ("[1h, 1d]", "[60]", "8: defaults.windows[0]: 60 is not a window"),
        ("[1h, 1d]", "[]", "8: defaults.windows: must not be empty"),
        ("[1h, 1d]", "1h", "8: defaults.windows: must be a list ([a, b])"),
        ("[1h, 1d]", "[1h, 1h]", "8: defaults.windows[1]: window '1h' is listed twice"),
        (
            "slice: 1m",
            "slice: 7s",
            "8: defaults.windows[0]: window '1h' is not a multiple of the slice, 7s (use a slice that",
        ),
        ("slice: 1m", "slice: 60", "7: defaults.slice: 60 is not a duration (use 5m, 1h, 1d)"),
        ("slice: 1m", "slice: 30d", "7: defaults.slice: '4w2d' is out of range (use 1s to 7d)"),
        ("slice: 1m", "slice:", "7: defaults.slice: has no value (give one, or delete the key)"),
        (
            "slice: 1m",
            "slize: 1m",
            "7: defaults.slize: is an unknown key; did you mean slice? (use slice, windows,",
        ),
        ("slice: 1m", "lateness: 8d", "7: defaults.lateness: lateness '1w1d' is longer than horizon '1w'"),
        ("slice: 1m", "horizon: 99999999w", "7: defaults.horizon: '99999999w' is longer than 100 years"),
        (
            "slice: 1m",
            "threshold_psi: 0.001",
            "7: defaults.threshold_psi: tolerance_psi 0.01 is above threshold_psi 0.001",
        ),
        ("slice: 1m", "segments: [a, b, c, d, e, f]", "7: defaults.segments: is too long (use at most 5)"),
        ("slice: 1m", "segments: [a, a]", "7: defaults.segments[1]: 'a' is listed twice"),
        (
            "slice: 1m",
            "detector: psy",
            "7: defaults.detector: 'psy' is no detector; did you mean psi? (use ",
        ),
        (
            "slice: 1m",
            "detector_parameters: {limit: 1}",
            "7: defaults.detector_parameters: edetector: there is no parameter 'limit' (",
        ),
        (
            "slice: 1m",
            "detector_parameters: {z_reference: wide}",
            "7: defaults.detector_parameters: edetector: z_reference: 'wide' (",
        ),
        (
            "slice: 1m",
            "reference: {first: 7d, file: a.csv}",
            "7: defaults.reference: first and file exclude each other (use first, or file, or from and to)",
        ),
        ("slice: 1m", "reference: {from: 2026-01-01}", "7: defaults.reference: a stretch needs both ends"),
        (
            "slice: 1m",
            "reference: {from: 2026-01-02, to: 2026-01-01}",
            "7: defaults.reference.to: must be after from",
        ),
        (
            "slice: 1m",
            "reference: {from: 2026-01-02T00:00:00, to: 2026-01-05}",
            "7: defaults.reference.from: '2026-01-02T00:00:00' does not say its offset from UTC",
        ),
        (
            "slice: 1m",
            "reference: {from: soon, to: 2026-01-05}",
            "7: defaults.reference.from: 'soon' is not an instant",
        ),
        (
            "task: regression",
            "task: regresion",
            "11: models.flight-delay.task: 'regresion' is not allowed; did you mean regression? "
            "(use binary_classification, multiclass_classification, regression)",
        ),
        (
            "task: regression",
            "performance: {metric: f1, slo: 0.6}\n    task: regression",
            "11: models.flight-delay.performance.metric: 'f1' does not suit regression (use mae, rmse, r2)",
        ),
        (
            "min: 0, max: 5",
            "min: 9, max: 5",
            "13: models.flight-delay.columns.t.max: 5 is less than min, 9 (use max ≥ min)",
        ),
        ("min: 0,", "min: '0',", "13: models.flight-delay.columns.t.min: '0' is not a number"),
        ("min: 0,", "min: .inf,", "13: models.flight-delay.columns.t.min: must be a finite number"),
        (
            "min: 0, max: 5",
            "values: [1]",
            "13: models.flight-delay.columns.t.values: is for categorical columns",
        ),
        (
            "kind: numeric",
            "kind: categorical",
            "13: models.flight-delay.columns.t.min: is for numeric columns",
        ),
        (
            "kind: numeric",
            "required: 1",
            "13: models.flight-delay.columns.t.required: 1 is not a truth value",
        ),
        (
            "kind: numeric",
            "max_missing: 2",
            "13: models.flight-delay.columns.t.max_missing: 2 is no limit (use a share from 0 to 1",
        ),
        ("port: 8420", "port: 99999", "3: http.port: 99999 is out of range (use 0 to 65535)"),
        ("port: 8420", "port: true", "3: http.port: true is not a whole number"),
        ("{port: 8420}", "8420", "3: http: must be a mapping (key: value)"),
        ("kind: predictions", "kind: prediction", "5: streams[0].kind: 'prediction' is not allowed; did you"),
        ("kind: predictions", "kind: labels, format: jsom", "5: streams[0].format: 'jsom' is no format"),
        ("topic: p", "topic: 7", "5: streams[0].topic: 7 is not text (put it in quotes)"),
        ("topic: p", "topic: a/b", "5: streams[0].topic: 'a/b' is not the name of a topic (use letters"),
        (
            "topic: p",
            "topic: driftline.control",
            "5: streams[0].topic: 'driftline.control' is what Driftline",
        ),
        (
            "  - {topic: p, kind: predictions}\n",
            "  - {topic: p, kind: predictions}\n  - {topic: p, kind: labels}\n",
            "6: streams[1].topic: 'p' is read by streams[0] already (list a topic once)",
        ),
        ("  - {topic: p, kind: predictions}\n", "", "4: streams: must not be empty"),
        (
            "1 per week",
            "weekly",
            "15: alerts.budget: 'weekly' is not a budget (use N per hour, day, week, month or year",
        ),
        ("1 per week", "0 per week", "15: alerts.budget: '0 per week' is not a budget"),
        (
            "budget: 1 per week",
            "lanes: {performance: 0.9}",
            "15: alerts.lanes: the shares add up to 1.6 (use at most 1 together; "
            "left at their defaults: predictions 0.2,",
        ),
        (
            "budget: 1 per week",
            "lanes: {quality: -1}",
            "15: alerts.lanes.quality: -1 is out of range (use 0 to 1)",
        ),
        (
            "to: [hook]",
            "to: [hok]",
            "17: alerts.routes[0].to[0]: 'hok' is no receiver; did you mean hook? (use hook)",
        ),
        (
            "budget: 1 per week",
            "digest: {to: [hook, hok]}",
            "15: alerts.digest.to[1]: 'hok' is no receiver; did you mean hook? (use hook)",
        ),
        ("budget: 1 per week", "digest: {level: 0}", "15: alerts.digest.level: 0 is out of range"),
        (
            "budget: 1 per week",
            "policy: {severities: {feature: warn}}",
            "15: alerts.policy.severities.feature: 'feature' is not allowed; did you mean features? (use ",
        ),
        (
            "budget: 1 per week",
            "policy: {clean_windows: 0}",
            "15: alerts.policy.clean_windows: 0 is out of range (use 1 to 1000)",
        ),
        ("match: {}", "match: {model: []}", "17: alerts.routes[0].match.model: must not be empty"),
        ("match: {}", "match: {model: {a: b}}", "17: alerts.routes[0].match.model: must be a list"),
        ("match: {}", "match: {colour: x}", "17: alerts.routes[0].match.colour: is an unknown key"),
        (
            "task: regression",
            "dedupe: 1m",
            "11: models.flight-delay.dedupe: holds for all models of a topic alike (give it under defaults)",
        ),
        ("to: [hook]", "to: []", "17: alerts.routes[0].to: must not be empty"),
        (", to: [hook]", "", "17: alerts.routes[0].to: is required"),
        (
            "match: {}",
            "match: {severity: pag}",
            "17: alerts.routes[0].match.severity: 'pag' is not allowed; did you mean page? (use info, warn,",
        ),
        (
            "type: webhook",
            "type: webhok",
            "19: receivers.hook: type 'webhok' is not allowed; did you mean webhook? (use ",
        ),
        ("type: webhook, ", "", "19: receivers.hook: type is required (use "),
        (
            "secret_env: HOOK",
            "secret: abc",
            "19: receivers.hook.secret: secrets are not written here (use secret_env or secret_file)",
        ),
        ("secret_env: HOOK", "password: abc", "19: receivers.hook.password: secrets are not written here"),
        (
            "database_url: sqlite:///driftline.db\n",
            "",
            "1: database_url: is required (or database_url_env, or database_url_file)",
        ),
        (
            "database_url: sqlite:///driftline.db",
            "database_url: sqlite:///driftline.db\ndatabase_url_env: URL",
            "3: database_url_env: stands beside database_url (give one of them)",
        ),
        ("sqlite:///driftline.db", "mysql://a:hunter2@b/c", "2: database_url: database URLs of kind 'mysql'"),
        (
            "database_url: sqlite:///driftline.db",
            "database_url_env: a b",
            "2: database_url_env: 'a b' is not the name of an environment variable (use letters",
        ),
        ("sqlite:///driftline.db", "'sqlite://'", "2: database_url: SQLite needs a file"),
        ("sqlite:///driftline.db", "not a url", "2: database_url: not a database URL (use sqlite:///"),
        (
            'bootstrap_servers: "127.0.0.1:9092"',
            "group_id: g",
            "1: kafka.bootstrap_servers: is required",
        ),
        (
            "9092",
            '9092", options: {group.id: x}, group_id: "g',
            '1: kafka.options["group.id"]: is set by Driftline (see kafka.group_id)',
        ),
        (
            "9092",
            '9092", options: {sasl.password: hunter2}, group_id: "g',
            '1: kafka.options["sasl.password"]: secrets are not written here '
            "(use sasl.password_env or sasl.password_file)",
        ),
        (
            "9092",
            '9092", options: {a.b: [1]}, group_id: "g',
            '1: kafka.options["a.b"]: must be a single text, number or truth value',
        ),
    ],
)
def test_message(before, after, message):
    assert before in GOOD
    found = problems(GOOD.replace(before, after))
    assert any(problem.startswith(f"driftline.yaml:{message}") for problem in found), found
    assert "hunter2" not in "".join(found)


def test_all_problems_are_reported_at_once_and_in_the_order_of_the_file():
    text = GOOD.replace("8420", "99999").replace("slice: 1m", "slize: 3").replace("[hook]", "[hok]")
    text = text.replace("max: 5", "max: -1").replace("1 per week", "1 per fortnight")
    assert [problem.split(":")[1] for problem in problems(text)] == ["3", "7", "13", "15", "17"]


def test_a_wrong_value_is_not_reported_twice():
    text = GOOD.replace("windows: [1h, 1d]", "windows: [1x]")
    assert problems(text) == [
        "driftline.yaml:8: defaults.windows[0]: '1x' is not a duration (use 5m, 1h, 1d)"
    ]


def test_a_contradiction_of_the_defaults_is_reported_once_although_models_inherit_it():
    assert len(problems(GOOD.replace("slice: 1m", "lateness: 30d"))) == 1


def test_a_model_that_does_not_fit_the_defaults_is_reported_at_the_model():
    text = GOOD.replace("task: regression", "slice: 7m")
    expected = (
        "driftline.yaml:11: models.flight-delay.slice: window '1h' is not a multiple of the slice, 7m "
        "(use a slice that divides it); window '1d' is not a multiple of the slice, 7m "
        "(use a slice that divides it)"
    )
    assert problems(text) == [expected]


def test_columns_that_contradict_the_defaults_are_found_after_merging():
    text = GOOD.replace("slice: 1m", "columns: {t: {max: 100}}").replace("min: 0, max: 5", "min: 200")
    assert problems(text) == [
        "driftline.yaml:13: models.flight-delay.columns.t.max: 100 is less than min, 200 (use max ≥ min)"
    ]


@pytest.mark.parametrize("key", ["defaults", "models", "receivers", "routes"])
def test_a_mapping_or_list_left_blank_is_empty(key):
    text = "kafka: {bootstrap_servers: b}\ndatabase_url: sqlite:///d\nstreams: [{topic: p, kind: labels}]\n"
    assert problems(f"{text}alerts:\n  routes:\n" if key == "routes" else f"{text}{key}:\n") == []
