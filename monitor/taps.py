"""What others may listen to: judged windows on the results topic, changes of alerts on the alerts topic.

Taps are for information. Messages may be lost or come twice; the database and the receivers are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from monitor.config import Configuration
from monitor.evaluate import Announcer
from monitor.judging.judgements import Judged


class Taps:
    """Publishes what was judged.

    Parameters
    ----------
    configuration : Configuration
    announcer : Announcer
    """

    def __init__(self, configuration: Configuration, announcer: Announcer) -> None:
        self._configuration, self._announcer = configuration, announcer

    def publish(self, judged: Iterable[Judged]) -> None:
        """Send a message for each window, and one for each change of an alert."""
        topics = self._configuration.topics
        for window in judged:
            message: dict[str, Any] = {
                "model": window.due.key[0],
                "version": window.due.key[1],
                "window": str(window.due.spec),
                "start_ms": window.due.start_ms,
                "end_ms": window.due.end_ms,
                "revision": window.revision,
            }
            drifted = [
                {"column": v.column, "segment": v.segment, "statistic": v.statistic, "threshold": v.threshold}
                for v in window.drifted
            ]
            self._announcer.send(topics.results, window.due.key[0], {**message, "drifted": drifted})
            for change in window.changes:
                self._announcer.send(topics.alerts, window.due.key[0], {**message, "change": change})
