"""Makes sure that two sides can be compared, and says why they cannot: what is there, and what would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from monitor.skew.compare import Terms
from monitor.skew.keys import shown
from monitor.skew.served import Served
from monitor.skew.sides import Side
from monitor.skew.training import Training
from schemas.errors import UsageError

_SHOWN_KEYS, _SHOWN_NAMES = 3, 20


def check_training(name: str, training: Training) -> None:
    """Make sure that a table has rows that their keys tell apart.

    Raises
    ------
    UsageError
        If it has none.
    """
    if not training.rows:
        msg = f"{name}: there are no rows in it"
        raise UsageError(msg)
    if not len(training.keys):
        why = (
            f"the key is missing in {training.without_key} of {training.rows} rows, and {training.ambiguous} "
            "share theirs with rows that differ"
        )
        msg = f"{name}: no row has a key of its own: {why} (--key may be given for each part of a key)"
        raise UsageError(msg)


def check_events(events: Side, training: Training, served: Served, terms: Terms) -> None:
    """Make sure that there are events to compare with.

    Raises
    ------
    UsageError
        If there are none.
    """
    parts, name = ", ".join(terms.key.events), events.name
    if not served.events:
        why = "" if events.problem is None else f", the first: {events.problem}"
        msg = f"{name}: there are no events of the model ({events.unreadable} messages cannot be read{why})"
    elif served.without_key == served.events:
        msg = f"{name}: none of {served.events} events has a key of {parts} (see --key)"
    elif not served.is_served.any():
        msg = f"{name}: none of {served.events} events has a key of the table{_both(training, served, terms)}"
    elif not len(served.found()[0]):
        msg = (
            f"{name}: the key {parts} stands for several events that differ, in all {served.ambiguous} rows "
            "that have any (--key may be given for each part of a key)"
        )
    else:
        return
    raise UsageError(msg)


def check_names(names: Sequence[str], training: Iterable[str], events: Iterable[str]) -> None:
    """Make sure that there are columns to compare.

    Raises
    ------
    UsageError
        If there are none, or the table does not have one.
    """
    one, other = sorted(training), sorted(events)
    absent = [name for name in names if name not in one]
    if absent:
        msg = f"--column: the table has no feature {absent[0]!r} (there are: {_listed(one)})"
        raise UsageError(msg)
    if not names:
        msg = f"no feature is on both sides (table: {_listed(one)}; events: {_listed(other)})"
        raise UsageError(msg)


def _both(training: Training, served: Served, terms: Terms) -> str:
    """Show a few keys of both sides, so that it can be seen how they differ."""
    if not terms.shows_keys:
        return ""
    known = training.keys[:_SHOWN_KEYS].to_pylist()
    table, events = (", ".join(repr(shown(key)) for key in keys) for keys in (known, served.unknown))
    return f" (the table has {table} …; events have {events} …)"


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _SHOWN_NAMES else ""
    return (", ".join(names[:_SHOWN_NAMES]) or "none") + more
