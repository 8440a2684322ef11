"""Removes all that is stored of a model, or of one version of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, select, tuple_, update

from monitor.by_hand import write_down
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.erasure.belonging import Part, Target, parts
from monitor.erasure.letters import letters
from monitor.erasure.shared import leave_incidents, leave_lists
from monitor.store import alerts, incidents
from monitor.store.engine import immediate, reading
from monitor.store.positions import REFERENCES
from monitor.store.sql import inserting
from monitor.store.tables import counter, dead_letter, half_message, model_version, partition_state

AT_ONCE = 5_000  # rows in one transaction
LETTERS_AT_ONCE = 500


@dataclass
class Erased:
    """Rows by table, and what could not be told.

    Parameters
    ----------
    rows : dict of str to int
        Tables without any are left out.
    mixed_letters : int
        Dead letters that hold events of others too; they stay.
    unread_letters : int
        Dead letters that cannot be read but name the model; they stay.
    """

    rows: dict[str, int] = field(default_factory=dict)
    mixed_letters: int = 0
    unread_letters: int = 0

    def add(self, table: str, number: int) -> None:
        """Count rows."""
        if number:
            self.rows[table] = self.rows.get(table, 0) + number

    @property
    def total(self) -> int:
        """Rows of all tables."""
        return sum(self.rows.values())


class ModelErasure:
    """Finds and removes what belongs to a model.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    target : Target

    Guarantees
    ----------
    Counts of partitions stay as they are, but for requests and responses that wait for each other: those that
    go are counted as dead letters. An erasure that was broken off goes on where it was when it is repeated. A
    service that runs meanwhile counts events that still come under a model that is new to it.
    """

    def __init__(self, configuration: Configuration, engine: Engine, clock: Clock, target: Target) -> None:
        self._configuration, self._engine, self._clock = configuration, engine, clock
        self._target, self._parts = target, parts(target)

    def find(self) -> Erased:
        """Count what would go.

        Raises
        ------
        Unavailable
            If the database is away, or a schema registry that dead letters need.
        """
        found = Erased()
        with reading(self._engine) as connection:
            for part in self._parts:
                found.add(part.table.name, int(connection.execute(part.number).scalar_one()))
        found.add(dead_letter.name, len(self._letters(found)))
        return found

    def remove(self) -> Erased:
        """Remove it, some thousand rows a transaction, and write that down.

        Raises
        ------
        Unavailable
            As for `find`; what was removed until then stays removed.
        """
        gone = Erased()
        ids = self._letters(gone)
        for first in range(0, len(ids), LETTERS_AT_ONCE):
            which = dead_letter.c.id.in_(ids[first : first + LETTERS_AT_ONCE])
            with immediate(self._engine) as connection:
                gone.add(dead_letter.name, connection.execute(delete(dead_letter).where(which)).rowcount)
        self._leave_others()
        for part in self._parts:
            if part.table is half_message:
                self._give_up_halves(part, gone)
            else:
                self._in_portions(part, gone)
        self._finish(gone)
        return gone

    def _leave_others(self) -> None:
        """Take the target out of what it shares with other models."""
        left = 1
        while left:
            with immediate(self._engine) as connection:
                self._lock(connection)
                left = leave_incidents(connection, self._target)
        after: str | None = ""
        while after is not None:
            with immediate(self._engine) as connection:
                after = leave_lists(connection, self._target, after)

    def _in_portions(self, part: Part, gone: Erased) -> None:
        for where in _walked(self._engine, part) if part.is_walked else _picked(part):
            with immediate(self._engine) as connection:
                if part.table.name in _OF_INCIDENTS:
                    self._lock(connection)
                number = connection.execute(delete(part.table).where(*where)).rowcount
            gone.add(part.table.name, number)
            if not number and not part.is_walked:
                return

    def _give_up_halves(self, part: Part, gone: Erased) -> None:
        """Remove halves; those that wait count as dead letters of their partitions from now on."""
        with immediate(self._engine) as connection:
            _count_as_dead(connection, part)
            gone.add(part.table.name, connection.execute(delete(part.table).where(*part.where)).rowcount)

    def _finish(self, gone: Erased) -> None:
        """Remove what came meanwhile, and let every process that runs forget the model, all at once."""
        now_ms = self._clock.now_ms()
        with immediate(self._engine) as connection:
            # Commits read this row: none of them is under way from here on, and the next one starts anew.
            statement = inserting(connection, counter).values(name=REFERENCES, value=1)
            raised = {"value": counter.c.value + 1}
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=raised))
            is_locked = False
            for part in self._parts:
                if part.table is half_message:
                    continue
                if part.table.name in _OF_INCIDENTS and not is_locked:
                    self._lock(connection)
                    is_locked = True
                gone.add(part.table.name, connection.execute(delete(part.table).where(*part.where)).rowcount)
            words = f"erase model {self._target.model}"
            if self._target.version is not None:
                words += f" --version {self._target.version}"
            write_down(connection, words, now_ms, f"{gone.total} rows")

    def _lock(self, connection: Connection) -> None:
        """Keep others from changing alerts of the target, and from grouping any."""
        versions = select(model_version.c.version).where(*self._target.of(model_version))
        for version in sorted(connection.execute(versions).scalars()):
            alerts.lock_version(connection, self._target.model, version)
        incidents.lock(connection)

    def _letters(self, found: Erased) -> list[int]:
        """Dead letters whose events are all of the target."""
        ids: list[int] = []
        name = self._target.model.encode()
        found.mixed_letters = found.unread_letters = 0
        for letter in letters(self._configuration, self._engine):
            mine = [self._is_mine(event.model, event.version) for event in letter.events]
            if mine and all(mine):
                ids.append(letter.id)
            elif any(mine):
                found.mixed_letters += 1
            elif not mine and letter.model == self._target.model and self._target.version is None:
                ids.append(letter.id)  # a topic of this model alone
            elif not mine and name in bytes(letter.row.value):
                found.unread_letters += 1
        return ids

    def _is_mine(self, model: str, version: str | None) -> bool:
        return model == self._target.model and self._target.version in (None, version)


_OF_INCIDENTS = frozenset(
    {
        "outbox", "receiver_state", "retraining_run", "incident_event", "incident_column", "incident",
        "alert_event", "incident_alert", "alert",
    }
)  # fmt: skip


def _picked(part: Part) -> Iterator[Sequence[ColumnElement[bool]]]:
    """Conditions for some thousand rows at a time, found by an index; without end."""
    keys = list(part.table.primary_key)
    some = select(*keys).where(*part.where).limit(AT_ONCE)
    while True:
        yield [keys[0].in_(some.scalar_subquery()) if len(keys) == 1 else tuple_(*keys).in_(some)]


def _walked(engine: Engine, part: Part) -> Iterator[Sequence[ColumnElement[bool]]]:
    """Conditions for some thousand rows at a time, in the order of the primary key."""
    keys = list(part.table.primary_key)
    after: list[ColumnElement[bool]] = []
    while True:
        query = select(*keys).where(*part.where, *after).order_by(*keys).offset(AT_ONCE - 1).limit(1)
        with reading(engine) as connection:
            last = connection.execute(query).first()
        if last is None:
            yield [*part.where, *after]
            return
        yield [*part.where, *after, tuple_(*keys) <= tuple_(*last)]
        after = [tuple_(*keys) > tuple_(*last)]


def _count_as_dead(connection: Connection, part: Part) -> None:
    c, p = half_message.c, partition_state.c
    waiting = select(c.topic, c.partition).where(*part.where, c.status == "waiting")
    numbers: dict[tuple[str, int], int] = {}
    for row in connection.execute(waiting):
        numbers[row.topic, row.partition] = numbers.get((row.topic, row.partition), 0) + 1
    for (topic, partition), number in sorted(numbers.items()):
        place = and_(p.topic == topic, p.partition == partition)
        moved = {"unpaired": p.unpaired - number, "dead_lettered": p.dead_lettered + number}
        connection.execute(update(partition_state).where(place).values(moved))
