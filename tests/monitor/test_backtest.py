"""Backtests say what the service says of the same rows, in any form; planted faults are found."""

import doctest
import json
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select

from alerting.codec import document, from_bytes
from detectors.base import Detector, Step
from detectors.profile import profile_batch
from monitor import cli
from monitor.backtest import backtest, incidents, windows
from monitor.backtest import looks as looks_of
from monitor.config import Configuration
from monitor.config.settings import ModelSettings
from monitor.frames import Batches, frame_table
from monitor.frames.names import KnownKinds
from monitor.references.lifecycle import Span, first_stretch, learnable
from monitor.store import tables
from monitor.store.engine import reading
from monitor.store.tables import alert as alerts_table
from monitor.store.tables import slice_profile
from schemas.errors import UnusableReference, UsageError
from tests.monitor.test_judge import START_MS as WORLD_START_MS
from tests.monitor.test_judge import World

DOCS = Path(__file__).parents[2] / "docs"
START_MS, MINUTE, DAY = 1_767_225_600_000, 60_000, 86_400_000
ONE_LABEL = pd.DataFrame({"event_id": ["a"], "label": [1]})
DAYS, A_DAY, REFERENCE_DAYS, FAULT_DAY = 40, 144, 20, 30


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def options(**changed):
    return {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "database_url": "sqlite:///never-opened.db",
        "streams": [{"topic": "p", "kind": "predictions"}],
        "defaults": {
            "slice": "1h",
            "windows": ["1d"],
            "reference": {"first": f"{REFERENCE_DAYS}d"},
            "detector": "psi",
            **changed.pop("defaults", {}),
        },
        "alerts": {
            "routes": [
                {"match": {"severity": "page"}, "to": ["oncall"]},
                {"match": {}, "to": ["digest"]},
            ]
        },
        "receivers": {
            name: {"type": "webhook", "url": f"https://example.org/{name}", "secret_env": "HOOK"}
            for name in ("oncall", "digest")
        },
        **changed,
    }


def configured(**changed):
    return Configuration.model_validate(options(**changed))


def quiet(seed=0, days=DAYS, model="m", version="1"):
    """Rows without drift; labels agree with predictions nine times in ten."""
    rng = np.random.default_rng(seed)
    rows = days * A_DAY
    prediction = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "timestamp": START_MS + np.arange(rows) * (DAY // A_DAY),
            "event_id": [f"e{i}" for i in range(rows)],
            "model": model,
            "version": version,
            "amount": rng.normal(50, 10, rows).round(2),
            "age": rng.normal(40, 9, rows).round(0),
            "carrier": rng.choice(["UA", "AA", "DL"], rows),
            "prediction": prediction,
            "label": np.where(rng.random(rows) < 0.9, prediction, 1 - prediction),
        }
    )


def with_wrong_labels(frame):
    changed = frame.copy()
    rows = after(frame, FAULT_DAY) & (np.arange(len(frame)) % 2 == 0)
    changed.loc[rows, "label"] = 1 - changed.loc[rows, "prediction"]
    return changed


def after(frame, day):
    return frame.timestamp >= START_MS + day * DAY


def shifted(frame, day=FAULT_DAY):
    changed = frame.copy()
    changed.loc[after(frame, day), "amount"] += 25
    return changed


def day_of(text):
    return (pd.Timestamp(text).value // 1_000_000 - START_MS) / DAY


# --- the same as the service --------------------------------------------------------------------------------


CONTRACT = {
    "age": {"max": 60, "limit": 0.05, "severity": "page"},
    "prediction": {"unique": True},
    "carrier": {"values": ["UA"], "limit": "400 rows", "required": False},
    "nowhere": {"nullable": False, "severity": "info"},
}


@pytest.mark.parametrize("columns", [{}, CONTRACT], ids=["bare", "contract"])
@pytest.mark.parametrize("detector", ["psi", "edetector"])
def test_the_service_says_the_same_of_the_same_events(sqlite_url, detector, columns, monkeypatch):
    monkeypatch.setattr("monitor.decode.batch._arrived", lambda events, rows: None)  # a table knows of none
    # Tables do not say where their events come from, so there are no examples of them.
    world = World(sqlite_url, detector=detector, columns=columns, quality={"examples": 0})
    sent, append = [], world.broker.append

    def kept(topic, partition, value, **others):
        sent.append(json.loads(value))
        return append(topic, partition, value, **others)

    world.broker.append = kept  # type: ignore[method-assign]
    world.send(3, 55, per_minute=20)
    world.send(66, 54, per_minute=20)  # the stretch of the reference ends without rows
    world.send(120, 40, shift=2.0, per_minute=20)
    world.send(160, 80, per_minute=20)
    rows = len(sent)
    world.send(240, 3, per_minute=20)  # event time has to pass the end of the last window
    world.judge.sweep()
    with reading(world.engine) as connection:
        stored = connection.execute(select(alerts_table.c.state_bytes)).scalars().all()
    told = world.rows("SELECT alert_id, sequence, receiver FROM outbox ORDER BY 1, 2, 3")
    world.close()
    frame = pd.DataFrame(
        [
            {**event["features"], **{k: v for k, v in event.items() if k not in ("features", "event_id")}}
            for event in sent[:rows]
        ]
    )
    assert frame.timestamp.min() == WORLD_START_MS + 3 * MINUTE
    found = backtest(frame, world.configuration)
    expected = sorted((document(from_bytes(data)) for data in stored), key=lambda alert: alert["opened_at"])
    assert {alert["lane"] for alert in expected} >= ({"quality"} if columns else {"predictions"})
    assert found.as_dict()["alerts"] == expected
    assert sorted((d.alert_id, d.sequence, d.receiver) for d in found.deliveries) == told


def test_windows_hold_the_rows_that_profiles_hold(monkeypatch):
    """Sliding windows, unordered rows, a gap: counts are the sums of the profiles of slices."""
    frame = quiet(days=12).sample(frac=1, random_state=3)
    frame = frame[~frame.timestamp.between(START_MS + 8.2 * DAY, START_MS + 9.5 * DAY)]
    configuration = configured(
        defaults={"windows": ["6h/2h"], "reference": {"first": "5d"}, "segments": ["carrier"]}
    )
    judged = watched(monkeypatch)
    backtest(frame.drop(columns="label"), configuration)
    settings = configuration.for_model("m")
    table = frame_table(frame.drop(columns="label"), KnownKinds(settings, {}))
    hour, first_ms = 3_600_000, START_MS + 5 * DAY
    reference = judged[0][0]
    slices: dict = {}
    for batch in Batches(table, settings):
        for start, profile in profile_batch(batch, hour, binning_of(frame, settings, first_ms)).items():
            known = slices.get(start)
            slices[start] = profile.counts if known is None else known + profile.counts
    starts = sorted({s - s % (2 * hour) - back for s in slices for back in (0, 2 * hour, 4 * hour)})
    starts = [start for start in starts if start >= first_ms]
    assert [moment.start_ms for _, _, moment in judged] == starts
    assert len(starts) < 12 * 7
    for (_, window, moment), start in zip(judged, starts, strict=True):
        assert moment.end_ms == start + 6 * hour
        expected = sum(slices[s] for s in range(start, start + 6 * hour, hour) if s in slices)
        own = len(binning_of(frame, settings, first_ms).columns)
        assert (window[:, :own][:, reference.layout.valid[:own]] == expected).all()
        assert window[:, own:].sum() > 0  # distances of the sampled rows


def binning_of(frame, settings, until_ms):
    from monitor.frames import reference_from_frame

    return reference_from_frame(
        frame[frame.timestamp < until_ms].drop(columns="label"), settings, model="m"
    ).binning


def watched(monkeypatch):
    """Note what the detector is given."""
    calls = []

    def step(self, reference, window, state, moment):
        calls.append((reference, window, moment))
        return Step(self.judge(reference, window), b"")

    monkeypatch.setattr(Detector, "step", step)
    return calls


def test_further_passes_over_the_table_change_nothing(monkeypatch):
    frame, configuration = shifted(quiet()), configured(defaults={"windows": ["1d/12h"]})
    once = backtest(frame, configuration)
    monkeypatch.setattr(windows, "MOST_COUNTS", 300)
    assert backtest(frame, configuration) == once


@given(
    st.dictionaries(st.integers(0, 40), st.integers(1, 60), min_size=1),
    st.sampled_from(
        [{"first": "5h"}, {"first": "90m"}, {"from": 5 * 3_600_000 + 1, "to": 9 * 3_600_000 + 1}]
    ),
    st.integers(2, 200),
)
def test_references_are_learned_from_the_stretch_that_the_service_takes(rows, form, min_rows):
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine, [slice_profile])
    settings = ModelSettings.model_validate({"slice": "1h", "reference": {**form, "min_rows": min_rows}})
    starts = np.array(sorted(rows)) * 3_600_000
    with engine.begin() as connection:
        identity = {"model": "m", "version": "1", "sources": "{}", "bytes": b""}
        slices = [{**identity, "slice_ms": 3_600_000 * at, "rows": number} for at, number in rows.items()]
        connection.execute(insert(slice_profile), slices)
        learned = learnable(connection, ("m", "1"), settings, 1 << 60)
    engine.dispose()
    counts = np.array([rows[at] for at in sorted(rows)])
    assert first_stretch(starts, counts, settings) == learned == stretch_slice_by_slice(rows, settings)


def stretch_slice_by_slice(rows, settings):
    hour_ms, wanted = 3_600_000, settings.reference
    if wanted.from_ms is None:
        start = min(rows) * hour_ms
        end = start + math.ceil(wanted.span_ms / hour_ms) * hour_ms
    else:
        start, end = (
            math.floor(wanted.from_ms / hour_ms) * hour_ms,
            math.ceil(wanted.to_ms / hour_ms) * hour_ms,
        )
    total = 0
    for at in sorted(rows):
        if at * hour_ms < start:
            continue
        if at * hour_ms >= end and total >= wanted.min_rows:
            break
        total += rows[at]
        end = max(end, (at + 1) * hour_ms)
    return Span(start, end) if total >= wanted.min_rows else None


# --- what is found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", ["psi", "edetector"])
def test_a_planted_shift_is_found_when_it_comes_and_named(detector):
    found = backtest(shifted(quiet()), configured(defaults={"detector": detector})).as_dict()
    assert set(found) == {
        "model", "windows", "results", "budget", "alerts", "incidents", "deliveries", "digests", "retraining",
    }  # fmt: skip
    assert (found["model"], found["windows"]) == ("m", DAYS - REFERENCE_DAYS)
    streams = ["age", "amount", "carrier", "multivariate.distance", "prediction"]
    streams += ["performance.error", "label"]
    if detector == "edetector":
        streams += ["multivariate.correlation"]
        columns = ["age", "amount", "carrier", "prediction"]
        streams += [f"{name}: {rate}" for rate in ("missing", "invalid") for name in columns]
        streams += ["carrier: unseen", "prediction: unseen"]
        streams += [f"{name}: {what}" for what in ("schema", "stuck") for name in columns]
        streams += ["new columns", "features: completeness", "rows: volume"]
        streams += [f"{name}: precision" for name in ("age", "amount")]
    assert found["results"] == found["windows"] * len(streams)
    (alert,) = found["alerts"]
    assert (alert["column"], alert["lane"], alert["state"]) == ("amount", "features", "firing")
    assert day_of(alert["opened_at"]) == FAULT_DAY + 1
    assert alert["closed_at"] is None
    assert set(alert["effect"]) == {"psi", "psi_low", "psi_high"}
    # What lies far from the others in one column lies far from them as a row.
    assert alert["findings"][0]["column"] == "amount"
    assert {finding["column"] for finding in alert["findings"]} <= {"amount", "multivariate.distance"}
    named = {"column", "segment", "lane", "evidence_log", "psi", "explanation", "onset_at"}
    assert named <= set(alert["findings"][0])
    assert {delivery["receiver"] for delivery in found["deliveries"]} == {"digest"}
    assert found["deliveries"][0]["at"] == "2026-02-01T00:00:00Z"


@pytest.mark.parametrize("detector", ["psi", "edetector"])
def test_nothing_is_found_where_nothing_is(detector):
    found = backtest(quiet(5), configured(defaults={"detector": detector}))
    assert (found.alerts, found.deliveries) == ((), ())


def test_what_another_alert_holds_back_is_told_when_that_is_over(monkeypatch):
    frame = shifted(quiet())
    wrong = after(frame, 23) & ~after(frame, 33) & (np.arange(len(frame)) % 2 == 0)
    frame.loc[wrong, "label"] = 1 - frame.loc[wrong, "prediction"]
    plain = options()
    plain["alerts"]["inhibit"] = [{"by": {"kind": ["performance"]}, "of": {"kind": ["drift"]}}]
    configuration = Configuration.model_validate(plain)
    looks = []
    skipping = looks_of.later_look_ms

    def counted(record, look_ms, next_ms):
        looks.append(look_ms)
        return skipping(record, look_ms, next_ms)

    monkeypatch.setattr(incidents, "later_look_ms", counted)
    found = backtest(frame, configuration)
    told = [one for one in found.deliveries if one.cause.startswith("was held back while")]
    assert {(one.change, one.receiver) for one in told} == {("opened", "digest")}
    # The last window with wrong labels is that of day 32; three clean ones end the alert.
    assert [day_of(one.at) for one in told] == [pytest.approx(36 + 1 / 1440)]
    assert len(looks) < 20
    monkeypatch.setattr(incidents, "later_look_ms", lambda record, look_ms, next_ms: look_ms)
    assert backtest(frame, configuration).deliveries == found.deliveries


def test_weeks_list_what_drifted_in_them():
    found = backtest(shifted(quiet()), configured(defaults={"detector": "edetector"}))
    weeks = found.as_dict()["digests"]
    assert [week["week"] for week in weeks] == sorted(week["week"] for week in weeks)
    for digest, week in zip(found.digests, weeks, strict=True):
        if digest.until.timestamp() * 1_000 > START_MS + FAULT_DAY * DAY:
            assert "amount" in [one["column"] for one in week["listed"]]
        else:
            assert week["listed"] == []
        assert 4 <= week["streams"] <= found.results // found.windows
    amount = next(one for one in weeks[-1]["listed"] if one["column"] == "amount")
    assert amount["summary"].startswith("amount: ")
    assert backtest(shifted(quiet()), configured(defaults={"detector": "psi"})).digests == ()


def test_evidence_is_collected_within_the_budget():
    found = backtest(shifted(quiet()), configured(defaults={"detector": "edetector"}))
    assert found.allowed == pytest.approx((DAYS - REFERENCE_DAYS) / 7)
    # An open stream spends nothing, the others go on.
    assert 0.8 * found.allowed < found.spent < found.allowed
    (alert,) = found.alerts
    assert (alert.evidence_log or -1) >= (alert.threshold_log or 0)
    assert abs(day_of(alert.onset_at) - FAULT_DAY) <= 1


def test_sliding_windows_do_not_collect_the_same_evidence_twice():
    frame = shifted(quiet())
    found = backtest(frame, configured(defaults={"detector": "edetector", "windows": ["1d/6h"]}))
    tumbling = backtest(frame, configured(defaults={"detector": "edetector"}))
    assert found.windows == 4 * (DAYS - REFERENCE_DAYS)
    assert found.spent == pytest.approx(tumbling.spent)
    assert [(a.column, a.opened_at) for a in found.alerts] == [
        (a.column, a.opened_at) for a in tumbling.alerts
    ]
    alone = backtest(frame, configured(defaults={"windows": ["1d/6h"]}))
    assert day_of(alone.alerts[0].opened_at) == FAULT_DAY + 0.25  # psi judges each window on its own


def test_the_budget_is_shared_from_the_time_on_that_a_version_has_a_reference():
    late = quiet(2, days=30, version="2")
    late["timestamp"] += 10 * DAY
    configuration = configured(defaults={"detector": "edetector"})
    both = pd.concat([quiet(1), late], ignore_index=True).drop(columns="label")
    found = backtest(both, configuration)
    # Alone for the windows of nine days; the tenth ends when the other one has learned enough.
    assert found.spent == pytest.approx(9 / 7 + 11 / 7 / 2 + 10 / 7 / 2)


def test_a_stream_that_is_not_back_to_normal_keeps_its_alert_open():
    frame = shifted(quiet(days=50))
    frame.loc[after(frame, 36), "amount"] -= 25
    (alert,) = backtest(frame, configured(defaults={"detector": "edetector"})).alerts
    # Drift of six days, three settled windows, and then as many clean ones as the policy asks for.
    assert 39 <= day_of(alert.closed_at) <= 45


def test_segments_are_watched():
    frame = quiet()
    rows = after(frame, FAULT_DAY) & (frame.carrier == "DL")
    frame.loc[rows, "amount"] += 30
    found = backtest(frame, configured(defaults={"segments": ["carrier"], "detector": "edetector"}))
    findings = [finding for alert in found.as_dict()["alerts"] for finding in alert["findings"]]
    assert ("amount", "carrier=DL") in {(finding["column"], finding["segment"]) for finding in findings}
    assert not {("amount", "carrier=AA"), ("amount", "carrier=UA")} & {
        (f["column"], f["segment"]) for f in findings
    }


# --- tables and references ----------------------------------------------------------------------------------


def test_a_frame_a_file_and_another_order_say_the_same(tmp_path):
    frame, configuration = shifted(with_wrong_labels(quiet())), configured(defaults={"segments": ["carrier"]})
    expected = backtest(frame, configuration)
    assert expected.alerts
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert backtest(tmp_path / "rows.parquet", configuration) == expected
    assert backtest(str(tmp_path / "rows.csv"), configuration) == expected
    assert backtest(frame.sample(frac=1, random_state=1), configuration) == expected


def test_a_configured_reference_is_in_force_from_the_first_window_on(tmp_path):
    frame = shifted(quiet(), day=2)
    quiet(9).to_parquet(tmp_path / "train.parquet")
    (tmp_path / "driftline.yaml").write_text(
        json.dumps(options(defaults={"reference": {"file": "train.parquet"}}))
    )
    from monitor.config import load

    found = backtest(frame, load(str(tmp_path / "driftline.yaml")))
    assert found.windows == DAYS
    assert [(alert.column, day_of(alert.opened_at)) for alert in found.alerts] == [("amount", 3)]
    assert found.results == DAYS * 7  # performance.error and label too: the file has labels
    unlabelled = backtest(frame.drop(columns="label"), load(str(tmp_path / "driftline.yaml")))
    assert unlabelled.results == DAYS * 5
    (tmp_path / "train.parquet").unlink()
    with pytest.raises(UsageError, match=r"train.parquet: cannot be read"):
        backtest(frame, load(str(tmp_path / "driftline.yaml")))


def test_a_chosen_stretch_is_the_reference_and_what_follows_is_judged():
    frame = shifted(quiet())
    stretch = {"from": "2026-01-11T00:00:00Z", "to": "2026-01-28T12:00:00Z"}
    found = backtest(frame, configured(defaults={"reference": stretch}))
    assert (day_of(pd.Timestamp(found.from_ms, unit="ms")), found.windows) == (28, 12)


def test_learning_goes_on_until_there_are_rows_enough():
    found = backtest(quiet(), configured(defaults={"reference": {"first": "1h", "min_rows": 20 * A_DAY + 1}}))
    assert day_of(pd.Timestamp(found.from_ms, unit="ms")) == 21


def test_each_model_version_is_judged_on_its_own_and_gets_its_part_of_the_budget():
    frames = [
        shifted(quiet(1)), quiet(2, model="other"), quiet(3, version="2"), quiet(4, days=3, model="new")
    ]  # fmt: skip
    together = pd.concat(frames).sort_values("timestamp")
    configuration = configured(defaults={"detector": "edetector"})
    found = backtest(together, configuration)
    assert found.models == ("m", "other")
    assert found.windows == 3 * (DAYS - REFERENCE_DAYS)
    assert [(alert.model, alert.version, alert.column) for alert in found.alerts] == [("m", "1", "amount")]
    (skipped,) = found.skipped
    assert "model 'new' version '1': there are no rows after the reference" in skipped
    assert found.as_dict()["model"] == ["m", "other"]
    one = backtest(together, configuration, model="other")
    assert (one.models, one.windows) == (("other",), DAYS - REFERENCE_DAYS)
    assert one.spent == pytest.approx(one.allowed / 4)


def test_a_version_that_is_missing_has_a_name():
    frame = shifted(quiet()).assign(version=None)
    assert {alert.version for alert in backtest(frame, configured()).alerts} == {"unversioned"}
    assert backtest(frame.drop(columns="version"), configured()) == backtest(frame, configured())


def test_a_table_without_models_is_of_the_one_that_is_named():
    frame = shifted(quiet()).drop(columns="model")
    assert backtest(frame, configured(), model="m") == backtest(shifted(quiet()), configured())
    only = configured(models={"churn": {}})
    assert backtest(frame, only).models == ("churn",)


def test_progress_goes_from_nothing_to_all():
    calls: list = []
    backtest(quiet(), configured(), progress=lambda *numbers: calls.append(numbers))
    assert calls == [(done, 20) for done in range(21)]


@pytest.mark.parametrize(
    ("changed", "given_", "message"),
    [
        ({"timestamp": None}, {}, "frame: has no column timestamp"),
        ({"model": None}, {}, r"frame: has no column model, .* \(give --model\)"),
        ({}, {"model": "nobody"}, r"frame: has no rows of model 'nobody' \(there are: m\)"),
        ({"timestamp": "yesterday"}, {}, r"frame: row 1: timestamp: 'yesterday' is no instant"),
        ({"model": np.nan}, {}, r"model is missing in \d+ rows"),
        ({"label_timestamp": "later"}, {}, "frame: row 1: label_timestamp: 'later' is no instant"),
        ({"event_id": None}, {"labels": ONE_LABEL}, "no column event_id"),
        ({"prediction": None}, {"labels": ONE_LABEL}, "no column prediction"),
        ({}, {"labels": pd.DataFrame({"label": [1]})}, "has no column event_id"),
        ({}, {"labels": pd.DataFrame({"event_id": [None], "label": [1]})}, "event_id is missing in 1 rows"),
        ({}, {"labels": "nowhere.csv"}, "nowhere.csv: cannot be read"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_judged(changed, given_, message):
    frame = quiet()
    for name, value in changed.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    with pytest.raises(UsageError, match=message):
        backtest(frame, configured(), **given_)


def test_tables_without_enough_rows():
    with pytest.raises(UsageError, match="frame: has no rows"):
        backtest(quiet().head(0), configured())
    with pytest.raises(UsageError, match=r"there are no rows after the reference, which ends at 2026-01-21"):
        backtest(quiet(days=20), configured())
    with pytest.raises(UsageError, match=r"100 rows do not make a reference \(reference.min_rows is 200\)"):
        backtest(quiet().head(100), configured())


def test_a_reference_file_with_too_few_rows(tmp_path):
    quiet().head(50).to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(UnusableReference, match="50 rows"):
        backtest(quiet(), configured(defaults={"reference": {"file": str(tmp_path / "train.csv")}}))


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / "driftline.yaml").write_text(json.dumps(options()))

    def run(frame, *arguments):
        frame.to_parquet(tmp_path / "rows.parquet")
        paths = ["-c", str(tmp_path / "driftline.yaml"), "--from", str(tmp_path / "rows.parquet")]
        code = cli.run(["backtest", *paths, *arguments])
        return code, *capsys.readouterr()

    return run


def test_the_command_prints_json_and_nothing_else(run):
    code, out, err = run(shifted(quiet()), "--json")
    assert (code, err) == (1, "")
    assert json.loads(out) == backtest(shifted(quiet()), configured()).as_dict()
    code, out, err = run(quiet(5), "--json")
    assert (code, json.loads(out)["alerts"], err) == (0, [], "")


def test_the_command_tells_people(run, tmp_path):
    frame = with_wrong_labels(quiet())
    labels = tmp_path / "labels.csv"
    frame[["event_id", "label"]].to_csv(labels, index=False)
    code, out, err = run(frame.drop(columns="label"), "--labels", str(labels))
    assert (code, err) == (1, "")
    assert "2026-02-01 00:00Z  page  m v1: performance" in out
    assert "    told: digest, oncall 2026-02-01 00:00Z" in out or "told: oncall, digest" in out
    assert "1 incident (1 alert) in 20 windows of m" in out
    assert "false alarms: 2.86 allowed (1 per week), 0.00 spent" in out
    code, out, err = run(quiet(5))
    assert code == 0
    assert out.startswith("no incidents in 20 windows of m")


def test_the_command_says_what_it_left_out(run):
    code, out, err = run(pd.concat([quiet(5), quiet(6, days=3, version="2")], ignore_index=True), "--json")
    assert code == 0
    assert "not judged: model 'm' version '2': there are no rows after the reference" in err
    assert json.loads(out)["windows"] == 20


def test_the_command_refuses_what_cannot_be_judged(run, tmp_path):
    code, out, err = run(quiet().drop(columns="timestamp"))
    assert (code, out) == (2, "")
    assert "rows.parquet: has no column timestamp" in err
    code, _, err = run(quiet(), "--model", "nobody")
    assert (code, "no rows of model 'nobody'" in err) == (2, True)
    code = cli.run(["backtest", "-c", str(tmp_path / "driftline.yaml"), "--from", str(tmp_path / "no.csv")])
    assert code == 2


def test_examples_of_the_page():
    result = doctest.testfile(str(DOCS / "backtest.md"), module_relative=False, encoding="utf-8")
    assert result.attempted > 3
    assert result.failed == 0


def test_the_first_window_of_a_table_may_be_cut_off(tmp_path):
    frame = quiet()
    begins = frame["timestamp"].min() + 11 * DAY
    frame[frame["timestamp"] < begins - DAY].to_parquet(tmp_path / "training.parquet")
    reference = {"file": str(tmp_path / "training.parquet")}
    configuration = configured(defaults={"reference": reference, "detector": "edetector"})

    def kinds(since_ms):
        found = backtest(frame[frame["timestamp"] >= since_ms], configuration)
        return {finding.column for alert in found.alerts for finding in alert.findings}

    assert kinds(begins) == kinds(begins + 20 * 60 * MINUTE) == set()
    half = frame[(frame["timestamp"] >= begins + DAY) | (np.arange(len(frame)) % 4 == 0)]
    found = backtest(half[half["timestamp"] >= begins - DAY], configuration)
    assert "rows" in {finding.column for alert in found.alerts for finding in alert.findings}
