"""Finds and removes what the database holds of one event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, delete, or_, select, true, update

from monitor.by_hand import write_down
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.dead_letters.letters import read_headers
from monitor.erasure.letters import letters
from monitor.erasure.profiles import without_event
from monitor.erasure.traces import Event
from monitor.references.lifecycle import ReferenceCache
from monitor.store import alerts
from monitor.store.engine import immediate, reading
from monitor.store.tables import (
    alert,
    alert_event,
    audit,
    dead_letter,
    deployment,
    half_message,
    incident_event,
    outbox,
    partition_state,
    pending,
    result,
    retraining_run,
    silence,
    slice_profile,
    truth,
)

AT_ONCE = 200  # rows that are read together
ROUNDS = 5  # slices may be added up by the service while they are looked through
HIDDEN = "(erased)"

WORDS = (
    (incident_event, "cause"), (alert_event, "cause"), (deployment, "comment"), (silence, "comment"),
    (retraining_run, "reason"), (dead_letter, "marked_cause"), (audit, "path"), (audit, "detail"),
)  # fmt: skip
"""Where people write what they like: an id in there is shown, and left to them."""

CLEAN = {
    "api_token": "of programs that ask the API",
    "contract_revision": "what is agreed",
    "counter": "one number",
    "dedupe": "hashes of ids; without them an event that is sent again would be counted again",
    "digest": "weeks",
    "estimate_state": "sums",
    "gap": "offsets",
    "incident": "summaries of columns",
    "incident_alert": "ids of alerts",
    "incident_column": "names of columns",
    "join_share": "a share",
    "joined_version": "names of versions",
    "judgement": "offsets and hashes of configurations",
    "label_account": "counts",
    "ledger": "sums",
    "ledger_head": "instants",
    "model_column": "names of columns",
    "model_version": "names of versions",
    "outcome_commit": "offsets",
    "outcome_ledger": "sums",
    "outcome_ledger_head": "instants",
    "outcome_reference": "counts",
    "outcome_slice": "counts",
    "outcome_window": "instants",
    "partition_model": "instants",
    "partition_state": "counts",
    "performance_value": "measures",
    "receiver_state": "where messages are",
    "reference": "counts, and what was learned of many rows together",
    "reference_pointer": "hashes",
    "session": "who is signed in",
    "term": "names of classes and segments",
    "version_comparison": "sums",
    "weekly_evidence": "sums",
    "window_state": "instants",
}
"""Tables that hold nothing that belongs to one event, and what they hold."""


@dataclass(frozen=True)
class Trace:
    """What was found in one place.

    Parameters
    ----------
    where : str
        Table, or table and column.
    rows : int
    what : str
        What is done about it.
    """

    where: str
    rows: int
    what: str


class EventErasure:
    """Finds and removes traces of one event.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    event : Event

    Guarantees
    ----------
    An erasure may be repeated. Counts stay as they are.
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock, event: Event) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._event = event
        self._references = ReferenceCache(16)
        self._removes = False

    def find(self) -> list[Trace]:
        """Say what would be removed.

        Raises
        ------
        Unavailable
            If the database is away, or a schema registry that dead letters need.
        """
        self._removes = False
        return list(self._traces())

    def remove(self) -> list[Trace]:
        """Remove it, and write down that something was removed, but not of which event.

        Raises
        ------
        Unavailable
            As for `find`; what was removed until then stays removed.
        """
        self._removes = True
        found = list(self._traces())
        said = ", ".join(f"{trace.where} {trace.rows}" for trace in found if trace.what != _LEFT)
        with immediate(self._engine) as connection:
            command = f"erase event --model {self._event.model}"
            write_down(connection, command, self._clock.now_ms(), said or "nothing found")
        return found

    def _traces(self) -> Iterator[Trace]:
        looks: list[tuple[str, Callable[[], int], str]] = [
            ("dead_letter", self._letters, "removed"),
            ("half_message", self._halves, "removed"),
            ("pending", lambda: self._keyed(pending), "removed"),
            ("truth", lambda: self._keyed(truth), "removed"),
            ("slice_profile", self._slices, "taken out of samples and examples"),
            ("result", self._results, "taken out of examples"),
            ("alert", self._alerts, "taken out of examples"),
            ("outbox", self._messages, "taken out of examples"),
            ("retraining_run", self._requests, "taken out of examples"),
        ]
        for where, look, what in looks:
            if number := look():
                yield Trace(where, number, what)
        for table, name in WORDS:
            if number := self._mentions(table.c[name]):
                yield Trace(f"{table.name}.{name}", number, _LEFT)

    # --- messages as they came ------------------------------------------------------------------------------

    def _letters(self) -> int:
        ids = [one.id for one in letters(self._configuration, self._engine) if self._is_in_letter(one)]
        for first in range(0, len(ids) if self._removes else 0, AT_ONCE):
            with immediate(self._engine) as connection:
                some = dead_letter.c.id.in_(ids[first : first + AT_ONCE])
                connection.execute(delete(dead_letter).where(some))
        return len(ids)

    def _is_in_letter(self, letter: Any) -> bool:
        if letter.events:
            same = (self._event.model, self._event.hash)
            return any((one.model, one.id_hash) == same for one in letter.events)
        row = letter.row
        return self._is_in_message(row.key, row.value, row.headers) or self._event.is_in(row.reason)

    def _is_in_message(self, key: bytes | None, value: bytes, headers: str) -> bool:
        parts = [key, value, *(given for _, given in read_headers(headers))]
        return any(self._event.is_in(None if part is None else bytes(part)) for part in parts)

    def _halves(self) -> int:
        """Halves of an exchange; of one that was paired, all but a digest that tells repetitions."""
        number, last, h = 0, -1, half_message.c
        shared = re.sub(r":\d+$", "", self._event.id)  # one of several events of an exchange
        names = {f":{self._event.id}", f":{shared}"}
        while True:
            query = select(half_message).where(h.id > last).order_by(h.id).limit(AT_ONCE)
            with reading(self._engine) as connection:
                rows = list(connection.execute(query))
            if not rows:
                return number
            last = rows[-1].id
            for row in rows:
                is_named = any(row.name.endswith(name) for name in names)
                if is_named or self._is_in_message(row.key, row.value, row.headers):
                    number += 1
                    self._remove_half(row)

    def _remove_half(self, row: Any) -> None:
        if not self._removes:
            return
        h, p = half_message.c, partition_state.c
        with immediate(self._engine) as connection:
            gone = connection.execute(delete(half_message).where(h.id == row.id, h.status == "waiting"))
            if gone.rowcount:  # it waits no more: a dead letter that was removed at once
                place = (p.topic == row.topic, p.partition == row.partition)
                moved = {"unpaired": p.unpaired - 1, "dead_lettered": p.dead_lettered + 1}
                connection.execute(update(partition_state).where(*place).values(moved))
            else:
                left = {"name": HIDDEN, "key": None, "headers": "[]", "value": b""}
                connection.execute(update(half_message).where(h.id == row.id).values(left))

    # --- the join -------------------------------------------------------------------------------------------

    def _keyed(self, table: Table) -> int:
        mine = table.c.key == self._event.key
        if self._removes:
            with immediate(self._engine) as connection:
                return connection.execute(delete(table).where(mine)).rowcount
        with reading(self._engine) as connection:
            return len(connection.execute(select(table.c.key).where(mine)).all())

    # --- slices ---------------------------------------------------------------------------------------------

    def _slices(self) -> int:
        number = 0
        for _ in range(ROUNDS if self._removes else 1):
            found, missed = self._look_through_slices()
            number += found
            if not missed:
                break
        return number

    def _look_through_slices(self) -> tuple[int, int]:
        """Rows with the event, and how many of them were replaced by a sum before they could be changed."""
        number, missed, last, c = 0, 0, -1, slice_profile.c
        while True:
            query = select(c.id, c.slice_ms, c.bytes).where(c.model == self._event.model, c.id > last)
            with reading(self._engine) as connection:
                rows = list(connection.execute(query.order_by(c.id).limit(AT_ONCE)))
                news = [(row, self._without(connection, bytes(row.bytes))) for row in rows]
            if not rows:
                return number, missed
            last = rows[-1].id
            for row, data in news:
                if data is not None and self._changed(row, data):
                    number += 1
                elif data is not None:
                    missed += 1

    def _without(self, connection: Connection, data: bytes) -> bytes | None:
        found = without_event(
            data, self._event, lambda hash_: self._references.get(connection, hash_).binning
        )
        return None if found is None else found[0]

    def _changed(self, row: Any, data: bytes) -> bool:
        if not self._removes:
            return True
        c = slice_profile.c
        with immediate(self._engine) as connection:
            this = (c.id == row.id, c.slice_ms == row.slice_ms)  # the second names its month
            return connection.execute(update(slice_profile).where(*this).values(bytes=data)).rowcount == 1

    # --- examples in JSON -----------------------------------------------------------------------------------

    def _results(self) -> int:
        c = result.c
        return self._in_json(c.attribution, c.model == self._event.model, c.id, (c.start_ms,))

    def _messages(self) -> int:
        return self._in_json(outbox.c.payload, true(), outbox.c.id)

    def _requests(self) -> int:
        return self._in_json(retraining_run.c.request, true(), retraining_run.c.id)

    def _in_json(
        self, column: Column[Any], where: Any, key: Column[Any], beside: tuple[Any, ...] = ()
    ) -> int:
        """Take examples out of a column with JSON texts."""
        number = 0
        after: ColumnElement[bool] = true()
        while True:
            query = select(key, *beside, column).where(where, after, self._holds(column))
            with reading(self._engine) as connection:
                rows = connection.execute(query.order_by(key).limit(AT_ONCE)).all()
            if not rows:
                return number
            after = key > rows[-1][0]
            for row in rows:
                document, gone = self._event.without(msgspec.json.decode(row[-1]))
                number += gone > 0
                if gone and self._removes:
                    this = [one == value for one, value in zip((key, *beside), row[:-1], strict=True)]
                    text = msgspec.json.encode(document).decode()
                    with immediate(self._engine) as connection:
                        connection.execute(update(key.table).where(*this).values({column.name: text}))

    def _alerts(self) -> int:
        number = 0
        with reading(self._engine) as connection:
            ids = connection.execute(
                select(alert.c.id, alert.c.version).where(alert.c.model == self._event.model)
            ).all()
        for row in ids:
            with immediate(self._engine) as connection:
                alerts.lock_version(connection, self._event.model, row.version)
                this = alert.c.id == row.id
                data = connection.execute(select(alert.c.state_bytes).where(this)).scalar()
                if data is None or not self._event.is_in(bytes(data)):
                    continue
                document, gone = self._event.without(msgspec.json.decode(bytes(data)))
                number += gone > 0
                if gone and self._removes:
                    left = {"state_bytes": msgspec.json.encode(document)}
                    connection.execute(update(alert).where(this).values(left))
        return number

    # --- words of people ------------------------------------------------------------------------------------

    def _mentions(self, column: Column[Any]) -> int:
        with reading(self._engine) as connection:
            return len(connection.execute(select(column).where(self._holds(column))).all())

    def _holds(self, column: Column[Any]) -> Any:
        return or_(*(column.contains(spelt, autoescape=True) for spelt in sorted(self._event.spellings)))


_LEFT = "written by people, left as it is"
