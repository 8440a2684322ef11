"""What every route needs, made once by the application."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Connection, Engine

from detectors.reference import Reference
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.door import Door
from monitor.references.lifecycle import ReferenceCache
from monitor.telemetry import Telemetry
from monitor.web.limits.guesses import Guesses

MOST_REFERENCES = 64


@dataclass(frozen=True)
class Context:
    """Parts that routes work with."""

    configuration: Configuration
    engine: Engine
    telemetry: Telemetry
    clock: Clock
    door: Door | None = None
    _references: ReferenceCache = field(default_factory=lambda: ReferenceCache(MOST_REFERENCES))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def guesses(self) -> Guesses:
        """What was guessed wrong, at all doors together."""
        return Guesses(self.clock)

    def reference(self, connection: Connection, hash_: str) -> Reference:
        """Read a reference, or take it from memory; requests are served by several threads.

        Raises
        ------
        UnusableReference
            If there is none of that hash.
        """
        with self._lock:
            return self._references.get(connection, hash_)
