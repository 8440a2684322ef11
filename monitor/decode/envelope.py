"""What every format is turned into: the envelopes of events, in columns, with features still undecoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.decode.halves import Half
from monitor.decode.message import About
from monitor.decode.values import Values

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Envelopes:
    """Prediction events of one fetch, without their features.

    Parameters
    ----------
    row : int64 array [events]
        Message that each event came in.
    problems : list of (int, str)
        Messages that are not events, and why. Each message is in `row`, once for each of its events, or here,
        or in `halves`.
    event_ms : int64 array [events]
        Event time, epoch milliseconds.
    id_hash : uint64 array [events]
    event_id, model, version : sequence of str
    features : sequence of bytes-like or Cell
        JSON objects, syntactically valid UTF-8; or places in columns.
    prediction, score, scores, latency_ms, error, tags : sequence
        None where an event has none.
    role : sequence of str
    halves : list of (int, Half)
        Messages that are requests or responses alone.
    """

    row: NDArray[np.int64]
    problems: list[tuple[int, str]]
    event_ms: NDArray[np.int64]
    id_hash: NDArray[np.uint64]
    event_id: Values
    model: Values
    version: Values
    features: Sequence[Any]
    prediction: Values
    score: Values
    scores: Values
    latency_ms: Values
    error: Values
    tags: Values
    role: Values
    halves: list[tuple[int, Half]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.model)


@dataclass(frozen=True)
class LabelEnvelopes:
    """Label events of one fetch.

    Parameters
    ----------
    row : int64 array [events]
        Message that each event came in.
    problems : list of (int, str)
        Messages that are not events, and why. Each message is in `row` or here.
    label_ms : int64 array [events]
        Time of the label, epoch milliseconds.
    id_hash : uint64 array [events]
    model : list of str
    label : list
        What turned out to be true; never None.
    """

    row: NDArray[np.int64]
    problems: list[tuple[int, str]]
    label_ms: NDArray[np.int64]
    id_hash: NDArray[np.uint64]
    model: list[str]
    label: list[bool | int | float | str]

    def __len__(self) -> int:
        return len(self.model)


class Decoder(Protocol):
    """Reads the messages of a stream."""

    def decode(self, values: Sequence[bytes], about: About | None = None) -> Envelopes:
        """Read messages with predictions, whatever is in them.

        Parameters
        ----------
        values : sequence of bytes
        about : callable, optional
            Returns the message of a row with its headers, for formats that look at them.

        Raises
        ------
        Unavailable
            If something that is needed to read them, such as a schema registry, is away.
        """
        ...

    def decode_labels(self, values: Sequence[bytes], about: About | None = None) -> LabelEnvelopes:
        """Read messages with labels; see `decode`."""
        ...
