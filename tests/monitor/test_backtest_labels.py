"""What labels of a table mean to a backtest: which of them count, from when on, and what follows."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.outcomes import EVERYTHING, RECORD, Family, joined
from monitor.backtest import backtest, outcomes, windows
from monitor.backtest.history import History, labels_of_events
from monitor.backtest.labels import LabelColumn, LabelTable
from monitor.backtest.objective import RecentOutcomes
from monitor.backtest.outcomes import News, Outcomes, WindowOutcomes
from monitor.backtest.survey import UNVERSIONED
from monitor.config import load
from monitor.config.settings import ModelSettings
from monitor.frames import frame_table
from monitor.frames.names import KnownKinds
from monitor.references.lifecycle import Span
from schemas.verdict import Lane
from schemas.window import WindowSpec
from tests.monitor.test_backtest import (
    DAY,
    DAYS,
    FAULT_DAY,
    REFERENCE_DAYS,
    START_MS,
    after,
    configured,
    day_of,
    options,
    quiet,
    shifted,
    with_wrong_labels,
)

HOUR = 3_600_000
SLO = {"performance": {"metric": "accuracy", "slo": 0.8, "long": "3d", "short": "1d"}}


def told(frame, hours=3):
    """The same, with labels that were told some hours after their events."""
    return frame.assign(label_timestamp=frame.timestamp + hours * HOUR)


def labels_of(frame):
    return frame[["event_id", "label", "label_timestamp"]]


# --- what is found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", ["psi", "edetector"])
def test_wrong_predictions_page(detector):
    found = backtest(with_wrong_labels(quiet()), configured(defaults={"detector": detector})).as_dict()
    alert = next(alert for alert in found["alerts"] if alert["kind"] == "performance")
    assert (alert["lane"], alert["column"], alert["severity"]) == ("performance", "performance.error", "page")
    assert day_of(alert["opened_at"]) == FAULT_DAY + 1
    assert "wrong" in alert["summary"]
    assert {delivery["receiver"] for delivery in found["deliveries"]} == {"oncall", "digest"}


def test_labels_are_no_feature():
    frame = quiet()
    frame["label"] = np.where(after(frame, FAULT_DAY), frame.prediction, 7)
    (alert,) = backtest(frame, configured()).alerts
    assert str(alert.kind) == "performance"
    assert alert.columns == {"performance.error", "label"}


def test_without_labels_there_is_no_performance():
    frame = quiet()
    unlabelled = backtest(frame.drop(columns="label"), configured())
    assert unlabelled.results == unlabelled.windows * 5
    frame["label"] = None
    assert backtest(frame, configured()) == unlabelled
    assert backtest(quiet().drop(columns="prediction"), configured()).results == unlabelled.windows * 4


def test_rows_without_a_label_are_missed_only_where_labels_have_times():
    frame = quiet().astype({"label": "Int64"})
    frame.loc[after(frame, FAULT_DAY), "label"] = pd.NA
    assert backtest(frame, configured(defaults={"detector": "edetector"})).alerts == ()
    found = backtest(told(frame), configured(defaults={"detector": "edetector"}))
    (alert,) = found.alerts
    assert (alert.column, str(alert.lane), day_of(alert.opened_at)) == (
        "label.coverage", "quality", FAULT_DAY + 1,
    )  # fmt: skip


def test_labels_that_take_longer_are_noticed():
    frame = told(quiet())
    frame.loc[after(frame, FAULT_DAY), "label_timestamp"] += 8 * HOUR
    (alert,) = backtest(frame, configured(defaults={"detector": "edetector"})).alerts
    assert alert.columns == {"label.delay"}


def test_numbers_are_wrong_that_are_further_off_than_usual():
    frame = quiet()
    rng = np.random.default_rng(1)
    frame["prediction"] = frame.amount + rng.normal(0, 1, len(frame))
    frame["label"] = frame.amount + np.where(after(frame, FAULT_DAY), 8, 0)
    (alert,) = backtest(frame, configured(defaults={"detector": "edetector"})).alerts
    assert alert.lane is Lane.PERFORMANCE
    assert {"performance.error", "performance.loss"} <= alert.columns
    whole = frame.assign(
        prediction=frame.prediction.round().astype(int), label=frame.label.round().astype(int)
    )
    (alert,) = backtest(whole, configured(defaults={"task": "regression"})).alerts
    assert alert.column == "performance.error"


def test_performance_takes_no_features_place():
    few = {"max_columns": 2}
    frame = shifted(quiet())[["timestamp", "model", "carrier", "age", "amount", "prediction", "label"]]
    unlabelled = backtest(frame.drop(columns="label"), configured(defaults=few))
    assert unlabelled.results == unlabelled.windows * len(["carrier", "age", "prediction"])
    labelled = backtest(frame, configured(defaults=few))
    assert labelled.results == unlabelled.results + 2 * labelled.windows
    assert labelled.alerts == ()


def test_events_and_outcomes_share_the_budget():
    frame = quiet().assign(score=np.random.default_rng(3).random(DAYS * 144))
    configuration = configured(defaults={"detector": "edetector", "segments": ["carrier"]})
    found, unlabelled = backtest(frame, configuration), backtest(frame.drop(columns="label"), configuration)
    assert 0.99 * found.allowed < found.spent <= found.allowed
    assert 0.98 * found.allowed < unlabelled.spent <= found.allowed
    assert found.results == unlabelled.results + found.windows * (3 + 3 * 2)  # scores of all rows only
    streams = [{"topic": "p", "kind": "predictions"}, {"topic": "l", "kind": "labels"}]
    waiting = configured(defaults={"detector": "edetector", "segments": ["carrier"]}, streams=streams)
    # As in the service: a part of the budget is for outcomes, whether there are any or not.
    assert backtest(frame, waiting) == found
    assert backtest(frame.drop(columns="label"), waiting).spent < 0.9 * unlabelled.spent


def test_an_objective_is_an_alert_of_its_own():
    frame = told(with_wrong_labels(quiet()))
    found = backtest(frame, configured(defaults={"detector": "edetector", **SLO}))
    assert sorted(str(alert.kind) for alert in found.alerts) == ["performance", "slo"]
    alert = next(alert for alert in found.alerts if str(alert.kind) == "slo")
    assert (alert.column, FAULT_DAY < day_of(alert.opened_at) <= FAULT_DAY + 3) == ("accuracy", True)
    assert "the objective is 0.8" in alert.summary


# --- which labels count -------------------------------------------------------------------------------------


def test_labels_from_a_file_are_those_of_the_column(tmp_path):
    frame = told(with_wrong_labels(quiet()))
    configuration = configured(defaults=SLO)
    expected = backtest(frame, configuration)
    labels = labels_of(frame).sample(frac=1, random_state=1)
    events = frame.drop(columns=["label", "label_timestamp"])
    assert backtest(events, configuration, labels=labels) == expected
    labels.to_csv(tmp_path / "labels.csv", index=False)
    assert backtest(events, configuration, labels=tmp_path / "labels.csv") == expected
    assert backtest(frame.assign(label=0), configuration, labels=labels) == expected
    without_times = labels.drop(columns="label_timestamp")
    expected = backtest(frame.drop(columns="label_timestamp"), configuration)
    assert backtest(events, configuration, labels=without_times) == expected


def test_labels_that_are_older_than_the_wait_are_no_evidence():
    frame = told(with_wrong_labels(quiet()))
    frame.loc[after(frame, FAULT_DAY), "label_timestamp"] += 2 * DAY
    wrong = {"performance.error"}
    strict, patient = (
        backtest(frame, configured(defaults={"detector": "edetector", "labels": {"wait": wait}}))
        for wait in ("1d", "3d")
    )
    assert not any(alert.columns & wrong for alert in strict.alerts)
    assert any(alert.columns & wrong for alert in patient.alerts)
    # Nobody can tell yet what came of the last window.
    assert strict.results - patient.results == len(["error", "label", "delay", "coverage"])


def test_a_correction_counts_if_it_was_known_and_never_what_came_later():
    frame = told(with_wrong_labels(quiet()))
    wrong = labels_of(frame)
    right = labels_of(told(quiet(), hours=20))
    late = labels_of(told(quiet(), hours=24 * 5))
    events = frame.drop(columns=["label", "label_timestamp"])
    configuration = configured(defaults={"detector": "edetector"})
    assert backtest(events, configuration, labels=pd.concat([wrong, right])).alerts == ()
    corrected = backtest(events, configuration, labels=pd.concat([late, wrong]))
    assert [alert.columns for alert in corrected.alerts] == [{"performance.error"}]
    first, other = corrected.as_dict(), backtest(events, configuration, labels=wrong).as_dict()
    ids = [[(a["id"], a["opened_at"], a["evidence_log"]) for a in one["alerts"]] for one in (first, other)]
    assert ids[0] == ids[1]


def test_windows_whose_labels_are_still_waited_for_are_not_judged():
    frame = told(quiet(), hours=0)
    plain = backtest(frame.drop(columns=["label", "label_timestamp"]), configured())
    found = backtest(frame, configured())
    judged = found.results - plain.results
    assert judged == (DAYS - REFERENCE_DAYS - 2) * len(["error", "label", "delay", "coverage"])
    frame.loc[len(frame) - 1, "label_timestamp"] += DAY
    assert backtest(frame, configured()).results - plain.results == judged + 4


def label_table(rows):
    frame = pd.DataFrame(rows, columns=["event_id", "label", "label_timestamp"])
    return LabelTable.read(frame_table(frame, KnownKinds(ModelSettings(), {})))


def test_labels_of_an_event_are_in_the_order_of_their_times_and_of_equal_ones_the_first_counts():
    rows = [("a", 0, 5), ("b", 1, 9), ("a", 1, 7), ("b", 0, 9), ("c", None, 9), ("c", 1, 3), ("a", 2, 6)]
    known = label_table(rows)
    assert known.newest_ms == 9
    part = pa.table({"event_id": ["c", "a", "b", "d", None]})
    found = known.of(part, np.arange(5))
    assert found.row.tolist() == [0, 1, 1, 1, 2]
    assert found.label_ms.tolist() == [3, 5, 6, 7, 9]
    assert found.values.to_pylist() == [1, 0, 2, 1, 1]
    for nothing in (rows[:0], [("a", None, 1)]):
        assert label_table(nothing).of(part, np.arange(5)).row.tolist() == []
    assert LabelColumn.read(frame_table(quiet(days=1), KnownKinds(ModelSettings(), {}))) == LabelColumn(None)


@pytest.mark.parametrize(
    ("prediction", "label", "expected"),
    [
        ([1, 0], [1.0, 1.0], ["right", "wrong"]),
        ([True, False], ["true", "true"], ["right", "wrong"]),
        ([True, False], [1, 1], ["right", "wrong"]),
        (pd.Categorical(["1", "0"]), [1, 1], ["right", "wrong"]),
        (["köln", "bonn", None], ["köln", None, "bonn"], ["right"]),
        ([1, 0], [None, None], []),
        ([1, 0], [0.5, 1.0], ["wrong", "wrong"]),
    ],
)
def test_classes_are_compared_by_their_names(prediction, label, expected):
    frame = pd.DataFrame({"timestamp": START_MS, "prediction": prediction, "label": label})
    records = joined([news.records.tobytes() for news in read(frame)])
    labelled = records[records["family"] == Family.LABELLED]
    said = [
        "right" if a == b else "wrong" for a, b, n in labelled[["a", "b", "n"]].tolist() for _ in range(n)
    ]
    assert sorted(said) == expected


def read(frame, **changed):
    """What becomes known of a frame."""
    settings_ = ModelSettings.model_validate({"slice": "1h", "windows": ["1d"], **changed})
    table = frame_table(frame, KnownKinds(settings_, {}))
    found = labels_of_events(table, None) or LabelColumn(None)
    history = History(table, ("m", UNVERSIONED), settings_, found)
    return list(Outcomes(history).between(Span(0, 1 << 62)))


def test_what_says_nothing_is_no_outcome():
    frame = pd.DataFrame({"timestamp": START_MS, "prediction": [1.5, 2.5, None], "label": [2.0, np.inf, 3.0]})
    (news,) = read(frame)
    families = sorted(news.records["family"].tolist())
    assert families == [Family.ESTIMATED, Family.ESTIMATED, Family.RESIDUAL, Family.TRUTH]
    late = frame.assign(label_timestamp=START_MS + 31 * DAY)
    (news,) = read(late)
    assert set(news.records["family"].tolist()) == {Family.ESTIMATED}  # the horizon is 30 days


# --- references ---------------------------------------------------------------------------------------------


def test_too_few_labels_are_said():
    frame = quiet().astype({"label": "Int64"})
    frame.loc[frame.index >= 99, "label"] = pd.NA
    found = backtest(frame, configured())
    (reason,) = found.skipped
    assert reason == (
        "outcomes of model 'm' version '1': 99 labels in the reference's time (100 at least are needed)"
    )
    assert found.results == backtest(frame.drop(columns="label"), configured()).results
    frame.loc[frame.index == 99, "label"] = 1
    assert backtest(frame, configured()).skipped == ()


def test_predictions_that_begin_after_the_reference_are_compared_with_the_first_of_them():
    frame = with_wrong_labels(quiet()).astype({"prediction": "Int64"})
    frame.loc[~after(frame, REFERENCE_DAYS + 1), "prediction"] = pd.NA
    found = backtest(frame, configured(defaults={"reference": {"first": "5d"}}))
    alert = next(alert for alert in found.alerts if str(alert.kind) == "performance")
    assert day_of(alert.opened_at) == FAULT_DAY + 1
    none = frame.assign(prediction=pd.array([pd.NA] * len(frame), "Int64"))
    (reason,) = backtest(none, configured()).skipped
    assert "there are no predictions in the reference's time" in reason


def with_file(tmp_path, train):
    train.to_parquet(tmp_path / "train.parquet")
    defaults = {"reference": {"file": "train.parquet"}, "detector": "edetector"}
    (tmp_path / "driftline.yaml").write_text(json.dumps(options(defaults=defaults)))
    return load(str(tmp_path / "driftline.yaml"))


def test_a_reference_file_with_labels_is_what_outcomes_are_compared_with(tmp_path):
    frame = with_wrong_labels(quiet())
    frame = frame[after(frame, FAULT_DAY - 2)]
    found = backtest(frame, with_file(tmp_path, quiet(9)))
    (alert,) = found.alerts
    assert (list(alert.columns), day_of(alert.opened_at)) == (["performance.error"], FAULT_DAY + 1)
    # Delays of the file are of no use where those of the table are not known.
    assert backtest(frame, with_file(tmp_path, told(quiet(9)))).alerts[0].columns == {"performance.error"}


def test_a_reference_file_without_labels_leaves_outcomes_to_the_first_of_the_table(tmp_path):
    found = backtest(with_wrong_labels(quiet()), with_file(tmp_path, quiet(9).drop(columns="label")))
    (alert,) = found.alerts
    assert (list(alert.columns), day_of(alert.opened_at)) == (["performance.error"], FAULT_DAY + 1)
    plain = backtest(quiet().drop(columns="label"), with_file(tmp_path, quiet(9)))
    assert found.results - plain.results == (DAYS - 7) * len(["performance.error", "label"])


# --- passes and order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["1d", pytest.param("1d/6h", marks=pytest.mark.full)])
def test_further_passes_and_another_order_change_nothing(monkeypatch, shape):
    frame = told(with_wrong_labels(shifted(quiet())), hours=30)
    frame["label_timestamp"] -= np.random.default_rng(2).integers(0, 20 * HOUR, len(frame))
    corrections = frame.sample(frac=0.1, random_state=2)
    corrections = labels_of(corrections).assign(
        label=1 - corrections.label, label_timestamp=corrections.label_timestamp + DAY
    )
    labels = pd.concat([labels_of(frame), corrections])
    events = frame.drop(columns=["label", "label_timestamp"])
    configuration = configured(
        defaults={"windows": [shape], "detector": "edetector", "segments": ["carrier"], **SLO}
    )
    once = backtest(events, configuration, labels=labels)
    assert {str(alert.kind) for alert in once.alerts} >= {"performance", "slo"}
    shuffled = events.sample(frac=1, random_state=3)
    assert backtest(shuffled, configuration, labels=labels.sample(frac=1, random_state=4)) == once
    monkeypatch.setattr(windows, "MOST_COUNTS", 3_000)
    monkeypatch.setattr(outcomes, "MOST_WAITING", 50)
    assert backtest(events, configuration, labels=labels) == once
    assert backtest(shuffled, configuration, labels=labels) == once


moments = st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(-2, 2))


@settings(max_examples=60)
@given(st.lists(moments, min_size=1, max_size=40), st.sampled_from(["4ms", "4ms/2ms", "6ms/2ms"]))
def test_windows_and_ranges_hold_what_was_known_then(rows, shape):
    length, _, every = shape.replace("ms", "").partition("/")
    spec = WindowSpec(int(length), int(every or length))
    slice_ms = np.array([row[0] // 2 * 2 for row in rows])
    first_end = slice_ms // spec.every_ms * spec.every_ms + spec.every_ms
    known_ms = first_end + np.array([row[1] for row in rows]) * spec.every_ms
    records = np.zeros(len(rows), RECORD)
    records["n"] = [row[2] for row in rows]
    news = News(slice_ms, known_ms, records)
    of_windows, recent = WindowOutcomes(spec), RecentOutcomes(9, spec.every_ms)
    of_windows.add(news)
    recent.add(news)
    assert EVERYTHING == 0  # the segment of these records
    for start in range(-spec.length_ms, 120, spec.every_ms):
        end = start + spec.length_ms
        in_window = (slice_ms >= start) & (slice_ms < end) & (known_ms <= end)
        assert of_windows.of(start)["n"].sum() == records["n"][in_window].sum()
        in_range = (slice_ms >= end - 9) & (slice_ms < end) & (known_ms <= end)
        assert recent.at(end)["n"].sum() == records["n"][in_range].sum()
