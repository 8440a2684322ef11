"""An incident or a digest as an alert of Alertmanager's API v2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerting.digest import DigestNotice, digest_id
from alerting.messages.plain import Message, digest_message_of, message_of, one_line, plain_text
from alerting.messages.words import reply_of
from alerting.notice import Notice
from alerting.summary import psi_text

MAX_LABEL = 255
MAX_DESCRIPTION = 12_000
MAX_URL = 2_000
RESERVED_LABELS = ("alertname", "incident", "model", "version", "kind", "severity", "week")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

PostedAlert = dict[str, Any]


def is_label_name(name: str) -> bool:
    """Say whether a label can have this name."""
    return bool(_LABEL_NAME.fullmatch(name)) and not name.startswith("__")


def first_labels(notice: Notice) -> dict[str, str]:
    """Name an incident; what is said here is kept until its end."""
    alert = notice.alert
    labels = {
        "alertname": "DriftlineIncident",
        "incident": alert.id,
        "model": alert.model,
        "version": alert.version,
        "kind": str(alert.kind),
        "severity": str(alert.severity),
    }
    return {name: one_line(value, MAX_LABEL) for name, value in labels.items() if value}


def alert_of(notice: Notice, labels: Mapping[str, str], now: datetime, ends_at: datetime) -> PostedAlert:
    """Write an incident; everything that is measured stands in the annotations.

    Parameters
    ----------
    notice : Notice
    labels : mapping of str to str
        What Alertmanager knows the alert by.
    now, ends_at : datetime
        Wall time. An alert cannot have begun later than now, whatever the time of its events.
    """
    alert, message = notice.alert, message_of(notice)
    annotations = _annotations(message) | {
        "state": str(alert.state),
        "change": one_line(reply_of(notice)),
        "column": one_line(alert.column),
        "segment": one_line(alert.segment),
        "lane": str(alert.lane),
        "effect": psi_text(alert.findings[0]) if alert.findings else "",
        "columns_total": str(notice.columns_total),
    }
    return _posted(labels, annotations, min(alert.opened_at, now), ends_at, notice.url)


def digest_alert_of(
    notice: DigestNotice, labels: Mapping[str, str], now: datetime, ends_at: datetime
) -> PostedAlert:
    """Write what drifted in a week."""
    own = {
        "alertname": "DriftlineDigest",
        "week": digest_id(notice.digest.week).removeprefix("digest-"),
        "severity": "info",
    }
    annotations = _annotations(digest_message_of(notice))
    return _posted({**labels, **own}, annotations, min(notice.at, now), ends_at, "")


def _annotations(message: Message) -> dict[str, str]:
    return {
        "summary": message.summary,
        "description": plain_text(message)[:MAX_DESCRIPTION],
        "url": message.url,
    }


def _posted(
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    starts_at: datetime,
    ends_at: datetime,
    url: str,
) -> PostedAlert:
    posted: PostedAlert = {
        "labels": dict(labels),
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": starts_at,
        "endsAt": ends_at,
    }
    return {**posted, "generatorURL": url} if url and len(url) <= MAX_URL else posted
