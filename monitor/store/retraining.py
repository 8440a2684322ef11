"""SQL of the ledger of retraining: what was asked for, what was started, what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Update, or_, select, tuple_, update

from alerting.retraining.guards import Earlier, Standing
from alerting.retraining.run import Run, RunState
from monitor.store.sql import insert_new
from monitor.store.tables import retraining_run

MAX_ERROR = 500
AFTER_RUN = {
    RunState.SUCCEEDED: Standing.SUCCEEDED,
    RunState.FAILED: Standing.FAILED,
    RunState.CANCELLED: Standing.CANCELLED,
}
ENDED = tuple(standing.value for standing in AFTER_RUN.values())


@dataclass(frozen=True)
class Claimed:
    """A request that this process may work on until its lease runs out."""

    id: str
    incident_id: str
    receiver: str
    model: str
    state: Standing
    request: str
    run_id: str
    run_url: str
    attempts: int
    created_at_ms: int
    lease_until_ms: int
    lease_token: str


def add(connection: Connection, values: dict[str, Any], now_ms: int) -> None:
    """Write a request; one with the same id stays as it is."""
    common = {
        "created_at_ms": now_ms, "updated_at_ms": now_ms, "attempts": 0, "not_before_ms": now_ms,
        "lease_until_ms": 0,
    }  # fmt: skip
    insert_new(connection, retraining_run, [{**common, **values}])


def get(connection: Connection, id_: str) -> Any:
    """Read one request; None if there is none of that id."""
    return connection.execute(select(retraining_run).where(retraining_run.c.id == id_)).one_or_none()


def earlier(
    connection: Connection, receiver: str, model: str, since_ms: int, but: str
) -> tuple[Earlier, ...]:
    """Read requests of a model to a target since an instant, and those that are under way."""
    r = retraining_run.c
    under_way = r.state.in_([Standing.PROPOSED.value, Standing.DUE.value, Standing.STARTED.value])
    query = select(r.state, r.created_at_ms).where(
        r.receiver == receiver, r.model == model, r.id != but, or_(r.created_at_ms > since_ms, under_way)
    )
    return tuple(Earlier(Standing(row.state), int(row.created_at_ms)) for row in connection.execute(query))


def change(connection: Connection, id_: str, only: Sequence[Standing], now_ms: int, **values: object) -> bool:
    """Change a request if it stands where it should; whether it did."""
    return connection.execute(_changing(id_, only, now_ms, values)).rowcount == 1


def change_if(
    connection: Connection, id_: str, only: Sequence[Standing], tried: bool, now_ms: int, **values: object
) -> bool:
    """Change a request as `change` does, if an attempt to start it was made (`tried`), or if none was.

    Asked by the same statement that changes it: attempts are claimed without the lock of incidents.
    """
    attempts = retraining_run.c.attempts
    statement = _changing(id_, only, now_ms, values).where(attempts > 0 if tried else attempts == 0)
    return connection.execute(statement).rowcount == 1


def claim(
    connection: Connection, receivers: Sequence[str], now_ms: int, lease_until_ms: int, token: str, limit: int
) -> list[Claimed]:
    """Take a lease on requests that are to be started, and on runs that are to be followed.

    Parameters
    ----------
    token : str
        Fresh and random for every call.

    Returns
    -------
    list of Claimed
        Oldest first; `attempts` counts this one for those that are to be started.
    """
    r = retraining_run.c
    due = (
        select(retraining_run)
        .where(
            r.state.in_([Standing.DUE.value, Standing.STARTED.value]),
            r.receiver.in_(list(receivers)),
            r.not_before_ms <= now_ms,
            r.lease_until_ms <= now_ms,
        )
        .order_by(r.not_before_ms, r.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(due).all()
    if rows:
        taken = update(retraining_run).where(r.id.in_([row.id for row in rows]), r.lease_until_ms <= now_ms)
        # An attempt counts before it is made: whoever dies in the middle has made one.
        connection.execute(
            taken.values(lease_until_ms=lease_until_ms, lease_token=token, attempts=r.attempts + 1)
        )
    return [
        Claimed(
            row.id, row.incident_id, row.receiver, row.model, Standing(row.state), row.request,
            row.run_id or "", row.run_url or "", row.attempts + 1, row.created_at_ms, lease_until_ms, token,
        )
        for row in rows
    ]  # fmt: skip


def release(connection: Connection, claimed: Sequence[Claimed], now_ms: int) -> None:
    """Give back requests that were not worked on: no attempt was made."""
    for one in claimed:
        _finish(connection, one, {"attempts": retraining_run.c.attempts - 1}, now_ms)


def record_run(
    connection: Connection, one: Claimed, run: Run, reason: str, look_again_ms: int, now_ms: int
) -> bool:
    """Write how a run stands; only as long as the lease is ours, and nobody has said how the run ended.

    Returns
    -------
    bool
        Whether it was written. Of a run that has ended by its own word only what it is called is.
    """
    standing = AFTER_RUN.get(run.state, Standing.STARTED)
    values: dict[str, Any] = {
        "state": standing.value, "reason": reason, "run_id": run.id, "run_url": run.url, "last_error": None,
        "not_before_ms": look_again_ms, "finished_at_ms": now_ms if standing.is_over else None,
    }  # fmt: skip
    if one.state is Standing.DUE:
        values["started_at_ms"] = now_ms
    return _finish(connection, one, values, now_ms, {"run_id": run.id})


def retry(connection: Connection, one: Claimed, error: str, not_before_ms: int, now_ms: int) -> bool:
    """Write that an attempt failed, and when to try again; only as long as the lease is ours."""
    values = {"last_error": error[:MAX_ERROR], "not_before_ms": not_before_ms}
    return _finish(connection, one, values, now_ms)


def give_up(connection: Connection, one: Claimed, standing: Standing, reason: str, now_ms: int) -> bool:
    """Write that nothing more comes of it; only as long as the lease is ours."""
    values = {"state": standing.value, "reason": reason[:MAX_ERROR], "finished_at_ms": now_ms}
    return _finish(connection, one, {**values, "last_error": reason[:MAX_ERROR]}, now_ms)


def runs(
    connection: Connection,
    state: str | None,
    incident_id: str | None,
    model: str | None,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Any]:
    """List requests, the latest first."""
    r = retraining_run.c
    query = select(retraining_run)
    for column, value in ((r.state, state), (r.incident_id, incident_id), (r.model, model)):
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(tuple_(r.created_at_ms, r.id) < tuple_(*after))
    return list(connection.execute(query.order_by(r.created_at_ms.desc(), r.id.desc()).limit(limit)))


def _changing(id_: str, only: Sequence[Standing], now_ms: int, values: dict[str, object]) -> Update:
    r = retraining_run.c
    which = r.id == id_, r.state.in_([one.value for one in only])
    return update(retraining_run).where(*which).values(updated_at_ms=now_ms, **values)


def _finish(
    connection: Connection,
    one: Claimed,
    values: dict[str, Any],
    now_ms: int,
    if_ended: dict[str, Any] | None = None,
) -> bool:
    """Write what came of the work on a request, and let go of it; whether it was written.

    The run may have said meanwhile how it ended: its own word stays, and only `if_ended` is written.
    """
    r = retraining_run.c
    ours = update(retraining_run).where(r.id == one.id, r.lease_token == one.lease_token)
    free = {"lease_until_ms": 0, "lease_token": None, "updated_at_ms": now_ms}
    if connection.execute(ours.where(r.state.not_in(ENDED)).values({**values, **free})).rowcount == 1:
        return True
    connection.execute(ours.values({**(if_ended or {}), **free}))
    return False
