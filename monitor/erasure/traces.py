"""What one event is known by, and how examples of it are taken out of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from detectors.hashing import hash_strings
from monitor.labels.pending import id_of, keys_of
from schemas.examples import Example, printable
from schemas.showing import LONGEST_ID

_FIELDS = len(Example._fields)


@dataclass(frozen=True)
class Event:
    """One event of a model.

    Examples
    --------
    >>> event = Event("churn", "e-7")
    >>> event.hash == Event("fraud", "e-7").hash, event.key == Event("fraud", "e-7").key
    (True, False)
    """

    model: str
    id: str

    @cached_property
    def hash(self) -> int:
        """Hash of its id: samples of rows and examples have it."""
        return int(hash_strings(pa.array([self.id], pa.string()))[0])

    @cached_property
    def key(self) -> int:
        """Key under which its prediction and its label meet."""
        ids = np.array([id_of(self.model)], np.int64)
        return int(keys_of(ids, np.array([self.hash], np.uint64))[0])

    @cached_property
    def shown(self) -> str:
        """Its id as examples show it."""
        return printable(self.id, LONGEST_ID)

    @cached_property
    def spellings(self) -> frozenset[str]:
        """Its id as texts may hold it: as it is, and as JSON writes it with and without other alphabets."""
        plain = {self.id, self.shown}
        return frozenset(
            spelt
            for text in plain
            for spelt in (text, json.dumps(text)[1:-1], msgspec.json.encode(text).decode()[1:-1])
        )

    def is_in(self, data: bytes | str | None) -> bool:
        """Whether bytes or a text hold its id."""
        if data is None:
            return False
        if isinstance(data, bytes):
            return any(spelt.encode() in data for spelt in self.spellings)
        return any(spelt in data for spelt in self.spellings)

    def without(self, document: Any) -> tuple[Any, int]:
        """Leave examples of the event out of a JSON document.

        Returns
        -------
        document
            Without them; the very same if there are none.
        int
            How many were left out.

        Examples
        --------
        >>> one, other = ({"event_id": id_, "offset": 3} for id_ in ("e-7", "e-8"))
        >>> Event("churn", "e-7").without({"examples": [one, other]})
        ({'examples': [{'event_id': 'e-8', 'offset': 3}]}, 1)
        """
        if isinstance(document, dict):
            parts = {name: self.without(value) for name, value in document.items()}
            number = sum(found for _, found in parts.values())
            return ({name: value for name, (value, _) in parts.items()} if number else document), number
        if isinstance(document, list):
            left = [self.without(value) for value in document if not self._is_example(value)]
            number = len(document) - len(left) + sum(found for _, found in left)
            return ([value for value, _ in left] if number else document), number
        return document, 0

    def _is_example(self, value: Any) -> bool:
        if isinstance(value, dict):
            return value.get("event_id") == self.shown and "offset" in value
        return isinstance(value, list) and len(value) == _FIELDS and value[0] == self.hash
