"""Incidents on broken contracts: as severe as the column says, in words that name it."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from alerting.alert import Alert, step
from alerting.codec import document, from_bytes, to_bytes
from alerting.finding import Finding, Kind, Severity, WindowObservation, instant
from alerting.incidents.incident import gather
from alerting.messages.words import TOPICS
from alerting.notice import notice_of
from alerting.policy import AlertPolicy
from alerting.slack.message import blocks_of
from schemas.examples import Example
from schemas.verdict import Lane

HOUR = 3_600_000


def broken(column: str, severity: Severity | None = None, hour: int = 0) -> Finding:
    text = (
        f"{column}: 3 of 100 rows (3 %) are above 120, at most 0 allowed; first 00:01:00, last 00:02:00 UTC"
    )
    window = instant(hour * HOUR), instant((hour + 1) * HOUR)
    made = Finding(column, "", Lane.QUALITY, "contract.range", *window, explanation=text)
    return replace(made, fixed_severity=severity)


def window_of(*findings: Finding) -> WindowObservation:
    return WindowObservation("churn", "1", 0, HOUR, findings=findings, kind=Kind.QUALITY)


def opened(*findings: Finding, policy: AlertPolicy | None = None) -> Alert:
    alert, changes = step(None, window_of(*findings), policy or AlertPolicy())
    assert alert is not None
    assert len(changes) == 1
    return alert


def test_the_severity_of_the_column_counts_whatever_the_policy_says() -> None:
    quiet = AlertPolicy(kinds={Kind.QUALITY: Severity.INFO})
    assert opened(broken("age", Severity.PAGE), policy=quiet).severity is Severity.PAGE
    assert opened(broken("age"), policy=quiet).severity is Severity.INFO
    assert opened(broken("age")).severity is Severity.WARN


def test_the_loudest_column_leads() -> None:
    alert = opened(broken("age", Severity.INFO), broken("zip", Severity.PAGE), broken("score"))
    assert (alert.column, alert.severity) == ("zip", Severity.PAGE)
    assert [finding.column for finding in alert.findings] == ["zip", "score", "age"]


def test_words_name_the_column_and_the_others() -> None:
    alert = opened(broken("age"), broken("zip"))
    assert alert.summary == (
        "churn v1: contract of age is broken in the window 00:00–01:00 UTC on 1 Jan 1970; also zip. "
        "age: 3 of 100 rows (3 %) are above 120, at most 0 allowed; first 00:01:00, last 00:02:00 UTC."
    )
    assert TOPICS[Kind.QUALITY].format(column=alert.column) == "data quality, age"


def test_state_survives_storing_and_older_states_are_read() -> None:
    alert = opened(broken("age", Severity.PAGE))
    assert from_bytes(to_bytes(alert)) == alert
    assert document(alert)["kind"] == "quality"
    plain = msgspec.json.decode(to_bytes(opened(broken("age"))))
    for finding in plain["alert"]["findings"]:
        del finding["fixed_severity"]
    assert from_bytes(msgspec.json.encode(plain)).severity is Severity.WARN


def test_examples_are_shown_in_slack_and_to_webhooks_without_what_is_personal() -> None:
    seen = Example(1, 60_000, "e7", "flights", 0, 12, (("age", "130"), ("name", None)))
    finding = replace(broken("age"), examples=(seen,))
    alert = opened(finding)
    assert from_bytes(to_bytes(alert)) == alert
    (shown,) = document(alert)["findings"]
    assert shown["examples"] == [
        {"event_time": "1970-01-01T00:01:00Z", "event_id": "e7", "topic": "flights", "partition": 0,
         "offset": 12, "values": {"age": "130", "name": None}}
    ]  # fmt: skip
    notice = notice_of("n", step(None, window_of(finding), AlertPolicy())[1][0], gather(alert.id, 1, [alert]))
    texts = [block["text"]["text"] for block in blocks_of(notice) if block["type"] == "section"]
    assert "For example:\n• age 130, name (hidden); event e7, flights/0 at offset 12" in texts
