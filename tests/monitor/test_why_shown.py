"""Where a change of the predictions comes from is told wherever people look, from real events on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from alerting.alert import Alert
from alerting.finding import Finding, Kind
from alerting.notice import Notice
from alerting.payload import decode
from alerting.slack.message import MAX_SECTION, blocks_of, escape, reasons_text, text_of
from alerting.summary import attribution_of, summarise, why_text
from monitor import cli
from monitor.explain import Explainer
from monitor.store import alerts
from monitor.store.engine import reading
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.documents import instant
from schemas.attribution import Attribution, Part, PartKind
from tests.alerting.factory import finding, notices, window
from tests.monitor.test_judge import MINUTE_MS, START_MS, World

CAUSE = "<b>&"  # a name that Slack and browsers would take for something else
DERIVED = {"multivariate.distance", "multivariate.reconstruction_error"}


def send(world: World, first_minute: int, minutes: int, *, shift: float = 0.0, per_minute: int = 60) -> None:
    """Produce events whose score depends on one of two features, and on where they come from."""
    for i in range(minutes * per_minute):
        cause, other = world.rng.normal(shift, 1), world.rng.normal(0, 1)
        origin = "EWR" if world.rng.random() < 0.3 else "JFK"
        score = 0.5 + 0.1 * cause + (0.05 if origin == "EWR" else 0.0) + 0.02 * world.rng.normal()
        event = {
            "event_id": f"e{world.sent}",
            "model": "churn",
            "version": "1",
            "timestamp": START_MS + first_minute * MINUTE_MS + i * MINUTE_MS // per_minute,
            "features": {CAUSE: round(float(cause), 4), "other": round(float(other), 4), "origin": origin},
            "prediction": int(score > 0.6),
            "score": round(float(score), 5),
        }
        world.broker.append("pp", 0, json.dumps(event).encode(), timestamp_ms=world.clock.now_ms())
        world.sent += 1
    world.take_in()


def drifted(url: str, **options: Any) -> World:
    """Learn for an hour, then let one feature move."""
    world = World(url, **{"segments": ["origin"], **options})
    send(world, 0, 80)
    world.judge.sweep()
    send(world, 80, 22, shift=1.0)
    world.judge.sweep()
    return world


@pytest.fixture
def world(database_url: str) -> Any:
    made = drifted(database_url)
    yield made
    made.close()


def the_alert(world: World) -> Alert:
    ((id_,),) = world.rows("SELECT id FROM alert")
    with reading(world.engine) as connection:
        found = alerts.load(connection, str(id_))
    assert found is not None
    return found


def stored(world: World) -> dict[tuple[int, str], dict[str, Any]]:
    """Attributions in the database, by minute and column."""
    rows = world.rows(
        'SELECT start_ms, "column", attribution FROM result '
        "WHERE attribution IS NOT NULL AND \"window\" = '10m' ORDER BY start_ms"
    )
    return {((start - START_MS) // MINUTE_MS, column): json.loads(text) for start, column, text in rows}


def test_an_alert_names_the_feature_that_the_score_moved_with(world: World) -> None:
    alert = the_alert(world)
    assert " the rise of the mean score (0." in alert.summary
    assert f") comes with {CAUSE}: more rows " in alert.summary
    assert alert.summary.endswith(".")
    (found,) = [one for one in alert.leading if one.attribution is not None]
    assert (found.column, found.segment) == ("score", "")
    assert found.attribution == attribution_of(alert.leading)


def test_the_result_on_the_score_of_all_rows_has_it_and_no_other(world: World) -> None:
    found = stored(world)
    assert set(found) == {(minute, "score") for minute in (60, 70, 80, 90)}
    quiet, moved = found[60, "score"], found[80, "score"]
    assert quiet["outcome"] == moved["outcome"] == "mean score"
    assert 200 < moved["rows"] <= 10 * 32  # of each minute the same share, at most 32 rows
    assert 1_000 < moved["reference_rows"] <= 60 * 32
    assert moved["change"] == pytest.approx(0.1, abs=0.02)
    assert moved["low"] > 0
    first = moved["parts"][0]
    assert (first["kind"], first["name"]) == ("feature", CAUSE)
    assert first["part"] == pytest.approx(moved["change"], rel=0.15)
    assert "other" not in [part["name"] for part in moved["parts"] if part["kind"] == "feature"]
    assert abs(quiet["change"]) < 0.02
    assert f" comes with {CAUSE}: " in moved["summary"]


def test_rows_as_wholes_are_judged_as_columns_of_their_own(world: World) -> None:
    columns = {row[0] for row in world.rows('SELECT DISTINCT "column" FROM result')}
    assert columns >= {CAUSE, "other", "origin", "score", "prediction", "multivariate.distance"}
    derived = "FROM result WHERE \"column\" = 'multivariate.distance' AND segment = ''"
    assert world.rows(f"SELECT DISTINCT lane {derived}") == [("multivariate",)]
    counted = world.rows(f"SELECT start_ms, n, m {derived} AND \"window\" = '10m'")
    rows = {((start - START_MS) // MINUTE_MS, "score"): (n, m) for start, n, m in counted}
    # The same rows as those that tell why.
    assert rows == {place: (one["rows"], one["reference_rows"]) for place, one in stored(world).items()}


def test_the_api_shows_what_is_stored(world: World) -> None:
    app = create_app(world.configuration, world.engine, Telemetry(), world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        results = client.get("/api/v1/models/churn/results?window=10m&column=score&segment=&limit=100").json()
        others = client.get("/api/v1/models/churn/results?window=10m&column=other&limit=100").json()
        (alert,) = client.get("/api/v1/alerts").json()["items"]
        alone = client.get(f"/api/v1/alerts/{alert['id']}").json()
    wanted = stored(world)
    by_start = {item["window_start"]: item["attribution"] for item in results["items"]}
    assert by_start[str(instant(START_MS + 80 * MINUTE_MS))] == wanted[80, "score"]
    assert len(by_start) == 4
    assert others["items"]
    assert all(item["attribution"] is None for item in others["items"])
    for document in (alert, alone):
        shown = {(one["column"], one["segment"]): one["attribution"] for one in document["findings"]}
        mine = shown.pop(("score", ""))
        assert mine["parts"][0]["name"] == CAUSE
        assert mine in wanted.values()
        assert set(shown.values()) == {None}
        assert f"comes with {CAUSE}: " in document["summary"]


@pytest.mark.full
def test_reasons_come_out_the_same_once_more(world: World) -> None:
    world.judge.tidy()  # the slices of a window become one each
    explainer = Explainer(world.configuration, world.engine, world.clock)
    ids = [str(row[0]) for row in world.rows("SELECT id FROM result ORDER BY id")]
    for id_ in ids:
        _, (one,) = explainer.explain(id_)
        assert one.differences == {}
    send(world, 80, 10, shift=1.0, per_minute=20)  # late: other rows, another sample
    world.judge.sweep()
    latest = world.rows("SELECT max(id) FROM result WHERE \"column\" = 'score' AND revision = 2")
    assert explainer.explain(str(latest[0][0]))[1][0].is_identical


def test_the_command_prints_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/driftline.db"
    world = drifted(url)
    alert, reasons = the_alert(world), stored(world)
    world.close()
    path = tmp_path / "driftline.yaml"
    path.write_text(
        f"kafka: {{bootstrap_servers: memory}}\ndatabase_url: {url}\n"
        "streams: [{topic: pp, kind: predictions}]\n"
        "defaults: {windows: [10m, 30m], lateness: 1m, horizon: 60d, reference: {first: 1h}, "
        "segments: [origin]}\n"
    )
    assert cli.run(["explain", "-c", str(path), alert.id]) == 0
    told = capsys.readouterr().out
    score = next(part for part in told.split("\nresult ") if " · score\n" in part)
    lines = score.splitlines()
    (why,) = [line for line in lines if line.startswith("  why ")]
    assert any(why == f"  why         {one['summary']}" for one in reasons.values())
    after = lines[lines.index(why) + 1]
    assert after.startswith(f"    feature   {CAUSE}: +0.")
    assert " to +0." in after
    assert "  once more   identical, bit for bit" in lines
    assert "DIFFERENT" not in told
    assert told.count("  why   ") == 1
    assert cli.run(["explain", "-c", str(path), alert.id, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (shown,) = [one["attribution"] for one in document["results"] if one["attribution"]]
    assert shown in reasons.values()


def test_slack_gets_the_parts_with_everything_escaped(world: World) -> None:
    ((payload,),) = world.rows("SELECT payload FROM outbox")
    notice = decode(payload)
    assert isinstance(notice, Notice)
    found = attribution_of(notice.alert.findings)
    assert found is not None
    blocks = blocks_of(notice)
    assert len(blocks) <= 6
    texts = [block["text"]["text"] for block in blocks if "text" in block]
    assert escape(reasons_text(found), MAX_SECTION) in texts
    (reasons,) = [text for text in texts if text.startswith("mean score: ")]
    assert "\n• &lt;b&gt;&amp;: +0.1" in reasons
    assert len(reasons.splitlines()) == 1 + len(found.parts)
    for text in (*texts[1:], text_of(notice)):
        assert CAUSE not in text
        assert "<b" not in text
    assert any("comes with &lt;b&gt;&amp;: " in text for text in texts)


def test_without_a_sample_nothing_is_said(tmp_path: Path) -> None:
    world = drifted(f"sqlite:///{tmp_path}/driftline.db", sample_per_minute=0)
    try:
        alert = the_alert(world)
        assert "comes with" not in alert.summary
        assert stored(world) == {}
        columns = {row[0] for row in world.rows('SELECT DISTINCT "column" FROM result')}
        assert columns.isdisjoint(DERIVED)
        (payload,) = world.rows("SELECT payload FROM outbox")[0]
        assert "What goes with it" not in json.dumps(blocks_of(decode(payload)))  # type: ignore[arg-type]
    finally:
        world.close()


# --- words, of attributions written by hand -----------------------------------------------------------------

FEATURE = Part(PartKind.FEATURE, CAUSE, -0.04, -0.05, -0.03, -0.01, -0.035, "fewer rows with values >= 72")
SEGMENT = Part(PartKind.SEGMENT, "origin", -0.02, -0.03, -0.01, -0.03, None, "more rows with <UA>")
SOME_ROWS = Part(PartKind.ROWS, "origin=EWR and temp >= 72", -0.01, -0.02, -0.004, None, None, "0.6 → 0.5")
FALL = Attribution(
    "mean score", 400, 2_000, 0.31, 0.26, -0.05, -0.06, -0.04, (FEATURE, SEGMENT, SOME_ROWS), -0.01,
    f"most of the fall of the mean score (-0.040 of -0.050) comes with {CAUSE}: fewer rows",
)  # fmt: skip
CHANCE = replace(FALL, low=-0.1, high=0.1, summary="the mean score has not changed beyond chance")


def because(*found: Attribution | None) -> list[Finding]:
    return [replace(finding(f"column {i}"), attribution=one) for i, one in enumerate(found)]


def test_the_first_finding_that_knows_tells_why() -> None:
    assert attribution_of(because(None, FALL, CHANCE)) == FALL
    assert attribution_of(because(None, CHANCE, FALL)) == FALL
    assert attribution_of(because(None, CHANCE)) is None
    assert attribution_of([]) is None
    assert why_text(because(CHANCE)) == ""
    assert why_text(because(FALL)) == f"Most{FALL.summary[4:]}."


def test_a_summary_ends_with_the_reason() -> None:
    told, quiet = because(FALL), because(CHANCE)
    with_reason = summarise(Kind.DRIFT, "churn", "1", told)
    assert with_reason == f"{summarise(Kind.DRIFT, 'churn', '1', quiet)} {why_text(told)}"
    assert len(summarise(Kind.DRIFT, "churn", "1", because(replace(FALL, summary="x" * 5_000)))) <= 1_000


def test_reasons_are_listed_part_by_part() -> None:
    assert reasons_text(FALL).splitlines() == [
        "mean score: 0.31 → 0.26. What goes with it, alone:",
        "• <b>&: -0.04 (-0.05 to -0.03), fewer rows with values >= 72",
        "• origin: -0.02 (-0.03 to -0.01), more rows with <UA>",
        "• rows origin=EWR and temp >= 72: -0.01 (-0.02 to -0.004), 0.6 → 0.5",
    ]


def told_in_slack(found: Attribution | None) -> list[str]:
    (notice,) = notices(window(0, [replace(finding("score"), attribution=found), finding("age")]))
    return [block["text"]["text"] for block in blocks_of(notice) if "text" in block]


def test_slack_leaves_out_what_is_within_chance_or_has_no_parts() -> None:
    assert sum("What goes with it" in text for text in told_in_slack(FALL)) == 1
    for found in (None, CHANCE, replace(FALL, parts=())):
        assert not any("What goes with it" in text for text in told_in_slack(found))


def test_long_names_do_not_break_the_limits_of_slack() -> None:
    longest = replace(FALL, parts=tuple(replace(FEATURE, name="<&>" * 400) for _ in range(11)))
    texts = told_in_slack(longest)
    assert all(len(text) <= MAX_SECTION for text in texts)
    (reasons,) = [text for text in texts if "What goes with it" in text]
    assert reasons.endswith("…")
    assert "<" not in reasons


def test_a_notice_carries_the_reasons_through_the_outbox(world: World) -> None:
    ((payload,),) = world.rows("SELECT payload FROM outbox")
    notice = decode(payload)
    assert isinstance(notice, Notice)
    found = attribution_of(notice.alert.findings)
    assert found is not None
    assert json.loads(json.dumps(asdict(found))) in stored(world).values()
