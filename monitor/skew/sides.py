"""The two sides of a comparison, opened: frames, files and topics as batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.frames.table import Table
from monitor.skew.batch import Batch, Wanted
from monitor.skew.files import form_of, messages_of, open_rows
from monitor.skew.keys import Key
from monitor.skew.messages import EventReader
from monitor.skew.tables import batch_of_frame, batches_of, check_columns

if TYPE_CHECKING:
    import pandas as pd

    from monitor.config.service import Stream

Stretch = tuple[int | None, int | None]
"""First instant of a stretch of a topic and the one after the last, epoch milliseconds; None: no limit."""


@dataclass(frozen=True)
class Side:
    """One side as batches.

    Parameters
    ----------
    name : str
        What messages call it.
    batches : iterable of Batch
        Read once.
    has_types : bool
        Whether it says itself what numbers and what texts are; CSV does not.
    readers : tuple of EventReader
        Know what could not be read.
    """

    name: str
    batches: Iterable[Batch]
    has_types: bool = True
    readers: tuple[EventReader, ...] = ()

    @property
    def unreadable(self) -> int:
        """Messages so far that are no events."""
        return sum(reader.unreadable for reader in self.readers)

    @property
    def unpaired(self) -> int:
        """Requests and responses so far whose other half is not there."""
        return sum(reader.unpaired for reader in self.readers)

    @property
    def problem(self) -> str | None:
        """Why the first message that is no event is none."""
        return next((reader.problem for reader in self.readers if reader.problem is not None), None)


def training_side(training: pd.DataFrame | str | Path, key: Key, entity: str | None) -> Side:
    """Open the training table.

    Raises
    ------
    UsageError
        If it cannot be read, or has no column of the key.
    """
    wanted = Wanted(key.training, key.training_instants, entity=entity or key.entity)
    return _table_side(training, wanted, "training")


def events_side(events: pd.DataFrame | str | Path, wanted: Wanted) -> Side:
    """Open a table of events; see `training_side`."""
    return _table_side(events, wanted, "events")


def files_side(paths: Sequence[str], stream: Stream | None, wanted: Wanted) -> Side:
    """Open files with events.

    Parameters
    ----------
    paths : sequence of str
    stream : Stream or None
        Of which messages are in them; None if all are tables.
    wanted : Wanted

    Raises
    ------
    UsageError
        If one cannot be read, or is a table without a column of the key.
    """
    readers = () if stream is None else (EventReader(stream.format, stream.reading(), wanted),)
    opened = [open_rows(path) if form_of(path) == "table" else path for path in paths]
    tables = [one for one in opened if isinstance(one, Table)]
    for table in tables:
        check_columns(table.name, table.schema.names, wanted)

    def batches() -> Iterator[Batch]:
        for one in opened:
            if isinstance(one, Table):
                yield from batches_of(one, wanted)
            else:
                yield from chain.from_iterable(reader.read(messages_of(one)) for reader in readers)

    return Side(", ".join(paths), batches(), all(table.has_types for table in tables), readers)


def topics_side(
    options: Mapping[str, Any], streams: Sequence[Stream], wanted: Wanted, stretch: Stretch
) -> Side:
    """Open a stretch of topics.

    Parameters
    ----------
    options : mapping
        How to reach Kafka; may hold secrets.
    streams : sequence of Stream
    wanted : Wanted
    stretch : Stretch
        By the time of the records.
    """
    from monitor.skew.topic import read_topic  # loads the Kafka client

    readers = tuple(EventReader(stream.format, stream.reading(), wanted) for stream in streams)

    def batches() -> Iterator[Batch]:
        for stream, reader in zip(streams, readers, strict=True):
            yield from reader.read(read_topic(options, stream.topic, *stretch))

    return Side(", ".join(stream.topic for stream in streams), batches(), readers=readers)


def _table_side(source: pd.DataFrame | str | Path, wanted: Wanted, name: str) -> Side:
    if not isinstance(source, str | Path):
        return Side(name, (batch_of_frame(source, wanted, name),))
    table = open_rows(str(source))
    check_columns(table.name, table.schema.names, wanted)
    return Side(table.name, batches_of(table, wanted), table.has_types)
