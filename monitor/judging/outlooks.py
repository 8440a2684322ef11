"""What a window is judged with besides its counts, and what its judgement adds to a ledger.

Events and outcomes of windows have a ledger each (`monitor.store.ledgers.Book`), and the same rules: only the
first judgement of the next window can raise an alarm, and a later one can only take it back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from detectors.base import Step
from monitor.judging.judgements import Due, as_before
from monitor.store import ledgers
from monitor.store.ledgers import Book
from schemas.verdict import Decision, Stream, without_alarms


@dataclass(frozen=True)
class Outlook:
    """What a window is judged with besides its counts.

    Parameters
    ----------
    state : bytes or None
        Of the detector before the window; empty: none yet; None: not kept any more.
    models : int
        Model versions that share the budget; 0: nothing may be spent.
    is_next : bool
        The window is the next one of the ledger: the only case in which an alarm may be raised.
    head_ms : int or None
        Head of the ledger.
    alarmed : frozenset of Stream
        Alarms of the judgement before, where the window was judged already.
    week : tuple of dict
        Evidence for the digest that no further window will add to: rows of ``weekly_evidence``.
    """

    state: bytes | None
    models: int
    is_next: bool
    head_ms: int | None
    alarmed: frozenset[Stream]
    week: tuple[dict[str, Any], ...] = ()


NO_OUTLOOK = Outlook(b"", 0, False, None, frozenset())


def outlook_of(connection: Connection, due: Due, reference_hash: str, book: Book) -> Outlook:
    """What a ledger knows before a window.

    Parameters
    ----------
    connection : Connection
    due : Due
    reference_hash : str
        A new reference begins with no state.
    book : Book
    """
    head_ms = ledgers.head_of(connection, due.key, book)
    before = ledgers.before(connection, due.key, due.start_ms, book)
    state = None
    if before is None or before.reference_hash != reference_hash:
        state = b""
    elif before.state is not None:
        state = before.state
    is_later = head_ms is None or due.start_ms > head_ms
    if due.revision == 0 and due.spec.is_apart(due.start_ms) and is_later:
        return Outlook(state or b"", ledgers.model_versions(connection), True, head_ms, frozenset())
    mine = ledgers.at(connection, due.key, due.start_ms, book)
    alarmed = ledgers.alarmed(connection, due.key, due.shape, due.start_ms, due.revision)
    return Outlook(state, mine.models if mine else 0, False, head_ms, frozenset(alarmed))


def permitted(stepped: Step, outlook: Outlook) -> Step:
    """Leave only alarms that this judgement of the window may raise, or has raised before."""
    if outlook.is_next or not stepped.state:
        return stepped
    if outlook.state is None:  # too old to be judged again: what was said stays
        return Step(as_before(stepped.verdicts, outlook.alarmed), stepped.state)
    return Step(without_alarms(stepped.verdicts, but=outlook.alarmed), stepped.state)


def entry_of(due: Due, reference_hash: str, outlook: Outlook, stepped: Step) -> ledgers.Entry:
    """Row of a ledger after a window; what has no budget costs nothing and raises no alarm."""
    paid = [verdict for verdict in stepped.verdicts if verdict.budget is not None]
    spent = math.fsum(verdict.budget or 0.0 for verdict in paid)
    alarms = sum(verdict.decision is Decision.DRIFT for verdict in paid)
    return ledgers.Entry(
        due.start_ms, due.end_ms, reference_hash, outlook.models, spent, alarms, stepped.state
    )
