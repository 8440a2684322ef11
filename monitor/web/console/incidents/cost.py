"""What an incident costs in words: as it is now while it is open, and as it was once it is over."""

from __future__ import annotations

from sqlalchemy import Connection

from alerting.finding import epoch_ms
from alerting.incidents.incident import Incident
from monitor.store.queries.around import Measured, means_between
from monitor.web.context import Context


def cost_of(context: Context, connection: Connection, incident: Incident) -> str:
    """Say what an incident costs, or has cost; empty if that is not known.

    Notes
    -----
    Of an incident that is over, the mean of the windows while it was open, weighted by rows: how the model
    does today says nothing of it.
    """
    impact, whole = incident.impact, incident.whole
    if impact is None:
        return ""
    if whole.closed_at is None:
        return impact.words
    window = str(context.configuration.for_model(whole.model).windows[0])
    wanted = Measured(whole.model, whole.version, window, impact.metric)
    span_ms = epoch_ms(whole.window_start), epoch_ms(whole.closed_at)
    means = means_between(connection, wanted, *span_ms)
    for kind, known in (("realised", "from labels"), ("estimated", "estimated without labels")):
        if kind in means:
            mean, count = means[kind]
            windows = f"{count} window{'' if count == 1 else 's'}"
            before = "" if impact.before is None else f"; before it was {impact.before:.3f}"
            return f"{impact.metric} was {mean:.3f} while it was open ({windows}, {known}){before}"
    return ""
