"""Files that are exported hold what the API shows, in types that tables have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from monitor import cli
from monitor.commands import export
from monitor.export import incidents, performance, profiles, results
from monitor.web.app import create_app
from schemas.errors import Unavailable
from tests.monitor.erasing import write_configuration
from tests.monitor.outcome_world import START_MS, OutcomeWorld, at

LOCAL = "http://localhost"
Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutcomeWorld]:
    url = f"sqlite:///{tmp_path_factory.mktemp('export') / 'driftline.db'}"
    columns = {"age": {"max": 55, "limit": "0 %"}, "origin": {"values": ["EWR"], "personal": True}}
    made = OutcomeWorld(url, columns=columns)
    made.send(0, 80, per_minute=4)
    made.sweep()
    made.send(80, 40, per_minute=4, wrong=0.9)
    made.sweep()
    yield made
    made.close()


@pytest.fixture(scope="module")
def file(world: OutcomeWorld, tmp_path_factory: pytest.TempPathFactory) -> str:
    given = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "database_url": world.engine.url.render_as_string(hide_password=False),
        "streams": [{"topic": "pp", "kind": "predictions"}, {"topic": "ll", "kind": "labels"}],
        "defaults": {"windows": ["10m"], "slice": "5m", "columns": {"origin": {"personal": True}}},
    }
    return write_configuration(tmp_path_factory.mktemp("configuration") / "driftline.yaml", given)


@pytest.fixture(scope="module")
def api(world: OutcomeWorld) -> Answer:
    app = create_app(world.configuration, world.engine, world.parts[2], world.clock)
    client = TestClient(app, base_url=LOCAL)

    def every(path: str, **asked: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = client.get(f"/api/v1/{path}", params={"limit": 500, **asked, **cursor})
            assert answer.status_code == 200, answer.text
            found += answer.json()["items"]
            if answer.json()["next_cursor"] is None:
                return found
            cursor = {"cursor": answer.json()["next_cursor"]}

    return every


@pytest.fixture
def exported(file: str, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    def run(what: str, *options: str, name: str = "out.parquet") -> pd.DataFrame:
        path = tmp_path / name
        code = cli.run(["export", what, "-c", file, "--model", "churn", "-o", str(path), *options])
        assert code == 0
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)

    return run


def instants(frame: pd.DataFrame, name: str) -> list[str | None]:
    """As the API writes them."""
    column = frame[name]
    assert str(column.dtype) == "datetime64[ms, UTC]"
    texts = column.dt.strftime("%Y-%m-%dT%H:%M:%S.%f").str[:-3] + "Z"
    return [None if pd.isna(text) else text for text in texts]


def numbers(frame: pd.DataFrame, name: str) -> list[float | None]:
    assert frame[name].dtype == "float64"
    return [None if pd.isna(value) else value for value in frame[name]]


def test_results_are_those_of_the_api(
    exported: Callable[..., pd.DataFrame], api: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "AT_ONCE", 100)
    frame, said = exported("results"), api("models/churn/results")
    assert len(frame) == len(said) > 100
    for name in ("window_start", "window_end", "onset_at", "judged_at"):
        assert instants(frame, name) == [one[name] for one in said], name
    for name in ("version", "column", "segment", "detector", "decision", "explanation", "reference_hash"):
        assert [None if pd.isna(x) else x for x in frame[name]] == [one[name] for one in said], name
    for name in ("n", "m", "revision"):
        assert frame[name].dtype == "int64"
        assert frame[name].tolist() == [one[name] for one in said]
    for name in ("statistic", "evidence_log", "budget"):
        assert numbers(frame, name) == [one[name] for one in said], name
    for name in ("psi", "ks", "wasserstein"):
        assert numbers(frame, name) == [one["effect"][name] for one in said], name
    assert [json.loads(text) for text in frame["moved"]] == [one["moved"] for one in said]
    examples = [json.loads(text) for text in frame["examples"]]
    assert [[e["event_id"] for e in row] for row in examples] == [
        [e["event_id"] for e in one["examples"]] for one in said
    ]
    assert any(row for row in examples)
    assert {e["values"]["origin"] for row in examples for e in row if "origin" in e["values"]} == {None}


def test_row_groups_are_portions(
    exported: Callable[..., pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "AT_ONCE", 40)
    frame = exported("performance")
    with pq.ParquetFile(tmp_path / "out.parquet") as stored:
        sizes = [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)]
    assert sizes[:-1] == [40] * (len(sizes) - 1)
    assert sum(sizes) == len(frame) > 40


def test_performance_is_that_of_the_api(exported: Callable[..., pd.DataFrame], api: Answer) -> None:
    frame = exported("performance")
    names = ["window_start", "version", "window", "kind", "metric"]
    mine = frame[frame["segment"] == ""].sort_values(names)
    said = sorted(api("models/churn/performance/windows"), key=lambda one: tuple(map(one.get, names)))
    assert len(mine) == len(said) > 0
    assert instants(mine, "window_start") == [one["window_start"] for one in said]
    assert instants(mine, "computed_at") == [one["computed_at"] for one in said]
    for name in ("value", "low", "high", "coverage"):
        assert numbers(mine, name) == [one[name] for one in said], name
    assert ((mine["window_end"] - mine["window_start"]) == pd.Timedelta("10min")).all()


def test_incidents_are_those_of_the_api(exported: Callable[..., pd.DataFrame], api: Answer) -> None:
    frame, said = exported("incidents"), api("incidents", model="churn")
    assert len(frame) == len(said) > 0
    for name in ("id", "model", "kind", "severity", "state", "summary"):
        assert frame[name].tolist() == [one[name] for one in said], name
    for name in ("opened_at", "closed_at"):
        column = pd.to_datetime(pd.Series([one[name] for one in said]), utc=True)
        assert frame[name].astype(object).tolist() == column.astype(object).tolist(), name
    assert [list(models) for models in frame["models"]] == [["churn"]] * len(said)
    assert all(frame["alerts"] > 0)


def test_profiles_are_those_of_the_api(
    exported: Callable[..., pd.DataFrame], api: Answer, world: OutcomeWorld
) -> None:
    frame = exported("profiles", "--segments")
    assert set(frame["segment"]) >= {"", "origin=EWR", "origin=JFK"}
    whole = frame[(frame["segment"] == "") & (frame["column"] == "age")]
    assert whole["rows"].sum() == 480
    assert instants(whole, "start")[:2] == ["2026-01-01T00:00:00.000Z", "2026-01-01T00:10:00.000Z"]
    last = whole[whole["start"] == pd.Timestamp(at(100), unit="ms", tz="UTC")].iloc[0]
    client = TestClient(
        create_app(world.configuration, world.engine, world.parts[2], world.clock), base_url=LOCAL
    )
    asked = {"from": at(100), "to": at(110), "column": "age"}
    (said,) = client.get("/api/v1/models/churn/profile", params=asked).json()["columns"]
    for name in ("count", "missing", "invalid", "min", "max", "mean"):
        assert last[name] == said[name], name
    assert round(last["distinct"]) == said["distinct"]
    assert last["p50"] == said["quantiles"]["0.5"]
    assert [dict(one) for one in last["bins"]] == said["bins"]
    joined = exported("profiles", "--every", "1h", "--force")
    assert joined[joined["column"] == "age"]["rows"].tolist() == [240, 240]


def test_a_range_and_a_csv(exported: Callable[..., pd.DataFrame]) -> None:
    options = ("--from", str(at(100)), "--to", "2026-01-01T02:00:00Z")
    table = exported("profiles", *options)
    frame = exported("profiles", *options, name="out.csv")
    assert table["start"].min() == pd.Timestamp(at(100), unit="ms", tz="UTC")
    assert frame["rows"].tolist() == table["rows"].tolist()
    assert pd.to_datetime(frame["start"], utc=True).tolist() == table["start"].tolist()
    assert [json.loads(text) for text in frame["bins"]] == [[dict(b) for b in row] for row in table["bins"]]


@pytest.mark.parametrize(
    ("what", "schema"),
    [
        ("results", results.SCHEMA),
        ("performance", performance.SCHEMA),
        ("incidents", incidents.SCHEMA),
        ("profiles", profiles.SCHEMA),
    ],
)
def test_nothing_to_export_is_a_file_with_columns(
    exported: Callable[..., pd.DataFrame],
    what: str,
    schema: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    frame = exported(what, "--to", str(START_MS - 1))
    assert "no rows, columns alone" in capsys.readouterr().out
    assert len(frame) == 0
    assert pq.read_schema(tmp_path / "out.parquet").equals(schema)
    exported(what, "--to", str(START_MS - 1), name="out.csv")
    assert (tmp_path / "out.csv").read_text().count("\n") == 1


def test_a_file_that_is_there_stays_unless_told(
    exported: Callable[..., pd.DataFrame], file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / "out.parquet"
    path.write_text("mine")
    command = ["export", "results", "-c", file, "--model", "churn", "-o", str(path)]
    assert cli.run(command) == 2
    assert "is there already (--force overwrites it)" in capsys.readouterr().err

    def fail(*_: object) -> Iterator[Any]:
        msg = "gone"
        yield []
        raise Unavailable(msg)

    with monkeypatch.context() as patched:
        patched.setattr(results, "portions", fail)
        assert cli.run([*command, "--force"]) == 3
    assert [one.name for one in tmp_path.iterdir()] == ["out.parquet"]
    assert path.read_text() == "mine"
    assert len(exported("results", "--force")) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "out.xlsx"], "use .parquet or .csv"),
        (["-o", "nowhere/out.csv"], "there is no folder nowhere"),
        (["-o", "out.csv", "--from", "yesterday"], "--from: 'yesterday' is not an instant"),
        (["-o", "out.csv", "--from", "2026-01-02", "--to", "2026-01-01"], "is not after --from"),
        (["-o", "out.csv", "--every", "7m"], "is not made of whole slices of 5m"),
        (["-o", "out.csv", "--every", "soon"], "--every: "),
        (["-o", "out.csv", "--model", "nobody"], "there is no model 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    options: list[str], words: str, file: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.run(["export", "profiles", "-c", file, "--model", "churn", *options]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_export_has_a_command() -> None:
    assert set(export.command.commands) == {"results", "performance", "incidents", "profiles"}


def test_commands_of_the_page_are_commands() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    shown = [line.split() for line in page.splitlines() if line.startswith("driftline ")]
    assert len(shown) >= 9
    for _, group, name, *arguments in shown:
        found = cli.driftline.get_command(click.Context(cli.driftline), group)
        assert isinstance(found, click.Group)
        found.commands[name].make_context(name, arguments)
