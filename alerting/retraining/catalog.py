"""Finds the retraining targets by walking this package; nothing is registered by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alerting import retraining as package
from alerting.contributed import Contributed
from alerting.retraining.base import RetrainingTarget
from alerting.retraining.options import TargetOptions
from alerting.secrets import Secrets

CATALOG = Contributed(package, RetrainingTarget)  # type: ignore[type-abstract]  # it is walked for, never made


def targets() -> dict[str, type[RetrainingTarget]]:
    """Name every retraining target.

    Examples
    --------
    >>> sorted(targets())[:4]
    ['airflow', 'argo_events', 'argo_workflows', 'dagster']
    """
    return CATALOG.classes


def build(
    name: str, options: TargetOptions, environment: Mapping[str, str], now_ms: Callable[[], int]
) -> RetrainingTarget:
    """Make the target of a receiver.

    Parameters
    ----------
    name : str
        Of the receiver in the configuration.
    options : TargetOptions
        Validated options of one of the targets.
    environment : mapping of str to str
        Where ``…_env`` secrets are read.
    now_ms : callable
        Wall clock, epoch milliseconds.

    Raises
    ------
    ConfigurationError
        If a secret is missing or cannot be what it should be.
    """
    return targets()[options.type](options, Secrets(environment, f"receivers.{name}"), now_ms)
