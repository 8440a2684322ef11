"""How a model is, in one word and why; what needs attention comes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitor.config import Configuration
from monitor.store.queries.fleet import Arrival, OpenIncident, Seen
from monitor.store.queries.recent import DAY_MS
from schemas.duration import format_duration

INCIDENT_STATES = ("firing", "pending", "acknowledged")
SEVERITIES = ("page", "warn", "info")
STATES = (*INCIDENT_STATES, "no data", "learning", "fine")
NEVER_MS = -(2**62)


@dataclass(frozen=True)
class Standing:
    """How a model is.

    Parameters
    ----------
    model : str
    state : str
        One of `STATES`: that of its worst open incident if it has one.
    severity : str or None
        Of its worst open alert; None without one.
    why : str
        In words; empty where the incident says why, and if all is fine.
    newest_ms : int or None
        Event time of its newest prediction.
    incidents : tuple of str
        Ids of its open incidents, the worst first.
    """

    model: str
    state: str
    severity: str | None = None
    why: str = ""
    newest_ms: int | None = None
    incidents: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Smaller is more urgent: severity before state, both before what has no incident.

        Examples
        --------
        >>> paged, seen, warned = (Standing("m", "firing", "page"), Standing("m", "acknowledged", "page"),
        ...                        Standing("m", "firing", "warn"))
        >>> paged.rank < seen.rank < warned.rank < Standing("m", "no data").rank < Standing("m", "fine").rank
        True
        """
        if self.severity is None:
            return len(SEVERITIES) * len(STATES) + STATES.index(self.state)
        return SEVERITIES.index(self.severity) * len(STATES) + STATES.index(self.state)


@dataclass
class _Worst:
    """Open incidents of a model while they are being gathered."""

    ranked: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, one: OpenIncident) -> None:
        key = (SEVERITIES.index(one.severity), INCIDENT_STATES.index(one.state))
        self.ranked[one.id] = min(key, self.ranked.get(one.id, key))

    def in_order(self) -> list[str]:
        return sorted(self.ranked, key=lambda id_: (self.ranked[id_], id_))


def standings(
    configuration: Configuration,
    seen: Mapping[str, Seen],
    arrived: Mapping[str, Arrival],
    incidents: Iterable[OpenIncident],
    now_ms: int,
) -> list[Standing]:
    """Say how every model is, by name.

    Parameters
    ----------
    configuration : Configuration
    seen : mapping of str to Seen
        Every model.
    arrived : mapping of str to Arrival
        Newest event of those that have one.
    incidents : iterable of OpenIncident
    now_ms : int
        Wall clock, epoch milliseconds.
    """
    worst: dict[str, _Worst] = {}
    for one in incidents:
        worst.setdefault(one.model, _Worst()).add(one)
    patience = {model: patience_of(configuration, model) for model in configuration.models}
    usual_ms = patience_of(configuration, "")
    return [
        _standing(one, arrived.get(model), worst.get(model), patience.get(model, usual_ms), now_ms)
        for model, one in seen.items()
    ]


def _standing(
    seen: Seen, arrival: Arrival | None, worst: _Worst | None, patience_ms: int, now_ms: int
) -> Standing:
    newest_ms = None if arrival is None else arrival.newest_ms
    if worst is not None:
        ids = worst.in_order()
        severity, state = worst.ranked[ids[0]]
        return Standing(seen.model, INCIDENT_STATES[state], SEVERITIES[severity], "", newest_ms, tuple(ids))
    if arrival is None:
        return Standing(seen.model, "no data", why="no prediction is known")
    if now_ms - arrival.arrived_ms > patience_ms:
        why = f"nothing has arrived for more than {format_duration(patience_ms)}"
        return Standing(seen.model, "no data", why=why, newest_ms=newest_ms)
    if seen.is_learning:
        named = "" if seen.version == "unversioned" else f"version {seen.version}: "
        return Standing(seen.model, "learning", why=f"{named}no reference yet", newest_ms=newest_ms)
    return Standing(seen.model, "fine", newest_ms=newest_ms)


def patience_of(configuration: Configuration, model: str) -> int:
    """How long a model may be without events before it counts as without data, milliseconds.

    Models without an entry in the configuration have the patience of any name.

    Notes
    -----
    What its contract allows; otherwise a day or two windows, and as long as late events are waited for. An
    incident is opened by what its reference knows of gaps, often much earlier; this is for models that have
    none, and for the time when nobody judges.
    """
    settings = configuration.for_model(model)
    if settings.freshness_ms is not None:
        return settings.freshness_ms
    return max(DAY_MS, 2 * settings.windows[0].length_ms) + settings.lateness_ms
