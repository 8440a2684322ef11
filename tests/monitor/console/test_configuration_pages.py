"""The configuration as applied, contracts, references and previews, as pages: against what they stand for."""

import dataclasses
import html
import re
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient

from alerting.notifiers.catalog import build
from alerting.pipeline import STAGES
from detectors.reference import Reference
from monitor.backtest.stored import backtest_stored
from monitor.backtest.stored_content import Wanted
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.contracts.contract import Contract
from monitor.contracts.difference import changes
from monitor.contracts.revisions import note
from monitor.references.lifecycle import keep, promote
from monitor.store import outbox
from monitor.store.engine import immediate
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.console.configuration.applied import shown, without_credentials
from monitor.web.console.configuration.policy_words import stages
from monitor.web.console.configuration.receivers import fingerprint
from monitor.web.console.forms import COOKIE, FIELD
from monitor.web.console.preview.changed_policy import PolicyChange, changed, differences
from monitor.web.console.preview.previews import Previews
from schemas.errors import UsageError
from tests.kit.browser import Visitor
from tests.monitor.console.conftest import serving
from tests.monitor.console.looks import check_page, finish
from tests.monitor.test_backtest_stored import at, judged_world, options
from tests.monitor.web_world import MINUTE, NOW_MS, START_MS, World, configuration

ODD = "a/b <i>ü</i>"
FIRST = Contract({"x": {"min": 0, "max": 120}})
WIDER = Contract({"x": {"min": 0, "max": 130}, "note": {"required": False}})
NARROWER = Contract({"x": {"min": 18, "max": 130}, "note": {"required": False}})
SECRETS = ("hunter2", "xoxb-deadbeef", "T0/B0/secretpath", "whsec_abc", "filesecret")


class Configured(World):
    """A world with references that are compared."""

    first: Reference
    second: Reference
    third: Reference


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two references on the same bins and one on others, a contract of three revisions, odd names."""
    models = {
        "m": {"columns": {"x": {"min": 18, "max": 130, "limit": "5 rows"}, "c": {"unique": True}}},
        ODD: {"columns": {"x": {"max": 9, "personal": True}}},
    }
    made = Configured(f"sqlite:///{tmp_path_factory.mktemp('configured') / 'driftline.db'}", models=models)
    made.add(range(10))
    made.first = made.learn(range(10))
    counts = made.first.counts.copy()
    counts[0, 0] += 400
    rows = made.first.group_rows.copy()
    rows[0] += 400
    made.second = dataclasses.replace(made.first, counts=counts, group_rows=rows, _kept={})
    made.add(range(20, 30), model="m", version="2", shift=3.0)
    made.third = made.learn(range(20, 30), version="2", shift=3.0)
    with immediate(made.engine) as connection:
        keep(connection, made.second, {"source": "<file>.parquet"}, NOW_MS + 9)
        promote(connection, ("m", "1"), made.second.hash, from_ms=START_MS + 60 * MINUTE, by="béa <b>",
                now_ms=NOW_MS + 9)  # fmt: skip
    for number, one in enumerate((FIRST, WIDER, NARROWER)):
        note(made.engine, "m", one, NOW_MS + number)
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def address(world):
    with serving(world) as running:
        yield running.url


@pytest.fixture(scope="module")
def client(world):
    return client_of(world)


def client_of(world, config=None, clock=None):
    app = create_app(config or world.configuration, world.engine, world.telemetry, clock or world.clock)
    return TestClient(app, base_url="http://127.0.0.1")


def text_of(client, path, status=200):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 300_000
    return html.unescape(answer.text)


def post(client, path, **fields):
    client.get("/configuration")
    return client.post(path, data={FIELD: client.cookies.get(COOKIE), **fields}, follow_redirects=False)


def test_pages_are_for_everybody(browser, address, world):
    for path in (
        "/configuration?show=all",
        "/configuration/contracts/m?old=1&new=3",
        "/configuration/references",
        f"/configuration/references/{world.first.hash}",
        f"/configuration/references/compare?old={world.first.hash}&new={world.second.hash}",
        "/configuration/preview?tolerance_psi=0.02",
    ):
        check_page(browser, address, path)


# --- as applied ---------------------------------------------------------------------------------------------


def test_no_secret_is_on_the_page(world, tmp_path, monkeypatch):
    file = tmp_path / "secret"
    file.write_text("filesecret")
    monkeypatch.setenv("SLACK", "xoxb-deadbeef")
    monkeypatch.setenv("HOOK", "whsec_abc")
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    data = {
        **configuration().model_dump(mode="json", by_alias=True, exclude_unset=True),
        "kafka": {
            "bootstrap_servers": "k:9092",
            "options": {"sasl.username": "u", "sasl.password_env": "KAFKA_PASSWORD"},
        },
        "database_url": "postgresql+psycopg://ann:hunter2@db/d?password=hunter2",
        "http": {"public_url": "https://console.example.org/driftline"},
        "receivers": {
            "hook": {"type": "webhook", "url": "https://hooks.example.org/T0/B0/secretpath",
                     "secret_env": "HOOK"},
            "team": {"type": "slack", "channel": "#c", "token_env": "SLACK"},
            "train": {"type": "airflow", "url": "http://airflow.example.org/T0/B0/secretpath",
                      "dag_id": "again", "token_file": str(file)},
        },
    }  # fmt: skip
    client = client_of(world, Configuration.model_validate(data))
    for path in ("/configuration", "/configuration?show=all"):
        page = text_of(client, path)
        assert [secret for secret in SECRETS if secret in page] == []
        for known in (
            "SLACK",
            "KAFKA_PASSWORD",
            "https://hooks.example.org/…",
            "postgresql+psycopg://ann@db/d",
        ):
            assert known in page
        assert "https://console.example.org/driftline" in page


def test_what_could_be_a_credential_is_hidden_anywhere():
    assert shown(
        {"a": [{"password": "x", "ok": "ftp://u:p@h:21/f"}], "api_key": "k", "needs_token": True}
    ) == {
        "a": [{"password": "(hidden)", "ok": "ftp://h:21/…"}],
        "api_key": "(hidden)",
        "needs_token": True,
    }
    assert without_credentials("https://[::1]:80/x and https://h:notaport/secret") == (
        "https://[::1]:80/… and https://(hidden)"
    )


def test_the_stages_are_those_of_the_pipeline(client, world):
    assert [one.name for one in stages(world.configuration)] == [stage.__name__ for stage in STAGES]
    assert "Every incident tells hook." in text_of(client, "/configuration")


def test_the_whole_policy_is_told_in_words(world):
    alerts = {
        "budget": "2 per day",
        "routes": [
            {"match": {"severity": ["page", "warn"], "model": "m-*"}, "to": ["hook", "train"], "repeat": "4h",
             "quiet": {"from": "22:00", "until": "07:00"}, "escalate": {"after": "30m", "to": ["hook"]}},
        ],
        "inhibit": [{"by": {"kind": "no_data"}, "of": {"lane": "features"}}],
        "maintenance": [{"weekly": {"from": "01:00", "until": "02:00", "days": ["sun"]},
                         "reason": "copies"}],
        "after_deployment": "30m",
        "policy": {"min_windows": 2, "severities": {"features": "warn"}},
    }  # fmt: skip
    receivers = {
        "hook": {"type": "webhook", "url": "https://example.org/x", "secret_env": "HOOK"},
        "train": {"type": "airflow", "url": "https://a.example.org", "dag_id": "d", "token_env": "T"},
        "idle": {"type": "webhook", "url": "https://example.org/y", "secret_env": "HOOK"},
    }
    made = configuration(alerts=alerts, receivers=receivers)
    page = text_of(client_of(world, made), "/configuration")
    for sentence in (
        "An alert fires after 2 windows with findings, and is over after 3 clean windows in a row.",
        "Every incident with severity page or warn, model m-* tells hook and asks train to train the model",
        "Told again every 4h until somebody acknowledges it.",
        "hook as well if nobody acknowledges it within 30m.",
        "While an incident with kind no_data is open, nobody is told of any incident with lane features",
        "Every incident is silent from 01:00 to 02:00 (UTC) on sun: copies.",
        "A model is silent for 30m after a deployment.",
        "hook and train: not from 22:00 to 07:00 (UTC).",
        "no route names it",
    ):
        assert sentence in page
    assert ">features findings</th><td>warn</td><td>the configuration</td>" in page
    assert '>performance</th><td class="number">30 %</td><td class="number">0.6</td>' in page


def test_a_disabled_receiver_is_told_until_its_options_change(world, monkeypatch):
    monkeypatch.setenv("HOOK", "whsec_" + "A" * 32)
    options_ = world.configuration.receivers["hook"]
    notifier = build("hook", options_, {"HOOK": "whsec_" + "A" * 32}, lambda: 0)
    assert fingerprint(options_) == notifier.fingerprint
    with immediate(world.engine) as connection:
        state = {"disabled": "the address is gone (410)", "fingerprint": fingerprint(options_)}
        outbox.set_receiver_state(connection, "hook", "", state)
    assert "the address is gone (410)" in text_of(client_of(world), "/configuration")
    other = {"hook": {"type": "webhook", "url": "https://example.org/new", "secret_env": "HOOK"}}
    mended = configuration(receivers=other)
    assert "the address is gone" not in text_of(client_of(world, mended), "/configuration")


def test_defaults_are_shown_as_they_hold_for_each_model(client):
    page = text_of(client, "/configuration?show=all")
    models = page[page.index("\nmodels:") : page.index("\nalerts:")]
    assert 'windows: ["10m", "1h"]' in models
    assert 'lateness: "1m"' in models


# --- contracts ----------------------------------------------------------------------------------------------


def test_a_contract_shows_its_rules_and_revisions(client):
    page = text_of(client, "/configuration/contracts/m")
    assert "are outside 18 to 130" in page
    assert "5 rows" in page
    assert "repeat a value within a window" in page
    assert re.findall(r'<th scope="row">(\d)</th>', page) == ["3", "2", "1"]
    assert page.count("breaking</span>") == 2  # of revision 3, and its one change


@pytest.mark.parametrize(("old", "new", "sides"), [(1, 2, (FIRST, WIDER)), (3, 1, (NARROWER, FIRST))])
def test_any_two_revisions_are_compared(client, old, new, sides):
    page = text_of(client, f"/configuration/contracts/m?old={old}&new={new}")
    part = page[page.index(f"From revision {old}") : page.index("Revisions, newest first")]
    told = re.findall(r">(breaking|compatible)</span> <code>([^<]*)</code>: ([^<]*)</li>", part)
    expected = changes(*sides)
    assert told == [("breaking" if c.breaking else "compatible", c.place, c.summary) for c in expected]
    fits = "breaking" if any(c.breaking for c in expected) else "compatible"
    assert f">{fits}</span></h3>" in part


def test_contracts_of_odd_names_and_unknown_ones(browser, address, client):
    visitor = Visitor(browser, address)
    page = visitor.visit("/configuration/contracts")
    page.get_by_role("link", name=ODD).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=f"Contract of {ODD}").wait_for()
    assert "Values of x are personal" in page.content()
    finish(visitor, address)
    assert "there is no model" in text_of(client, "/configuration/contracts/nowhere", 404)
    assert "there is no revision 9" in text_of(client, "/configuration/contracts/m?old=9&new=1", 404)


# --- references ---------------------------------------------------------------------------------------------


def test_the_lineage_says_who_uses_what(client, world):
    page = text_of(client, "/configuration/references")
    found = re.findall(r'<th scope="row">m (\d)</th>\s*<td class="number">(\d)</td>', page)
    assert found == [("1", "1"), ("1", "2"), ("2", "1")]
    assert "by béa <b>" in page
    assert "<file>.parquet" in page
    assert f"old={world.first.hash}&new={world.second.hash}" in page
    assert "No version of nobody has a reference" in text_of(client, "/configuration/references?model=nobody")


def test_a_reference_shows_its_columns_and_bins(client, world):
    path = f"/configuration/references/{world.first.hash}"
    page = text_of(client, f"{path}?column=c")
    told = client.get(f"/api/v1/references/{world.first.hash}").json()
    for column in told["columns"]:
        assert f">{column['name']}</a></th><td>{column['kind']} {column['source']}</td>" in page
    drawn = client.get(f"{path}/charts/bins.json?column=c").json()
    (wanted,) = (column for column in told["columns"] if column["name"] == "c")
    assert drawn["axis"][:3] == [one["value"] for one in wanted["bins"][:3]]
    shares = [one["count"] / told["rows"] for one in wanted["bins"][:3]]
    assert drawn["series"][0]["values"][:3] == pytest.approx(shares)
    assert text_of(client, f"{path}?column=nowhere", 404)
    assert text_of(client, "/configuration/references/nowhere", 404)


def test_two_references_are_compared_where_their_bins_agree(client, world):
    first, second, third = world.first, world.second, world.third
    page = text_of(client, f"/configuration/references/compare?old={first.hash}&new={second.hash}")
    column = first.binning.columns[0].name
    end = int(first.binning.offsets[1])
    r, x = (one.counts[0, :end].astype(float) for one in (first, second))
    k, m, n = len(r), r.sum(), x.sum()
    p, q = (r + 0.5) / (m + k / 2), (x + 0.5) / (n + k / 2)
    psi = float(np.sum((q - p) * np.log(q / p)) - (k - 1) * (1 / n + 1 / m))
    row = page[page.index(f'column={column}#bins"') :]
    assert f'<td class="number">{psi:.3g}</td>' in row[:400]
    chart = f"/configuration/references/{first.hash}/charts/bins.json?column={column}&new={second.hash}"
    before, after = client.get(chart).json()["series"]
    assert after["values"][0] == pytest.approx(second.counts[0, 0] / second.rows)
    assert before["values"][0] == pytest.approx(first.counts[0, 0] / first.rows)
    other = text_of(client, f"/configuration/references/compare?old={first.hash}&new={third.hash}")
    assert "not comparable by an index" in other


# --- previews -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A service that has met a change for forty minutes, and what its configuration says."""
    url = f"sqlite:///{tmp_path_factory.mktemp('judged') / 'driftline.db'}"
    made = judged_world(url)
    made.configuration = Configuration.model_validate(options(url))
    made.telemetry = Telemetry()
    yield made
    made.engine.dispose()


def test_a_preview_is_started_and_followed_by_keyboard(browser, judged):
    with serving(judged) as running:
        visitor = Visitor(browser, running.url)
        page = visitor.visit("/configuration/preview?min_windows=9&from=2026-01-01T01:50&to=2026-01-01T02:50")
        page.get_by_role("button", name="Preview").press("Enter")
        page.get_by_role("heading", name="Preview of a change: done").wait_for(timeout=60_000)
        assert page.get_by_text("only here").count() >= 1
        assert visitor.barriers() == []
        page.set_viewport_size({"width": 390, "height": 844})
        assert visitor.is_within_width()
        finish(visitor, running.url)


def finished(client, path):
    """Ask for a preview's page until it is over."""
    for _ in range(600):
        page = text_of(client, path)
        if "Preview of a change: running" not in page:
            return page
        time.sleep(0.1)
    raise AssertionError(path)


@pytest.mark.full
def test_a_preview_says_what_both_policies_would_have_done(judged):
    asked = {"min_windows": "9", "budget": "1 per day", "tolerance_psi": "", "model": ""}
    client = client_of(judged)
    started = post(client, "/configuration/preview", **asked)
    assert started.status_code == 303, started.text
    page = finished(client, started.headers["location"])
    assert "<code>min_windows</code>: 1 → <b>9</b>" in page
    assert "<code>budget</code>: 1 per week → <b>1 per day</b>" in page
    changed_ = changed(judged.configuration, PolicyChange(budget="1 per day", min_windows=9), None)
    both = [backtest_stored(one, Wanted(), clock=judged.clock) for one in (judged.configuration, changed_)]
    fired = [sum(one.whole.has_fired for one in found.incidents) for found in both]
    sent = [len(found.deliveries) for found in both]
    assert fired[0] > fired[1]
    for name, numbers in (("opened incidents", fired), ("sent messages", sent)):
        cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
        assert f'<th scope="row">{name}</th>{cells}' in page
    assert f"{both[0].windows} windows judged with each" in page
    assert page.count("only here") == fired[0]
    (again,) = re.findall(r'href="(/configuration/preview\?[^"]+)">Change it again', page)
    form = text_of(client, again)
    assert 'name="min_windows" type="number" min="1" max="1000" value="9"' in form
    assert 'name="budget" value="1 per day"' in form


def test_values_that_cannot_be_meant_are_refused(client):
    for field, value in (("budget", "many"), ("min_windows", "0"), ("tolerance_psi", "nan"), ("from", "x")):
        refused = post(client, "/configuration/preview", **{field: value})
        assert refused.status_code == 422
        assert field in refused.json()["detail"]
    refused = post(client, "/configuration/preview", **{"from": "2026-01-02T00:00", "to": "2026-01-01T00:00"})
    assert (refused.status_code, refused.json()["errors"][0]["where"]) == (422, "form.to")
    assert "threshold_psi" in post(client, "/configuration/preview", tolerance_psi="5").json()["detail"]
    assert client.post("/configuration/preview", data={"budget": "1 per day"}).status_code == 403
    assert text_of(client, "/configuration/preview/forgotten", 404)


def test_a_preview_without_windows_says_why(client):
    started = post(client, "/configuration/preview", model="m", **{"from": "2030-01-01T00:00"})
    page = finished(client, started.headers["location"])
    assert "There is no result: no complete window of model 'm' is stored in this range" in page


def test_one_runs_at_a_time_and_not_for_ever(judged):
    previews, wanted = Previews(judged.clock), Wanted(from_ms=at(60))
    first = previews.start(judged.configuration, judged.configuration, wanted, {})
    with pytest.raises(UsageError, match="another preview runs"):
        previews.start(judged.configuration, judged.configuration, wanted, {})
    previews.stop(first.id)
    settled(first)
    assert (first.state, first.problem) == ("stopped", "it was stopped")
    hasty = Previews(judged.clock, deadline_s=0.0)
    late = hasty.start(judged.configuration, judged.configuration, wanted, {})
    settled(late)
    assert (late.state, late.problem.startswith("it took longer")) == ("failed", True)


def settled(preview):
    for _ in range(600):
        if preview.state != "running":
            return
        time.sleep(0.05)
    raise AssertionError(preview.state)


def test_few_previews_are_remembered(judged):
    previews = Previews(ManualClock(NOW_MS))
    made = []
    for _ in range(10):
        made.append(previews.start(judged.configuration, judged.configuration, Wanted(model="nobody"), {}))
        settled(made[-1])
    assert [previews.get(one.id) is not None for one in made] == [False] * 2 + [True] * 8
    assert {one.state for one in made} == {"failed"}


def test_only_what_is_asked_for_changes():
    own = {"columns": {"x": {"tolerance_psi": 0.05}}, "tolerance_psi": 0.02}
    before = configuration(models={"m": own, "n": {}})
    same = changed(before, PolicyChange(), None)
    assert [same.hash_for(name) for name in "mnz"] == [before.hash_for(name) for name in "mnz"]
    assert differences(before, same, None) == []
    one = changed(before, PolicyChange(tolerance_psi=0.03), "m")
    assert one.for_model("m").tolerance_psi == 0.03
    assert one.for_model("m").columns["x"].tolerance_psi is None
    assert one.hash_for("n") == before.hash_for("n")
    every = changed(before, PolicyChange(tolerance_psi=0.03), None)
    assert {every.for_model(name).tolerance_psi for name in "mnz"} == {0.03}
    assert changed(before, PolicyChange(tolerance_psi=0.03), "new").for_model("new").tolerance_psi == 0.03
    assert before.for_model("m").tolerance_psi == 0.02
