"""``/models/{model}/performance`` and the accounting of labels, over what the real ingest has stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sklearn import metrics

from detectors.outcomes import score_edges
from monitor.web.app import create_app
from tests.monitor.outcome_world import MINUTE_MS, START_MS, OutcomeWorld

URL = "/api/v1/models/{}/performance"
Get = Callable[..., Any]
COSTS = [
    {"predicted": 1, "label": 0, "cost": 2},
    {"predicted": 0, "label": 1, "cost": 10},
    {"predicted": 1, "label": 1, "cost": -1},
]
MODELS = {
    "priced": {
        "task": "binary_classification",
        "performance": {"metric": "cost", "slo": 3, "costs": COSTS, "currency": "USD"},
    },
    "yes-no": {"task": "binary_classification", "positive_label": "yes"},
}


@pytest.fixture
def world(database_url: str) -> Iterator[OutcomeWorld]:
    made = OutcomeWorld(database_url, models=MODELS)
    yield made
    made.close()


@pytest.fixture
def get(world: OutcomeWorld) -> Iterator[Get]:
    app = create_app(world.configuration, world.engine, world.parts[2], world.clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def ask(path: str, status: int = 200) -> Any:
            answer = client.get(path)
            assert answer.status_code == status, answer.text
            kind = "application/json" if status == 200 else "application/problem+json"
            assert answer.headers["content-type"].startswith(kind)
            return answer.json()

        yield ask


class Drawn:
    """Outputs of predictions and their labels, remembered."""

    def __init__(self, draw: Callable[[np.random.Generator], tuple[dict[str, Any], Any]]) -> None:
        self._draw = draw
        self.rows: list[tuple[dict[str, Any], Any]] = []

    def __call__(self, rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
        """Draw one."""
        self.rows.append(self._draw(rng))
        return self.rows[-1]

    @property
    def labels(self) -> list[Any]:
        """Labels, in order."""
        return [label for _, label in self.rows]

    def outputs(self, name: str = "prediction") -> list[Any]:
        """One of the outputs, in order."""
        return [made[name] for made, _ in self.rows]


def binary(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    """Prediction and score of a classifier of two classes."""
    score = float(rng.random())
    return {"prediction": int(score >= 0.5), "score": score}, int(rng.random() < score)


def value(document: dict[str, Any], name: str) -> float:
    """Value of a measure, which lies in its interval."""
    one = document["measures"][name]
    assert one["low"] is None or one["low"] <= one["value"]
    assert one["high"] is None or one["value"] <= one["high"]
    return float(one["value"])


def from_to(first: float, last: float) -> str:
    """Range between minutes of the test."""
    return f"from={START_MS + round(first * MINUTE_MS)}&to={START_MS + round(last * MINUTE_MS)}"


# --- tasks --------------------------------------------------------------------------------------------------


def test_two_classes(world: OutcomeWorld, get: Get) -> None:
    drawn = Drawn(binary)
    world.send(0, 40, labelled=1.0, outputs=drawn)
    found = get(URL.format("churn"))
    truth, predicted = np.array(drawn.labels), np.array(drawn.outputs())
    assert (found["model"], found["task"], found["segment"]) == ("churn", "binary_classification", "")
    assert (found["predicted"], found["labelled"], found["coverage"]) == (320, 320, 1.0)
    assert found["effective_n"] == 320
    tn, fp, fn, tp = metrics.confusion_matrix(truth, predicted).ravel().tolist()
    assert found["confusion"] == {"tp": tp, "fp": fp, "tn": tn, "fn": fn}
    for name, expected in (
        ("accuracy", metrics.accuracy_score(truth, predicted)),
        ("precision", metrics.precision_score(truth, predicted)),
        ("recall", metrics.recall_score(truth, predicted)),
        ("f1", metrics.f1_score(truth, predicted)),
        ("brier", metrics.brier_score_loss(truth, drawn.outputs("score"))),
        ("log_loss", metrics.log_loss(truth, drawn.outputs("score"))),
    ):
        assert value(found, name) == pytest.approx(expected, abs=1e-6), name
    cells = np.searchsorted(score_edges(), drawn.outputs("score"), side="right")
    assert value(found, "roc_auc") == pytest.approx(metrics.roc_auc_score(truth, cells), abs=1e-9)
    assert {name for name in found["measures"] if name.startswith("cost")} == set()
    assert found["currency"] is None
    assert found["unreadable"] == 0
    assert found["segments"] == ["origin=EWR", "origin=JFK"]


def test_a_positive_class_by_name(world: OutcomeWorld, get: Get) -> None:
    names = ("no", "yes")

    def draw(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
        made, label = binary(rng)
        return {"prediction": names[made["prediction"]], "score": made["score"]}, names[label]

    drawn = Drawn(draw)
    world.send(0, 20, labelled=1.0, outputs=drawn, model="yes-no")
    found = get(URL.format("yes-no"))
    expected = metrics.precision_score(drawn.labels, drawn.outputs(), pos_label="yes")
    assert value(found, "precision") == pytest.approx(expected)
    assert value(found, "base_rate") == pytest.approx(np.mean([label == "yes" for label in drawn.labels]))


def test_several_classes(world: OutcomeWorld, get: Get) -> None:
    names = ("high", "low", "mid")

    def draw(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
        scores = rng.dirichlet([1, 1, 1])
        label = names[int(rng.choice(3, p=scores))]
        outputs = {"prediction": names[int(scores.argmax())]}
        return {**outputs, "scores": dict(zip(names, scores.tolist(), strict=True))}, label

    drawn = Drawn(draw)
    world.send(0, 30, labelled=1.0, outputs=drawn)
    found = get(URL.format("churn"))
    assert found["task"] == "multiclass_classification"
    pairs = {(one["predicted"], one["label"]): one["count"] for one in found["confusion"]}
    expected = metrics.confusion_matrix(drawn.labels, drawn.outputs(), labels=names)
    assert pairs == {
        (names[p], names[t]): int(expected[t, p]) for p in range(3) for t in range(3) if expected[t, p]
    }
    assert value(found, "accuracy") == pytest.approx(metrics.accuracy_score(drawn.labels, drawn.outputs()))
    scores = np.array([[one[name] for name in names] for one in drawn.outputs("scores")])
    log_loss = metrics.log_loss(drawn.labels, scores, labels=names)
    assert value(found, "log_loss") == pytest.approx(log_loss, abs=1e-6)


def test_numbers(world: OutcomeWorld, get: Get) -> None:
    drawn = Drawn(lambda rng: ({"prediction": float(rng.normal(50, 20))}, float(rng.normal(50, 20))))
    labels = world.predict(0, 30, labelled=1.0, outputs=drawn)
    world.tell(labels[:-8])
    world.tell(labels[-8:], label="cancelled")
    world.take_in()
    found = get(URL.format("churn"))
    truth, predicted = drawn.labels[:-8], drawn.outputs()[:-8]
    assert (found["task"], found["confusion"], found["unreadable"]) == ("regression", None, 8)
    assert (found["predicted"], found["labelled"]) == (240, 232)
    assert value(found, "mae") == pytest.approx(metrics.mean_absolute_error(truth, predicted), rel=1e-6)
    assert value(found, "rmse") == pytest.approx(metrics.root_mean_squared_error(truth, predicted), rel=1e-6)


def test_costs(world: OutcomeWorld, get: Get) -> None:
    drawn = Drawn(binary)
    world.send(0, 30, labelled=1.0, outputs=drawn, model="priced")
    found = get(URL.format("priced"))
    price = {(one["predicted"], one["label"]): one["cost"] for one in COSTS}
    costs = [price.get(pair, 0) for pair in zip(drawn.outputs(), drawn.labels, strict=True)]
    assert found["currency"] == "USD"
    assert value(found, "cost") == pytest.approx(np.mean(costs))
    assert value(found, "cost_total") == pytest.approx(sum(costs))


# --- what is asked for --------------------------------------------------------------------------------------


def test_segments(world: OutcomeWorld, get: Get) -> None:
    drawn = Drawn(binary)
    world.send(0, 20, labelled=1.0, outputs=drawn)
    found = get(f"{URL.format('churn')}?segment=origin=EWR")
    truth, predicted = drawn.labels[1::2], drawn.outputs()[1::2]
    assert (found["segment"], found["segments"]) == ("origin=EWR", ["origin=EWR", "origin=JFK"])
    assert (found["predicted"], found["labelled"]) == (80, 80)
    assert value(found, "accuracy") == pytest.approx(metrics.accuracy_score(truth, predicted))
    wrong = get(f"{URL.format('churn')}?segment=origin=LGA", 404)
    assert wrong["errors"][0]["where"] == "query.segment"
    assert "origin=EWR" in wrong["errors"][0]["allowed"]


def test_versions_and_roles(world: OutcomeWorld, get: Get) -> None:
    """The champion by default, all versions if there is none, each version apart."""
    world.send(0, 10, labelled=1.0, wrong=0.0, version="1", role="challenger")
    found = get(URL.format("churn"))
    assert [(one["version"], one["role"]) for one in found["versions"]] == [("1", "challenger")]
    world.send(10, 10, labelled=1.0, wrong=1.0, version="2")
    world.send(10, 10, labelled=1.0, wrong=0.0, version="3")
    found = get(URL.format("churn"))
    assert {one["version"]: one["role"] for one in found["versions"]} == {"2": "champion", "3": "champion"}
    by_version = {one["version"]: one for one in found["versions"]}
    assert [value(by_version[v], "accuracy") for v in "23"] == [0.0, 1.0]
    assert [by_version[v]["predicted"] for v in "23"] == [80, 80]
    assert (value(found, "accuracy"), found["predicted"]) == (0.5, 160)
    for query, expected in (("version=2", ["2"]), ("role=challenger", ["1"]), ("role=champion", ["2", "3"])):
        found = get(f"{URL.format('churn')}?{query}")
        assert [one["version"] for one in found["versions"]] == expected
    for query, where, allowed in (
        ("version=9", "query.version", "2"),
        ("role=shadow", "query.role", "champion"),
    ):
        wrong = get(f"{URL.format('churn')}?{query}", 404)
        assert wrong["errors"][0]["where"] == where
        assert allowed in wrong["errors"][0]["allowed"]


def test_only_labels_up_to_an_age(world: OutcomeWorld, get: Get) -> None:
    """The predictions are all still there: coverage is what it was at that age."""
    world.send(0, 10, labelled=1.0, wrong=0.0, delay=(30, 31))
    world.send(10, 10, labelled=1.0, wrong=1.0, delay=(300, 301))
    world.send(20, 10, labelled=1.0, wrong=1.0, delay=(301, 302))
    found = get(URL.format("churn"))
    assert found["ages"] == [
        {"up_to": "1m", "labels": 80}, {"up_to": "5m", "labels": 80}, {"up_to": "15m", "labels": 80}
    ]  # fmt: skip
    for age, labelled in (
        ("1m", 80), ("2m", 160), ("5m", 160), ("5m1s", 240), ("1h", 240), ("90d", 240), ("1000d", 240),
    ):  # fmt: skip
        found = get(f"{URL.format('churn')}?max_age={age}")
        assert (found["predicted"], found["labelled"]) == (240, labelled), age
        assert found["coverage"] == pytest.approx(labelled / 240)
        assert value(found, "accuracy") == pytest.approx(80 / labelled)
    for age in ("soon", "-1h", "5", "1h30", "%20"):
        wrong = get(f"{URL.format('churn')}?max_age={age}", 422)
        assert wrong["errors"][0]["where"] == "query.max_age"
        assert "(use 5m, 1h, 1d)" in wrong["errors"][0]["what"]


def test_ranges_are_of_whole_slices(world: OutcomeWorld, get: Get) -> None:
    world.send(0, 40, labelled=1.0)
    found = get(f"{URL.format('churn')}?{from_to(7, 12.5)}")
    assert (found["from"], found["to"]) == ("2026-01-01T00:05:00.000Z", "2026-01-01T00:15:00.000Z")
    assert found["predicted"] == 80
    found = get(f"{URL.format('churn')}?from=2026-01-01T00:20:00Z")
    assert (found["from"], found["to"]) == ("2026-01-01T00:20:00.000Z", "2026-01-01T00:40:00.000Z")
    assert found["predicted"] == 160
    found = get(URL.format("churn"))
    assert (found["from"], found["to"]) == ("2025-12-31T00:40:00.000Z", "2026-01-01T00:40:00.000Z")
    halves = [get(f"{URL.format('churn')}?{from_to(*part)}")["confusion"] for part in ((0, 20), (20, 40))]
    assert found["confusion"] == {name: halves[0][name] + halves[1][name] for name in found["confusion"]}


def test_a_range_without_outcomes(world: OutcomeWorld, get: Get) -> None:
    world.send(0, 10)
    for query in (from_to(500, 600), from_to(500, 600) + "&segment=origin=EWR"):
        found = get(f"{URL.format('churn')}?{query}")
        assert (found["predicted"], found["labelled"], found["coverage"]) == (0, 0, None)
        assert (found["measures"], found["versions"], found["segments"], found["ages"]) == ({}, [], [], [])


def test_predictions_that_wait_for_labels(world: OutcomeWorld, get: Get) -> None:
    world.predict(0, 10)
    world.take_in()
    found = get(URL.format("churn"))
    assert (found["predicted"], found["labelled"], found["coverage"]) == (80, 0, 0.0)
    assert "accuracy" not in found["measures"]


def test_a_model_whose_predictions_are_all_errors(world: OutcomeWorld, get: Get) -> None:
    """Nothing waits for a label, and any range may be asked for."""
    world.predict(0, 5, outputs=lambda _: ({"prediction": None, "error": "timeout"}, 0))
    world.take_in()
    assert world.rows("SELECT count(*) FROM outcome_slice") == [(0,)]
    for query in ("", "?from=2026-01-01T00:00:00Z", f"?{from_to(0, 5)}"):
        found = get(URL.format("churn") + query)
        assert (found["predicted"], found["labelled"], found["measures"]) == (0, 0, {})
        assert found["from"] >= "2025-12-31"


def test_late_corrections_are_in_the_figures_at_once(world: OutcomeWorld, get: Get) -> None:
    labels = world.send(0, 10, labelled=1.0, wrong=0.0)
    assert value(get(URL.format("churn")), "accuracy") == 1.0
    world.correct(labels[:40], right=False)
    world.take_in()
    found = get(URL.format("churn"))
    assert (value(found, "accuracy"), found["labelled"]) == (0.5, 80)


@pytest.mark.parametrize(
    ("path", "status", "where"),
    [
        (URL.format("nobody"), 404, "path.model"),
        (URL.format("churn") + "?from=yesterday", 422, "query.from"),
        (URL.format("churn") + "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 422, "query.from"),
        (URL.format("churn") + "?colour=red", 422, "query.colour"),
        (URL.format("churn") + "?version=", 422, "query.version"),
    ],
)
def test_mistakes_are_named(world: OutcomeWorld, get: Get, path: str, status: int, where: str) -> None:
    world.send(0, 5)
    problem = get(path, status)
    assert problem["status"] == status
    assert [one["where"] for one in problem["errors"]] == [where]


def test_models_with_odd_names(world: OutcomeWorld, get: Get) -> None:
    world.send(0, 5, model="team/churn performance")
    assert get("/api/v1/models/team/churn%20performance/performance")["predicted"] == 40


# --- windows ------------------------------------------------------------------------------------------------


def test_measures_of_windows(world: OutcomeWorld, get: Get) -> None:
    world.send(0, 80, labelled=1.0)
    world.send(80, 20, labelled=1.0, wrong=1.0)
    world.beat(120)
    world.sweep()
    query = "kind=realised&metric=accuracy"
    page = get(f"{URL.format('churn')}/windows?{query}&limit=2")
    rest = get(f"{URL.format('churn')}/windows?{query}&cursor={page['next_cursor']}")
    items = page["items"] + rest["items"]
    assert rest["next_cursor"] is None
    assert sorted(one["window_start"][11:16] for one in items) == ["01:00", "01:10", "01:20", "01:30"]
    assert {one["coverage"] for one in items} == {1.0}
    assert {one["window_start"][11:16]: one["value"] for one in items}["01:20"] == 0.0
    segments = get(f"{URL.format('churn')}/windows?{query}&segment=origin=EWR")["items"]
    assert [one["n"] for one in segments] == [40] * 4


# --- accounting ---------------------------------------------------------------------------------------------


def test_the_accounting_of_labels(world: OutcomeWorld, get: Get) -> None:
    labels = world.send(0, 10, labelled=1.0)
    world.tell(labels[:7])  # duplicates
    world.correct(labels[:5], right=False)
    late = [{**label, "event_id": label["event_id"], "timestamp": START_MS + 10**9} for label in labels[:3]]
    world.tell(late)  # after the horizon
    world.tell([{**labels[0], "event_id": f"early{i}"} for i in range(4)])
    world.broker.append("ll", 0, b"no json", timestamp_ms=world.clock.now_ms())
    world.sent += 1
    world.take_in()
    by_topic = {row["topic"]: row for row in get("/api/v1/accounting")["items"]}
    row = by_topic["ll"]
    fates = ("matched", "waiting", "corrected", "orphaned", "expired", "sampled_out")
    assert {name: row[name] for name in fates} == {
        "matched": 80, "waiting": 4, "corrected": 5, "orphaned": 0, "expired": 3, "sampled_out": 0
    }  # fmt: skip
    assert (row["duplicates"], row["dead_lettered"]) == (7, 1)
    assert row["counted"] == sum(row[name] for name in fates)
    others = ("late", "future", "dead_lettered", "duplicates")
    assert row["fetched"] == row["counted"] + sum(row[name] for name in others) == row["next_offset"] == 100
    assert {by_topic["pp"][name] for name in fates} == {None}
