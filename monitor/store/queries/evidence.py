"""The stored results behind the findings of an alert, with what they were judged with."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from alerting.alert import Alert
from alerting.finding import Finding, epoch_ms
from monitor.store.tables import judgement, result

MOST_ROWS = 2_000
Sources = dict[str, dict[str, list[list[int]]]]


@dataclass(frozen=True)
class Support:
    """One result, and what it was read from.

    Parameters
    ----------
    row : row
        Of ``result``, with ``end_ms``, ``reference_hash``, ``configuration_hash``, ``code_version``,
        ``judged_at_ms`` and ``rows`` of its judgement.
    sources : dict
        Offsets by topic and partition: pairs of the first, and the first after it.
    """

    row: Any
    sources: Sources


def supports(connection: Connection, alert: Alert, findings: Collection[Finding]) -> dict[Finding, Support]:
    """Find the result of each finding, of the latest revision of its window; some may be gone."""
    if not findings:
        return {}
    r, j = result.c, judgement.c
    columns = (j.end_ms, j.reference_hash, j.configuration_hash, j.code_version, j.judged_at_ms, j.rows)
    query = (
        select(result, *columns)
        .join(judgement, j.id == r.judgement_id)
        .where(
            r.model == alert.model,
            r.version == alert.version,
            r.start_ms.in_({epoch_ms(one.window_start) for one in findings}),
            j.end_ms.in_({epoch_ms(one.window_end) for one in findings}),
            r.column.in_({one.column for one in findings}),
            r.segment.in_({one.segment for one in findings}),
            r.detector.in_({one.detector for one in findings}),
        )
        .order_by(r.id.desc())
        .limit(MOST_ROWS)
    )
    latest: dict[tuple[object, ...], Any] = {}
    for row in connection.execute(query):
        key = (row.column, row.segment, row.detector, row.start_ms, row.end_ms)
        latest.setdefault(key, row)
    found = {one: latest[_key(one)] for one in findings if _key(one) in latest}
    sources = _sources(connection, {int(row.judgement_id) for row in found.values()})
    return {one: Support(row, sources[row.judgement_id]) for one, row in found.items()}


def _key(finding: Finding) -> tuple[object, ...]:
    window = epoch_ms(finding.window_start), epoch_ms(finding.window_end)
    return (finding.column, finding.segment, finding.detector, *window)


def _sources(connection: Connection, judgement_ids: Collection[int]) -> dict[int, Sources]:
    j = judgement.c
    rows = connection.execute(select(j.id, j.sources).where(j.id.in_(judgement_ids)))
    return {int(row.id): json.loads(row.sources) for row in rows}
