"""The rows of one model version in a table of events."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from monitor.backtest.labels import LabelColumn, Labels, LabelTable
from monitor.backtest.survey import is_of, parts_of
from monitor.config.settings import ModelSettings
from monitor.frames import Table
from monitor.frames.batches import layout_of
from monitor.frames.names import EVENT_ID, KnownKinds
from monitor.frames.outcomes import LabelledBatches
from monitor.profiling import Key
from monitor.references.lifecycle import Span
from schemas.column import PREDICTION


class History:
    """The rows of one model version.

    Parameters
    ----------
    table : Table
    key : tuple of str
        Model and version.
    settings : ModelSettings
    labels : Labels or None

    Attributes
    ----------
    labels : Labels or None
        None as well where nothing is predicted.

    Raises
    ------
    UsageError
        If a column cannot be watched, or labels have a table of their own and their events no ids.
    """

    def __init__(self, table: Table, key: Key, settings: ModelSettings, labels: Labels | None) -> None:
        self.table, self.key, self.settings = table, key, settings
        layout = layout_of(table, settings, KnownKinds(settings, {}))
        if isinstance(labels, LabelTable):
            for name in (EVENT_ID, PREDICTION):
                if name not in table.schema.names:
                    msg = f"has no column {name}, which labels are paired by (or leave the labels out)"
                    raise table.wrong(msg)
        self.labels = labels if PREDICTION in layout.outputs else None
        self.specs = {spec.name: spec for spec in (*layout.features.values(), *layout.outputs.values())}

    def between(self, span: Span) -> Table:
        """Rows of a span of event time."""

        def parts() -> Iterator[pa.Table]:
            for part, times in parts_of(self.table):
                is_in = (times >= span.from_ms) & (times < span.to_ms)
                picked = part.filter(pa.array(is_in & is_of(part, self.key)))
                if picked.num_rows:
                    yield picked

        return Table(self.table.name, self.table.schema, parts)

    def batches(self, span: Span) -> LabelledBatches:
        """Batches of a span of event time."""
        return LabelledBatches(self.between(span), self.settings, self.specs)


def labels_of_events(table: Table, labels: Table | None) -> Labels | None:
    """Read the labels of a table of events: those of a table of their own, if there is one, else its own."""
    return LabelColumn.read(table) if labels is None else LabelTable.read(labels)
