"""What the columns of a table are by their names: parts of the event, tags, or features."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.config.settings import ModelSettings
from schemas.column import LATENCY, PREDICTION, RESERVED, SCORE, ColumnSpec, Kind, feature_name

TIMESTAMP, MODEL, VERSION, EVENT_ID = "timestamp", "model", "version", "event_id"
IDENTITY = frozenset({TIMESTAMP, MODEL, VERSION, EVENT_ID, "label", "label_timestamp"})
FIELDS = IDENTITY | RESERVED
SCORE_PREFIX, TAG_PREFIX, FEATURE_PREFIX = f"{SCORE}.", "tags.", "feature."


def is_number_field(column: str) -> bool:
    """Whether a column can hold nothing but numbers, whatever the configuration says."""
    return column in (SCORE, LATENCY) or column.startswith(SCORE_PREFIX)


def feature_path(column: str) -> tuple[str, ...] | None:
    """Keys that lead to a feature in an event; None for a column that is not a feature.

    A feature that is called like a part of the event is written ``feature.<name>``.

    Examples
    --------
    >>> feature_path("temp"), feature_path("user.age"), feature_path("feature.score"), feature_path("score")
    (('temp',), ('user', 'age'), ('score',), None)
    """
    if column in FIELDS or column.startswith((SCORE_PREFIX, TAG_PREFIX)):
        return None
    plain = column.removeprefix(FEATURE_PREFIX)
    if plain != column and (plain in FIELDS or plain.startswith((SCORE_PREFIX, TAG_PREFIX))):
        column = plain
    return tuple(column.split("."))


class KnownKinds:
    """Kinds that columns have whatever their values look like.

    Parameters
    ----------
    settings : ModelSettings
        Kinds that the configuration fixes.
    specs : mapping of str to ColumnSpec
        Columns that the stream has registered; they win.
    """

    def __init__(self, settings: ModelSettings, specs: Mapping[str, ColumnSpec]) -> None:
        self._specs = dict(specs)
        self._configured = {name: Kind(c.kind) for name, c in settings.columns.items() if c.kind}
        if settings.task is not None:
            is_number = settings.task == "regression"
            self._configured[PREDICTION] = Kind.NUMERIC if is_number else Kind.CATEGORICAL

    def spec(self, name: str) -> ColumnSpec | None:
        """Registered column of that name."""
        return self._specs.get(name)

    def of(self, column: str) -> Kind | None:
        """Kind of a column of a table; None if its values decide."""
        path = feature_path(column)
        name = column if path is None else feature_name(path)
        if path is None and column != PREDICTION:
            return None
        registered = self._specs.get(name)
        return self._configured.get(name) if registered is None else registered.kind
