"""What to look at first, in a sentence: of the strongest open incident, and of the range that is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from monitor.config.settings import LOWER_IS_BETTER
from monitor.web.api.incidents import STATES, IncidentDocument, page_of_incidents
from monitor.web.console.model.features import FeatureRow, Features
from monitor.web.console.model.performance import SHARES, Metrics, stored_measures
from monitor.web.console.model.view import View
from monitor.web.context import Context

MOST_OPEN = 10
SEVERITIES = ("page", "warn", "info")
SHOWN = 3
LEAST_OF_CHANGE = 0.1


@dataclass(frozen=True)
class Standing:
    """Performance of the range: the shown measure, weighted by rows, and its objective."""

    metric: str
    value: float
    objective: float | None
    is_missed: bool
    is_share: bool
    labels: int
    is_estimated: bool = False


@dataclass(frozen=True)
class Story:
    """What moved in a range.

    Parameters
    ----------
    standing : Standing or None
        None without any measure.
    change : float or None
        Of the mean prediction against the reference, where features go with it.
    outcome : str
    carriers : list of FeatureRow
        Features that a good part of the change comes with, those that drifted first.
    drifted : list of FeatureRow
        Features in alarm at some time of the range.
    """

    standing: Standing | None = None
    change: float | None = None
    outcome: str = ""
    carriers: list[FeatureRow] = field(default_factory=list)
    drifted: list[FeatureRow] = field(default_factory=list)


def open_incidents(context: Context, model: str) -> list[IncidentDocument]:
    """Open incidents of a model: the loudest first, then those that explain most, then the newest."""
    found = page_of_incidents(context, None, MOST_OPEN, STATES["open"], model).items
    return sorted(found, key=lambda one: (_loudness(one), -_explained(one)))


def _loudness(incident: IncidentDocument) -> int:
    return SEVERITIES.index(incident.severity) if incident.severity in SEVERITIES else len(SEVERITIES)


def _explained(incident: IncidentDocument) -> float:
    """Largest share of the change of the predictions that a cause stands for; 0.01 where none is known."""
    return max((one.explained or 0.01 for one in incident.causes), default=0.0)


def story_of(connection: Connection, view: View, features: Features, metrics: Metrics) -> Story:
    """Tell what moved in the range of a view."""
    drifted = [row for row in features.rows if row.alarmed]
    attributed = features.attributed
    standing = _standing(connection, view, metrics)
    if attributed is None:
        return Story(standing, drifted=drifted)
    carriers = [
        row
        for row in features.rows
        if row.part
        and row.part * attributed.change > 0
        and abs(row.part) >= LEAST_OF_CHANGE * abs(attributed.change)
    ]
    change = attributed.change if carriers else None
    return Story(standing, change, attributed.outcome, carriers[:SHOWN], drifted)


def _standing(connection: Connection, view: View, metrics: Metrics) -> Standing | None:
    metric = metrics.chosen
    if metric is None:
        return None
    stored = stored_measures(connection, view, [metric])
    options = view.settings.performance
    for kind in ("realised", "estimated"):
        rows = [row for row in stored.get(f"{kind}/{metric}", {}).values() if row.n]
        if rows:
            total = sum(row.n for row in rows)
            value = sum(row.value * row.n for row in rows) / total
            slo = float(options.slo) if options is not None and options.metric == metric else None
            return Standing(
                metric.replace("_", " "), value, slo, _is_missed(metric, value, slo), metric in SHARES, total,
                kind == "estimated",
            )  # fmt: skip
    return None


def _is_missed(metric: str, value: float, slo: float | None) -> bool:
    return slo is not None and (value > slo if metric in LOWER_IS_BETTER else value < slo)
