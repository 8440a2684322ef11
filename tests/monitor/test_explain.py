"""Every result and alert can be explained, and comes out the same when it is computed once more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor import cli
from monitor.explain import Explainer
from monitor.store.engine import immediate
from schemas.errors import UsageError
from tests.monitor.test_judge import World


@pytest.fixture
def world(database_url: str) -> Any:
    made = World(database_url)
    made.send(0, 80)
    made.send(80, 31, shift=1.0)
    made.judge.sweep()
    made.judge.tidy()
    yield made
    made.close()


def explainer(world: World) -> Explainer:
    return Explainer(world.configuration, world.engine, world.clock)


def test_all_results_come_out_the_same(world: World) -> None:
    ids = [str(row[0]) for row in world.rows("SELECT id FROM result ORDER BY id")]
    assert len(ids) > 10
    for id_ in ids:
        alert, (found,) = explainer(world).explain(id_)
        assert alert is None
        assert found.differences == {}


def test_an_alert_shows_the_results_that_support_it(world: World) -> None:
    ((id_,),) = world.rows("SELECT id FROM alert")
    alert, found = explainer(world).explain(id_)
    assert alert is not None
    assert {one.stored["column"] for one in found} == {"age", "score"}
    assert all(one.is_identical and one.stored["decision"] == "drift" for one in found)
    assert "ln Σ w·M" in found[0].formula
    assert found[0].stored["sources"]["pp"]["0"]


def test_what_was_tampered_with_is_told(world: World) -> None:
    with immediate(world.engine) as connection:
        connection.execute(text("UPDATE result SET evidence_log = evidence_log + 1e-9, n = n + 1"))
    ((id_,),) = world.rows("SELECT id FROM alert")
    _, found = explainer(world).explain(id_)
    assert set(found[0].differences) == {"evidence_log", "n"}
    assert found[0].why_different == ()


def test_a_revised_window_says_why_it_differs(world: World) -> None:
    (first,) = world.rows("SELECT min(id) FROM result WHERE decision = 'drift'")
    world.send(80, 10, per_minute=500)
    world.judge.sweep()
    _, (old,) = explainer(world).explain(str(first[0]))
    assert not old.is_identical
    assert old.why_different == (
        "events came after this judgement, or slices are gone: see the later revision",
    )
    for (id_,) in world.rows("SELECT id FROM result WHERE revision = 2"):
        assert explainer(world).explain(str(id_))[1][0].is_identical


def test_ids_that_do_not_exist(world: World) -> None:
    for id_ in ("0", "999999", "x", "f" * 32, "9" * 30, ""):
        with pytest.raises(UsageError, match=r"there is no result|neither the number"):
            explainer(world).explain(id_)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/driftline.db"
    world = World(url)
    world.send(0, 80)
    world.send(80, 12, shift=1.0)
    world.judge.sweep()
    ((id_,),) = world.rows("SELECT id FROM alert")
    world.close()
    path = tmp_path / "driftline.yaml"
    path.write_text(
        f"kafka: {{bootstrap_servers: memory}}\ndatabase_url: {url}\n"
        "streams: [{topic: pp, kind: predictions}]\n"
        "defaults: {windows: [10m, 30m], lateness: 1m, horizon: 60d, reference: {first: 1h}}\n"
    )
    assert cli.run(["explain", "-c", str(path), id_]) == 0
    told = capsys.readouterr().out
    assert "once more   identical, bit for bit" in told
    assert "read from   pp/0 " in told
    assert cli.run(["explain", "-c", str(path), id_, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["alert"]["id"] == id_
    assert [one["identical"] for one in document["results"]] == [True] * len(document["results"])
    assert cli.run(["explain", "-c", str(path), "77777"]) == 2
    assert "there is no result 77777" in capsys.readouterr().err
