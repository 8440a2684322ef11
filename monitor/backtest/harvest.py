"""Reads what a replay has left in its scratch database into the report of a backtest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection, func, select

from alerting import codec
from alerting.alert import Alert
from alerting.digest import Digest
from alerting.finding import instant
from alerting.incidents.incident import Incident, gather
from alerting.notice import decode
from alerting.retraining.guards import Standing
from detectors.digest import week_of
from monitor.backtest.report import Backtest, Delivery, Retraining
from monitor.backtest.retraining import in_order, said
from monitor.backtest.stored_content import StoredContent, StoredVersion
from monitor.config import Configuration
from monitor.incidents.costs import impact_of
from monitor.judging.digests import read_digest
from monitor.references.lifecycle import ReferenceCache
from monitor.retraining.proposals import read_request
from monitor.store import incidents
from monitor.store.tables import alert as alert_table
from monitor.store.tables import incident, judgement, ledger, outbox, result, retraining_run
from schemas.errors import UsageError


def harvest(connection: Connection, configuration: Configuration, content: StoredContent) -> Backtest:
    """Put the report together.

    Parameters
    ----------
    connection : Connection
        To the scratch database.
    configuration : Configuration
    content : StoredContent
        What was to be judged.

    Raises
    ------
    UsageError
        If nothing could be judged.
    """
    j = judgement.c
    found = [one for one in content.versions if _judged_windows(connection, one)]
    if not found:
        reasons = "; ".join(_reason(connection, one) for one in content.versions)
        msg = f"--stored: nothing in this range can be judged: {reasons}"
        raise UsageError(msg)
    windows = sum(_judged_windows(connection, one) for one in found)
    from_ms, to_ms = connection.execute(select(func.min(j.start_ms), func.max(j.end_ms))).one()
    budgets = connection.execute(select(result.c.budget).where(result.c.budget.is_not(None))).scalars()
    return Backtest(
        models=tuple(dict.fromkeys(one.key[0] for one in found)),
        windows=windows,
        results=int(connection.execute(select(func.count()).select_from(result)).scalar_one()),
        from_ms=from_ms,
        to_ms=to_ms,
        allowed=configuration.alerts.budget.expected_in(to_ms - from_ms),
        spent=math.fsum(budgets),
        alerts=_alerts(connection),
        incidents=_incidents(connection, configuration),
        deliveries=_deliveries(connection),
        skipped=tuple(text for one in content.versions for text in _left_out(connection, one)),
        digests=_digests(connection, configuration),
        retraining=_retraining(connection),
    )


def _judged_windows(connection: Connection, one: StoredVersion) -> int:
    """Windows of events that were judged."""
    j = judgement.c
    shape = str(one.settings.windows[0])
    query = select(func.count()).where(j.model == one.key[0], j.version == one.key[1], j.window == shape)
    return int(connection.execute(query).scalar_one())


def _left_out(connection: Connection, one: StoredVersion) -> Iterator[str]:
    """What of a model version was not judged, in words."""
    judged = _judged_windows(connection, one)
    if not judged:
        yield _reason(connection, one)
    j = judgement.c
    mine = j.model == one.key[0], j.version == one.key[1], j.excluded_rows > 0
    query = select(func.count(), func.sum(j.excluded_rows), func.min(j.start_ms)).where(*mine)
    windows, rows, first_ms = connection.execute(query).one()
    if windows:
        since = f"{instant(first_ms):%Y-%m-%d %H:%M}Z"
        what = f"{int(rows):,} rows in {windows} windows from {since} on"
        of = f"model {one.key[0]!r} version {one.key[1]!r}"
        yield f"{of}: {what}, which are counted on the bins of another reference"


def _reason(connection: Connection, one: StoredVersion) -> str:
    of = f"model {one.key[0]!r} version {one.key[1]!r}"
    if not len(one.starts):
        return f"{of}: no complete window is stored in this range"
    if not one.pointers:
        return f"{of}: it has no reference yet"
    first = instant(one.pointers[0]["from_ms"])
    return f"{of}: its first reference judges windows from {first:%Y-%m-%d %H:%M}Z on"


def _alerts(connection: Connection) -> tuple[Alert, ...]:
    rows = connection.execute(select(alert_table.c.state_bytes)).scalars()
    alerts = (codec.from_bytes(bytes(data)) for data in rows)
    return tuple(sorted(alerts, key=lambda one: (one.opened_at, one.id)))


def _incidents(connection: Connection, configuration: Configuration) -> tuple[Incident, ...]:
    made = []
    for id_ in connection.execute(select(incident.c.id)).scalars().all():
        known = incidents.load(connection, id_)
        if known is not None and known.alerts:
            impact = impact_of(connection, configuration, known.alerts)
            made.append(gather(id_, known.record.sequence, known.alerts, impact))
    return tuple(sorted(made, key=lambda one: (one.whole.opened_at, one.id)))


def _deliveries(connection: Connection) -> tuple[Delivery, ...]:
    """All messages that would have been sent, digests apart."""
    made = []
    known = select(incident.c.id)
    for row in connection.execute(select(outbox).where(outbox.c.alert_id.in_(known))):
        change = decode(row.payload).change
        at = max(change.at, instant(row.not_before_ms))
        made.append(Delivery(at, row.receiver, row.alert_id, row.sequence, str(change.kind), change.cause))
    return tuple(sorted(made, key=lambda one: (one.at, one.alert_id, one.sequence)))


def _retraining(connection: Connection) -> tuple[Retraining, ...]:
    made = []
    for row in connection.execute(select(retraining_run)):
        request = read_request(row.request)
        made.append(
            Retraining(
                at=instant(row.created_at_ms),
                receiver=row.receiver,
                model=row.model,
                version=row.version,
                incident_id=row.incident_id,
                standing=said(Standing(row.state)),
                reason=row.reason,
                data_from=request.data_from,
                data_to=request.data_to,
            )
        )
    return in_order(made)


def _digests(connection: Connection, configuration: Configuration) -> tuple[Digest, ...]:
    starts = connection.execute(select(ledger.c.start_ms).distinct()).scalars()
    references = ReferenceCache()
    made = (
        read_digest(connection, configuration, references.get, week_ms)
        for week_ms in sorted({week_of(start_ms) for start_ms in starts})
    )
    return tuple(replace(digest, is_finished=True) for digest in made if digest.streams)
