"""An alert as bytes for the database, and as the JSON object that the API, backtests and webhooks show."""

from __future__ import annotations

from typing import Any

import msgspec

from alerting.alert import Alert
from alerting.finding import Finding, instant
from schemas.decoding import json_decoder
from schemas.errors import StoreError
from schemas.examples import Example

FORMAT = 1
SHOWN_FINDINGS = 50


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    alert: msgspec.Raw


def to_bytes(alert: Alert) -> bytes:
    """Write the whole state of an alert, with the version of the format."""
    return msgspec.json.encode(_Envelope(FORMAT, msgspec.Raw(msgspec.json.encode(alert))))


def from_bytes(data: bytes) -> Alert:
    """Read what `to_bytes` wrote.

    Raises
    ------
    StoreError
        If the bytes are not an alert, or were written by a later version.
    """
    try:
        envelope = json_decoder(_Envelope).decode(data)
        if envelope.format != FORMAT:
            msg = f"alert state has format {envelope.format} (this version reads {FORMAT}); update Driftline"
            raise StoreError(msg)
        return json_decoder(Alert).decode(envelope.alert)
    except msgspec.MsgspecError as error:
        msg = f"these bytes are not the state of an alert: {error}"
        raise StoreError(msg) from error


def document(alert: Alert, limit: int = SHOWN_FINDINGS) -> dict[str, Any]:
    """Describe an alert the way the HTTP API, ``backtest --json`` and webhooks do.

    Parameters
    ----------
    alert : Alert
        What to describe.
    limit : int
        Findings to list at most, one per column and segment; ``findings_total`` says how many there are.

    Returns
    -------
    dict
        Strings, numbers, lists and dicts only; instants are RFC 3339 in UTC.
    """
    leading = alert.leading
    shown = {
        "id": alert.id,
        "model": alert.model,
        "version": alert.version,
        "kind": alert.kind,
        "lane": alert.lane,
        "severity": alert.severity,
        "column": alert.column,
        "segment": alert.segment,
        "state": alert.state,
        "opened_at": alert.opened_at,
        "closed_at": alert.closed_at,
        "window_start": alert.window_start,
        "window_end": alert.window_end,
        "onset_at": alert.onset_at,
        "evidence_log": alert.evidence_log,
        "threshold_log": alert.threshold_log,
        "effect": alert.effect,
        "summary": alert.summary,
        "sequence": alert.sequence,
        "clean_windows": alert.clean_windows,
        "findings": [_finding(finding) for finding in leading[:limit]],
        "findings_total": len(leading),
    }
    plain: dict[str, Any] = msgspec.to_builtins(shown)
    return plain


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "column": finding.column,
        "segment": finding.segment,
        "lane": finding.lane,
        "severity": finding.severity,
        "detector": finding.detector,
        "window_start": finding.window_start,
        "window_end": finding.window_end,
        "onset_at": finding.onset_at,
        "psi": finding.psi,
        "psi_debiased": finding.psi_debiased,
        "psi_low": finding.psi_low,
        "psi_high": finding.psi_high,
        "statistic": finding.statistic,
        "threshold": finding.threshold,
        "threshold_source": finding.threshold_source,
        "evidence_log": finding.evidence_log,
        "threshold_log": finding.threshold_log,
        "explanation": finding.explanation,
        "moved": list(finding.moved),
        "attribution": finding.attribution,
        "examples": [_example(example) for example in finding.examples],
    }


def _example(example: Example) -> dict[str, object]:
    plain = example.plain()
    return {"event_time": instant(plain.pop("event_ms")), **plain}
