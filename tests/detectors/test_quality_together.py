"""Watches side by side: what each leaves to the others, and what they do where little is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.arrivals import LAG_BINS
from detectors.base import Moment
from detectors.quality.catalog import watches
from detectors.quality.facts import Facts
from detectors.quality.learned import LearnedQuality
from detectors.quality.planted import WINDOW_MS, Traffic, planted_facts, planted_reference
from detectors.quality.schema import NEWS
from detectors.quality.watching import judge_quality, streams_of
from detectors.reference import Reference
from schemas.arrived import Arrived
from schemas.batch import MISSING, OK, Batch
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError, UnusableReference
from schemas.verdict import Decision, Verdict

BUDGET = 1e-4
DAY_MS = 86_400_000


def judged(reference: Reference, windows: tuple[Facts, ...]) -> list[list[Verdict]]:
    state, found = b"", []
    for at, facts in enumerate(windows):
        start_ms = reference.to_ms + at * WINDOW_MS
        step = judge_quality(
            reference, facts, state, start_ms=start_ms, end_ms=start_ms + WINDOW_MS, budget=BUDGET
        )
        state = step.state
        found.append(step.verdicts)
    return found


def alarms(found: list[list[Verdict]]) -> list[tuple[str, str, str]]:
    return [(v.detector, v.column, v.segment) for vs in found for v in vs if v.decision is Decision.DRIFT]


def without_age(batch: Batch) -> Batch:
    status = batch.status.copy()
    status[1] = MISSING
    return replace(batch, status=status, numbers=np.where(status == OK, batch.numbers, 0.0))


def test_a_column_that_vanished_is_named_once() -> None:
    reference = planted_reference(seed=1, traffic=Traffic())
    found = judged(reference, planted_facts(reference, 5, 4, without_age, Traffic()))
    assert alarms(found) == [("quality.schema", "age", "")]


def test_a_column_of_which_some_is_left_is_not_vanished() -> None:
    reference = planted_reference(seed=1)

    def fault(batch: Batch) -> Batch:
        kept, gone = batch, without_age(batch)
        status = gone.status.copy()
        status[1, :3] = OK
        return replace(gone, status=status, numbers=np.where(status == OK, kept.numbers, 0.0))

    found = alarms(judged(reference, planted_facts(reference, 5, 1, fault)))
    assert ("quality.missing", "age", "") in found
    assert ("quality.completeness", "features", "") in found
    assert not any(detector == "quality.schema" for detector, *_ in found)


def test_a_new_column_is_news_and_no_incident() -> None:
    reference = planted_reference(seed=1)

    def fault(batch: Batch) -> Batch:
        return replace(
            batch,
            numeric=(*batch.numeric, ColumnSpec("tip", Kind.NUMERIC)),
            numbers=np.vstack([batch.numbers, np.ones(len(batch))]),
            status=np.vstack([batch.status, np.zeros(len(batch), np.uint8)]),
        )

    found = judged(reference, planted_facts(reference, 5, 2, fault))
    assert alarms(found) == []
    [news] = [v for v in found[0] if v.column == NEWS]
    assert (news.decision, news.explanation) == (Decision.OK, "not in the reference: tip")
    [nothing] = [v for v in judged(reference, planted_facts(reference, 5, 1))[0] if v.column == NEWS]
    assert nothing.explanation == ""


def replayed(years: float) -> Traffic:
    return Traffic(late_ms=years * 365 * DAY_MS)


def test_a_replay_of_old_data_is_no_finding_about_lags() -> None:
    usual = Traffic()
    reference = planted_reference(seed=1, traffic=usual)
    before, after = (planted_facts(reference, seed, 3, traffic=usual) for seed in (5, 7))
    during = planted_facts(reference, 6, 6, traffic=replayed(12))
    assert alarms(judged(reference, (*before, *during, *after))) == []


def test_a_reference_of_a_replay_says_nothing_about_lags() -> None:
    reference = planted_reference(seed=1, traffic=replayed(12))
    assert watches()["skew"].columns(reference) == ()
    assert watches()["duplicates"].columns(reference) == ("event_id",)
    live = planted_facts(reference, 5, 3, traffic=Traffic())
    assert alarms(judged(reference, live)) == []


def test_rows_that_come_live_beside_a_replay_are_judged_as_ever() -> None:
    reference = planted_reference(seed=1, traffic=Traffic())

    def fault(batch: Batch) -> Batch:
        assert batch.arrived is not None
        lags = np.where(np.arange(len(batch)) % 2, 3_000 * DAY_MS, 40_000)
        return replace(batch, arrived=Arrived(batch.event_ms + lags, batch.arrived.is_behind))

    found = judged(reference, planted_facts(reference, 5, 1, fault, Traffic()))
    assert alarms(found) == [("quality.skew", "timestamp", "")]
    [skew] = [v for v in found[0] if v.detector == "quality.skew"]
    assert skew.explanation.startswith("timestamp: events arrive at other times: 100 % 30 s to 1 min late")


def test_completeness_names_what_is_missing_most() -> None:
    reference, example = planted_reference(seed=1), watches()["completeness"].examples()[0]
    [first, *_] = judged(reference, example.shifted[:1])
    [found] = [v for v in first if v.detector == "quality.completeness" and not v.segment]
    assert "; of those, missing " in found.explanation
    assert "age in " in found.explanation
    assert "carrier in " in found.explanation


def test_older_references_know_no_arrivals_and_keep_their_hash() -> None:
    made = planted_reference(seed=1, traffic=Traffic())
    older = replace(made, quality=None, _kept={})
    again = Reference.from_bytes(older.to_bytes())
    assert again.quality is None
    assert again.hash == older.hash != made.hash
    known = {name for name, watch in watches().items() if watch.columns(again)}
    assert known == {"missing", "invalid", "unseen", "schema", "stuck", "volume"}
    facts = planted_facts(again, 5, 2, traffic=Traffic())
    assert len(judged(again, facts)[0]) == streams_of(again)


def test_a_table_knows_no_arrivals() -> None:
    made = planted_reference(seed=1)
    assert made.quality is not None
    assert not made.quality.knows_arrivals
    assert not made.quality.lags.any()
    known = {name for name, watch in watches().items() if watch.columns(made)}
    assert known == set(watches()) - {"duplicates", "order", "skew"}


def test_damaged_knowledge_of_quality_is_refused() -> None:
    made = planted_reference(seed=1, traffic=Traffic())
    assert made.quality is not None
    for data in (b"junk", made.quality.to_bytes()[:-9]):
        with pytest.raises(UnusableReference, match="quality"):
            LearnedQuality.from_bytes(data, made.binning)


@pytest.mark.parametrize("name", ["volume", "schema", "stuck"])
def test_state_of_other_streams_is_refused(name: str) -> None:
    small = planted_reference(seed=1)
    watch, facts = watches()[name], planted_facts(small, 5, 1)
    judged_once = watch.examples()[0].reference
    columns = watch.columns(judged_once)
    segments = len(small.binning.groups) if watch.by_segment else 1
    moment = Moment(0, 1, np.full((segments, len(columns)), BUDGET))
    with pytest.raises(ProfileError, match="watch of data quality"):
        watch.step(judged_once, facts[0], b"DLL1junk", moment)


def test_lags_of_the_reference_are_those_of_its_windows() -> None:
    made = planted_reference(seed=1, traffic=Traffic())
    assert made.quality is not None
    assert made.quality.lags.shape == (len(made.window_starts), LAG_BINS)
    assert made.quality.lags.sum() == made.rows == made.quality.arrivals[:, 0].sum()
