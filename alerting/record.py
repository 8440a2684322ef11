"""What is remembered of an incident beside its alerts: who was told what, when, and what was held back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec

from schemas.decoding import json_decoder
from schemas.errors import StoreError

FORMAT = 1


class HeldBy(StrEnum):
    """What keeps a change of an incident back."""

    NOTHING = ""
    INHIBITION = "inhibition"
    SILENCE = "silence"


@dataclass(frozen=True)
class Record:
    """The memory of an incident.

    Parameters
    ----------
    id : str
        Of the incident.
    sequence : int
        Number of its changes.
    told : dict of str to int
        Receivers that were told, and the sequence of what they were told last.
    told_at_ms : int
        Wall clock of the last message to anybody, that is when it could leave; 0 if nobody was told.
    fired_at_ms : int
        Wall clock when it fired; 0 if it does not fire now.
    escalated : tuple of str
        Receivers that were told because nobody has acknowledged since then.
    held : str
        Why nobody was told of the latest changes; empty if nothing is held back.
    held_until_ms : int
        When to look again.
    held_by : HeldBy
        What holds it; nothing also in what was stored before this was remembered.
    waits_until_ms : dict of str to int
        When the first message to a receiver may leave, as long as that lies ahead.
    """

    id: str
    sequence: int = 0
    told: dict[str, int] = field(default_factory=dict)
    told_at_ms: int = 0
    fired_at_ms: int = 0
    escalated: tuple[str, ...] = ()
    held: str = ""
    held_until_ms: int = 0
    held_by: HeldBy = HeldBy.NOTHING
    waits_until_ms: dict[str, int] = field(default_factory=dict)

    def let_go(self) -> Record:
        """Nothing holds it back any more."""
        return replace(self, held="", held_until_ms=0, held_by=HeldBy.NOTHING)

    def counted_up(self) -> Record:
        """One more change."""
        return replace(self, sequence=self.sequence + 1)


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    record: msgspec.Raw


def to_bytes(record: Record) -> bytes:
    """Write a record with the version of the format."""
    return msgspec.json.encode(_Envelope(FORMAT, msgspec.Raw(msgspec.json.encode(record))))


def from_bytes(data: bytes) -> Record:
    """Read what `to_bytes` wrote.

    Raises
    ------
    StoreError
        If the bytes are something else, or were written by a later version.
    """
    try:
        envelope = json_decoder(_Envelope).decode(data)
        if envelope.format != FORMAT:
            msg = f"an incident has format {envelope.format} (this version reads {FORMAT}); update Driftline"
            raise StoreError(msg)
        return json_decoder(Record).decode(envelope.record)
    except msgspec.MsgspecError as error:
        msg = f"these bytes are not the memory of an incident: {error}"
        raise StoreError(msg) from error
