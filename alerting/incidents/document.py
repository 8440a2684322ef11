"""An incident as the JSON object that the API, backtests and webhooks show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from alerting.codec import SHOWN_FINDINGS, document
from alerting.incidents.impact import Impact
from alerting.incidents.incident import Incident, Member
from alerting.incidents.root_cause import Cause

SHOWN_MEMBERS = 50


def incident_document(incident: Incident, limit: int = SHOWN_FINDINGS) -> dict[str, Any]:
    """Describe an incident: the fields of an alert, for all its alerts as one, and those of its own.

    Parameters
    ----------
    incident : Incident
    limit : int
        Findings to list at most, one per column and segment; ``findings_total`` says how many there are.
    """
    plain = document(incident.whole, limit)
    own = own_fields(incident.members, incident.causes, incident.impact, incident.segments)
    return {**plain, **own, "alerts_total": len(incident.members)}


def own_fields(
    members: Sequence[Member], causes: Sequence[Cause], impact: Impact | None, segments: Sequence[str]
) -> dict[str, Any]:
    """Describe what an incident has beside the fields of an alert."""
    return {
        "models": list(dict.fromkeys(member.model for member in members)),
        "segments": list(segments),
        "alerts": [msgspec.to_builtins(member) for member in members[:SHOWN_MEMBERS]],
        "causes": [{**msgspec.to_builtins(cause), "models": list(cause.models)} for cause in causes],
        "impact": None if impact is None else {**msgspec.to_builtins(impact), "words": impact.words},
    }
