"""Everything that can be decided by a button in Slack, whoever carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.incidents.actions import Actions
from monitor.retraining.decisions import Decisions as TrainingDecisions


@dataclass(frozen=True)
class ByButton:
    """Decisions about incidents, and about runs of training that wait for approval.

    Parameters
    ----------
    incidents : Actions
    training : monitor.retraining.decisions.Decisions
    """

    incidents: Actions
    training: TrainingDecisions

    def acknowledge(self, incident_id: str, actor: str, cause: str = "") -> str:
        """Record that somebody looks after an incident."""
        return self.incidents.acknowledge(incident_id, actor, cause)

    def silence(self, incident_id: str, actor: str, span_ms: int, cause: str = "") -> str:
        """Tell nobody of an incident for a while."""
        return self.incidents.silence(incident_id, actor, span_ms, cause)

    def silence_once(self, press: str, incident_id: str, actor: str, span_ms: int) -> str:
        """Tell nobody of an incident for a while, once for each press."""
        return self.incidents.silence(incident_id, actor, span_ms, press=press)

    def approve(self, request_id: str, actor: str, cause: str = "") -> str:
        """Let a proposed run be started."""
        return self.training.approve(request_id, actor, cause)

    def reject(self, request_id: str, actor: str, cause: str = "") -> str:
        """Let a proposed run not be started."""
        return self.training.reject(request_id, actor, cause)
