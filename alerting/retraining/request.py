"""What a training pipeline is told: why to train, which model, and on which data."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, get_args

import msgspec

from alerting.finding import Finding, Severity, shorten
from schemas.verdict import Lane

MAX_DOCUMENT_BYTES = 16_000
MAX_PARAMETER = 1_024
MAX_TEXT = 300
MAX_LISTED = 200
CARRIED_EVIDENCE = 20
_ID = re.compile(r"[0-9a-f]{32}")

Trigger = Literal["incident", "person"]
ParameterName = Literal[
    "id",
    "model",
    "version",
    "trigger",
    "severity",
    "reason",
    "requested_at",
    "incident_id",
    "incident_url",
    "data_from",
    "data_to",
    "segments",
    "columns",
    "document",
]
PARAMETER_NAMES: tuple[str, ...] = get_args(ParameterName)


@dataclass(frozen=True)
class Evidence:
    """One finding that speaks for training anew.

    Parameters
    ----------
    column, segment : str
        What was found to differ; an empty segment is all rows.
    lane : Lane
        What kind of thing it is.
    psi : float or None
        Effect size, where there is one.
    evidence_log : float or None
        Natural logarithm of the e-value, for detectors that have one.
    explanation : str
        The finding in words.
    """

    column: str
    segment: str
    lane: Lane
    psi: float | None = None
    evidence_log: float | None = None
    explanation: str = ""

    @classmethod
    def of(cls, finding: Finding) -> Evidence:
        """Take over what matters of a finding."""
        return cls(
            finding.column,
            finding.segment,
            finding.lane,
            finding.psi,
            finding.evidence_log,
            finding.explanation,
        )


@dataclass(frozen=True)
class RetrainingRequest:
    """A wish to train one model anew.

    Parameters
    ----------
    id : str
        32 hexadecimal digits, the same over all attempts; targets recognise a repetition by it.
    model, version : str
        The model that is in use.
    incident_id, incident_url : str
        What gave rise to it; empty if nothing did, or if no console is configured.
    reason : str
        In words.
    severity : Severity
        Of the incident.
    evidence : tuple of Evidence
        The findings that matter most come first.
    data_from, data_to : datetime
        Range of the events to train on, aware UTC; `data_to` is not part of it.
    segments, columns : tuple of str
        Where the drift is, segments such as ``origin=JFK``.
    trigger : {"incident", "person"}
        Who asked for it.
    requested_at : datetime
        When, aware UTC.
    """

    id: str
    model: str
    version: str
    reason: str
    severity: Severity
    data_from: datetime
    data_to: datetime
    requested_at: datetime
    incident_id: str = ""
    incident_url: str = ""
    evidence: tuple[Evidence, ...] = ()
    segments: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    trigger: Trigger = "incident"

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            msg = f"{self.id!r} is not the id of a request (use 32 hexadecimal digits)"
            raise ValueError(msg)
        for name in ("data_from", "data_to", "requested_at"):
            if getattr(self, name).utcoffset() != timedelta(0):
                msg = f"{name} is not an instant in UTC (use an aware datetime with the zone UTC)"
                raise ValueError(msg)
        if self.data_from >= self.data_to:
            msg = "data_from is not before data_to"
            raise ValueError(msg)


def document(request: RetrainingRequest, limit: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """Write a request as plain JSON, leaving out evidence and names until it is small enough.

    Parameters
    ----------
    request : RetrainingRequest
        What to write.
    limit : int
        Bytes of the compact JSON, which stays below it.

    Returns
    -------
    dict
        Strings, numbers, lists and dicts; ``…_total`` says how many there were of what may have been left
        out.
    """
    shown = CARRIED_EVIDENCE
    while True:
        written = _document(request, shown, shown * (MAX_LISTED // CARRIED_EVIDENCE))
        if shown == 0 or len(msgspec.json.encode(written)) < limit:
            return written
        shown //= 2


def parameters(request: RetrainingRequest) -> dict[str, str]:
    """Write a request as flat text, for targets whose parameters are strings.

    Returns
    -------
    dict of str to str
        One entry for each of `PARAMETER_NAMES`. ``segments`` and ``columns`` are JSON arrays, ``document`` is
        all of the request as JSON; the other values have at most 1,024 characters.
    """
    flat = {
        "id": request.id,
        "model": request.model,
        "version": request.version,
        "trigger": request.trigger,
        "severity": str(request.severity),
        "reason": request.reason,
        "requested_at": _instant(request.requested_at),
        "incident_id": request.incident_id,
        "incident_url": request.incident_url,
        "data_from": _instant(request.data_from),
        "data_to": _instant(request.data_to),
    }
    short = {name: shorten(text, MAX_PARAMETER) for name, text in flat.items()}
    return {
        **short,
        "segments": _array(request.segments),
        "columns": _array(request.columns),
        "document": _compact(document(request)),
    }


def summary(request: RetrainingRequest, limit: int) -> str:
    """Say in one line why a run was started, with the link to the incident."""
    words = "".join(letter if letter.isprintable() else " " for letter in request.reason).split()
    parts = [shorten(" ".join(words), MAX_TEXT), request.incident_url]
    return shorten(" ".join(part for part in parts if part), limit)


def _document(request: RetrainingRequest, evidence: int, listed: int) -> dict[str, Any]:
    text = partial(shorten, limit=MAX_TEXT)
    return {
        "id": request.id,
        "model": text(request.model),
        "version": text(request.version),
        "trigger": request.trigger,
        "severity": str(request.severity),
        "reason": text(request.reason),
        "requested_at": _instant(request.requested_at),
        "incident": {"id": text(request.incident_id), "url": shorten(request.incident_url, MAX_PARAMETER)},
        "data": {"from": _instant(request.data_from), "to": _instant(request.data_to)},
        "segments": [text(name) for name in request.segments[:listed]],
        "segments_total": len(request.segments),
        "columns": [text(name) for name in request.columns[:listed]],
        "columns_total": len(request.columns),
        "evidence": [_evidence(item) for item in request.evidence[:evidence]],
        "evidence_total": len(request.evidence),
    }


def _evidence(item: Evidence) -> dict[str, Any]:
    return {
        "column": shorten(item.column, MAX_TEXT),
        "segment": shorten(item.segment, MAX_TEXT),
        "lane": str(item.lane),
        "psi": _finite(item.psi),
        "evidence_log": _finite(item.evidence_log),
        "explanation": shorten(item.explanation, MAX_TEXT),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _instant(at: datetime) -> str:
    text: str = msgspec.to_builtins(at)
    return text


def _array(names: tuple[str, ...]) -> str:
    """Write as many names as fit whole."""
    kept = list(names[:MAX_LISTED])
    while len(_compact(kept)) > MAX_PARAMETER:
        kept.pop()
    return _compact(kept)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
