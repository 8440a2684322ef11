"""What pipelines are told: complete, plain and of bounded size, whatever an incident holds."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.finding import Severity
from alerting.retraining.request import (
    MAX_DOCUMENT_BYTES,
    MAX_PARAMETER,
    PARAMETER_NAMES,
    Evidence,
    RetrainingRequest,
    document,
    parameters,
    summary,
)
from schemas.verdict import Lane
from tests.alerting.factory import finding
from tests.alerting.retraining.factory import REQUEST

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
numbers = st.none() | st.floats()
evidence = st.builds(Evidence, text, text, st.sampled_from(Lane), numbers, numbers, text)
requests = st.builds(
    RetrainingRequest,
    id=st.just(REQUEST.id),
    model=text,
    version=text,
    reason=text,
    severity=st.sampled_from(Severity),
    data_from=st.just(REQUEST.data_from),
    data_to=st.just(REQUEST.data_to),
    requested_at=st.just(REQUEST.requested_at),
    incident_id=text,
    incident_url=text,
    evidence=st.lists(evidence, max_size=60).map(tuple),
    segments=st.lists(text, max_size=300).map(tuple),
    columns=st.lists(text, max_size=300).map(tuple),
)


def test_the_document_holds_all_that_the_run_needs():
    assert document(REQUEST) == {
        "id": REQUEST.id,
        "model": "churn",
        "version": "7",
        "trigger": "incident",
        "severity": "page",
        "reason": "f1 fell below its reference; the inputs explain a third of it",
        "requested_at": "2026-01-01T00:00:05Z",
        "incident": {"id": "5f0c", "url": "https://driftline.example/alerts/5f0c"},
        "data": {"from": "2025-12-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        "segments": ["origin=JFK"],
        "segments_total": 1,
        "columns": ["f1", "distance"],
        "columns_total": 2,
        "evidence": [
            {
                "column": "f1",
                "segment": "",
                "lane": "performance",
                "psi": None,
                "evidence_log": 12.5,
                "explanation": "f1: 0.61 instead of 0.74",
            }
        ],
        "evidence_total": 1,
    }


@given(requests)
def test_the_document_is_plain_json_of_bounded_size(request):
    written = document(request)
    encoded = json.dumps(written, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    assert json.loads(encoded) == written
    assert len(encoded.encode()) < MAX_DOCUMENT_BYTES
    totals = [len(written[name]) <= written[f"{name}_total"] for name in ("segments", "columns", "evidence")]
    assert all(totals)
    assert written["evidence_total"] == len(request.evidence)


@given(requests)
def test_parameters_are_texts_that_every_target_takes(request):
    flat = parameters(request)
    assert tuple(flat) == PARAMETER_NAMES
    assert all(isinstance(value, str) for value in flat.values())
    assert all(len(flat[name]) <= MAX_PARAMETER for name in PARAMETER_NAMES if name != "document")
    kept = json.loads(flat["segments"])
    assert kept == list(request.segments[: len(kept)])
    assert json.loads(flat["document"]) == document(request)


@given(requests, st.integers(10, 500))
def test_a_summary_is_as_short_as_it_must_be(request, limit):
    assert len(summary(request, limit)) <= limit


def test_a_summary_leads_to_the_incident():
    assert summary(REQUEST, 500).endswith(" https://driftline.example/alerts/5f0c")


def test_evidence_is_taken_from_a_finding():
    taken = Evidence.of(finding("age", explanation="older", evidence_log=3.0))
    assert taken == Evidence("age", "", Lane.FEATURES, 0.4, 3.0, "older")


@pytest.mark.parametrize("id_", ["", "x", "0011", REQUEST.id.upper(), REQUEST.id + "0"])
def test_an_id_that_targets_would_not_take_is_refused(id_):
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        replace(REQUEST, id=id_)


@pytest.mark.parametrize(
    "at",
    [datetime(2025, 12, 1), datetime(2025, 12, 1, tzinfo=timezone(timedelta(hours=1)))],  # noqa: DTZ001
)
def test_instants_are_utc(at):
    with pytest.raises(ValueError, match="data_from is not an instant in UTC"):
        replace(REQUEST, data_from=at)


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="data_from is not before data_to"):
        replace(REQUEST, data_to=datetime(2025, 12, 1, tzinfo=UTC))


def test_a_summary_is_one_line():
    """Names of columns may hold anything; SageMaker refuses descriptions of several lines."""
    told = summary(replace(REQUEST, reason="a\r\nb\x00\u2028c"), 500)
    assert told == "a b c https://driftline.example/alerts/5f0c"
