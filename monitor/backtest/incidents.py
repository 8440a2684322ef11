"""Alerts of all model versions, and what people would have been told."""

from __future__ import annotations

from collections.abc import Mapping

from alerting.alert import Alert, Change, step
from alerting.finding import Kind, WindowObservation
from alerting.pipeline import outbox_rows
from monitor.backtest.report import Delivery
from monitor.config import Configuration


class Incidents:
    """Lets windows speak to the incidents of their model versions.

    Parameters
    ----------
    configuration : Configuration
        Its policy and routes.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._policy, self._routes = configuration.alerts.policy, configuration.alerts.routes
        self._current: dict[tuple[str, str, Kind], Alert] = {}
        self._alerts: dict[str, Alert] = {}
        self._deliveries: list[Delivery] = []

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All alerts as they are now, the oldest first."""
        return tuple(sorted(self._alerts.values(), key=lambda alert: (alert.opened_at, alert.id)))

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """All messages in order of time."""
        return tuple(sorted(self._deliveries, key=lambda one: (one.at, one.alert_id, one.sequence)))

    def take(self, observation: WindowObservation) -> None:
        """Let a window speak to the incident of its model version and kind."""
        incident = observation.model, observation.version, observation.kind
        after, changes = step(self._current.get(incident), observation, self._policy)
        if after is None:
            return
        self._current[incident] = self._alerts[after.id] = after
        self._tell(after, changes)

    def _tell(self, alert: Alert, changes: list[Change]) -> None:
        by_sequence: Mapping[int, Change] = {change.sequence: change for change in changes}
        for row in outbox_rows(alert, changes, self._routes):
            change = by_sequence[row.sequence]
            self._deliveries.append(
                Delivery(change.at, row.receiver, alert.id, row.sequence, str(change.kind), change.cause)
            )
