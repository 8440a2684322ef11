"""What a backtest found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from alerting.alert import Alert
from alerting.codec import document
from alerting.digest import Digest
from alerting.digest import document as digest_document
from alerting.incidents.document import incident_document
from alerting.incidents.incident import Incident


@dataclass(frozen=True)
class Delivery:
    """One message that a route would have sent: which change of which alert, to whom."""

    at: datetime
    receiver: str
    alert_id: str
    sequence: int
    change: str
    cause: str


@dataclass(frozen=True)
class Retraining:
    """One request to train that an incident would have made of a target for a model.

    Parameters
    ----------
    at : datetime
        When it was decided; a refusal is looked at again with every change of the incident.
    receiver : str
        Name of the target.
    model, version : str
    incident_id : str
    standing : str
        ``started``, ``proposed`` (waits for a person), ``dry_run``, ``refused``, or ``rejected``: the
        incident was retracted before anything was started.
    reason : str
    data_from, data_to : datetime
        Range to train on.
    """

    at: datetime
    receiver: str
    model: str
    version: str
    incident_id: str
    standing: str
    reason: str
    data_from: datetime
    data_to: datetime


@dataclass(frozen=True)
class Backtest:
    """What the policy would have done.

    Parameters
    ----------
    models : tuple of str
        Models of which windows were judged.
    windows, results : int
        Windows that were judged, and streams judged in them, those of outcomes included.
    from_ms, to_ms : int
        Judged span of event time.
    allowed, spent : float
        False alarms that the stated budget expects over this span, and the sum of the budgets that were in
        effect. A detector that keeps to no budget, such as ``psi``, spends none.
    alerts : tuple of Alert
        As they were in the end, oldest first.
    deliveries : tuple of Delivery
        In order of time; `alert_id` is the incident's.
    incidents : tuple of Incident
        Alerts with one cause, as they were in the end, oldest first.
    skipped : tuple of str
        Model versions that could not be judged, or whose outcomes could not, each with the reason.
    digests : tuple of Digest
        Of every week with judged windows, oldest first; only detectors with e-values have any.
    retraining : tuple of Retraining
        What would have been asked of retraining targets, in order of time.
    """

    models: tuple[str, ...]
    windows: int
    results: int
    from_ms: int
    to_ms: int
    allowed: float
    spent: float
    alerts: tuple[Alert, ...]
    deliveries: tuple[Delivery, ...]
    incidents: tuple[Incident, ...] = ()
    skipped: tuple[str, ...] = ()
    digests: tuple[Digest, ...] = ()
    retraining: tuple[Retraining, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what ``driftline backtest --json`` prints; `model` is a list if there are several."""
        return {
            "model": self.models[0] if len(self.models) == 1 else list(self.models),
            "windows": self.windows,
            "results": self.results,
            "budget": {"allowed": self.allowed, "spent": self.spent},
            "alerts": [document(alert) for alert in self.alerts],
            "incidents": [incident_document(incident) for incident in self.incidents],
            "deliveries": [msgspec.to_builtins(delivery) for delivery in self.deliveries],
            "digests": [digest_document(digest) for digest in self.digests],
            "retraining": [msgspec.to_builtins(request) for request in self.retraining],
        }
