"""What the page of a model is asked for, and what that means: versions, windows, a range of event time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection

from monitor.config.settings import ModelSettings
from monitor.config.values import read_window
from monitor.store.queries.model_windows import Stretch, columns_of, version_rows, window_edges
from monitor.store.queries.slice_counts import first_slice
from monitor.store.queries.slices import newest_slice
from monitor.web.console.fields import FieldInstant, FieldText
from monitor.web.console.words import iso
from monitor.web.context import Context
from monitor.web.documents import instant
from monitor.web.parameters import Asked
from monitor.web.problems import Mistake, Refused, not_found
from schemas.duration import UNITS_MS
from schemas.window import WindowSpec

DAY_MS = UNITS_MS["d"]
DEFAULT_MS = 30 * DAY_MS
QUICK_DAYS = (1, 7, 30, 90)
MOST_VERSIONS = 5  # champions that one line goes through, the newest ones
MOST_WINDOWS = 1_100  # of one chart: about as many as a wide screen can show
FEW_ROWS = 100  # a window with fewer says little


class ModelAsked(Asked):
    """Parameters of the page and of its charts."""

    from_ms: FieldInstant = Field(
        None, alias="from", description="Default: 30 days before the end, or the first event."
    )
    to_ms: FieldInstant = Field(None, alias="to", description="Default: end of the newest window.")
    version: FieldText = Field(None, description="Only this version; default: the champion.")
    window: FieldText = Field(None, description="Shape of the windows; default: the judged one.")
    metric: FieldText = Field(None, description="Measure of performance; default: the configured one.")
    features: Literal["all"] | None = Field(None, description="All features in the table, not the first 60.")


@dataclass(frozen=True)
class View:
    """A model over a range of event time.

    Parameters
    ----------
    model : str
    settings : ModelSettings
    versions : list of rows
        Of ``model_version``, all of them, by their first slice.
    shown : tuple of str
        Versions whose windows are shown; where two have the same window, the later one counts.
    judged, shape : WindowSpec
        Windows that are judged, and those that are shown.
    from_ms, to_ms : int
        Range, in whole slices.
    first_ms, newest_ms : int
        Event time that is known of the shown versions.
    columns : dict of str to (str, str)
        Kind and source of each column.
    asked : ModelAsked
    """

    model: str
    settings: ModelSettings
    versions: list[Any]
    shown: tuple[str, ...]
    judged: WindowSpec
    shape: WindowSpec
    from_ms: int
    to_ms: int
    first_ms: int
    newest_ms: int
    columns: dict[str, tuple[str, str]]
    asked: ModelAsked

    @property
    def is_judged_shape(self) -> bool:
        """Whether the shown windows are those that are judged, whose results are stored."""
        return self.shape == self.judged

    @property
    def version(self) -> str:
        """The version that speaks for the others: the newest one shown."""
        return self.shown[-1]

    def of_source(self, *sources: str) -> list[str]:
        """Columns that come from some part of an event, by name."""
        return [name for name, (_, source) in self.columns.items() if source in sources]

    def stride(self, columns: int = 1, most: int = MOST_WINDOWS) -> int:
        """Of how many judged windows one is read, so that no more than `most` are."""
        windows = (self.to_ms - self.from_ms) // self.judged.every_ms + 1
        return max(1, -(-windows * max(1, columns) // most))

    def stretches(self, stride: int = 1) -> list[Stretch]:
        """Judged windows of each version, the oldest version first."""
        return [
            Stretch(
                self.model, version, str(self.judged), self.from_ms, self.to_ms, self.judged.every_ms, stride
            )
            for version in self.shown
        ]

    def parameters(self, **other: object) -> dict[str, object]:
        """Query parameters of this view, some of them changed; those that were not asked for are None."""
        asked = self.asked
        now = {
            "from": None if asked.from_ms is None else iso(asked.from_ms),
            "to": None if asked.to_ms is None else iso(asked.to_ms),
            "version": asked.version,
            "window": asked.window,
            "metric": asked.metric,
        }
        return now | other

    def quick_ranges(self) -> list[tuple[str, dict[str, object]]]:
        """Names of usual ranges up to the newest window, and their parameters."""
        found = [
            (
                f"{days} d",
                self.parameters(**{"from": iso(self.newest_ms - days * DAY_MS), "to": iso(self.newest_ms)}),
            )
            for days in QUICK_DAYS
        ]
        everything = self.parameters(**{"from": iso(self.first_ms), "to": iso(self.newest_ms)})
        return [*found, ("all", everything)]


def view_of(context: Context, connection: Connection, model: str, asked: ModelAsked) -> View:
    """Work out what is shown.

    Raises
    ------
    Refused
        If there is no such model, version or shape of windows, or the range is empty.
    """
    versions = version_rows(connection, model)
    if not versions:
        raise not_found(model, "model", "path.model")
    settings = context.configuration.for_model(model)
    shown = _shown(versions, asked.version)
    judged, shape = settings.windows[0], _shape(settings, asked.window)
    edges = [_edges(connection, model, version, settings, judged) for version in shown]
    first_ms, newest_ms = min(edge[0] for edge in edges), max(edge[1] for edge in edges)
    to_ms = newest_ms if asked.to_ms is None else asked.to_ms
    from_ms = to_ms - DEFAULT_MS if asked.from_ms is None else asked.from_ms
    if asked.from_ms is None and first_ms < to_ms:
        from_ms = max(from_ms, first_ms)
    if from_ms >= to_ms:
        what = "the range is empty: from must lie before to"
        raise Refused(422, what, [Mistake(where="query.from", what=what, allowed=f"before {instant(to_ms)}")])
    slice_ms = settings.slice_ms
    return View(
        model=model,
        settings=settings,
        versions=versions,
        shown=shown,
        judged=judged,
        shape=shape,
        from_ms=from_ms // slice_ms * slice_ms,
        to_ms=-(-to_ms // slice_ms) * slice_ms,
        first_ms=first_ms,
        newest_ms=newest_ms,
        columns=columns_of(connection, model, shown),
        asked=asked,
    )


def _shown(versions: list[Any], asked: str | None) -> tuple[str, ...]:
    names = [row.version for row in versions]
    if asked is not None:
        if asked not in names:
            raise not_found(asked, "version", "query.version", names)
        return (asked,)
    champions = [row.version for row in versions if row.role == "champion"]
    return tuple((champions or names)[-MOST_VERSIONS:])


def _shape(settings: ModelSettings, asked: str | None) -> WindowSpec:
    if asked is None:
        return settings.windows[0]
    known = [str(spec) for spec in settings.windows]
    try:
        spec = read_window(asked)
    except ValueError:
        spec = None
    if spec is None or spec not in settings.windows:
        raise not_found(asked, "shape of windows", "query.window", known)
    return spec


def _edges(
    connection: Connection, model: str, version: str, settings: ModelSettings, judged: WindowSpec
) -> tuple[int, int]:
    """Event time that is known of a version: of its slices, or of its windows where slices are gone."""
    first, newest = window_edges(connection, model, version, str(judged))
    oldest, last = first_slice(connection, model, version), newest_slice(connection, model, version)
    starts = [at for at in (first, oldest) if at is not None]
    ends = [at for at in (newest, None if last is None else last + settings.slice_ms) if at is not None]
    return min(starts, default=0), max(ends, default=settings.slice_ms)
