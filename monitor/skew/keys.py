"""What tells rows apart, on both sides: the id of the event, or columns that are an id together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from monitor.frames.names import EVENT_ID, TIMESTAMP
from schemas.errors import UsageError

_BETWEEN = "\x1f"  # the separator of units in ASCII


@dataclass(frozen=True)
class Key:
    """Names of the parts of a key.

    Parameters
    ----------
    training : tuple of str
        Columns of the training table.
    events : tuple of str
        The same parts in events: ``event_id``, ``timestamp``, ``tags.<name>`` or a feature.

    Examples
    --------
    >>> Key.of(["customer", "at=timestamp"])
    Key(training=('customer', 'at'), events=('customer', 'timestamp'))
    """

    training: tuple[str, ...]
    events: tuple[str, ...]

    @classmethod
    def of(cls, parts: Sequence[str]) -> Key:
        """Read parts, ``NAME`` or ``COLUMN OF THE TABLE=PART OF THE EVENT``; none: the event id.

        Raises
        ------
        UsageError
            If a part has no name, or comes twice.
        """
        pairs = [part.partition("=") for part in parts or (EVENT_ID,)]
        training = tuple(name for name, _, _ in pairs)
        events = tuple(other if equals else name for name, equals, other in pairs)
        if not all(training + events):
            msg = f"--key: {' '.join(parts)!r} (NAME or COLUMN=NAME is allowed, as in order=event_id)"
            raise UsageError(msg)
        if len(set(training)) < len(training) or len(set(events)) < len(events):
            msg = f"--key: {' '.join(parts)!r} names a part twice"
            raise UsageError(msg)
        return cls(training, events)

    @property
    def is_time(self) -> tuple[bool, ...]:
        """Which parts are the time of the event."""
        return tuple(name == TIMESTAMP for name in self.events)

    @property
    def training_instants(self) -> frozenset[str]:
        """Columns of the training table with the time of the event."""
        return frozenset(name for name, is_time in zip(self.training, self.is_time, strict=True) if is_time)

    @property
    def entity(self) -> str | None:
        """Column of the training table that is the rest of a key with a time, if it is one column."""
        rest = [name for name, is_time in zip(self.training, self.is_time, strict=True) if not is_time]
        return rest[0] if len(rest) == 1 and any(self.is_time) else None


def joined(parts: Sequence[pa.Array]) -> pa.Array:
    """Make keys of their parts; null where a part is missing.

    Parameters
    ----------
    parts : sequence of Arrow string arrays [n]

    Returns
    -------
    Arrow string array [n]
    """
    if len(parts) == 1:
        return parts[0]
    clean = [pc.replace_substring(part, _BETWEEN, "\ufffd") for part in parts]
    return pc.binary_join_element_wise(*clean, _BETWEEN, null_handling="emit_null")


def shown(key: str) -> str:
    """Write a key for people.

    Examples
    --------
    >>> shown(joined([pa.array(["c-7"]), pa.array(["1767225600000"])])[0].as_py())
    'c-7 1767225600000'
    """
    return key.replace(_BETWEEN, " ")
