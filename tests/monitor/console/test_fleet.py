"""The start page: how every model is, what needs attention first, however many there are."""

import re
from collections import Counter

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text, update

from monitor.store.engine import immediate, reading
from monitor.store.tables import dead_letter, partition_model
from monitor.web.app import create_app
from monitor.web.console.fleet.listing import FleetAsked
from monitor.web.console.pages.fleet import read_fleet
from monitor.web.context import Context
from tests.kit.browser import PHONE, Visitor
from tests.monitor.console.conftest import filled_world, serving
from tests.monitor.console.looks import check_page, finish
from tests.monitor.fleet_world import DAY_MS, END_MS, NOW_MS, Fleet
from tests.monitor.web_world import World

MODELS = 132
SEVERITIES = ("page", "warn", "info")
STATES = ("firing", "pending", "acknowledged", "no data", "learning", "fine")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    made = Fleet(
        f"sqlite:///{tmp_path_factory.mktemp('fleet') / 'driftline.db'}", MODELS, 40, "6h", DAY_MS // 4
    )
    made.fill()
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def client(fleet):
    with client_of(fleet) as made:
        yield made


@pytest.fixture(scope="module")
def fleet_address(fleet):
    with serving(fleet) as running:
        yield running.url


def client_of(world):
    app = create_app(world.configuration, world.engine, world.telemetry, world.clock)
    return TestClient(app, base_url="http://127.0.0.1")


def shown(world, **asked):
    context = Context(world.configuration, world.engine, world.telemetry, world.clock)
    with reading(world.engine) as connection:
        return read_fleet(context, connection, FleetAsked(**asked))


def every_row(world, **asked):
    """All pages, one after the other."""
    found, cursor = [], None
    while True:
        page = shown(world, cursor=cursor, **asked)
        found += page["rows"]
        cursor = page["listed"].next_cursor
        if cursor is None:
            return found


def names(html):
    return re.findall(r'<th scope="row" role="rowheader"><a href="/models/([^"]+)">', html)


def number_of(row):
    return int(row.standing.model.removeprefix("model-"))


def state_of(i):
    """What the fleet's makers had in mind for a model."""
    if i % 8 == 3:
        return STATES[i // 24 % 3]
    return "no data" if i % 11 == 5 else "learning" if i % 9 == 7 else "fine"


def test_it_is_for_everybody(browser, fleet_address):
    check_page(browser, fleet_address, "/")


def test_every_model_is_in_the_state_it_should_be_in(fleet):
    rows = every_row(fleet)
    assert {number_of(row): row.standing.state for row in rows} == {i: state_of(i) for i in range(MODELS)}
    assert shown(fleet)["summary"].states == Counter(state_of(i) for i in range(MODELS))
    assert {row.standing.severity for row in rows if number_of(row) % 8 == 3} == set(SEVERITIES)
    assert {row.why for row in rows if row.standing.state == "no data"} == {
        "nothing has arrived for more than 1d10m"
    }
    assert {row.why for row in rows if row.standing.state == "firing"} == {"x drifted"}


def test_what_needs_attention_comes_first(fleet):
    def urgency(row):
        severity = row.standing.severity
        worst = SEVERITIES.index(severity) if severity else len(SEVERITIES)
        return worst, STATES.index(row.standing.state), row.standing.model

    rows = every_row(fleet)
    assert [row.standing.model for row in rows] == [r.standing.model for r in sorted(rows, key=urgency)]


def test_other_orders(fleet):
    rows = {row.standing.model: row for row in every_row(fleet)}
    assert [r.standing.model for r in every_row(fleet, sort="name")] == sorted(rows)
    ages = [r.standing.newest_ms for r in every_row(fleet, sort="freshness")]
    assert ages == sorted(ages)
    rates = [-1 if r.rate is None else r.rate.per_hour for r in every_row(fleet, sort="rate")]
    assert rates == sorted(rates, reverse=True)
    assert len(rates) == MODELS


def test_rates_are_those_of_the_last_day_of_windows(fleet, client):
    for row in every_row(fleet):
        i = number_of(row)
        if i % 9 == 7:
            assert row.rate is None
            continue
        versions = 2 if i % 10 == 0 else 1
        assert (row.rate.rows, row.rate.span_ms) == (4 * versions * (1_000 + i % 100), DAY_MS)
        assert row.rate.end_ms == END_MS
    assert "42 an hour" not in client.get("/?q=model-00001").text
    assert "167 an hour" in client.get("/?q=model-00001").text


def test_a_window_that_was_judged_again_counts_once(tmp_path):
    made = Fleet(f"sqlite:///{tmp_path / 'again.db'}", 1, 1, "6h", DAY_MS // 4)
    made.fill()
    with immediate(made.engine) as connection:
        connection.execute(
            text(
                'INSERT INTO judgement (model, version, "window", start_ms, end_ms, revision, rows, sources,'
                " configuration_hash, code_version, excluded_rows, judged_at_ms) SELECT model, version, "
                "\"window\", start_ms, end_ms, 2, 5000, '{}', 'c', '0', 0, 0 FROM judgement "
                "WHERE start_ms = (SELECT max(start_ms) FROM judgement) AND version = '1'"
            )
        )
    (row,) = shown(made)["rows"]
    assert row.rate.rows == 5_000 + 7 * 1_000
    made.engine.dispose()


def test_strips_show_the_worst_alert_of_each_day(fleet):
    today = END_MS // DAY_MS
    for row in every_row(fleet):
        i, levels = number_of(row), row.strip.levels
        assert (len(levels), row.strip.axis.last) == (30, today)
        judged = "none" if i % 9 == 7 else "ok"
        expected = dict.fromkeys(range(today - 29, today), judged) | {today: "none"}
        if i % 4 == 1:
            expected[today - 20] = SEVERITIES[i % 3]
        if i % 8 == 3:
            expected |= {today - n: SEVERITIES[i // 8 % 3] for n in (3, 2, 1, 0)}
        assert list(levels) == [expected[day] for day in sorted(expected)]


def test_strips_are_also_told_in_words(client):
    page = client.get("/?q=model-00013").text
    assert 'aria-label="1 day warn (12 Dec), 28 days fine, 1 day nothing judged"' in page


def test_performance_and_labels_are_those_of_the_api(fleet, client):
    with immediate(fleet.engine) as connection:
        connection.execute(
            text(
                "INSERT INTO joined_version (id, model_id, model, version, slice_ms, positive) "
                "SELECT row_number() OVER (), 0, model, version, 1, '' FROM model_version"
            )
        )
    answer = client.get("/api/v1/models", params={"limit": 500}).json()
    documents = {one["model"]: one for one in answer["items"]}
    for row in every_row(fleet):
        document = documents[row.standing.model]
        told = {v["version"]: v["performance"] for v in document["versions"] if v["performance"]}
        assert {version: value.model_dump(mode="json") for version, value in row.performance} == told
        assert document["last_event"] is not None
        assert document["open_alerts"] == len(row.standing.incidents)
    assert {p.metric for _, p in every_row(fleet, q="model-00001")[0].performance} == {"f1"}


def test_the_budget_is_that_of_the_api(fleet, client):
    week = shown(fleet)["summary"].week
    told = client.get("/api/v1/budget", params={"from": week.from_ms, "to": week.to_ms}).json()
    assert (week.allowed, week.left) == pytest.approx((told["allowed"], told["left"]))
    assert week.spent == pytest.approx(told["spent"])
    spent: Counter[str] = Counter()
    for one in told["models"]:
        spent[one["model"]] += one["spent"]
    for row in every_row(fleet):
        expected = spent.get(row.standing.model)
        assert row.spent_share == (None if expected is None else pytest.approx(expected / week.allowed))


def test_cards_sum_up_the_fleet(fleet, client):
    summary = shown(fleet)["summary"]
    with reading(fleet.engine) as connection:
        stored = connection.execute(dead_letter.select()).all()
    assert summary.letters == sum(one.stored_at_ms >= NOW_MS - DAY_MS for one in stored)
    assert summary.incidents == Counter(SEVERITIES[i // 8 % 3] for i in range(MODELS) if i % 8 == 3)
    assert sum(summary.incidents.values()) == summary.troubled == sum(i % 8 == 3 for i in range(MODELS))
    page = client.get("/").text
    assert f"<b>{MODELS}</b> models" in page
    assert f"{summary.troubled} with an open incident" in page


def test_search_and_state_narrow_the_list(fleet, client):
    assert names(client.get("/?q=MODEL-0000").text)
    assert {number_of(row) for row in every_row(fleet, q="el-0012")} == set(range(120, 130))
    for state in STATES:
        rows = every_row(fleet, state=state.replace(" ", "-"))
        assert {number_of(row) for row in rows} == {i for i in range(MODELS) if state_of(i) == state}
    assert {row.standing.state for row in every_row(fleet, state="open")} == set(STATES[:3])
    assert (
        "There is no model with “zzz” in the name in the state “learning”."
        in client.get("/?q=zzz&state=learning").text
    )


@pytest.mark.parametrize("wrong", ["state=sleeping", "sort=colour", "page=2", "cursor=x", "q=" + "x" * 300])
def test_what_it_does_not_know_is_refused(client, wrong):
    assert client.get(f"/?{wrong}").status_code == 422


def test_a_cursor_is_of_one_order(fleet, client):
    cursor = shown(fleet)["listed"].next_cursor
    assert client.get("/", params={"cursor": cursor}).status_code == 200
    assert client.get("/", params={"cursor": cursor, "sort": "name"}).status_code == 422


def test_pages_follow_one_another_when_models_come_and_go(tmp_path):
    made = Fleet(f"sqlite:///{tmp_path / 'pages.db'}", 120, 1)
    made.fill()
    first = shown(made)
    with immediate(made.engine) as connection:
        for statement in (
            "INSERT INTO model_version VALUES ('aaa', '1', 'champion', 0, 0)",
            "DELETE FROM model_version WHERE model = :last",
        ):
            values = {"last": first["rows"][-1].standing.model} if ":last" in statement else {}
            connection.execute(text(statement), values)
    rest = shown(made, cursor=first["listed"].next_cursor)
    then = shown(made, cursor=rest["listed"].next_cursor)
    seen = [row.standing.model for page in (first, rest, then) for row in page["rows"]]
    assert len(seen) == len(set(seen))
    assert {f"model-{i:05}" for i in range(120)} <= set(seen)
    made.engine.dispose()


def test_it_reads_a_fixed_number_of_times_and_by_index(fleet):
    """However many windows there are: what is read of them is looked up, not looked for."""
    statements: Counter[str] = Counter()
    plans: list[str] = []

    def explain(connection, _cursor, statement, parameters, *_):
        if not statement.startswith("EXPLAIN"):
            statements[statement] += 1
            if statement.startswith(("SELECT", "WITH")):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                plans.extend(str(row[-1]) for row in rows)

    event.listen(fleet.engine, "before_cursor_execute", explain)
    try:
        shown(fleet)
        of_page = sum(statements.values())
        shown(fleet, sort="rate")
    finally:
        event.remove(fleet.engine, "before_cursor_execute", explain)
    assert of_page <= 20
    large = "slice_profile result judgement later of_version ledger outcome_ledger outcome_window "
    large += "performance_value alert incident incident_alert dead_letter window_state"
    touched = [plan.split() for plan in plans if plan.split()[1] in large.split()]
    assert {words[0] for words in touched} == {"SEARCH"}
    assert {words[1] for words in touched}.isdisjoint({"slice_profile", "result", "window_state"})
    for words in touched:
        if words[1] in ("judgement", "ledger", "outcome_ledger") and "start_ms>?" not in " ".join(words):
            assert "_end" in " ".join(words)


def test_a_fleet_without_models_says_so(tmp_path, browser):
    made = Fleet(f"sqlite:///{tmp_path / 'empty.db'}", 1, 1)
    with serving(made) as running:
        check_page(browser, running.url, "/")
        visitor = Visitor(browser, running.url)
        assert visitor.visit("/").get_by_text("No model has been seen yet").count() == 1
        finish(visitor, running.url)
    made.engine.dispose()


def test_names_are_shown_and_linked_as_they_are(tmp_path):
    made = World(f"sqlite:///{tmp_path / 'names.db'}")
    odd = ["<b>&\"'", "a/b c?d=e#f", "ÄÖ 模型 🚀", "%2F..", "x" * 256]
    for name in odd:
        made.add([0], model=name)
    with client_of(made) as client:
        page = client.get("/").text
        assert "<b>&" not in page.partition("<tbody")[2]
        for name in odd:
            assert client.get("/", params={"q": name.upper()}).text.count('rowheader"><a') == 1
    assert set(names(page)) == {
        "%3Cb%3E%26%22%27", "a%2Fb%20c%3Fd%3De%23f", "%C3%84%C3%96%20%E6%A8%A1%E5%9E%8B%20%F0%9F%9A%80",
        "%252F..", "x" * 256,
    }  # fmt: skip
    made.engine.dispose()


def test_a_model_that_was_alerted_on_leads_to_its_incident(visitor, address, world):
    page = visitor.visit("/")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="m", exact=True))
    link = row.get_by_role("link", name="1 open of m")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/incidents/*")
    assert page.locator("h1").inner_text()


def test_the_filter_works_by_keyboard_and_without_script(browser, fleet_address):
    for script in (True, False):
        visitor = Visitor(browser, fleet_address, java_script_enabled=script, viewport=PHONE)
        page = visitor.visit("/")
        page.get_by_role("searchbox").focus()
        page.keyboard.type("model-0001")
        page.get_by_role("combobox", name="State").select_option("fine")
        page.get_by_role("combobox", name="Order").select_option("name")
        page.get_by_role("button", name="Show").press("Enter")
        page.wait_for_url("**/?q=model-0001&state=fine&sort=name*")
        found = page.get_by_role("rowheader").all_inner_texts()
        assert found == [f"model-{i:05}" for i in range(10, 20) if state_of(i) == "fine"]
        with page.expect_navigation():
            page.get_by_role("link", name="All models").click()
        assert page.get_by_role("link", name="More models").count() == 1
        with page.expect_navigation():
            page.get_by_role("link", name="More models").click()
        assert page.get_by_role("rowheader").first.inner_text() == "model-00050"
        finish(visitor, fleet_address)


def test_it_follows_what_happens(browser, tmp_path):
    made = filled_world(f"sqlite:///{tmp_path / 'live.db'}")
    with serving(made) as running:
        visitor = Visitor(browser, running.url)
        page = visitor.visit("/")
        page.get_by_text("Live", exact=True).wait_for()
        assert page.get_by_role("rowheader").all_inner_texts() == ["m"]
        made.add(range(10), model="other")
        made.learn(range(10), model="other")
        made.add(range(10, 20), model="other")
        made.judge(10, model="other")
        made.alert("other")
        page.get_by_role("rowheader", name="other").wait_for()
        assert page.get_by_role("link", name="1 open of other").count() == 1
        finish(visitor, running.url)
    made.engine.dispose()


def test_silence_is_no_data_unless_the_contract_allows_it(tmp_path):
    made = World(f"sqlite:///{tmp_path / 'silent.db'}", models={"patient": {"freshness": "60d"}})
    for model in ("m", "patient"):
        made.add([0], model=model)
    with immediate(made.engine) as connection:
        early = made.clock.now_ms() - 30 * DAY_MS
        connection.execute(update(partition_model).values(arrived_at_ms=early))
    standing = {row.standing.model: row.standing.state for row in shown(made)["rows"]}
    assert standing == {"m": "no data", "patient": "learning"}
    made.engine.dispose()


def test_both_databases_tell_the_same(database_url):
    made = filled_world(database_url)
    for sort in ("attention", "name", "freshness", "rate"):
        page = shown(made, sort=sort)
        (row,) = page["rows"]
        assert (row.standing.state, row.standing.severity) == ("firing", "page")
        assert (row.rate.rows, row.rate.span_ms) == (1_000, 600_000)
        assert row.strip.levels[-1] == "page"
        assert row.spent_share is None
        assert (page["summary"].letters, page["summary"].week.to_ms) == (1, None)
    made.engine.dispose()


def test_every_link_leads_somewhere(world):
    with client_of(world) as client:
        links = set(re.findall(r'href="(/[^"#]*)"', client.get("/").text.replace("&amp;", "&")))
        assert {"/models/m", "/incidents?severity=page"} <= links
        assert {link: client.get(link).status_code for link in links} == dict.fromkeys(links, 200)
