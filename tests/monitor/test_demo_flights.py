"""The demo's data: flights as they were, a model that behaves as documented, faults as planted."""

import re
from datetime import UTC, datetime

import numpy as np
import pytest

from monitor.demo import faults, flights, model
from monitor.demo.faults import Effect
from schemas.errors import UsageError

# month: flights that arrived, share late, mean score, accuracy, recall of a plain logistic regression
MONTHS = {
    1: (26_398, 0.227, 0.220, 0.768, 0.30),
    3: (27_902, 0.228, 0.218, 0.773, 0.32),
    4: (27_564, 0.279, 0.150, 0.733, 0.11),
    5: (28_128, 0.220, 0.131, 0.786, 0.07),
    6: (27_075, 0.308, 0.105, 0.701, 0.04),
    7: (28_293, 0.315, 0.074, 0.687, 0.01),
    9: (27_010, 0.132, 0.098, 0.867, 0.00),
    12: (27_020, 0.326, 0.221, 0.709, 0.28),
}


@pytest.fixture(scope="module")
def year():
    return flights.read_flights(flights.data_folder())


@pytest.fixture(scope="module")
def scores(year):
    return model.train(year).score(year)


def test_all_flights_are_read_with_names_of_their_own(year):
    ids = year.event_ids(year.named["carrier"])
    assert len(ids) == 336_776 == len(set(ids))
    assert all(re.fullmatch(r"2013-\d\d-\d\d-\w\w\d+-(EWR|JFK|LGA)", id_) for id_ in ids[:1_000])
    assert (np.diff(year.event_ms) >= 0).all()


def test_the_weather_is_known_for_every_flight(year):
    assert {
        name: int(np.isnan(values).sum()) for name, values in year.numeric.items() if np.isnan(values).any()
    } == {}
    assert -10 < year.numeric["temp"].min() < 20 < 95 < year.numeric["temp"].max() < 110


def test_departures_are_in_utc_in_winter_and_in_summer(year):
    local_hour = year.numeric["hour"].astype(int)
    utc_hour = year.event_ms // 3_600_000 % 24
    assert set(((utc_hour - local_hour) % 24)[year.month == 1].tolist()) == {5}
    assert set(((utc_hour - local_hour) % 24)[year.month == 7].tolist()) == {4}


def test_flights_land_after_they_have_left_and_the_label_says_whether_late(year):
    landed = year.landed_ms > 0
    assert (landed == (year.label != flights.UNKNOWN)).all()
    minutes = (year.landed_ms - year.event_ms)[landed] / 60_000
    assert minutes.min() > 0
    assert np.percentile(minutes, 99) < 10 * 60


def test_a_known_flight_landed_when_it_did(year):
    # UA 1545 left Newark at 5:17 instead of 5:15 on 1 January and was in Houston at 8:30 local time.
    first = year.taken(slice(0, 1))
    assert first.event_ids(first.named["carrier"]) == ["2013-01-01-UA1545-EWR"]
    assert datetime.fromtimestamp(first.landed_ms[0] / 1_000, UTC) == datetime(2013, 1, 1, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("month", MONTHS)
def test_the_model_behaves_as_documented(year, scores, month):
    arrived, late_share, mean_score, accuracy, recall = MONTHS[month]
    rows = (year.month == month) & (year.label != flights.UNKNOWN)
    late, said = year.label[rows] == 1, scores[rows] >= model.THRESHOLD
    assert rows.sum() == arrived
    assert late.mean() == pytest.approx(late_share, abs=0.001)
    assert scores[rows].mean() == pytest.approx(mean_score, abs=0.01)
    assert (late == said).mean() == pytest.approx(accuracy, abs=0.01)
    assert (late & said).sum() / late.sum() == pytest.approx(recall, abs=0.03)


def test_missing_numbers_and_unknown_names_still_get_a_score(year):
    trained = model.train(year)
    one = year.taken(slice(0, 1))
    blank = flights.Flights(
        **{name: getattr(one, name) for name in ("month", "day", "number", "event_ms", "landed_ms", "label")},
        numeric={name: np.array([np.nan]) for name in one.numeric},
        named={name: flights.Names(np.array([-1]), column.names) for name, column in one.named.items()},
    )
    assert 0 < trained.score(blank)[0] < 1


def test_every_kind_of_fault_is_planted_in_the_replayed_months():
    assert {fault.effect for fault in faults.FAULTS} == set(Effect)
    for fault in faults.FAULTS:
        assert faults.day_ms("2013-03-01") < fault.from_ms < fault.to_ms < faults.day_ms("2013-12-31")


def by_effect(effect):
    return next(fault for fault in faults.FAULTS if fault.effect is effect)


def test_celsius_is_planted_at_one_airport_for_a_week_and_nowhere_else(year):
    fault = by_effect(Effect.CELSIUS)
    faulty = faults.with_faulty_features(year)
    changed = faulty.numeric["temp"] != year.numeric["temp"]
    assert (changed == fault.meant(year)).all()
    assert set(year.named["origin"].taken(changed).texts()) == {"LGA"}
    assert fault.to_ms - fault.from_ms == 7 * faults.DAY_MS
    expected = (year.numeric["temp"][changed] - 32) / 1.8
    assert faulty.numeric["temp"][changed] == pytest.approx(expected, abs=0.01)


def test_one_carrier_is_missing_for_three_days(year):
    faulty = faults.with_faulty_features(year)
    gone = faulty.named["carrier"].codes == flights.UNKNOWN
    assert set(year.named["carrier"].taken(gone).texts()) == {"B6"}
    assert set(faulty.named["carrier"].taken(gone).texts()) == {None}
    days = np.unique(year.event_ms[gone] // faults.DAY_MS)
    assert len(days) == 3


def test_labels_flip_at_one_airport_only(year):
    changed = faults.told_labels(year) != year.label
    assert set(year.named["origin"].taken(changed).texts()) == {"EWR"}
    assert (faults.told_labels(year) == flights.UNKNOWN).sum() == (year.label == flights.UNKNOWN).sum()


def test_some_predictions_are_held_back_within_the_horizon(year):
    late_ms = faults.sent_ms(year) - year.event_ms
    assert set(late_ms.tolist()) == {0, faults.HELD_BACK_MS}
    assert set(year.named["origin"].taken(late_ms > 0).texts()) == {"JFK"}


def test_unreadable_messages_are_all_different_and_spread_over_the_days():
    planted = faults.malformed_at()
    fault = by_effect(Effect.MALFORMED)
    assert len(set(faults.MALFORMED)) == len(faults.MALFORMED)
    assert len(planted) == len(faults.MALFORMED) * 5
    assert {at_ms // faults.DAY_MS for at_ms, _ in planted} == {
        day // faults.DAY_MS for day in range(fault.from_ms, fault.to_ms, faults.DAY_MS)
    }


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr(flights, "PACKAGE", "nycflights1313")
    with pytest.raises(UsageError, match=r"is not installed \(pip install driftline\[demo\]\)"):
        flights.data_folder()
