"""Looks from time to time for versions that are new, and whether they do better than those before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from monitor.retraining.deployments import NewVersions
from monitor.retraining.watch import Watch
from schemas.errors import Unavailable

logger = logging.getLogger("driftline.retraining")

PERIOD_S = 15.0


class Aftermath:
    """Runs in a thread of its own; any number of processes may.

    Parameters
    ----------
    new_versions : NewVersions
    watch : Watch
    on_told : callable
        Called after there was something to deliver.
    """

    def __init__(self, new_versions: NewVersions, watch: Watch, on_told: Callable[[], None]) -> None:
        self._new_versions, self._watch, self._on_told = new_versions, watch, on_told
        self._wake = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            try:
                self.look()
            except Unavailable as error:
                logger.warning("new versions wait: %s", error)
            self._wake.wait(PERIOD_S)
            self._wake.clear()

    def wake(self) -> None:
        """Let `run` look at once, and at its stop event."""
        self._wake.set()

    def look(self) -> None:
        """Look once.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        for one in self._new_versions.sweep():
            logger.info("version %s of %s is new", one.version, one.model)
        if self._watch.sweep():
            self._on_told()
