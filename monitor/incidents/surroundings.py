"""What the policy's stages know of the world: the configuration's part, and what the database holds."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from alerting.alert import Alert
from alerting.pipeline import Surroundings
from monitor.config import Configuration
from monitor.store import incidents, silences


def surroundings(
    connection: Connection, configuration: Configuration, alerts: Sequence[Alert], now_ms: int
) -> Surroundings:
    """Gather what stages may ask about the incident of some alerts.

    Parameters
    ----------
    connection : Connection
    configuration : Configuration
    alerts : sequence of Alert
        Those of the incident.
    now_ms : int
        Wall clock.
    """
    policy = configuration.alerts
    models = {alert.model for alert in alerts}
    has_inhibitions = bool(policy.inhibit)
    return Surroundings(
        now_ms,
        policy.routes,
        policy.grouping,
        policy.inhibit,
        [*silences.active(connection, now_ms), *policy.maintenance_at(now_ms)],
        incidents.open_alerts(connection, models) if has_inhibitions else (),
        {model: configuration.for_model(model).owner or "" for model in models},
        configuration.targets,
        configuration.console_url,
    )
