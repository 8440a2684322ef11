"""Finds the notifiers by walking this package; nothing is registered by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alerting import notifiers as package
from alerting.contributed import Contributed
from alerting.notifiers.base import ChartSource, Notifier, ReceiverOptions
from alerting.secrets import Secrets

CATALOG = Contributed(package, Notifier)  # type: ignore[type-abstract]  # it is walked for, never made


def notifiers() -> dict[str, type[Notifier]]:
    """Name every notifier.

    Examples
    --------
    >>> sorted(notifiers())
    ['alertmanager', 'apprise', 'email', 'pagerduty', 'slack', 'teams', 'webhook']
    """
    return CATALOG.classes


def build(
    name: str,
    options: ReceiverOptions,
    environment: Mapping[str, str],
    now_ms: Callable[[], int],
    charts: ChartSource | None = None,
) -> Notifier:
    """Make the notifier of a receiver.

    Parameters
    ----------
    name : str
        Of the receiver in the configuration.
    options : ReceiverOptions
        Validated options of one of the notifiers.
    environment : mapping of str to str
        Where ``…_env`` secrets are read.
    now_ms : callable
        Wall clock, epoch milliseconds.
    charts : ChartSource, optional
        Where charts come from; without it notices are words alone.

    Raises
    ------
    ConfigurationError
        If a secret is missing or cannot be what it should be.
    """
    made = notifiers()[options.type](options, Secrets(environment, f"receivers.{name}"), now_ms)
    made.charts = charts
    return made
