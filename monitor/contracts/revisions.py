"""The contracts that a model was judged by: a revision each time that what is agreed has changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from monitor.contracts.contract import Contract
from monitor.contracts.difference import Change, changes, is_compatible
from monitor.store.engine import immediate, reading
from monitor.store.sql import inserting
from monitor.store.tables import contract_revision
from monitor.web.documents import instant


@dataclass(frozen=True)
class Revision:
    """One state of the contract of a model.

    Parameters
    ----------
    revision : int
        1 for the first, then counted up.
    fingerprint : str
        SHA-256 of what is agreed.
    settings : dict
        What stands under the model's name in ``driftline.yaml``.
    since_ms : int
        Wall clock when it was judged by first.
    changes : tuple of Change
        From the revision before; none for the first.
    """

    revision: int
    fingerprint: str
    settings: dict[str, Any]
    since_ms: int
    changes: tuple[Change, ...]

    @property
    def is_compatible(self) -> bool:
        """Whether whatever suited the revision before suits this one too."""
        return is_compatible(list(self.changes))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "revision": self.revision,
            "fingerprint": self.fingerprint,
            "since": instant(self.since_ms),
            "settings": self.settings,
            "compatible": self.is_compatible,
            "changes": [change.as_dict() for change in self.changes],
        }


def note(engine: Engine, model: str, contract: Contract, now_ms: int) -> Revision | None:
    """Remember the contract of a model, if it is not the one in effect.

    Parameters
    ----------
    engine : Engine
    model : str
    contract : Contract
        As it is now.
    now_ms : int

    Returns
    -------
    Revision or None
        The new revision; None if nothing has changed, or there never was anything agreed.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    with reading(engine) as connection:
        if not _is_news(_latest(connection, model), contract):
            return None
    with immediate(engine) as connection:
        before = _latest(connection, model)
        if not _is_news(before, contract):
            return None
        found = tuple(changes(contract_of(before), contract)) if before else ()
        made = Revision(
            before.revision + 1 if before else 1, contract.fingerprint, contract.as_settings(), now_ms, found
        )
        row = {
            "model": model,
            "revision": made.revision,
            "fingerprint": made.fingerprint,
            "settings": json.dumps(made.settings, separators=(",", ":")),
            "since_ms": now_ms,
            "changes": json.dumps([change.as_dict() for change in found], separators=(",", ":")),
        }
        # Whoever else notes the same change at the same moment has said it all.
        statement = inserting(connection, contract_revision).values(row).on_conflict_do_nothing()
        is_mine = connection.execute(statement.returning(contract_revision.c.revision)).first() is not None
        return made if is_mine else None


def revisions(connection: Connection, model: str, before: int | None, limit: int) -> list[Revision]:
    """Revisions of the contract of a model, the newest first.

    Parameters
    ----------
    connection : Connection
    model : str
    before : int, optional
        Only revisions with a smaller number.
    limit : int
    """
    c = contract_revision.c
    query = select(contract_revision).where(c.model == model).order_by(c.revision.desc()).limit(limit)
    if before is not None:
        query = query.where(c.revision < before)
    return [_read(row) for row in connection.execute(query)]


def _latest(connection: Connection, model: str) -> Revision | None:
    return next(iter(revisions(connection, model, None, 1)), None)


def _is_news(before: Revision | None, contract: Contract) -> bool:
    if before is None:
        return bool(contract.columns or contract.rules or contract.freshness)
    return before.fingerprint != contract.fingerprint


def contract_of(revision: Revision) -> Contract:
    """Give the contract that a revision was."""
    said = revision.settings
    return Contract(
        said["columns"],
        task=said.get("task"),
        positive_label=said.get("positive_label"),
        segments=tuple(said.get("segments", ())),
        rules=said.get("rules", {}),
        freshness=said.get("freshness"),
    )


def _read(row: Any) -> Revision:
    found = tuple(Change(**change) for change in json.loads(row.changes))
    return Revision(row.revision, row.fingerprint, json.loads(row.settings), row.since_ms, found)
