"""Silences: for a while, nobody is told of certain alerts, because a person or a plan says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alerting.alert import OPEN_STATES, Alert
from alerting.policy import Match


class SilenceSource(StrEnum):
    """Who or what asked for a silence."""

    PERSON = "person"
    MAINTENANCE = "maintenance"
    DEPLOYMENT = "deployment"


_WORDS = {
    SilenceSource.PERSON: "silenced by {actor}",
    SilenceSource.MAINTENANCE: "silenced for maintenance",
    SilenceSource.DEPLOYMENT: "silenced after a deployment",
}


@dataclass(frozen=True)
class Silence:
    """One silence.

    Parameters
    ----------
    id : str
    match : Match
        Which alerts; of no use where `incident_id` is given.
    from_ms, until_ms : int
        Epoch milliseconds; silent from the first, no longer at the second.
    actor : str
        Who asked for it.
    comment : str
        Why.
    source : SilenceSource
    incident_id : str
        Only this incident; empty: all that match.

    Notes
    -----
    Times of people and plans are wall clock, as those who make them see it.
    """

    id: str
    match: Match
    from_ms: int
    until_ms: int
    actor: str
    comment: str = ""
    source: SilenceSource = SilenceSource.PERSON
    incident_id: str = ""

    def is_active(self, now_ms: int) -> bool:
        """Whether it holds now."""
        return self.from_ms <= now_ms < self.until_ms

    def covers(self, incident_id: str, alert: Alert, owner: str) -> bool:
        """Whether it is about an alert of an incident."""
        if self.incident_id:
            return self.incident_id == incident_id
        return self.match.agrees_with(alert, owner)

    @property
    def words(self) -> str:
        """Say who asked for it and why."""
        reason = f": {self.comment}" if self.comment else ""
        return _WORDS[self.source].format(actor=self.actor) + reason


def silenced_by(
    silences: Iterable[Silence],
    incident_id: str,
    alerts: Sequence[Alert],
    owners: Mapping[str, str],
    now_ms: int,
) -> list[Silence]:
    """Find the silences that keep an incident quiet: together they cover every open alert of it.

    Parameters
    ----------
    silences : iterable of Silence
    incident_id : str
    alerts : sequence of Alert
        Those of the incident; of several models where these have one cause.
    owners : mapping of str to str
        Of the models that have one.
    now_ms : int

    Returns
    -------
    list of Silence
        One for each open alert, the one that lasts longest; empty if an open alert is not covered, or none
        is open.
    """
    active = [silence for silence in silences if silence.is_active(now_ms)]
    found: list[Silence] = []
    for alert in alerts:
        if alert.state not in OPEN_STATES:
            continue
        owner = owners.get(alert.model, "")
        covering = [silence for silence in active if silence.covers(incident_id, alert, owner)]
        if not covering:
            return []
        found.append(max(covering, key=lambda silence: (silence.until_ms, silence.id)))
    return found
